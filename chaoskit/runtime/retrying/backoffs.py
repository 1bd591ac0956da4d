"""The backoffs other than the exponential one, loaded only by programs that name them."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime.retrying.backoff import (
    LONGEST_WAIT,
    NONE,
    Jitter,
    check_jitter,
    check_range,
    check_seconds,
)

__all__ = ["Constant", "Decorrelated", "Linear"]


@dataclass(frozen=True, slots=True)
class Constant:
    """Always ``seconds``."""

    seconds: float
    jitter: Jitter = NONE

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds)
        check_jitter(self.jitter)

    @property
    def cap(self) -> float:
        return min(self.seconds * self.jitter.high, LONGEST_WAIT)

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        return self.jitter.around(self.seconds, self.cap)


@dataclass(frozen=True, slots=True)
class Linear:
    """``initial``, then ``step`` longer each time, up to ``cap``."""

    initial: float
    step: float
    cap: float
    jitter: Jitter = NONE

    def __post_init__(self) -> None:
        check_range(self.initial, self.cap)
        check_seconds("step", self.step)
        check_jitter(self.jitter)

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        try:
            wait = self.initial + self.step * (failures - 1)
        except OverflowError:  # a number of failures beyond what a float holds
            # Without a step the wait never grew.
            wait = self.cap if self.step else self.initial
        return self.jitter.around(min(wait, self.cap), self.cap)


@dataclass(frozen=True, slots=True)
class Decorrelated:
    """From ``initial`` to three times the last wait, up to ``cap``: spreads clients that fail together."""

    initial: float
    cap: float

    def __post_init__(self) -> None:
        check_range(self.initial, self.cap)
        if not 0 < self.initial < self.cap:
            raise wrong("initial", self.initial, f"more than 0 and less than the cap, {self.cap!r}")

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        return self.initial, min(self.cap, max(self.initial, previous) * 3)
