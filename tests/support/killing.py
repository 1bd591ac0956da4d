"""Killing pytest and what belongs to it, in any order at random times, and looking for what is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaoskit.inject import processes

SCENARIO = """
import os, time
from chaoskit import faults, scenario

def work(path):
    # What nothing but us would end: it waits forever, in a session that no other process is in.
    if os.fork() == 0:
        os.setsid()
        while True:
            time.sleep(60)
    # A child and a grandchild, so that there is something to be left.
    for depth in range(2):
        pid = os.fork()
        if pid:
            break
    for number in range(6):
        (path / f"{os.getpid()}-{number}").write_text("x")
        time.sleep(0.01)
    if pid:
        os.waitpid(pid, 0)
    else:
        os._exit(0)

@scenario(faults.kill() | faults.disk())
def test_killed(chaos):
    chaos.run(work, chaos.path)
"""
_PATIENCE = 20.0
"""Seconds in which all must have ended; a guard needs milliseconds."""


def started(place: Path, *options: str) -> subprocess.Popen[bytes]:
    """A pytest with two workers, whose processes carry the name of ``place`` in their environment."""
    place.mkdir(exist_ok=True)
    (place / "test_killed.py").write_text(SCENARIO)
    (place / "cases").mkdir(exist_ok=True)
    words = [sys.executable, "-P", "-m", "pytest", "-p", "chaoskit.plugin", "-q", "-p", "no:cacheprovider"]
    words += ["--chaoskit-workers", "2", "-o", f"chaoskit_tmp={place / 'cases'}", "test_killed.py", *options]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    return subprocess.Popen(
        words,
        cwd=place,
        env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "KILLED_IN": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def belonging(place: Path) -> list[int]:
    """Every process of it that is running."""
    mark = f"KILLED_IN={place}\0".encode()
    return [
        pid
        for pid in processes.all_processes()
        if mark in processes.read(f"/proc/{pid}/environ") and not _is_dead(pid)
    ]


def _is_dead(pid: int) -> bool:
    return b"\nState:\tZ" in processes.read(f"/proc/{pid}/status")


def round_of_kills(place: Path, seed: int) -> None:
    """Start, wait for a random time, and kill a random choice of its processes in a random order."""
    chance = random.Random(seed)
    running = started(place)
    try:
        deadline = time.monotonic() + chance.uniform(0.3, 4.0)
        while time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.01)
        chosen = belonging(place)
        chance.shuffle(chosen)
        # Pytest among them, or the round would go on to its end.
        several = {running.pid, *chosen[: chance.randrange(len(chosen) + 1)]}
        for pid in sorted(several, key=lambda one: chance.random()):
            _kill(pid)
            time.sleep(chance.choice((0.0, 0.0, 0.005, 0.05)))
    finally:
        _kill(running.pid)
        running.wait()


def kill_all_but_workloads(place: Path) -> int:
    """Start, wait for workloads, and kill all else at once, guards first; how many processes are left."""
    running = started(place)
    try:
        deadline = time.monotonic() + 60.0
        while len(_workloads(place)) < 4 and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.01)
        others = set(belonging(place)) - set(_workloads(place))
        guards = {pid for pid in others if _name_of(pid) == "chaoskit-guard"}
        # Stopped before any is killed, or a guard would see another one's end.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in [*guards, *(others - guards)]:
                _kill(pid, number)
    finally:
        _kill(running.pid)
        running.wait()
    return len(_workloads(place))


def _workloads(place: Path) -> list[int]:
    return [pid for pid in belonging(place) if b"\nSeccomp:\t2" in processes.read(f"/proc/{pid}/status")]


def _name_of(pid: int) -> str:
    return processes.read(f"/proc/{pid}/comm").decode().strip()


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def left(place: Path) -> list[str]:
    """What is still there when all had time to end: processes by their names, and directories."""
    deadline = time.monotonic() + _PATIENCE
    while (alive := belonging(place)) and time.monotonic() < deadline:
        time.sleep(0.02)
    names = [_name_of(pid) for pid in alive]
    for pid in alive:
        _kill(pid)
    return [*names, *os.listdir(place / "cases")]
