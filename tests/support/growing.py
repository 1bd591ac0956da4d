"""Running thousands of cases in one run, and what memory and descriptors its processes have meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.inject import processes

_SCENARIO = """
import os
from chaoskit import faults, scenario

def work(path):
    for number in range({files}):
        try:
            (path / f"{{number:04}}").write_text("x")
        except OSError:
            pass

def _note():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    fds = len(os.listdir("/proc/self/fd"))
    with open({notes!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{pages}} {{fds}}\\n")

{leak}

@scenario(faults.kill() | faults.disk(), budget={cases}, oracle="off")
def test_many(chaos):
    chaos.run(work, chaos.path)
    _leak()
    _note()
"""
_LEAKS = {
    "": "def _leak():\n    pass",
    "memory": "_kept = []\ndef _leak():\n    _kept.append(bytearray(os.urandom(100_000)))",
    "descriptors": "def _leak():\n    os.dup(2)",
}
_PAUSE = 0.005
"""Seconds between two looks at how many cases are done: less than a case takes."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Growth:
    """What processes had, one pair of bytes and descriptors for each look, in order."""

    status: int = -1
    text: str = ""
    pytest: list[tuple[int, int]] = field(default_factory=list)
    workers: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def problems(self, most: int) -> list[str]:
        """Which processes grew by more than ``most`` bytes, or had more descriptors later than before."""
        found = [] if self.workers else ["no worker was seen"]
        for name, seen in [
            ("pytest", self.pytest),
            *((f"worker {pid}", s) for pid, s in self.workers.items()),
        ]:
            sizes, descriptors = [size for size, _ in seen], [count for _, count in seen]
            half = len(seen) // 2
            if half < 10:
                found.append(f"{name} was seen {len(seen)} times")
            elif max(sizes) - min(sizes) > most:
                found.append(f"{name} had {min(sizes):,} to {max(sizes):,} bytes")
            # Within a case there are some more, and not in each case the same.
            elif max(descriptors[half:]) > max(descriptors[:half]):
                found.append(f"{name} had {descriptors[0]} descriptors, then up to {max(descriptors)}")
        return found


def grown(
    place: Path, cases: int, *, first: int, workers: int = 2, leak: str = "", seconds: float = 600.0
) -> Growth:
    """Run ``cases`` cases, and look at the processes meanwhile; ``leak`` plants a leak of that kind.

    The ``first`` cases of a worker do not count: what is made once is made then.
    """
    notes = place / "notes"
    notes.touch()
    # Each file is three calls at least, and each call has several faults.
    text = _SCENARIO.format(files=cases // 20 + 4, cases=cases, notes=str(notes), leak=_LEAKS[leak])
    (place / "test_many.py").write_text(text)
    words = [sys.executable, "-P", "-m", "pytest", "-p", "chaoskit.plugin", "-q", "-p", "no:cacheprovider"]
    words += ["--chaoskit-workers", str(workers), "test_many.py"]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    found = Growth()
    with (
        open(place / "output", "w+") as output,
        subprocess.Popen(
            words,
            cwd=place,
            env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as running,
    ):
        deadline, looked = time.monotonic() + seconds, first * workers - 1
        while running.poll() is None:
            if time.monotonic() > deadline:
                running.kill()
            done = notes.read_bytes().count(b"\n")
            # One look for each case, not for each moment: a fast machine would have too few of them. At the
            # end the cases are judged together, which is not growth with their number.
            if looked < done < cases:
                found.pytest += filter(None, [_of(running.pid)])
                looked = done
            time.sleep(_PAUSE)
        found.status = running.returncode
        output.seek(0)
        found.text = output.read()
    found.workers = {pid: seen[first:] for pid, seen in _noted(notes).items() if len(seen) > first}
    return found


def _of(pid: int) -> tuple[int, int] | None:
    words = processes.read(f"/proc/{pid}/statm").split()
    return (int(words[1]) * _PAGE, len(processes.open_files(pid))) if words else None


def _noted(notes: Path) -> dict[int, list[tuple[int, int]]]:
    found = defaultdict(list)
    for line in notes.read_text().splitlines():
        pid, pages, descriptors = map(int, line.split())
        found[pid].append((pages * _PAGE, descriptors))
    return found
