"""What one more case costs, in this tree and in another: processor time and page faults, not seconds.

``python benchmarks/case_cost.py OTHER_TREE``: both trees are run in turn by the same interpreter. The test
itself notes what its process and those that it has waited for have used so far, so that from one note to the
next it is all that a case needs. Writes ``benchmarks/results/case_cost.md``, one part for each interpreter.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results" / "case_cost.md"
HERE = Path(__file__).parents[1]
ROUNDS, CASES = int(os.environ.get("ROUNDS", "3")), 80

SCENARIO = """
import os, resource, tempfile
from chaoskit import faults, scenario
from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

ballast = bytearray(int(os.environ["BALLAST"]) << 20)
ballast[::4096] = b"x" * len(ballast[::4096])
notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(name):
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    time = sum(one.ru_utime + one.ru_stime for one in used) * 1000
    os.write(notes, f"{name}-{os.getpid()} {time} {sum(one.ru_minflt for one in used)}\\n".encode())

def work(root):
    for name in ("a", "b"):
        fd = os.open(f"{root}/{name}.tmp", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, b"x" * 100)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(f"{root}/{name}.tmp", f"{root}/{name}")

@scenario(faults.disk() | faults.kill())
def test_passes(chaos):
    note("case")
    chaos.run(work, str(chaos.path))

@scenario(faults.disk() | faults.kill())
def test_breaks(chaos):
    note("case")
    chaos.run(work, str(chaos.path))
    assert sorted(os.listdir(chaos.path)) == ["a", "b"]

def test_late():
    backend, root = KernelBackend(), os.path.realpath(tempfile.mkdtemp())
    def writes():
        fd = os.open(f"{root}/file", os.O_CREAT | os.O_WRONLY)
        for _ in range(136):
            try:
                os.write(fd, b"x")
            except OSError:
                pass
        os.close(fd)
    for _ in range(25):
        for name, number in (("first", 1), ("last", 136)):
            plan = Plan(root, strikes=Schedule.parse(f"write(file)#{number}=EIO").strikes)
            note(name)
            assert len(backend.run(writes, plan).receipts) == 1
            note(name)
"""
Used = tuple[float, float]
"""Milliseconds of processor time, and page faults."""


def used(tree: Path, where: str, ballast: int, test: str) -> dict[str, Used]:
    """What one execution uses, by the names of the notes: the median of all but the recordings."""
    words = ["-m", "pytest", "-q", f"test_cost.py::{test}", "-p", "no:cacheprovider", "-p", "no:randomly"]
    words += ["-p", "no:xdist", "--chaoskit-workers=1", "--chaoskit-seed=1", f"--chaoskit-budget={CASES}"]
    notes = Path(where, "notes")
    notes.unlink(missing_ok=True)
    env = {**os.environ, "PYTHONPATH": str(tree), "BALLAST": str(ballast), "NOTES": str(notes)}
    subprocess.run([sys.executable, *words], cwd=where, env=env, check=False, capture_output=True)
    rows = [line.split() for line in notes.read_text().splitlines()]
    by_process: dict[str, list[Used]] = {}
    for name, time, faults in rows:
        by_process.setdefault(name, []).append((float(time), float(faults)))
    taken: dict[str, list[Used]] = {}
    for name, values in by_process.items():
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(values)]
        # Runs that are noted at both ends have other runs in between.
        kind = name.partition("-")[0]
        taken.setdefault(kind, []).extend(steps if kind == "case" else steps[::2])
    return {
        name: (median(time for time, _ in steps), median(faults for _, faults in steps))
        for name, steps in taken.items()
        if len(steps) > 5
    }


def measured(other: Path) -> dict[str, dict[str, list[Used]]]:
    """Each row for both trees, round by round."""
    found: dict[str, dict[str, list[Used]]] = {}
    rows = [("50 MB, passes", 10, "test_passes"), ("50 MB, breaks", 10, "test_breaks")]
    rows += [("250 MB, passes", 210, "test_passes"), ("struck at write", 10, "test_late")]
    with tempfile.TemporaryDirectory() as where:
        Path(where, "test_cost.py").write_text(SCENARIO)
        for number in range(ROUNDS):
            for row, ballast, test in rows:
                trees = [("old", other), ("new", HERE)]
                for which, tree in trees[:: -1 if number % 2 else 1]:
                    for name, value in used(tree, where, ballast, test).items():
                        label = row if name == "case" else f"{row}: the {name} of 136"
                        found.setdefault(label, {}).setdefault(which, []).append(value)
    return found


def part(other: Path) -> str:
    """The results of this interpreter as Markdown."""
    revision = subprocess.run(
        ["git", "-C", str(other), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}"
    lines = [
        f"## CPython {platform.python_version()}, old is {revision}, {machine}",
        "",
        "| a case | old: ms, faults | new: ms, faults | new to old: time, faults |",
        "| --- | --- | --- | --- |",
    ]
    for name, trees in measured(other).items():
        (old, old_faults), (new, new_faults) = (
            (median(one[0] for one in trees[which]), median(one[1] for one in trees[which]))
            for which in ("old", "new")
        )
        ratio = f"{new / old:.2f}, {new_faults / old_faults:.2f}"
        lines.append(f"| {name} | {old:.1f}, {old_faults:.0f} | {new:.1f}, {new_faults:.0f} | {ratio} |")
    return "\n".join(lines) + "\n"


HEAD = """# What one more case costs

Written by `benchmarks/case_cost.py`: processor time and page faults of the worker and the workload's process
together, for each case of a program that replaces two files. Both trees in turn, medians. Time
grows with the load of the machine; faults and ratios hardly do.
"""

if __name__ == "__main__":
    text = part(Path(sys.argv[1]).resolve())
    before = RESULTS.read_text("utf-8") if RESULTS.exists() else HEAD
    begins = f"## CPython {platform.python_version()},"
    kept = [one for one in re.split(r"\n(?=## )", before) if not one.startswith(begins)]
    RESULTS.write_text("\n".join([*(one.rstrip() + "\n" for one in kept), text]), "utf-8")
    sys.stdout.write(text)
