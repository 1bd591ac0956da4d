"""The sleeping threads of a workload, and what could wake them, from ``/proc/PID/task/TID``.

Time may only be skipped when nothing runs, and a run only hangs if nothing outside can wake it. So anything
uncertain counts as running, or as outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock import reach
from chaoskit.inject.kernel.workload.tree import Tree

_SWITCHES = re.compile(rb"ctxt_switches:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A thread that waits in the kernel: for what, and how many context switches it has had."""

    pid: int
    tid: int
    number: int
    args: tuple[int, ...]
    switches: tuple[bytes, ...]


class Census:
    """The threads of one workload. ``orphans`` are its processes that were reparented to us."""

    def __init__(self, tree: Tree, orphans: Callable[[], Iterable[int]]) -> None:
        self._tree = tree
        self._orphans = orphans
        self.company = False
        """True once a process or thread was started, so that there may be more than one."""
        self.relayed: Callable[[], dict[int, int | None]] = dict
        """Returns relaying sockets of ours; see the border's ``Domain.relayed``."""
        self.timed_sockets = False
        """True once a socket was given a time-out, which runs in real time."""
        self.known_outside = False
        """True if the workload has peers, or has waited for something outside that may also contact it."""
        self._judged: tuple[object, bool] = ((), False)
        self._inner: set[int] = set()
        """Sockets of ours whose other ends belong to the workload."""

    def threads(self) -> list[tuple[int, int]]:
        """The process and thread id of every thread."""
        if not self.company:
            return [(self._tree.pid, self._tree.pid)]
        found: dict[tuple[int, int], None] = {}
        waiting = [self._tree.pid, *self._orphans()]
        while waiting:
            pid = waiting.pop()
            for tid in processes.threads(pid):
                if (pid, tid) not in found:
                    found[pid, tid] = None
                    waiting += map(int, processes.read(f"/proc/{pid}/task/{tid}/children").split())
        return list(found)

    def worked(self, threads: Iterable[tuple[int, int]]) -> int:
        """Nanoseconds of processor time of these threads; smaller once some have ended."""
        used = 0
        for pid, tid in threads:
            fields = processes.read(f"/proc/{pid}/task/{tid}/schedstat").split()
            used += int(fields[0]) if fields else 0
        return used

    def asleep(self, threads: Iterable[tuple[int, int]]) -> tuple[Sleeper, ...] | None:
        """Where the threads sleep, if all do; None if one runs. Ended threads are left out."""
        found = []
        for pid, tid in threads:
            sleeper = _look(pid, tid)
            if sleeper is None:
                return None
            if sleeper is not _GONE:
                found.append(sleeper)
        return tuple(found)

    def may_be_woken(
        self, sleepers: tuple[Sleeper, ...], descriptors: Collection[int], patient: bool
    ) -> bool:
        """True if something outside the workload could end one of these waits.

        ``descriptors`` are our duplicates of those that held threads wait for. With ``patient``, data in
        transit on a socket counts as well: it arrives in a moment, unless its reader does not read.
        """
        links = tuple(reach.link("self", fd) for fd in descriptors)
        relayed = self.relayed()
        key = (sleepers, links, tuple(relayed.items()))
        # Cached, since a waiting run asks repeatedly, and the answer takes a look at all sockets of the
        # machine.
        if self._judged[0] != key:
            known = self._reach(descriptors, relayed)
            outside = any(known.outside("self", fd) for fd in descriptors)
            self._judged = (key, outside or any(known.wakes(s.pid, s.number, s.args) for s in sleepers))
            self.known_outside = known.known_outside
        return self._judged[1] or (patient and bool(relayed) and self._reach((), relayed).undelivered)

    def is_owed(self, sockets: set[int]) -> bool:
        """True if the other end of one of these sockets of ours is outside the workload."""
        unknown = sockets - self._inner
        if unknown:
            self._inner |= self._reach((), {}).leading_inside(unknown)
        return not unknown <= self._inner

    def silent(self, descriptors: Collection[int]) -> bool:
        """True if all of these lead to peers that a fault has silenced."""
        known = self._reach(descriptors, self.relayed())
        return all(known.silent("self", fd) for fd in descriptors)

    def _reach(self, descriptors: Collection[int], relayed: dict[int, int | None]) -> reach.Reach:
        """What the processes that exist now share with nothing else."""
        pids = {pid for pid, _ in self.threads()}
        return reach.Reach(self._tree.pid, pids, descriptors, relayed, self.timed_sockets, self.known_outside)


_GONE = Sleeper(0, 0, -1, (), ())


def _look(pid: int, tid: int) -> Sleeper | None:
    """Where one thread sleeps; None if it runs or may be about to run. ``_GONE`` if it has ended."""
    base = f"/proc/{pid}/task/{tid}/"
    state = processes.read(base + "stat").rpartition(b")")[2].split()[:1]
    if not state or state[0] in (b"Z", b"X"):
        return _GONE
    # In a vfork the parent is in state D until the child executes a program, which is running.
    if state[0] not in (b"S", b"T", b"t"):
        return None
    # Its call waits for the supervisor to receive it.
    if b"seccomp" in processes.read(base + "wchan"):
        return None
    call = processes.read(base + "syscall").split()
    if not call or call[0] == b"running":
        return None
    switches = tuple(_SWITCHES.findall(processes.read(base + "status")))
    number = int(call[0])
    args = tuple(int(word, 16) for word in call[1:7])
    return Sleeper(pid, tid, number, args, switches)
