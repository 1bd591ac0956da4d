"""How long to wait after the n-th failure: pure arithmetic, without a clock or chance.

A backoff gives a band ``(low, high)`` of seconds for each failure; :func:`draw` picks a wait from it. For any
number of failures, both bounds are finite, not negative, and at most ``cap``.

Jitter (source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015) is a pair of
factors on the computed wait. If the band reaches beyond the cap, its end is moved there. Clipping the drawn
wait instead would send a share of all clients back at the very same moment.

This module has what every policy needs, including the default exponential backoff; the others are in
:mod:`chaoskit.runtime.retrying.backoffs`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Protocol

from chaoskit.core.errors import wrong
from chaoskit.runtime.numbers import is_number

__all__ = [
    "EQUAL",
    "FULL",
    "LONGEST_WAIT",
    "NONE",
    "SYSTEM",
    "Backoff",
    "Chance",
    "Exponential",
    "Jitter",
    "band",
    "check_jitter",
    "check_range",
    "check_seconds",
    "draw",
]

# Every way of sleeping accepts this: Windows' waits end at 4,294,967 s (2**32 ms).
LONGEST_WAIT = 4_000_000.0


class Chance(Protocol):
    """A source of numbers from 0 (inclusive) to 1 (exclusive), such as ``random.Random``."""

    def random(self) -> float: ...


class _System:
    """Chance from the operating system: there is no state to share, to seed, or to inherit across a fork."""

    __slots__ = ()

    def random(self) -> float:
        # 53 bits, as many as a float between 0 and 1 can hold.
        return (int.from_bytes(os.urandom(7), "big") >> 3) * 2.0**-53

    def __repr__(self) -> str:
        return "SYSTEM"

    def __reduce__(self) -> str:
        return "SYSTEM"


SYSTEM = _System()


@dataclass(frozen=True, slots=True)
class Jitter:
    """Multiplies a wait by a factor from ``low`` to ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (is_number(self.low) and is_number(self.high) and 0 <= self.low <= self.high < math.inf):
            raise wrong("jitter", (self.low, self.high), "two factors, 0 <= low <= high")

    def around(self, wait: float, cap: float) -> tuple[float, float]:
        """The band around ``wait``, limited by ``cap``."""
        # Limit both ends: clipping the drawn wait would pile up a share of all waits at the cap.
        return min(wait * self.low, cap), min(wait * self.high, cap)


NONE = Jitter(1.0, 1.0)
FULL = Jitter(0.0, 1.0)
EQUAL = Jitter(0.5, 1.0)


def band(share: float) -> Jitter:
    """Jitter of plus and minus ``share`` (0 to 1, otherwise ``UsageError``): ``band(0.2)`` is ±20 %."""
    if not (is_number(share) and 0 <= share <= 1):
        raise wrong("share", share, "0 to 1, as in band(0.2) for plus and minus 20 %")
    return Jitter(1 - share, 1 + share)


class Backoff(Protocol):
    """What a policy needs from a backoff. Any object with these two members will do."""

    @property
    def cap(self) -> float:
        """The longest wait, in seconds."""

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        """The shortest and longest wait after ``failures`` (from 1); ``previous`` is the wait before."""


def draw(bounds: tuple[float, float], chance: Chance) -> float:
    """Draw a wait from ``bounds``, ends included."""
    low, high = bounds
    # Rounding can take low + (high - low) * x above high, by the last bit.
    return low if low == high else min(high, low + (high - low) * chance.random())


@dataclass(frozen=True, slots=True)
class Exponential:
    """``initial``, then ``factor`` times as long each time, up to ``cap``."""

    initial: float
    cap: float
    factor: float = 2.0
    jitter: Jitter = EQUAL

    def __post_init__(self) -> None:
        check_range(self.initial, self.cap)
        check_jitter(self.jitter)
        if not (is_number(self.factor) and 1 <= self.factor < math.inf):
            raise wrong("factor", self.factor, "1 or more: waits never shrink")

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        return self.jitter.around(self._wait(failures), self.cap)

    def _wait(self, failures: int) -> float:
        try:
            return min(self.initial * float(self.factor) ** (failures - 1), self.cap)
        except OverflowError:
            # Zero stays zero, however often it is doubled.
            return self.cap if self.initial else 0.0


def check_seconds(what: str, seconds: float) -> None:
    """Raise ``UsageError`` if ``seconds`` is not a number from 0 to :data:`LONGEST_WAIT`."""
    fine = isinstance(seconds, int | float) and is_number(seconds)
    if not (fine and 0 <= seconds <= LONGEST_WAIT):
        raise wrong(what, seconds, f"0 to {LONGEST_WAIT:.0f} seconds (46 days)")


def check_jitter(jitter: object) -> None:
    """Raise ``UsageError`` if ``jitter`` is not a :class:`Jitter`."""
    if not isinstance(jitter, Jitter):
        raise wrong("jitter", jitter, "a Jitter: NONE, EQUAL, FULL, band(0.2), or Jitter(0.5, 1.0)")


def check_range(initial: float, cap: float) -> None:
    """Raise ``UsageError`` unless both are valid waits and ``initial`` is not longer than ``cap``."""
    check_seconds("cap", cap)
    check_seconds("initial", initial)
    if not 0 <= initial <= cap:
        raise wrong("initial", initial, f"0 to the cap, {cap!r} seconds")
