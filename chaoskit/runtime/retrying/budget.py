"""A limit on retries that many callers share, so that retries never become the load.

In the ``window`` seconds before any retry there are at most ``floor + ratio × requests`` retries (including
that one), where requests are first attempts. The idea is that of Finagle's RetryBudget, but nothing is
carried over: the requests of an hour ago buy no retries now.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.forks import survive_fork
from chaoskit.runtime.numbers import is_number

__all__ = ["RetryBudget"]

# Finer slots would cost memory and time; a twentieth is as exact as a budget needs to be.
_SLOTS = 20


class _Slot:
    __slots__ = ("number", "requests", "retries")

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.retries = 0


class RetryBudget:
    """Allows ``floor + ratio × requests`` retries per window, and never more than ``cap``.

    Share one object between the policies that call the same service; threads and tasks may use it at once.
    The window advances in steps of a twentieth, and rounds against retries: requests that may be too old do
    not count, retries that may be young enough do. Raises ``UsageError`` for impossible limits.
    """

    def __init__(
        self,
        *,
        floor: int = 10,
        ratio: float = 0.1,
        window: float = 60.0,
        cap: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        if not (is_number(floor) and is_number(cap) and 0 <= floor <= cap):
            raise wrong("floor", floor, f"0 to the cap, {cap!r} retries a window")
        if not (is_number(ratio) and 0 <= ratio < math.inf):
            raise wrong("ratio", ratio, "0 or more retries for each request")
        if not (is_number(window) and 0 < window < math.inf):
            raise wrong("window", window, "more than 0 seconds")
        self.floor, self.ratio, self.window, self.cap = floor, float(ratio), float(window), cap
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._width = window / _SLOTS
        self._lock = threading.RLock()
        self._restart()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<RetryBudget {self.floor} and {self.ratio:g} of the requests in {self.window:g} s>"

    def _restart(self) -> None:
        # Counting a request must not take a lock: itertools.count is atomic, and only readers need the lock.
        # Reading adds one to the count, which _collect subtracts again.
        self.tick: Callable[[], int] = itertools.count().__next__
        self._counted = 0
        self._slots: deque[_Slot] = deque([_Slot(self._number(self._clock.monotonic()))])
        self.edge = (self._slots[-1].number + 1) * self._width

    def _after_fork(self) -> None:
        """The child keeps the balance: nothing here belongs to a thread."""

    def __reduce__(self) -> tuple[object, ...]:
        # What was spent belongs to this process; only the limits are pickled.
        return (_rebuilt, (self.floor, self.ratio, self.window, self.cap, self._clock))

    def request(self, now: float) -> None:
        """Count a first attempt at ``now``, in seconds of the monotonic clock."""
        # The shells' fast paths repeat these two lines, because a call would cost too much there.
        if now >= self.edge:
            self.roll(now)
        self.tick()

    def roll(self, now: float) -> None:
        """Start the slot of ``now``, and drop the slots that are too old to count."""
        with self._lock:
            self._collect()
            # Threads read the clock before they take the lock, so times may arrive out of order.
            number = max(self._number(now), self._slots[-1].number)
            if number > self._slots[-1].number:
                self._slots.append(_Slot(number))
            self.edge = (number + 1) * self._width
            while self._slots[0].number < number - _SLOTS:
                self._slots.popleft()

    def take(self, now: float) -> int | None:
        """Charge one retry and return a receipt for :meth:`give_back`, or None if no retry is left."""
        with self._lock:
            if self._left(now) < 1:
                return None
            self._slots[-1].retries += 1
            return self._slots[-1].number

    def give_back(self, receipt: int) -> None:
        """Undo a charge, for a retry that was decided on but never began."""
        with self._lock:
            for slot in self._slots:
                if slot.number == receipt and slot.retries:
                    slot.retries -= 1

    def balance(self) -> int:
        """The number of retries that are left now, from 0 to ``cap``."""
        with self._lock:
            return max(0, int(self._left(self._clock.monotonic())))

    def _left(self, now: float) -> float:
        self.roll(now)
        # A slot is left out as soon as its beginning is too old, which rounds against retries.
        oldest = now - self.window
        requests = sum(s.requests for s in self._slots if s.number * self._width >= oldest)
        retries = sum(s.retries for s in self._slots)
        return math.floor(min(self.cap, self.floor + self.ratio * requests)) - retries

    def _collect(self) -> None:
        """Add the requests since the last call to the newest slot."""
        count = self.tick()
        self._slots[-1].requests += count - self._counted
        self._counted = count + 1

    def _number(self, now: float) -> int:
        return math.floor(now / self._width)


def _rebuilt(floor: int, ratio: float, window: float, cap: int, clock: Clock) -> RetryBudget:
    return RetryBudget(floor=floor, ratio=ratio, window=window, cap=cap, clock=clock)
