"""Adaptive throttling by the client: when a service rejects most calls, stop sending most calls.

A call is refused with the probability ``max(0, (requests - k × accepts) / (requests + 1))``, counted over the
window (source: Google, "Site Reliability Engineering", chapter 21, "Client-Side Throttling").
"""

from __future__ import annotations

import math
import threading
from collections import deque

from chaoskit.core.errors import wrong
from chaoskit.runtime.forks import survive_fork
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.retrying.backoff import Chance

__all__ = ["AdaptiveThrottle"]

# As in RetryBudget: a twentieth of the window is exact enough.
_SLOTS = 20


class AdaptiveThrottle:
    """Counts what a service accepts and rejects; share one between the policies that call the same service.

    With ``k`` at 2 a client sends about twice as many calls as are accepted, so that it notices when the
    service recovers. It refuses nothing until the window has ``minimum`` attempts: one failure is not a
    trend. A call counts as rejected if the policy would retry it, and as accepted otherwise.
    """

    def __init__(self, *, k: float = 2.0, window: float = 120.0, minimum: int = 10) -> None:
        if not (is_number(k) and 1 <= k < math.inf):
            raise wrong("k", k, "1 or more", "Below 1, calls would be refused while all of them succeed.")
        if not (is_number(window) and 0 < window < math.inf):
            raise wrong("window", window, "more than 0 seconds")
        self.k, self.window, self.minimum = k, window, whole("minimum", minimum, 1)
        self._lock = threading.RLock()
        # [slot number, requests, rejections], the newest last
        self._slots: deque[list[int]] = deque()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<AdaptiveThrottle k={self.k:g} from {self.minimum} attempts in {self.window:g} s>"

    def _after_fork(self) -> None:
        """The child keeps what is known about the service."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuilt, (self.k, self.window, self.minimum))

    def admits(self, now: float, chance: Chance) -> bool:
        """Count an attempt at ``now``, and return True if it should be made."""
        refusal = self.refusal(now)
        # A random number is drawn only if it decides, so that a healthy service costs none.
        admitted = refusal <= 0 or chance.random() >= refusal
        with self._lock:
            slot = self._slot(now)
            slot[1] += 1
            # In the formula, requests include those that are refused here, so a refusal counts as a
            # rejection.
            slot[2] += not admitted
        return admitted

    def rejected(self, now: float) -> None:
        """Count that the service rejected an attempt."""
        with self._lock:
            self._slot(now)[2] += 1

    def refusal(self, now: float) -> float:
        """The probability that the next attempt is refused, from 0 to below 1."""
        with self._lock:
            self._slot(now)
            requests = sum(slot[1] for slot in self._slots)
            rejections = sum(slot[2] for slot in self._slots)
        if requests < self.minimum:
            return 0.0
        accepts = max(0, requests - rejections)
        return max(0.0, (requests - self.k * accepts) / (requests + 1))

    def _slot(self, now: float) -> list[int]:
        number = math.floor(now / self.window * _SLOTS)
        if not self._slots or number > self._slots[-1][0]:
            self._slots.append([number, 0, 0])
        while self._slots[0][0] <= self._slots[-1][0] - _SLOTS:
            self._slots.popleft()
        return self._slots[-1]


def _rebuilt(k: float, window: float, minimum: int) -> AdaptiveThrottle:
    return AdaptiveThrottle(k=k, window=window, minimum=minimum)
