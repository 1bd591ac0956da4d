"""Turns at the lock between processes: what has waited long is not overtaken, and what is suspended is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaoskit.runtime import StoreBusy
from chaoskit.runtime.durable.store import lock as module
from chaoskit.runtime.durable.store.lock import LockFile

pytestmark = pytest.mark.skipif(module._FLOCK is None, reason="the system does not say who holds a lock")

OTHER = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for word, byte in map(str.split, sys.stdin):
    said = "done"
    if word == "holder":
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, int(byte), 1, 0)
        kind, _, _, _, said = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        said = None if kind == fcntl.F_UNLCK else said
    else:
        fcntl.lockf(fd, fcntl.LOCK_EX if word == "take" else fcntl.LOCK_UN, 1, int(byte))
    print(said, flush=True)
"""


class Other:
    """Another process, which takes and frees bytes of the lock file when it is told."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-S", "-c", OTHER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, word: str, byte: int) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word} {byte}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@dataclass
class Told:
    """A clock that only sleeps, and says each time that it has."""

    slept: Callable[[float], None] = lambda now: None
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept(self.now)


class Barging(LockFile):
    """Looks at byte 0 alone."""

    def _head(self) -> int | None:
        return None


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[LockFile]:
    one = LockFile.open(tmp_path / "store.db.lock")
    yield one
    one.release()
    one.close()


@pytest.fixture
def other(lock: LockFile) -> Iterator[Other]:
    one = Other(lock.path)
    yield one
    one.process.kill()
    one.process.communicate()


def test_the_lock_is_left_to_a_process_that_has_waited_longer(lock: LockFile, other: Other) -> None:
    """The lock is free all the time, and is not taken before the head of the line has left."""
    other("take", 1)

    def leave(now: float) -> None:
        if now >= 0.1:
            other("free", 1)

    clock = Told(leave)
    lock.acquire(10, clock)
    assert 0.1 <= clock.now < 0.11


def test_a_lock_without_a_line_is_taken_at_once(lock: LockFile, other: Other) -> None:
    """Planted: what looks at the lock alone overtakes the process that has waited longer."""
    other("take", 1)
    clock = Told()
    Barging(lock.path, lock.fd).acquire(10, clock)
    assert clock.now == 0


def test_a_suspended_head_of_the_line_is_passed_once_and_for_all(lock: LockFile, other: Other) -> None:
    """A process stopped at the head of the line holds the others up once, for a quarter of a second."""
    other("take", 1)
    first, second, third = Told(), Told(), Told()
    lock.acquire(10, first)
    lock.release()
    assert 0.25 <= first.now < 0.26
    lock.acquire(10, second)
    lock.release()
    assert second.now == 0
    other("free", 1)
    lock.acquire(10, second)
    lock.release()
    other("take", 1)
    lock.acquire(10, third)
    assert 0.25 <= third.now < 0.26


def test_a_process_that_has_waited_comes_to_the_head(lock: LockFile, other: Other) -> None:
    """After 50 ms a process stands at the head of the line, and it leaves that place when it has the lock."""
    seen = []

    def look(now: float) -> None:
        seen.append((now, other("holder", 1)))
        if now > 0.06:
            other("free", 0)

    other("take", 0)
    lock.acquire(10, Told(look))
    assert {holder for now, holder in seen if now < 0.05} == {"None"}
    assert seen[-1][1] == str(os.getpid())
    assert other("holder", 0) == str(os.getpid())
    assert other("holder", 1) == "None"


def test_a_wait_that_is_given_up_leaves_the_line(lock: LockFile, other: Other) -> None:
    """A wait that ends with an error or with Ctrl-C frees its place at the head."""

    def interrupt(now: float) -> None:
        if now > 0.06:
            raise KeyboardInterrupt

    other("take", 0)
    with pytest.raises(KeyboardInterrupt):
        lock.acquire(10, Told(interrupt))
    assert other("holder", 1) == "None"
    with pytest.raises(StoreBusy, match=f"held by process {other.process.pid} for 0.1 s"):
        lock.acquire(0.1, Told())
    assert other("holder", 1) == "None"
