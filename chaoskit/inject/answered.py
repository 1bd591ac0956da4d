"""The processes that a run answers for, in memory that outlives the process that lists them.

The guard reads the list when the process that it watches has died. In a file below the directory of the run,
the list also outlives the guard, so that the next run can end what nothing else has ended.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
import sys
import time
from collections.abc import Iterator

_MOST = 4096
"""Processes that can be listed at once. If there are more, the guard does not end the rest by their ids."""
_ENTRY = struct.Struct("=qd")
_PREFIX = ".chaoskit-answered-"
_FILTERED = b"\nSeccomp:\t2"
"""The line of ``/proc/PID/status`` for a process with a seccomp filter (proc(5))."""
_WORLD = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"


class AnsweredFor:
    """Process ids, each with the time (CLOCK_BOOTTIME, in seconds) at which it was listed.

    The time distinguishes a process from a later one with the same id, which began after it. With
    ``directory``, the list is in a file there, if possible.
    """

    def __init__(self, directory: str = "") -> None:
        self._path = ""
        self._memory = self._in_file(directory) if directory else mmap.mmap(-1, _MOST * _ENTRY.size)
        self._places: dict[int, int] = {}
        self._free = list(range(_MOST - 1, -1, -1))

    def _in_file(self, directory: str) -> mmap.mmap:
        path = os.path.join(directory, f"{_PREFIX}{os.getpid()}-{_world()}")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # Allocated now: if the disk is full, writing to a page without room would later be a SIGBUS.
                os.posix_fallocate(fd, 0, _MOST * _ENTRY.size)
                memory = mmap.mmap(fd, _MOST * _ENTRY.size)
            finally:
                os.close(fd)
        except OSError:
            return mmap.mmap(-1, _MOST * _ENTRY.size)
        self._path = path
        return memory

    def add(self, pid: int) -> None:
        """List ``pid``, unless the list is full."""
        if pid not in self._places and self._free:
            place = self._places[pid] = self._free.pop()
            _ENTRY.pack_into(self._memory, place * _ENTRY.size, pid, _now())

    def discard(self, pid: int) -> None:
        """Remove ``pid`` from the list, if it is there."""
        place = self._places.pop(pid, None)
        if place is not None:
            _ENTRY.pack_into(self._memory, place * _ENTRY.size, 0, 0.0)
            self._free.append(place)

    def pids(self) -> frozenset[int]:
        """The listed ids; a fork sees what its parent lists."""
        return frozenset(pid for pid, _ in _ENTRY.iter_unpack(self._memory) if pid)

    def remove(self) -> None:
        """Remove the file, if there is one: the next run has nothing to end."""
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def release(self) -> None:
        """Unmap the list."""
        self._memory.close()


def survivors(directory: str) -> list[int]:
    """The listed processes of a dead run that still run, and are the same processes.

    A list from before the last boot, or from another PID namespace, has none.
    """
    world = _world()
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(f"-{world}"):
                found += [pid for pid, listed in _entries(entry.path) if _is_workload(pid, listed)]
    return found


def ourselves() -> str:
    """A line that identifies this process for :func:`is_gone`."""
    return f"{os.getpid()} {_now()} {_world()}"


def is_gone(line: str) -> bool:
    """True if the process that wrote the line has ended for certain."""
    words = line.split()
    try:
        return len(words) == 3 and words[2] == _world() and _began(int(words[0])) > float(words[1])
    except ValueError:
        return False


def _entries(path: str) -> Iterator[tuple[int, float]]:
    """The entries of a list of this user; empty for anything else with its name."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        facts = os.fstat(fd)
        ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()
        data = os.read(fd, _MOST * _ENTRY.size) if ours else b""
    finally:
        os.close(fd)
    for pid, listed in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
        if pid > 0:
            yield pid, listed


def _is_workload(pid: int, listed: float) -> bool:
    """True if the process listed then still runs; only workloads have a seccomp filter."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            status = file.read()
    except OSError:
        return False
    return _FILTERED in status and b"\nState:\tZ" not in status and _began(pid) <= listed


def _began(pid: int) -> float:
    """When a process began, as CLOCK_BOOTTIME; infinity if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may contain anything; the 20th field after it is starttime (proc(5)).
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return float("inf")
    return ticks / os.sysconf("SC_CLK_TCK")


def _now() -> float:
    # Elsewhere no process is listed.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _world() -> str:
    """What process ids are relative to: this boot of this machine, and this PID namespace."""
    said = ""
    with contextlib.suppress(OSError):
        with open(_WORLD[0]) as file:
            said = file.read().strip().replace("-", "")
        said += f"-{os.stat(_WORLD[1]).st_ino}"
    return said
