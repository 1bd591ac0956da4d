"""A simple anomaly detector for a series of numbers, mainly for error rates.

It uses an exponentially weighted mean and variance (T. Finch, "Incremental calculation of weighted mean and
variance", Cambridge 2009, section 9) with Shewhart's control limits ("Economic Control of Quality of
Manufactured Product", 1931): a value further than ``threshold`` standard deviations from the mean is
anomalous. Seasons and trends are not modelled; a daily rhythm needs a detector for each part of the day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.config import option
from chaoskit.runtime.numbers import is_number

__all__ = ["AnomalyDetector", "AnomalyOptions", "Deviation"]


@dataclass(frozen=True, slots=True)
class AnomalyOptions:
    """``half_life`` and ``warm_up`` are numbers of values; ``threshold`` is in standard deviations.

    ``floor`` is the least deviation that is assumed: without it the first error after a long quiet time would
    be infinitely many deviations away. One percent suits error ratios.
    """

    half_life: float = option(default=30.0, above=0)
    threshold: float = option(default=3.0, above=0)
    warm_up: int = option(default=20, minimum=2)
    floor: float = option(default=0.01, above=0)

    def __post_init__(self) -> None:
        for name in ("half_life", "threshold", "warm_up", "floor"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value < math.inf):
                raise wrong(name, value, "a finite number, more than 0")


@dataclass(frozen=True, slots=True)
class Deviation:
    """The judgement of one value: ``score`` is its distance from ``mean``, in standard deviations."""

    value: float
    mean: float
    deviation: float
    score: float
    anomalous: bool


class AnomalyDetector:
    """Judges values one after another, with three numbers of state. Not thread-safe.

    A value beyond the limit enters the mean as if it were at the limit (winsorising): a single outlier does
    not widen what counts as normal, while a lasting new level is accepted after a while.
    """

    def __init__(self, options: AnomalyOptions | None = None) -> None:
        self.options = kinds.instance("options", options, AnomalyOptions, optional=True) or AnomalyOptions()
        self._weight = 1 - 0.5 ** (1 / self.options.half_life)
        self._count = 0
        self._mean = 0.0
        self._variance = 0.0

    def observe(self, value: float) -> Deviation:
        """Judge ``value`` by the earlier ones, then learn it. Nothing is anomalous during the warm-up.

        Raises ``UsageError`` for infinities and NaN, which would spoil the mean forever.
        """
        if not (is_number(value) and math.isfinite(value)):
            raise wrong("value", value, "a finite number")
        deviation = max(math.sqrt(self._variance), self.options.floor)
        score = (value - self._mean) / deviation if self._count else 0.0
        warm = self._count >= self.options.warm_up
        judged = Deviation(value, self._mean, deviation, score, warm and abs(score) > self.options.threshold)
        limit = self.options.threshold * deviation
        self._learn(self._mean + max(-limit, min(limit, value - self._mean)) if warm else value)
        return judged

    def _learn(self, value: float) -> None:
        self._count += 1
        # Average the first values evenly: exponential weights would give the very first one too much.
        weight = max(self._weight, 1 / self._count)
        difference = value - self._mean
        step = weight * difference
        self._mean += step
        self._variance = (1 - weight) * (self._variance + difference * step)
