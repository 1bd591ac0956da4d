"""A limit on retries that many callers share, so that retries never become the load.

In the ``window`` seconds before any retry there are at most ``floor + ratio × requests`` retries (that one
included), where requests are first attempts. The idea is that of Finagle's RetryBudget; it differs in
that nothing is carried over: requests of an hour ago buy no retries today.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable

from chaoskit.core.errors import wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.forks import survive_fork

__all__ = ["RetryBudget"]

# Finer ones would cost memory and passes; a twentieth is as exact as a budget needs to be.
_SLOTS = 20


class _Slot:
    __slots__ = ("number", "requests", "retries")

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.retries = 0


class RetryBudget:
    """Allows ``floor + ratio × requests`` retries a window, and never more than ``cap``.

    Share one object between the policies that call the same service; threads and tasks may use it at
    once. The window advances in steps of a twentieth, and rounds against the retry: what may be too
    old does not buy, what may be young enough still counts. Raises ``UsageError`` for limits that cannot be.
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
        if not 0 <= floor <= cap:
            raise wrong("floor", floor, f"0 to the cap, {cap!r} retries a window")
        if not 0 <= ratio < math.inf:
            raise wrong("ratio", ratio, "0 or more retries for each request")
        if not 0 < window < math.inf:
            raise wrong("window", window, "more than 0 seconds")
        self.floor, self.ratio, self.window, self.cap = floor, ratio, window, cap
        self._clock = clock or SystemClock()
        self._width = window / _SLOTS
        self._lock = threading.RLock()
        self._restart()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<RetryBudget {self.floor} and {self.ratio:g} of the requests in {self.window:g} s>"

    def _restart(self) -> None:
        # Counting a request must not cost a lock: itertools.count is atomic, and the lock only orders
        # those who read it. A reading counts one too many, which _collect takes off again.
        self.tick: Callable[[], int] = itertools.count().__next__
        self._counted = 0
        self._slots: deque[_Slot] = deque([_Slot(self._number(self._clock.monotonic()))])
        self.edge = (self._slots[-1].number + 1) * self._width

    def _after_fork(self) -> None:
        """The child keeps the balance: nothing here belongs to a thread."""

    def __reduce__(self) -> tuple[object, ...]:
        # What was spent belongs to this process; the limits travel.
        return (_rebuilt, (self.floor, self.ratio, self.window, self.cap, self._clock))

    def request(self, now: float) -> None:
        """Count a first attempt at ``now`` on the monotonic clock."""
        # The same two lines stand in the fast path of the shells, where a call would cost too much.
        if now >= self.edge:
            self.roll(now)
        self.tick()

    def roll(self, now: float) -> None:
        """Start the slot that ``now`` falls into, and drop those that are too old to count."""
        with self._lock:
            self._collect()
            # Threads read the clock before they take the lock, so a time may come late.
            number = max(self._number(now), self._slots[-1].number)
            if number > self._slots[-1].number:
                self._slots.append(_Slot(number))
            self.edge = (number + 1) * self._width
            while self._slots[0].number < number - _SLOTS:
                self._slots.popleft()

    def take(self, now: float) -> int | None:
        """Charge one retry and return its receipt for :meth:`give_back`, or None if there is none left."""
        with self._lock:
            if self._left(now) < 1:
                return None
            self._slots[-1].retries += 1
            return self._slots[-1].number

    def give_back(self, receipt: int) -> None:
        """Undo a charge: the retry was decided and never began."""
        with self._lock:
            for slot in self._slots:
                if slot.number == receipt and slot.retries:
                    slot.retries -= 1

    def balance(self) -> int:
        """How many retries are left at this moment; from 0 to ``cap``."""
        with self._lock:
            return max(0, int(self._left(self._clock.monotonic())))

    def _left(self, now: float) -> float:
        self.roll(now)
        # A whole slot is left out as soon as its beginning is too old: against the retry.
        oldest = now - self.window
        requests = sum(s.requests for s in self._slots if s.number * self._width >= oldest)
        retries = sum(s.retries for s in self._slots)
        return math.floor(min(self.cap, self.floor + self.ratio * requests)) - retries

    def _collect(self) -> None:
        """Book the requests since the last time to the newest slot."""
        count = self.tick()
        self._slots[-1].requests += count - self._counted
        self._counted = count + 1

    def _number(self, now: float) -> int:
        return math.floor(now / self._width)


def _rebuilt(floor: int, ratio: float, window: float, cap: int, clock: Clock) -> RetryBudget:
    return RetryBudget(floor=floor, ratio=ratio, window=window, cap=cap, clock=clock)
