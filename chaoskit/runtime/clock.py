"""Time as an argument: a protocol, the system's clock, and a virtual one that moves only when told to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.loops import trio
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.numbers import is_number


@runtime_checkable
class Clock(Protocol):
    """A source of time and of waits. All times are floats, in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back, and ignores steps of the wall clock."""

    def time(self) -> float:
        """Seconds since the epoch; for time stamps that people read, never for measuring a wait."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait ``seconds``, or until ``wake`` is set; return True if woken early.

        Zero or less returns at once, without a system call.
        """

    async def asleep(self, seconds: float) -> None:
        """Wait ``seconds`` in the running event loop; cancellation takes effect at once."""


class SystemClock:
    """The clock of the machine. It has no state, so all instances are alike."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def __repr__(self) -> str:
        return "SystemClock()"

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        # The longest wait that the system can count is 292 years on Linux, which is practically forever.
        seconds = min(seconds, threading.TIMEOUT_MAX)
        if wake is not None:
            # Event.wait returns at once if the event is set, and its result says if the event ended the wait.
            return wake.wait(seconds) if seconds > 0 else wake.is_set()
        if seconds > 0:
            time.sleep(seconds)
        return False

    async def asleep(self, seconds: float) -> None:
        if seconds > 0:
            if (other := trio()) is not None:
                await other.sleep(min(seconds, threading.TIMEOUT_MAX))
                return
            import asyncio  # 35 ms that a program without an event loop does not pay

            await asyncio.sleep(min(seconds, threading.TIMEOUT_MAX))


class VirtualClock(Lasting):
    """A clock for tests: a wait takes no time and moves the clock by exactly that much.

    ``sleeps`` lists every wait in order. ``wall`` starts at ``epoch`` and moves with the monotonic clock;
    :meth:`step` makes the two differ. Threads may share an instance.
    """

    def __init__(self, start: float = 0.0, epoch: float = 1_700_000_000.0) -> None:
        for what, value in (("start", start), ("epoch", epoch)):
            if not (is_number(value) and math.isfinite(value)):
                raise wrong(what, value, "a finite number of seconds")
        self._lock = threading.Lock()
        self._now = start
        self._offset = epoch - start
        self._alarms: list[tuple[float, Callable[[], None]]] = []
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks.

        Raises ValueError for a negative number.
        """
        # Written so that NaN is refused: all comparisons with it are false.
        if not seconds >= 0:
            raise ValueError(
                f"seconds is {seconds!r}; expected zero or more: a monotonic clock never goes back"
            )
        with self._lock:
            self._now += seconds
        self._ring()

    def alarm(self, at: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call ``ring`` once the clock has reached ``at``: in the thread that moves it there, or now.

        Returns a function that cancels the call; calling that again does nothing.
        """
        one = (at, ring)
        with self._lock:
            self._alarms.append(one)
        self._ring()

        def forget() -> None:
            with self._lock:
                # By identity: two alarms may be equal.
                self._alarms = [other for other in self._alarms if other is not one]

        return forget

    def _ring(self) -> None:
        with self._lock:
            due = [one for one in self._alarms if one[0] <= self._now]
            self._alarms = [one for one in self._alarms if one[0] > self._now]
        # Outside the lock: ``ring`` may read the clock.
        for _, ring in sorted(due, key=lambda one: one[0]):
            ring()

    def step(self, seconds: float) -> None:
        """Move only the wall clock, either way, as an administrator or NTP would."""
        with self._lock:
            self._offset += seconds

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        if wake is not None and wake.is_set():
            return True
        if seconds > 0:
            with self._lock:
                self._now += seconds
                self.sleeps.append(seconds)
            self._ring()
        return wake is not None and wake.is_set()

    async def asleep(self, seconds: float) -> None:
        import asyncio

        self.sleep(seconds)
        # One turn of the loop, so that tasks interleave as in real time, and cancellation is noticed.
        await asyncio.sleep(0)


def utc(seconds: float, digits: int = 3) -> str:
    """``seconds`` since the epoch in ISO 8601, cut off after ``digits`` digits of the second.

    In UTC, so that stamps of several machines can be ordered, and sort as text.
    """
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 10**digits):0{digits}d}Z"
