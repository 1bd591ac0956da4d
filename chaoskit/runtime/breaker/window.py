"""Sliding windows: how many of the last calls failed or were slow, in memory that the settings bound.

The two kinds, and their trade-off, are those of Resilience4j's ``FixedSizeSlidingWindowMetrics`` and
``SlidingTimeWindowMetrics``: a ring of single outcomes, or a ring of partial sums. Both keep running totals,
so that a rate does not need a pass over the ring.
"""

from __future__ import annotations

import math
from typing import Protocol

BUCKETS = 10
"""The number of partial sums of a time window: calls leave it within a tenth of its length."""

FAILED = 1
SLOW = 2
"""Bits of an outcome; a good, quick call is 0, a slow failure has both bits."""


class Window(Protocol):
    """Totals over the calls in the window. ``slow`` and ``failures`` may count the same call."""

    calls: int
    failures: int
    slow: int

    def add(self, outcome: int, now: float) -> None:
        """Count one outcome at ``now`` (monotonic seconds), and drop those that have left the window."""

    def clear(self) -> None:
        """Forget everything."""


class CountWindow:
    """The last ``size`` calls, one byte each."""

    __slots__ = ("_at", "_ring", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self.clear()

    def clear(self) -> None:
        self._ring[:] = bytes(len(self._ring))
        self._at = self.calls = self.failures = self.slow = 0

    def add(self, outcome: int, now: float) -> None:
        ring, at = self._ring, self._at
        # An unused slot holds 0, which takes nothing off the totals.
        gone = ring[at]
        # Most outcomes are good and replace good ones: then there is nothing to write.
        if outcome != gone:
            ring[at] = outcome
            self.failures += (outcome & FAILED) - (gone & FAILED)
            self.slow += (outcome >> 1) - (gone >> 1)
        at += 1
        if self.calls < at:
            self.calls = at
        self._at = 0 if at == len(ring) else at


class TimeWindow:
    """The calls of the last ``seconds``, as ten partial sums.

    A call leaves between nine tenths of ``seconds`` and ``seconds`` after it was counted. A ``now`` earlier
    than a previous one (threads read the clock, then wait for the lock) counts as that one.
    """

    __slots__ = ("_bucket", "_sums", "_tick", "_until", "_width", "calls", "failures", "slow")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self.clear()

    def clear(self) -> None:
        self._sums = [[0, 0, 0] for _ in range(BUCKETS)]
        self._bucket = self._sums[0]
        self._tick = -math.inf
        self._until = -math.inf
        self.calls = self.failures = self.slow = 0

    def add(self, outcome: int, now: float) -> None:
        # A single comparison for most calls: the bucket is computed only when it changes.
        if now >= self._until:
            self._advance(now // self._width)
        bucket = self._bucket
        bucket[0] += 1
        self.calls += 1
        if outcome:
            bucket[1] += outcome & FAILED
            bucket[2] += outcome >> 1
            self.failures += outcome & FAILED
            self.slow += outcome >> 1

    def _advance(self, tick: float) -> None:
        """Count under ``tick`` from now on; the buckets since the last one start from zero."""
        # Floor division of floats stays a float, so no clock reading is too large for it. But with large
        # floats a step back by one may change nothing, hence the first branch.
        passed = tick - self._tick
        stale = range(BUCKETS) if passed >= BUCKETS else range(int(tick - passed) + 1, int(tick) + 1)
        for number in stale:
            self._drop(self._sums[number % BUCKETS])
        self._tick = tick
        self._until = (tick + 1) * self._width
        self._bucket = self._sums[int(tick) % BUCKETS]

    def _drop(self, bucket: list[int]) -> None:
        self.calls -= bucket[0]
        self.failures -= bucket[1]
        self.slow -= bucket[2]
        bucket[:] = (0, 0, 0)
