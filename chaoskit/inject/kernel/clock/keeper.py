"""Keeps the time of one run: holds those that wait, and skips time when nothing else is left to happen."""

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
"""Nanoseconds of a processor that may be used before waits begin to run out in real time, too: else a program
would spin for ever that waits for another thread's time-out without sleeping."""
_QUIET = 0.001
"""Seconds between two looks at threads that sleep in the kernel: both must find the same."""
_BUSY, _SHORT, _ALONE = 0.01, 0.004, 0.1
"""Seconds until the next look while something runs: with waits held, with short ones, and without any."""
_SPELL = 2 * _BUSY
"""Seconds that one look may charge for what happens outside. A look that comes later was late because the
machine is busy, and then the server that is waited for had as little of it."""
_ON_ITS_WAY = 0.25
"""Seconds for which something may be on its way over loopback: longer than the kernel delays an
acknowledgement. Then its reader does not read, and nothing comes of it."""
_STUCK = 0.05
"""Seconds for which nothing must have moved before a run counts as hung."""


@dataclass(slots=True, eq=False)
class PutOff:
    """Something that is to be done at a time, and the thread that waits for it."""

    action: Callable[[], object]
    length: int
    tid: int
    due: int = 0
    order: int = 0


Entry = Wait | Timer | PutOff


class Keeper:
    """The waits, timers and put-off answers of one run, by when they are due.

    Their scale is not a clock's: it stands still while something runs for a moment. So what is due first
    does not depend on how long the machine took to get there, and ties go by the order of arrival.
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
        # With nothing held there is nothing to let go, and a hang is known soon enough.
        self._look_at, self._pause = time.monotonic() + _BUSY, _BUSY
        self._polling = polling.Polling()
        self._seen: tuple[Sleeper, ...] | None = None
        self._seen_since = 0.0
        self._worked: int | None = None
        self._charged = 0
        self._flowed = 0.0
        self.flowed = False
        """Waits have run out in real time while something ran: their order need not be the same again."""
        self.over = False
        """The workload has ended, and what is left of it gets no time for nothing."""
        self.moved: Callable[[set[int]], object] = bool
        """Called with all processes when the clocks were put forward."""
        self.before: Callable[[], object] = bool
        """Called before they are."""
        self.outstanding: Callable[[], bool] = bool
        """Asked whether something outside still owes the workload an event."""
        self.stuck: Callable[[], object] = bool
        """Called once nothing can happen any more."""

    # What waits.

    def hold(self, wait: Wait) -> None:
        """Hold a call until its time has come, or what it waits for; it may be there already."""
        if wait.descriptors and wait.ready(wait.length):
            wait.release()
            return
        for fd, events in wait.descriptors.items():
            self._poller.expect(fd, events, partial(self._ready, wait))
        self._add(wait)

    def start(self, timer: Timer) -> None:
        """Have a timer go off after its length."""
        self._add(timer)

    def stop(self, timer: Timer) -> None:
        """Keep a timer from going off."""
        self._entries.pop(timer, None)

    def left(self, entry: Entry) -> int:
        """Nanoseconds that something still has."""
        return entry.due - self._now

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Do something after this many seconds of the workload's time; thread ``tid`` waits for it."""
        self._add(PutOff(action, int(seconds * SECOND), tid))

    def wall_stepped(self, duration: int) -> None:
        """The wall clock was put forward: what waits for a time of it has less to wait."""
        for entry in self._entries:
            if not isinstance(entry, PutOff) and entry.wall:
                entry.due -= duration

    def _add(self, entry: Entry) -> None:
        entry.due, entry.order = self._now + entry.length, next(self._order)
        if isinstance(entry, Wait):
            entry.began = time.monotonic()
        self._entries[entry] = None
        self._seen = None
        # At once, behind the events that are there by now: with one thread nothing else could happen.
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
        """What a call waits for has happened, if no other has taken it."""
        if wait in self._entries and wait.ready(self.left(wait)):
            self._drop(wait)

    def wake(self, process: Process, args: tuple[int, ...]) -> int | None:
        """Wake those held at a futex; return what the call answers, None if the kernel has some, too."""
        woken, whole = futexes.wake(self._waits(), process, args)
        for wait in woken:
            self._drop(wait)
        answered = [wait.stopped.answer(0) for wait in woken]
        if not all(answered):
            # One was killed while it was held: the wake-up is for others that wait.
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
    """Called with a timer that has come."""

    # Looking.

    def until(self) -> float:
        """When it has to be looked again, by the monotonic clock."""
        return self._look_at

    def look(self, happened: bool) -> None:
        """See what can be let go; ``happened`` says that something was seen to since the last time."""
        now = time.monotonic()
        fresh = not self._look_at
        # What has happened may be the first of several things: time stands still until all are seen to.
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
            # What was seen to may have made something ready that has not been seen to.
            self._seen, self._look_at = None, now + _QUIET
        else:
            self._sleeping(sleepers, now, certain=not rest)

    def _ended_early(self) -> bool:
        """True if a signal, or a futex that changed without a wake-up, has ended a wait."""
        fields: dict[int, dict[str, bytes]] = {}
        for wait in self._waits():
            if wait.word_changed:
                self._drop(wait)
                # Not the kernel's to say: it may be as it was when that looks.
                wait.stopped.answer(-errno.EAGAIN)
                return True
            # Threads of one process have pending signals in common: the first that takes them gets them.
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
        # Others end the process by themselves, or stop it, which a held call does not keep them from.
        if not pending & caught & ~blocked:
            return False
        left = self.left(wait)
        self._drop(wait)
        if wait.blocked is None:
            wait.interrupt(left)
        else:
            # The handler runs while the call's own mask is in force, and only the kernel can do that.
            wait.stopped.go_on()
        return True

    def _forget_gone(self, threads: list[tuple[int, int]]) -> bool:
        alive = {tid for _, tid in threads}
        gone = [wait for wait in self._waits() if wait.task.tid not in alive]
        for wait in gone:
            self._drop(wait)
        pids = {pid for pid, _ in threads}
        for timer in [one for one in self._entries if isinstance(one, Timer)]:
            if timer.process.pid not in pids:
                self._drop(timer)
        return bool(gone)

    # Something runs.

    def _running(self, now: float, threads: list[tuple[int, int]]) -> None:
        """Waits run out as fast as something computes once it has for long; short ones do in real time.

        Measured by what processors have done: on a busy machine a thread may wait for long to get one.
        """
        self._seen = None
        worked = self._census.worked(threads)
        if self._worked is None:
            self._worked = worked
        # With what its calls have cost us: a program that asks again and again waits for us half of the time.
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
        # Less and less often: most runs that compute do so for a while.
        self._pause = min(self._pause * 1.5, _SHORT if short else _BUSY if self._entries else _ALONE)
        self._look_at = now + self._pause

    def _flow(self, now: float, since: float, most: float) -> None:
        """Let the time since then pass, but no more than ``most`` seconds."""
        self._now += max(0, int(min(now - max(since, self._flowed), most) * SECOND))
        self._flowed = now
        while (entry := self._due()) is not None and entry.due <= self._now:
            self.flowed |= not (isinstance(entry, Wait) and entry.short)
            self._expire(entry)

    # Everything sleeps.

    def _sleeping(self, sleepers: tuple[Sleeper, ...], now: float, certain: bool) -> None:
        """Skip time once nothing has moved between two looks, and nothing outside can wake anything.

        One look is enough if it is ``certain`` that all threads are held.
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
            # The world outside lives in real time.
            self._flow(now, self._seen_since, _SPELL)
            self._look_at = now + _BUSY
        elif (entry := self._due()) is not None and self._dial.reaches(entry.due - self._now):
            self._skip(entry)
        elif now - self._seen_since >= _STUCK:
            self.stuck()
            self._look_at = now + _ALONE

    def _skip(self, entry: Entry) -> None:
        """Go to the time at which the first is due, and let it go. One at a time: it may wake others."""
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
        """Have a loop of waits for a silent peer wait longer each time; True if it has no end."""
        asked = self._polling.how_long(wait, self._now)
        if not asked or not self._census.silent(wait.descriptors):
            return False
        others = [entry.due for entry in self._entries if entry is not wait]
        if asked >= polling.FOR_EVER and not others:
            self.stuck()
            self._look_at = time.monotonic() + _ALONE
            return True
        # Late, as on a busy machine; never later than what another thread waits for.
        wait.due = min([wait.due + asked, *(due for due in others if due >= wait.due)])
        return False

    def close(self) -> None:
        """Let everything go; the run is over."""
        for entry in list(self._entries):
            self._drop(entry)
