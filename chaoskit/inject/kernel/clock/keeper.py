"""Keeps the time of one run: holds waiting calls, and skips time when nothing else can happen."""

from __future__ import annotations

import errno
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chaoskit.inject.kernel.clock import futexes, polling
from chaoskit.inject.kernel.clock.census import Census, Sleeper
from chaoskit.inject.kernel.clock.dial import SECOND, Dial
from chaoskit.inject.kernel.clock.timers import Timer
from chaoskit.inject.kernel.clock.waits import Wait
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Process, Tree

_PATIENCE = SECOND // 20
"""Nanoseconds of processor time after which waits begin to pass in real time too. Otherwise a program that
spins until another thread's time-out would spin forever."""
_QUIET = 0.001
"""Seconds between two looks at threads that sleep in the kernel; both must find the same."""
_BUSY, _SHORT, _ALONE = 0.01, 0.004, 0.1
"""Seconds until the next look while something runs: with waits held, with short waits, without waits."""
_SPELL = 2 * _BUSY
"""The most seconds that one look lets pass while the workload waits for the outside. A later look means a
busy machine, which has delayed the server outside as well."""
_ON_ITS_WAY = 0.25
"""The most seconds that data takes over loopback, longer than the kernel delays an acknowledgement. If it
takes longer, its reader does not read, and it can wake nothing."""
_STUCK = 0.05
"""Seconds without any progress after which a run counts as hung."""


@dataclass(slots=True, eq=False)
class PutOff:
    """A deferred action: when it is due, and the thread that waits for it."""

    action: Callable[[], object]
    length: int
    tid: int
    due: int = 0
    order: int = 0


Entry = Wait | Timer | PutOff


class Keeper:
    """The waits, timers and deferred answers of one run, by the time at which they are due.

    That time is not a clock's: it stands still while something runs briefly. So the order does not depend on
    the speed of the machine, and ties are broken by the order of arrival.
    """

    def __init__(self, dial: Dial, workload: Tree, poller: Poller, census: Census) -> None:
        self._dial = dial
        self._tree = workload
        self._poller = poller
        self._census = census
        self._now = 0
        self._order = itertools.count()
        self._entries: dict[Entry, None] = {}
        self._looked = 0.0
        # With nothing held there is nothing to release, and a hang can be found later.
        self._look_at, self._pause = time.monotonic() + _BUSY, _BUSY
        self._polling = polling.Polling()
        self._seen: tuple[Sleeper, ...] | None = None
        self._seen_since = 0.0
        self._worked: int | None = None
        self._charged = 0
        self._flowed = 0.0
        self.flowed = False
        """True if waits have ended in real time while something ran: another run may have another order."""
        self.over = False
        """True if the workload has ended: for its remaining processes no time is skipped."""
        self.moved: Callable[[set[int]], object] = bool
        """Called with all processes after the clocks were advanced."""
        self.before: Callable[[], object] = bool
        """Called before they are advanced."""
        self.outstanding: Callable[[], bool] = bool
        """Returns True if something outside still owes the workload an event."""
        self.stuck: Callable[[], object] = bool
        """Called when nothing can happen any more."""

    # What waits.

    def hold(self, wait: Wait) -> None:
        """Hold a call until it is due or its event occurs, which may be at once."""
        if wait.descriptors and wait.ready(wait.length):
            wait.release()
            return
        for fd, events in wait.descriptors.items():
            self._poller.expect(fd, events, partial(self._ready, wait))
        self._add(wait)

    def start(self, timer: Timer) -> None:
        """Start a timer, which goes off after its length."""
        self._add(timer)

    def stop(self, timer: Timer) -> None:
        """Stop a timer."""
        self._entries.pop(timer, None)

    def left(self, entry: Entry) -> int:
        """The nanoseconds until an entry is due."""
        return entry.due - self._now

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` after this many seconds of the workload's time; thread ``tid`` waits for it."""
        self._add(PutOff(action, int(seconds * SECOND), tid))

    def wall_stepped(self, duration: int) -> None:
        """The wall clock was set ahead: waits for a wall-clock time are shorter now."""
        for entry in self._entries:
            if not isinstance(entry, PutOff) and entry.wall:
                entry.due -= duration

    def _add(self, entry: Entry) -> None:
        entry.due, entry.order = self._now + entry.length, next(self._order)
        if isinstance(entry, Wait):
            entry.began = time.monotonic()
        self._entries[entry] = None
        self._seen = None
        # Look at once, after the events already there: with one thread nothing else can happen.
        self._look_at = 0.0

    def _drop(self, entry: Entry) -> None:
        self._entries.pop(entry, None)
        if isinstance(entry, Wait):
            for fd in entry.descriptors:
                self._poller.forget(fd)
            entry.release()

    def _waits(self) -> list[Wait]:
        return [entry for entry in self._entries if isinstance(entry, Wait)]

    # What ends it.

    def _ready(self, wait: Wait, _: int) -> None:
        """The event of a call has occurred, unless another thread was faster."""
        if wait in self._entries and wait.ready(self.left(wait)):
            self._drop(wait)

    def wake(self, process: Process, args: tuple[int, ...]) -> int | None:
        """Wake calls held at a futex; return the answer, None if the kernel may hold some as well."""
        woken, whole = futexes.wake(self._waits(), process, args)
        for wait in woken:
            self._drop(wait)
        answered = [wait.stopped.answer(0) for wait in woken]
        if not all(answered):
            # One was killed while held: its wake-up goes to others.
            return self.wake(process, args)
        return len(woken) if woken and whole else None

    def _due(self) -> Entry | None:
        return min(self._entries, key=lambda entry: (entry.due, entry.order), default=None)

    def _expire(self, entry: Entry) -> None:
        match entry:
            case Wait():
                self._drop(entry)
                entry.expire()
            case Timer():
                self._drop(entry)
                self.gone_off(entry)
            case PutOff():
                self._drop(entry)
                entry.action()

    gone_off: Callable[[Timer], object] = bool
    """Called with a timer that goes off."""

    # Looking.

    def until(self) -> float:
        """When to look again, by the monotonic clock."""
        return self._look_at

    def look(self, happened: bool) -> None:
        """Release what is due; ``happened`` is True if an event was handled since the last look."""
        now = time.monotonic()
        fresh = not self._look_at
        # More events may follow this one: time stands still until all are handled.
        if happened and now - self._looked < _BUSY:
            if not fresh:
                self._seen, self._pause = None, _QUIET if self._entries else _BUSY
                self._look_at = max(self._look_at, now + self._pause)
            return
        if now < self._look_at:
            return
        self._looked = now
        if self._ended_early():
            return
        threads = self._census.threads()
        if self._forget_gone(threads):
            return
        held = {entry.task.tid for entry in self._waits()}
        held |= {entry.tid for entry in self._entries if isinstance(entry, PutOff)}
        rest = [one for one in threads if one[1] not in held]
        sleepers = self._census.asleep(rest)
        if sleepers is None or self.over:
            self._running(now, threads)
        elif happened:
            # The handled event may have made another one ready.
            self._seen, self._look_at = None, now + _QUIET
        else:
            self._sleeping(sleepers, now, certain=not rest)

    def _ended_early(self) -> bool:
        """True if a wait was ended by a signal, or by a futex that changed without a wake-up."""
        fields: dict[int, dict[str, bytes]] = {}
        for wait in self._waits():
            if wait.word_changed:
                self._drop(wait)
                # Answer here: the futex may have its old value again when the kernel looks.
                wait.stopped.answer(-errno.EAGAIN)
                return True
            # Threads of a process share pending signals: the first one takes them.
            tid = wait.task.tid
            fields[tid] = status = fields.get(tid) or tree.status(tid)
            if self._met(wait, status):
                return True
        return False

    def _met(self, wait: Wait, status: dict[str, bytes]) -> bool:
        """True if a pending signal has ended the wait."""
        names = ("SigPnd", "ShdPnd", "SigBlk", "SigCgt")
        own, shared, masked, caught = (int(status.get(name, b"0"), 16) for name in names)
        pending = own | shared
        if not pending:
            return False
        if pending & wait.wanted:
            self._drop(wait)
            wait.stopped.go_on()
            return True
        blocked = masked if wait.blocked is None else wait.blocked
        # Other signals end or stop the process, which a held call does not prevent.
        if not pending & caught & ~blocked:
            return False
        left = self.left(wait)
        self._drop(wait)
        if wait.blocked is None:
            wait.interrupt(left)
        else:
            # The handler must run under the call's own mask, which only the kernel can do.
            wait.stopped.go_on()
        return True

    def _forget_gone(self, threads: list[tuple[int, int]]) -> bool:
        alive = {tid for _, tid in threads}
        gone = [wait for wait in self._waits() if wait.task.tid not in alive]
        for wait in gone:
            self._drop(wait)
        pids = {pid for pid, _ in threads}
        for timer in [one for one in self._entries if isinstance(one, Timer)]:
            if timer.process is not None and timer.process.pid not in pids:
                self._drop(timer)
        return bool(gone)

    # Something runs.

    def _running(self, now: float, threads: list[tuple[int, int]]) -> None:
        """After long computing, let waits pass at the pace of the computing; short waits pass in real time.

        The pace is in processor time: on a busy machine a thread may wait long for a processor.
        """
        self._seen = None
        worked = self._census.worked(threads)
        if self._worked is None:
            self._worked = worked
        # Include our own time: a program that polls waits for us half of the time.
        spent = worked + time.thread_time_ns()
        if self.over:
            self._flow(now, self._flowed, math.inf)
        elif worked - self._worked <= _PATIENCE:
            self._flowed = now
        else:
            self._flow(now, self._flowed, max(0, spent - self._charged) / SECOND)
        self._charged = spent
        short = False
        for wait in self._waits():
            if wait.short:
                short = True
                if (now - wait.began) * SECOND >= wait.length:
                    self._expire(wait)
        # Look less and less often: most computations take a while.
        self._pause = min(self._pause * 1.5, _SHORT if short else _BUSY if self._entries else _ALONE)
        self._look_at = now + self._pause

    def _flow(self, now: float, since: float, most: float) -> None:
        """Let the time since ``since`` pass, but at most ``most`` seconds."""
        self._now += max(0, int(min(now - max(since, self._flowed), most) * SECOND))
        self._flowed = now
        while (entry := self._due()) is not None and entry.due <= self._now:
            self.flowed |= not (isinstance(entry, Wait) and entry.short)
            self._expire(entry)

    # Everything sleeps.

    def _sleeping(self, sleepers: tuple[Sleeper, ...], now: float, certain: bool) -> None:
        """Skip time if nothing moved between two looks and nothing outside can wake a thread.

        One look suffices if it is ``certain`` that all threads are held.
        """
        self._pause = _QUIET
        self._look_at = now + _QUIET
        if sleepers != self._seen:
            self._seen, self._seen_since = sleepers, now
            if not certain:
                return
        descriptors = [fd for wait in self._waits() for fd in wait.descriptors]
        patient = now - self._seen_since < _ON_ITS_WAY
        if self.outstanding() or self._census.may_be_woken(sleepers, descriptors, patient):
            # The outside runs in real time.
            self._flow(now, self._seen_since, _SPELL)
            self._look_at = now + _BUSY
        elif (entry := self._due()) is not None and self._dial.reaches(entry.due - self._now):
            self._skip(entry)
        elif now - self._seen_since >= _STUCK:
            self.stuck()
            self._look_at = now + _ALONE

    def _skip(self, entry: Entry) -> None:
        """Advance the clocks until ``entry`` is due, and release it alone, since it may wake others."""
        if isinstance(entry, Wait) and entry.descriptors and self._polls_for_ever(entry):
            return
        duration = max(0, entry.due - self._now)
        if duration:
            self.before()
            self._now += duration
            self._dial.skip(duration)
            self.moved({pid for pid, _ in self._census.threads()})
        self._worked = self._seen = None
        self._flowed = time.monotonic()
        self._pause = _QUIET
        self._look_at = self._flowed + _QUIET
        self._expire(entry)

    def _polls_for_ever(self, wait: Wait) -> bool:
        """Let a loop of waits for a silent peer wait longer each time; True if the loop is endless."""
        asked = self._polling.how_long(wait, self._now)
        if not asked or not self._census.silent(wait.descriptors):
            return False
        others = [entry.due for entry in self._entries if entry is not wait]
        if asked >= polling.FOR_EVER and not others:
            self.stuck()
            self._look_at = time.monotonic() + _ALONE
            return True
        # Late, as on a busy machine, but not later than another wait is due.
        wait.due = min([wait.due + asked, *(due for due in others if due >= wait.due)])
        return False

    def close(self) -> None:
        """Let everything go; the run is over."""
        for entry in list(self._entries):
            self._drop(entry)
