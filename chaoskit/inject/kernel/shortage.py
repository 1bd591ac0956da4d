"""Shortage of memory: a limit on one process, or the end of the largest process."""

from __future__ import annotations

import resource
from collections.abc import Iterable

from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Process

_MEBIBYTE = 1024 * 1024
_RESERVED = 16 * 64 * _MEBIBYTE
"""Address space that is only reserved, for 16 arenas: glibc takes 64 MiB for each (malloc/arena.c,
``HEAP_MAX_SIZE``), and makes as many as threads need."""
_ADDRESS_SPACE, _RESIDENT = 0, 1
"""Fields of /proc/PID/statm, in pages (proc_pid_statm(5))."""


def limit(pid: int, mebibytes: int) -> str:
    """Let process ``pid`` have this many MiB more than now; returns what was done.

    This sets two limits of setrlimit(2), so that malloc(3) fails with ENOMEM and Python raises MemoryError.
    The limit on data is exact. A limit on address space alone would not suffice: glibc takes from what it has
    reserved for the arenas of threads. It is :data:`_RESERVED` higher, since once it is reached the kernel
    ignores the limit on data (mm/mprotect.c, ``mprotect_fixup``: reserved memory is refused only while it
    would fit again).

    Raises:
        CannotExecute: if the process is gone, or its limit may not be set.
    """
    size = _pages(pid, _ADDRESS_SPACE) * resource.getpagesize()
    data = int(tree.status(pid).get("VmData", b"0 kB").split()[0]) * 1024
    more = mebibytes * _MEBIBYTE
    for what, now in ((resource.RLIMIT_AS, size + _RESERVED), (resource.RLIMIT_DATA, data)):
        try:
            _, hard = resource.prlimit(pid, what)
            most = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
            # Only the soft limit: setting it needs no privilege, and the program may raise it again.
            resource.prlimit(pid, what, (most, hard))
        except (OSError, ValueError) as error:
            raise CannotExecute(f"the limit of process {pid} could not be set: {error}") from None
    return f"memory of process {pid} limited to {mebibytes} MiB more than it had"


def largest(processes: Iterable[Process]) -> Process:
    """The process with the most memory, which the kernel would choose (mm/oom_kill.c, ``oom_badness``).

    Raises:
        CannotExecute: if none is left.
    """
    alive = [one for one in processes if not one.ended()]
    if not alive:
        raise CannotExecute("no process of the workload is left")
    return max(alive, key=lambda one: _pages(one.pid, _RESIDENT))


def _pages(pid: int, field: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[field])
    except (OSError, ValueError, IndexError) as error:
        raise CannotExecute(f"the memory of process {pid} is not known: {error}") from None
