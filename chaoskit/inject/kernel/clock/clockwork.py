"""The calls of virtual time in one run, and what to do about each."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from chaoskit.inject.base import Plan, VirtualTime
from chaoskit.inject.kernel import lookups
from chaoskit.inject.kernel.border import Domain
from chaoskit.inject.kernel.clock import futexes, ticks, vdso, waits
from chaoskit.inject.kernel.clock.census import Census
from chaoskit.inject.kernel.clock.dial import SECOND, Dial
from chaoskit.inject.kernel.clock.filetimes import FileTimes
from chaoskit.inject.kernel.clock.keeper import Keeper
from chaoskit.inject.kernel.clock.pages import Pages
from chaoskit.inject.kernel.clock.table import OTHERS, READS, WAITS, WALL, TimeSpec
from chaoskit.inject.kernel.clock.timers import Timers
from chaoskit.inject.kernel.clock.waits import Refused
from chaoskit.inject.kernel.ending import Ending
from chaoskit.inject.kernel.listener import Notification, Stopped
from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import WATCHED
from chaoskit.inject.kernel.workload import paths, tree
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Task, Tree

SPECS: tuple[TimeSpec, ...] = (*WAITS, *READS, *OTHERS)
"""Every call that stops because time is virtual."""
_TIME = struct.Struct("=qq")


LOOKS = "stat"
"""The family of calls that read the times of a file."""
_LOOKS = {spec.number(abi.machine()): spec for spec in lookups.SPECS if spec.family == LOOKS}
_FORKS = {WATCHED[name].number(abi.machine()) for name in ("clone", "clone3", "fork", "vfork")}


def of(plan: Plan, workload: Tree, poller: Poller, log: Log, ending: Ending) -> Clockwork | None:
    """The clockwork of one run, which checks between the events of ``poller``; None for real time."""
    if plan.time is None:
        return None
    made = Clockwork(workload, poller, log, plan.root, ending.orphans, plan.time)
    made.keeper.stuck = partial(ending.give_up, stuck=True)
    made.census.known_outside = bool(plan.peers)
    poller.watcher = made.keeper
    return made


def ask(made: Clockwork | None, poller: Poller, domains: Iterable[Domain[Any]]) -> None:
    """Make a clockwork ask the other domains before it skips time."""
    if made is not None:
        # What the poller puts off, such as an answer of a peer, is put off in real time.
        made.keeper.outstanding = lambda: (
            poller.holding or made.census.is_owed({inode for one in domains for inode in one.outstanding})
        )
        made.census.relayed = lambda: {a: b for one in domains for a, b in one.relayed.items()}


@cache
def _by_number() -> dict[int, list[TimeSpec]]:
    """The rows of each call's number on this machine."""
    found: dict[int, list[TimeSpec]] = {}
    for spec in SPECS:
        number = spec.number(abi.machine())
        if number is not None:
            found.setdefault(number, []).append(spec)
    return found


class Later(Stopped):
    """A stopped call that is handled here rather than in the kernel: ``act`` answers it, now or later."""

    __slots__ = ("_act",)

    def __init__(self, stopped: Stopped, act: Callable[[Stopped], object]) -> None:
        super().__init__(stopped.listener, stopped.ident)
        self._act = act

    def go_on(self) -> bool:
        """Let it take its ordinary course."""
        self._act(Stopped(self.listener, self.ident))
        return True


class Clockwork:
    """Virtual time for the processes of one run; see :class:`chaoskit.inject.kernel.clock.keeper.Keeper`.

    ``orphans`` are processes of the workload that were reparented to us.
    """

    def __init__(
        self,
        workload: Tree,
        poller: Poller,
        log: Log,
        root: str,
        orphans: Callable[[], Iterable[int]],
        time: VirtualTime,
    ) -> None:
        counter = ticks.counter()
        patch = vdso.patch(not isinstance(counter, str))
        assert patch is not None
        self._tree = workload
        self._log = log
        self.dial = Dial(None if isinstance(counter, str) else counter, time.ahead)
        self._pages = Pages(patch, self.dial, workload, log)
        self._files = FileTimes(root, self.dial, log)
        self.census = Census(workload, orphans)
        self.keeper = Keeper(self.dial, workload, poller, self.census)
        self.keeper.moved = self._pages.publish
        self.keeper.before = self._files.settle
        keeper, pids = self.keeper, self._pids
        self._timers = Timers(self.dial, keeper.start, keeper.stop, keeper.left, pids)
        self.keeper.gone_off = self._timers.gone_off
        self.operations = time.operations
        """True if sleeps and reads of the wall clock are operations."""
        self.late = 0
        """Nanoseconds by which the next wait must be longer."""
        self._begun = self._repeating = False
        self._last: int | None = None
        self._calls = _by_number()

    @property
    def _early(self) -> bool:
        """True if the workload must read our clocks from the beginning.

        Normally that can wait: until time is skipped our clocks show the real time, and when it is skipped
        everything sleeps, so the code can be replaced then. If a fault may set a clock at any moment, that
        would be too late.
        """
        return self.operations or self.dial.moved

    def over(self) -> None:
        """The workload's own process has ended: do not skip time for what is left of it."""
        self.keeper.over = True

    def count(self, reads: bool) -> None:
        """Make reads of the wall clock stop from now on, or no longer."""
        if self.dial.counting is not reads:
            self.dial.counting = reads
            self.changed()

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` in this many seconds of the workload's time."""
        self.keeper.later(seconds, action, tid)

    def take(self, call: Notification, stopped: Stopped) -> Stopped | None:
        """Handle a call of virtual time; None if that is all.

        Otherwise it may be an operation: the returned stop must be answered in its place, and letting it go
        on makes it wait, or read the workload's clock.

        Raises:
            Unreadable: if the caller's memory cannot be read.
        """
        if not self._begun:
            # The first stopped call precedes the workload's function.
            self._begun = True
            if self._early:
                self._pages.prepare(self._tree.main)
        rows = self._calls.get(call.number)
        if rows is None:
            self.census.company |= call.number in _FORKS
            if self.dial.moved and call.number in _LOOKS:
                self._look(_LOOKS[call.number], call)
            return stopped
        task = self._tree.task(call.tid)
        if task is None:
            stopped.go_on()
            return None
        args = call.args
        # Of two rows for a futex, the first is for waiters.
        spec = rows[0] if len(rows) == 1 or args[1] & 0x7F in (0, 9) else rows[1]
        if spec.family == "sleep":
            return Later(stopped, lambda stopped: self._wait(spec, task, args, stopped))
        if spec.family == "clock":
            return Later(stopped, lambda stopped: self._read(spec, task, args, stopped))
        try:
            answer = self._other(spec, task, args)
        except Refused:
            answer = None
        if answer is None:
            stopped.go_on()
        else:
            stopped.answer(answer)
        return None

    def _wait(self, spec: TimeSpec, task: Task, args: tuple[int, ...], stopped: Stopped) -> None:
        try:
            wait = waits.begin(spec, task, args, stopped, self.dial)
        except Refused:
            stopped.go_on()
            return
        except waits.Changed:
            stopped.answer(-errno.EAGAIN)
            return
        except Unreadable as why:
            self._in_real_time(task, f"waits in real time: {why}")
            stopped.go_on()
            return
        if spec.kind == "futex":
            wait.futex = futexes.key(task.process, args[0], args[1])
        late, self.late = self.late, 0
        wait.length += late
        self.keeper.hold(wait)

    def _read(self, spec: TimeSpec, task: Task, args: tuple[int, ...], stopped: Stopped) -> None:
        memory = task.process.memory
        if spec.name == "clock_gettime":
            if not self.dial.shows(args[0]):
                stopped.go_on()
                return
            shown = self._shown(args[0])
            done = memory.write(args[1], _TIME.pack(*divmod(shown, SECOND)))
            stopped.answer(0 if done else -errno.EFAULT)
            return
        seconds, rest = divmod(self._shown(0), SECOND)
        if spec.name == "gettimeofday":
            done = not args[0] or memory.write(args[0], _TIME.pack(seconds, rest // 1000))
            # The kernel's time zone, which is for the machine's hardware clock: none.
            done = (not args[1] or memory.write(args[1], bytes(8))) and done
            stopped.answer(0 if done else -errno.EFAULT)
            return
        done = not args[0] or memory.write(args[0], seconds.to_bytes(8, "little"))
        stopped.answer(seconds if done else -errno.EFAULT)

    def _shown(self, clock: int) -> int:
        """What this read shows."""
        if clock not in WALL:
            return self.dial.now(clock)
        repeating, self._repeating = self._repeating, False
        if not repeating or self._last is None:
            self._last = self.dial.now(clock)
        return self._last

    def _other(self, spec: TimeSpec, task: Task, args: tuple[int, ...]) -> int | None:
        match spec.kind:
            case "wake":
                return self.keeper.wake(task.process, args)
            case "timer" | "left":
                return self._timed(spec, task, args)
            case "start" if self._early:
                self._pages.prepare(task.process)
            case "set":
                # An ordinary user gets the same answer, and no test may set the clock of its machine.
                asks = spec.name in ("adjtimex", "clock_adjtime")
                # A struct timex begins with the flags of what to change.
                asks = asks and not any(task.process.memory.read(args[spec.time], 4))
                return None if asks else -errno.EPERM
            case "option":
                self.census.timed_sockets = True
                name = tree.comm(task.tid)
                text = f"{name} set a time-out on a socket, which runs in real time"
                self._log.caveat("socket-options", name, text)
        return None

    def _look(self, spec: lookups.LookupSpec, call: Notification) -> None:
        """Correct the times of the file that a call asks about, and of no other file."""
        task = self._tree.task(call.tid)
        raw = None if task is None or spec.path is None else task.process.memory.string(call.args[spec.path])
        if not raw:
            self._files.follow()
            return
        base = abi.AT_FDCWD if spec.base is None else abi.signed(call.args[spec.base])
        path = paths.as_seen(call.tid, None if base == abi.AT_FDCWD else base, os.fsdecode(raw))
        for follow in (False, True):
            self._files.look(paths.resolve(path, follow))

    def _timed(self, spec: TimeSpec, task: Task, args: tuple[int, ...]) -> int | None:
        try:
            return (self._timers.set if spec.kind == "timer" else self._timers.shown)(spec, task, args)
        except Unreadable as why:
            self._in_real_time(task, str(why))
            return None

    def _in_real_time(self, task: Task, what: str) -> None:
        name = tree.comm(task.tid)
        self._log.caveat("waits-for-real", name, f"{name}: {what}")

    def changed(self) -> None:
        """The clocks were set: tell all processes."""
        if self._begun:
            self._pages.publish(self._pids())

    def _pids(self) -> set[int]:
        return {pid for pid, _ in self.census.threads()}

    # What faults do.

    def step(self, duration: int) -> None:
        """Set the wall clock ahead, or back."""
        self._files.follow()
        self.dial.step(duration)
        self.keeper.wall_stepped(duration)
        self.changed()

    def suspend(self, duration: int) -> None:
        """Suspend the machine: only some of its clocks continue."""
        self._files.follow()
        self.dial.suspend(duration)
        self.keeper.wall_stepped(duration)
        self.changed()

    def freeze(self) -> None:
        """Stop the wall clock until the run is over."""
        self.dial.freeze()
        self.changed()

    def drift(self, rate: int) -> None:
        """Make the wall clock fast by ``rate`` parts per million from here on, or slow."""
        self.dial.drift(rate)

    def repeat(self) -> bool:
        """Let the next read of the wall clock show the same as the last one; False if there was none."""
        self._repeating = self._last is not None
        return self._repeating

    def close(self) -> None:
        """Let everything go; the run is over."""
        if self.keeper.flowed:
            text = (
                "something computed for a long time while others waited: their waits passed as fast as it "
                "computed"
            )
            self._log.caveat("time-flowed", "", text)
        self.keeper.close()
        self._timers.close()
        self._files.give_back()
