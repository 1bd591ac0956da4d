"""What the harness costs: an operation, a case, a whole sweep, two workers.

Everything that is compared is measured in one run and in turn, so that the machine's mood meets all
alike; the figures are medians. Writes ``benchmarks/results/harness.md``. Needs Linux and, for the
comparisons with it, ``strace``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

RESULTS = Path(__file__).parent / "results" / "harness.md"
TMPFS = "/dev/shm"
ROUNDS = 9
CALLS = 4000

LOOP = """
import os, sys, time
path, calls = sys.argv[1], int(sys.argv[2])
fd = os.open(path, os.O_CREAT | os.O_WRONLY)
data = b"x" * 100
began = time.perf_counter()
for _ in range(calls):
    os.pwrite(fd, data, 0)
print((time.perf_counter() - began) / calls * 1e6)
"""

PROGRAM = """
import os, sys

def work(root):
    for name in ("a", "b"):
        fd = os.open(f"{root}/{name}.tmp", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, b"x" * 100)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(f"{root}/{name}.tmp", f"{root}/{name}")

if __name__ == "__main__":
    work(sys.argv[1])
"""

DATABASE = """
import argparse, contextlib, json, logging, pathlib, sqlite3

def work(root):
    with contextlib.closing(sqlite3.connect(pathlib.Path(root) / "x.db", timeout=0)) as db, db:
        db.execute("create table if not exists t(a)")
        db.execute("insert into t values(?)", (json.dumps({"n": 1}),))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    logging.basicConfig()
    work(parser.parse_args().root)
"""

SCENARIO = """
import os, time
from statistics import median
from program import work
from chaoskit import faults, scenario

ballast = bytearray({megabytes} << 20)
ballast[::4096] = b"x" * len(ballast[::4096])

@scenario({faults})
def test_sweep(chaos):
    chaos.run(work, str(chaos.path))

def test_bare_fork():
    took = []
    for _ in range(200):
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        took.append(time.perf_counter() - began)
    resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open(os.environ["BARE"], "w") as file:
        print(median(took), resident, file=file)
"""

THE_SWEEP = "test_sweep.py::test_sweep"
MANY = "faults.disk() | faults.kill()"
EACH_ERRNO = 'faults.disk().only("EIO", "ENOSPC", "EINTR", "EDQUOT", "EROFS", "EACCES", "EMFILE")'
"""Errors that ``strace -e inject`` can make as well."""


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure; all are taken once in every round."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [median(values) for values in taken]


def operations(directory: Path) -> list[tuple[str, str, str]]:
    """Microseconds that one ``pwrite`` of 100 bytes takes, in each way of looking at it."""
    backend, root = KernelBackend(), str(directory / "root")
    os.mkdir(root)
    target = f"{root}/file"
    code = directory / "loop.py"
    code.write_text(LOOP)

    def loop() -> float:
        fd = os.open(target, os.O_CREAT | os.O_WRONLY)
        began = time.perf_counter()
        for _ in range(CALLS):
            os.pwrite(fd, b"x" * 100, 0)
        took = time.perf_counter() - began
        os.close(fd)
        return took / CALLS * 1e6

    def under(plan: Plan) -> float:
        return float(backend.run(loop, plan).value)

    def traced(*options: str) -> float:
        command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", *options]
        done = subprocess.run(
            [*command, sys.executable, str(code), target, str(CALLS)], capture_output=True, check=True
        )
        return float(done.stdout)

    struck = Schedule.parse("write(file)#999999=EIO").strikes
    bare, other, same, recorded, strace = in_turn(
        ROUNDS,
        loop,
        lambda: under(Plan(root)),
        lambda: under(Plan(root, strikes=struck)),
        lambda: under(Plan(root, record=True)),
        lambda: traced(),
    )
    return [
        ("bare call", f"{bare:.2f} µs", ""),
        ("in a case, another call is to be struck", f"{other:.1f} µs", ""),
        ("in a case, calls of this kind are counted", f"{same:.1f} µs", _gate(same - bare, 30, "µs more")),
        ("under strace", f"{strace:.1f} µs", _gate(same / strace, 1, "of strace")),
        ("in the recording: stack, data, result", f"{recorded:.1f} µs", _gate(recorded, 350, "µs")),
    ]


def _gate(value: float, most: float, unit: str) -> str:
    return f"{value:.2f} {unit}; gate ≤ {most:g}: {'holds' if value <= most else 'FAILS'}"


def _at_least(value: float, least: float) -> str:
    return f"{value:.1f} ×; gate ≥ {least:g}: {'holds' if value >= least else 'FAILS'}"


class Sweep:
    """A project of its own with one scenario, swept by pytest as a user would."""

    def __init__(self, directory: Path, faults: str, megabytes: int = 0, program: str = PROGRAM) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "program.py").write_text(program)
        text = textwrap.dedent(SCENARIO).format(faults=faults, megabytes=megabytes)
        (directory / "test_sweep.py").write_text(text)
        (directory / "pytest.ini").write_text("[pytest]\n")

    def run(self, workers: int, *selection: str) -> tuple[dict[str, object], float]:
        """The result of the scenario, and the seconds of the whole command."""
        report, place = self.directory / "report", self.directory / "tmp"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist"]
        command += [f"--basetemp={place}", f"--chaoskit-workers={workers}", f"--chaoskit-report={report}"]
        environment = {**os.environ, "BARE": str(self.directory / "bare")}
        began = time.perf_counter()
        subprocess.run(
            [*command, *selection], cwd=self.directory, env=environment, check=True, capture_output=True
        )
        took = time.perf_counter() - began
        found = json.loads((report / "report.json").read_text())
        return found["scenarios"][0], took

    def bare(self) -> tuple[float, int]:
        """Milliseconds of a bare fork and exit of the test process, and its resident bytes."""
        seconds, resident = (self.directory / "bare").read_text().split()
        return float(seconds) * 1000, int(resident)


def cases(directory: Path) -> list[tuple[str, str, str]]:
    """Milliseconds of one case above a bare fork and exit, by the size of the test process."""
    rows = []
    for size in (0, 50, 200):
        sweep = Sweep(directory / f"case-{size}", MANY, size)
        above: list[float] = []
        whole: list[float] = []
        forks: list[float] = []
        resident = count = 0
        for _ in range(5):
            found, _ = sweep.run(1)
            fork, resident = sweep.bare()
            count = len(found["cases"])  # type: ignore[arg-type]
            each = found["timing"]["cases"] / count * 1000  # type: ignore[index]
            whole.append(each)
            above.append(each - fork)
            forks.append(fork)
        label = f"a case of ten operations, {resident >> 20} MB resident ({count} cases)"
        # How slow the machine is at forking decides: without that figure the other says little.
        bare, more = median(forks), median(above)
        of = f"ms above fork and exit, which alone take {bare:.2f} ms ({more / bare:.1f} × as much)"
        rows.append((label, f"{median(whole):.2f} ms", _gate(more, 4, of)))
    return rows


def sweeps(directory: Path) -> list[tuple[str, str, str]]:
    """Seconds of a whole sweep, and of running the program once per fault under strace."""
    sweep = Sweep(directory / "sweep", EACH_ERRNO, program=DATABASE)
    program = str(sweep.directory / "program.py")

    def ours() -> float:
        return sweep.run(1, THE_SWEEP)[1]

    found, _ = sweep.run(1, THE_SWEEP)
    count = len(found["cases"])  # type: ignore[arg-type]

    def theirs() -> float:
        return sum(_under_strace(program, directory / "strace", number) for number in range(count))

    mine, strace = in_turn(3, ours, theirs)
    return [
        (f"sweep of {count} faults over a SQLite transaction", f"{mine:.2f} s, all of pytest included", ""),
        (f"the same {count} under `strace -e inject`", f"{strace:.2f} s", _at_least(strace / mine, 8)),
    ]


def _under_strace(program: str, place: Path, number: int) -> float:
    """Seconds of one run of the program in which strace makes one of its calls fail.

    The filter by path makes strace count the calls on the program's own files only, as we do.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    name = ("pwrite64", "fdatasync", "unlink", "openat")[number % 4]
    inject = f"inject={name}:error=EIO:when={1 + number // 4 % 2}"
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject]
    command += ["-P", f"{place}/x.db", "-P", f"{place}/x.db-journal"]
    began = time.perf_counter()
    subprocess.run([*command, sys.executable, program, str(place)], capture_output=True, check=False)
    return time.perf_counter() - began


def workers(directory: Path) -> list[tuple[str, str, str]]:
    """Seconds that the cases of one scenario take with one worker and with two."""
    sweep = Sweep(directory / "workers", MANY, 50)

    def with_workers(count: int) -> Callable[[], float]:
        return lambda: sweep.run(count, THE_SWEEP)[0]["timing"]["cases"]  # type: ignore[index]

    one, two = in_turn(5, with_workers(1), with_workers(2))
    return [
        ("cases with one worker", f"{one:.2f} s", ""),
        ("with two", f"{two:.2f} s", _at_least(one / two, 1.7)),
    ]


def main() -> None:
    """Measure part by part; the table is written after each, so that a run that is cut leaves what it has."""
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(dir=TMPFS, prefix="chaoskit-bench-") as name:
        directory = Path(os.path.realpath(name))
        for part in (operations, cases, workers, sweeps):
            new = part(directory)
            rows += new
            for row in new:
                print(" | ".join(row), flush=True)
            RESULTS.write_text(_page(rows))


def _page(rows: list[tuple[str, str, str]]) -> str:
    uname = os.uname()
    lines = [
        "# What the harness costs",
        "",
        f"Python {sys.version.split()[0]}, Linux {uname.release} {uname.machine}, "
        f"{os.cpu_count()} processors; medians, all measured in turn in one run of "
        "`python benchmarks/harness.py`.",
        "",
        "What a case costs is mostly pages copied after its fork, so the bare fork is the measure of a "
        "machine. The gate of 4 ms was set where that took 1.4 ms in a small process and 13 ms with 200 MB: "
        "2.9 and 0.3 × as much.",
        "",
        "| what | median | against the gate |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
