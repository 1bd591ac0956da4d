"""How a run ends: given up as hung, killed by a fault, or complete, with the processes that it leaves."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from chaoskit.inject import processes
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Tree

GRACE = 0.25
"""Seconds that other processes may outlive the workload's own; then they count as left over."""
_LOOK = 0.01
"""Seconds between two checks whether they have ended: nothing reports the end of a process never met."""
_STUCK = "nothing was left that could have ended these waits:\n"


class Ending:
    """Ends the processes of one workload, and records why."""

    def __init__(self, workload: Tree, poller: Poller) -> None:
        self._tree = workload
        self._poller = poller
        self._before: set[int] = set()
        self._pidfds: dict[int, int] = {}
        self.dying = False
        """SIGKILL was sent to all: calls that still arrive get no answer and have no effect."""
        self.timed_out = self.stuck = False
        self.stacks = ""
        self.left_over: list[str] = []

    def begin(self, before_fork: set[int]) -> None:
        """Remember which children the test process already had: they are not the workload's."""
        self._before = before_fork

    def watch_arrivals(self) -> None:
        """Watch for the end of every process met since the last call."""
        while self._tree.arrivals:
            process = self._tree.arrivals.pop()
            self._pidfds[process.pidfd] = process.pid
            self._poller.watch(process.pidfd, partial(self._ended, process.pidfd))

    def _ended(self, pidfd: int, _: int = 0) -> None:
        # Unregistered before it is closed, which forgetting the process does.
        self._poller.forget(pidfd)
        self._tree.forget(self._pidfds.pop(pidfd))

    def give_up(self, stuck: bool = False) -> None:
        """The run is out of time or stuck: note what each thread waits for, then kill everything."""
        if self.dying:
            return
        self.timed_out, self.stuck = True, stuck
        # Include processes that made no call which stopped: their stacks may explain the hang.
        for pid in (*self.orphans(), self._tree.pid):
            self._tree.meet(pid)
        # Asked before the threads are stopped: afterwards it only shows the stop.
        waiting = self._tree.waiting()
        for process in list(self._tree.processes.values()):
            process.kill(signal.SIGSTOP)
        self.stacks = (_STUCK if stuck else "") + self._tree.stacks(waiting)
        self.kill_all()

    def kill_all(self) -> int:
        """Send SIGKILL to every process of the workload; return how many of the known ones were alive."""
        self.dying = True
        # Stop them first: none must fork, or react to the death of another, while they are killed.
        alive = [pid for pid, one in list(self._tree.processes.items()) if one.kill(signal.SIGSTOP)]
        # Kill their descendants too: a process that was never met may keep the others waiting.
        processes.kill_tree(*alive, *self.orphans())
        return len(alive)

    def orphans(self) -> list[int]:
        """Processes of the workload that became our children; their own descendants are not listed."""
        return [pid for pid in tree.offspring(self._before, self._tree.pid) if pid != self._tree.pid]

    def wind_up(self) -> None:
        """When the workload's own process has ended: wait for the others, then kill and name the rest."""
        if not self._tree.processes and not self.orphans():
            return  # Every process left is our child by now, or descends from one that is.
        deadline = time.monotonic() + (0.0 if self.dying else GRACE)
        while self._others() and time.monotonic() < deadline:
            self._turn(min(deadline, time.monotonic() + _LOOK))
        if not self.dying and self._others():
            for pid in self.orphans():
                self._tree.meet(pid)
            self._turn(time.monotonic())  # This drops those that have ended.
        if not self.dying:
            # What a killed run leaves behind is not the program's doing.
            self.left_over = [_name(pid) for pid in self._others()]
        self._reap_all()

    def _turn(self, deadline: float) -> None:
        self.watch_arrivals()
        self._poller.turn(deadline)

    def _others(self) -> list[int]:
        """The processes of the tree that still run; others are collected."""
        return [pid for pid in {*self.orphans(), *self._tree.processes} if not _collect(pid)]

    def _reap_all(self) -> None:
        """Kill and collect all remaining processes, known or not."""
        self.kill_all()
        tree.end_all(self._before, self._tree.pid)
        for pid, process in list(self._tree.processes.items()):
            if process.pidfd in self._pidfds:
                self._ended(process.pidfd)
            else:
                self._tree.forget(pid)


def _collect(pid: int) -> bool:
    """True if a process is gone; collects it if it was our child and has ended."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        # Not our child: its own parent collects it.
        return not os.path.exists(f"/proc/{pid}")
    return done == pid


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = "?"
    return f"process {pid}: {command[:200]}"
