"""Memory that the kernel refuses, or takes back from the process that has the most."""

from __future__ import annotations

import resource
from collections.abc import Iterable

from chaoskit.inject.kernel.border import CannotExecute
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Process

_MEBIBYTE = 1024 * 1024
_RESERVED = 16 * 64 * _MEBIBYTE
"""Address space for what is reserved and not used: glibc takes 64 MiB of it for an arena (malloc/arena.c,
``HEAP_MAX_SIZE``), and has as many arenas as threads need."""
_ADDRESS_SPACE, _RESIDENT = 0, 1
"""Fields of /proc/PID/statm, in pages (proc_pid_statm(5))."""


def limit(pid: int, mebibytes: int) -> str:
    """Let process ``pid`` have this many MiB more than now; returns what was done.

    Two limits of setrlimit(2) are set, so malloc(3) fails with ENOMEM and Python raises MemoryError. The one
    on data is exact. One on address space alone would not do: glibc has reserved some for the arenas of
    threads, and takes from that. It leaves :data:`_RESERVED` more, since once it is reached the kernel
    forgets about the limit on data (mm/mprotect.c, ``mprotect_fixup``: what was reserved is refused only
    while it would fit again).

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
            # The soft limit alone: it needs no privilege to set, and the program may lift it again.
            resource.prlimit(pid, what, (most, hard))
        except (OSError, ValueError) as error:
            raise CannotExecute(f"the limit of process {pid} could not be set: {error}") from None
    return f"memory of process {pid} limited to {mebibytes} MiB more than it had"


def largest(processes: Iterable[Process]) -> Process:
    """The process with the most memory: the kernel would choose it (mm/oom_kill.c, ``oom_badness``).

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
