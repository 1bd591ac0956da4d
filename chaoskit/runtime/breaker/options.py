"""The settings of a breaker: a frozen record, checked as a whole when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypedDict

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.window import CountWindow, TimeWindow, Window
from chaoskit.runtime.numbers import is_number, whole

# One byte for each call, so a mistake costs at most a megabyte per breaker.
_LARGEST_WINDOW = 1_000_000

# The units for values in a file: ``5m``, ``20%``. Plain metadata instead of ``config.option``, so that a
# program without a configuration does not load the reader of files.
_SECONDS, _SHARE = {"unit": "s"}, {"unit": "ratio"}


class BreakerSettings(TypedDict, total=False):
    """The fields of :class:`BreakerOptions` as keyword arguments; the defaults are written there."""

    failures: int | None
    open_for: float
    failure_rate: float | None
    slow_rate: float | None
    slow_after: float | None
    window_calls: int | None
    window_seconds: float | None
    minimum_calls: int
    probes: int
    hang_limit: float
    growth: float
    open_cap: float | None
    observe_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOptions:
    """When a breaker opens, how long it stays open, and how it closes again. Times are in seconds.

    It opens by whichever of these rules applies first; at least one must be given:

    ``failures``
        this many failures in a row, with no success between them;
    ``failure_rate``
        this share (over 0, at most 1) of the calls in the window failed;
    ``slow_rate``
        this share of the calls in the window took ``slow_after`` or longer, failed or not.

    A rate needs one window, ``window_calls`` or ``window_seconds``, and does not apply before
    ``minimum_calls`` calls are in it.

    ``open_for`` is the open period. After it comes half-open: at most ``probes`` calls are let through and
    all of them must succeed; the first failure (or slow call, if ``slow_after`` is given) opens the breaker
    again, for ``growth`` times the previous period, at most ``open_cap``. A probe that has not returned after
    ``hang_limit`` counts as failed.

    With ``observe_only`` everything is counted and reported, but no call is ever rejected.

    Raises ``UsageError`` for settings that cannot work, alone or together; zero and None are taken literally
    or refused, never replaced.
    """

    # Five in a row is the default of the libraries that follow Nygard's "Release It!"; sixty seconds outlast
    # the restart of a typical service.
    failures: int | None = 5
    open_for: float = field(default=60.0, metadata=_SECONDS)
    failure_rate: float | None = field(default=None, metadata=_SHARE)
    slow_rate: float | None = field(default=None, metadata=_SHARE)
    slow_after: float | None = field(default=None, metadata=_SECONDS)
    window_calls: int | None = None
    window_seconds: float | None = field(default=None, metadata=_SECONDS)
    # Below ten calls a rate is noise: one failure of two would be fifty percent.
    minimum_calls: int = 10
    probes: int = 1
    hang_limit: float = field(default=60.0, metadata=_SECONDS)
    growth: float = 1.0
    open_cap: float | None = field(default=None, metadata=_SECONDS)
    observe_only: bool = False

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_rates()
        self._check_periods()
        self._check_together()

    @property
    def by_rate(self) -> bool:
        """True if calls have to be measured and kept in a window."""
        return self.failure_rate is not None or self.slow_rate is not None

    def window(self) -> Window | None:
        """Return a new, empty window, or None if no rate is given."""
        if self.window_calls is not None:
            return CountWindow(self.window_calls)
        return None if self.window_seconds is None else TimeWindow(self.window_seconds)

    def _check_counts(self) -> None:
        for name in ("failures", "window_calls"):
            whole(name, getattr(self, name), 1, none="no such rule")
        whole("minimum_calls", self.minimum_calls, 1)
        whole("probes", self.probes, 1)
        kinds.switch("observe_only", self.observe_only)
        if self.window_calls is not None and self.window_calls > _LARGEST_WINDOW:
            raise wrong(
                "window_calls", self.window_calls, f"at most {_LARGEST_WINDOW}: one byte is kept for each"
            )

    def _check_rates(self) -> None:
        for name in ("failure_rate", "slow_rate"):
            rate = getattr(self, name)
            if rate is not None and not (is_number(rate) and 0 < rate <= 1):
                raise wrong(name, rate, "a share over 0 and at most 1", "Use None to leave it out.")

    def _check_periods(self) -> None:
        _seconds("open_for", self.open_for, zero=True)
        _seconds("hang_limit", self.hang_limit)
        for name in ("slow_after", "window_seconds", "open_cap"):
            if getattr(self, name) is not None:
                _seconds(name, getattr(self, name), zero=name == "open_cap")
        if not (is_number(self.growth) and 1 <= self.growth < math.inf):
            raise wrong("growth", self.growth, "a finite factor of 1 or more")

    def _check_together(self) -> None:
        if self.failures is None and not self.by_rate:
            raise wrong(
                "failures",
                None,
                "a number, since no rate is given either",
                "A breaker without a rule never opens.",
            )
        # A window without a rate is refused too: it looks like a rule, but would never open the breaker.
        windows = (self.window_calls is not None) + (self.window_seconds is not None)
        if windows != self.by_rate:
            raise wrong(
                "the number of windows",
                windows,
                f"{int(self.by_rate)}",
                "A rate needs exactly one of window_calls and window_seconds; without a rate there is none.",
            )
        if self.window_calls is not None and self.minimum_calls > self.window_calls:
            raise wrong("minimum_calls", self.minimum_calls, f"at most window_calls, {self.window_calls}")
        if self.slow_rate is not None and self.slow_after is None:
            raise wrong("slow_after", None, "seconds, since slow_rate is given")
        if self.growth > 1 and self.open_cap is None:
            raise wrong(
                "open_cap",
                None,
                "seconds, since growth is over 1",
                "Without a cap it would stay open forever.",
            )
        if self.open_cap is not None and self.open_cap < self.open_for:
            raise wrong("open_cap", self.open_cap, f"at least open_for, {self.open_for}")


def _seconds(name: str, value: object, *, zero: bool = False) -> None:
    if not (
        isinstance(value, int | float) and is_number(value) and 0 <= value < math.inf and (zero or value > 0)
    ):
        raise wrong(name, value, f"finite seconds, {'zero or more' if zero else 'more than zero'}")
