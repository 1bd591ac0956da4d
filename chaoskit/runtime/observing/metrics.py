"""Error metrics: counts and sliding-window rates by operation and error type, with alerts.

Memory is bounded: a window is a ring of slots, and the numbers of operations and error types are limited; any
beyond the limit are counted together as ``other``.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.numbers import is_number, is_whole, whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit

__all__ = ["AlertCleared", "AlertRaised", "AlertRule", "ErrorMetrics", "MetricsOptions", "Rate", "RateWindow"]

ANY = "*"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Alert if the ``ratio`` of failed calls is reached by ``minimum`` or more calls in ``window`` seconds.

    It clears when the ratio falls below ``clear_below`` (default: ``ratio``), or when fewer than ``minimum``
    calls are left in the window. ``*`` stands for all operations together, and for any error type. The
    defaults are the watcher's: ten percent in five minutes.

    Raises:
        UsageError: a number is out of its bounds.
    """

    ratio: float = option(default=0.1, above=0, maximum=1, unit="ratio", help="share of failed calls")
    window: float = option(default=300.0, above=0, unit="s", help="seconds looked back")
    # A single failure among three calls is not a trend.
    minimum: int = option(default=10, minimum=1, help="calls in the window before the rule speaks")
    operation: str = ANY
    error_type: str = ANY
    clear_below: float | None = option(default=None, above=0, maximum=1, unit="ratio")

    def __post_init__(self) -> None:
        kinds.text("operation", self.operation)
        kinds.text("error_type", self.error_type)
        if not (is_number(self.ratio) and 0 < self.ratio <= 1):
            raise wrong("ratio", self.ratio, "more than 0 and at most 1")
        _check_window(self.window)
        whole("minimum", self.minimum, 1)
        below = self.clear_below
        if below is not None and not (is_number(below) and 0 < below <= self.ratio):
            raise wrong("clear_below", below, f"more than 0 and at most ratio, {self.ratio}")


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """``window`` is the window of rates without a rule; ``slots`` is the number of steps of a window.

    Raises:
        UsageError: a number is out of its bounds, or an alert is not an :class:`AlertRule`.
    """

    window: float = option(default=300.0, above=0, unit="s")
    slots: int = option(default=60, minimum=1, maximum=10_000)
    operations: int = option(default=200, minimum=1, help="operations counted apart")
    error_types: int = option(default=50, minimum=1, help="error types counted apart, per operation")
    alerts: tuple[AlertRule, ...] = ()

    def __post_init__(self) -> None:
        _check_window(self.window)
        for name, most in (("slots", 10_000), ("operations", math.inf), ("error_types", math.inf)):
            if not (is_whole(value := getattr(self, name)) and 1 <= value <= most):
                raise wrong(name, value, f"a whole number from 1{f' to {most}' if most < math.inf else ''}")
        object.__setattr__(self, "alerts", kinds.listed("alerts", self.alerts, AlertRule))


def _check_window(seconds: object) -> None:
    if not (is_number(seconds) and 0 < seconds < math.inf):
        raise wrong("window", seconds, "seconds, more than 0")


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls in a window, the number of those that failed, and the seconds that the window covers."""

    calls: int
    failures: int
    window: float

    @property
    def ratio(self) -> float:
        """Failures divided by calls; 0 without calls."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def per_second(self) -> float:
        """Failures per second."""
        return self.failures / self.window


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Event):
    """The failures of ``operation`` have reached the ratio of a rule."""

    name: ClassVar[str] = "alert.raised"
    level: ClassVar[int | None] = logging.WARNING

    operation: str
    error_type: str
    ratio: float
    threshold: float
    calls: int
    window: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCleared(AlertRaised):
    """The failures of ``operation`` have fallen below the ratio at which the rule clears."""

    name: ClassVar[str] = "alert.cleared"
    level: ClassVar[int | None] = logging.INFO


class RateWindow:
    """Two counts over the last ``seconds``, in ``slots`` steps; not thread-safe.

    A call leaves the window after ``seconds``, or up to one slot earlier, because the current slot counts as
    a whole slot however young it is. Memory is ``slots`` pairs of numbers.
    """

    __slots__ = ("_calls", "_failures", "_last", "_slot", "_sum_calls", "_sum_failures", "seconds")

    def __init__(self, seconds: float, slots: int) -> None:
        self.seconds = seconds
        self._slot = seconds / slots
        self._calls = [0] * slots
        self._failures = [0] * slots
        self._last: int | None = None
        # Keep running sums, so that a rate need not go over all slots.
        self._sum_calls = self._sum_failures = 0

    def add(self, now: float, calls: int, failures: int) -> None:
        """Count at the monotonic time ``now``, in seconds."""
        at = self._move(now) % len(self._calls)
        self._calls[at] += calls
        self._failures[at] += failures
        self._sum_calls += calls
        self._sum_failures += failures

    def rate(self, now: float) -> Rate:
        """The rate of the window at the monotonic time ``now``."""
        self._move(now)
        return Rate(self._sum_calls, self._sum_failures, self.seconds)

    def _move(self, now: float) -> int:
        slot = int(now // self._slot)
        last = slot if self._last is None else self._last
        size = len(self._calls)
        # A thread that read the clock a moment earlier than the last one counts in the current slot.
        slot = max(slot, last)
        # Clear the slots that have left the window, at most one round of the ring.
        for passed in range(max(last + 1, slot - size + 1), slot + 1):
            self._sum_calls -= self._calls[passed % size]
            self._sum_failures -= self._failures[passed % size]
            self._calls[passed % size] = self._failures[passed % size] = 0
        self._last = slot
        return slot


class _Series:
    """All counts of one operation and one error type."""

    __slots__ = ("calls", "failures", "windows")

    def __init__(self, windows: Sequence[float], slots: int) -> None:
        self.calls = self.failures = 0
        self.windows = {seconds: RateWindow(seconds, slots) for seconds in windows}

    def add(self, now: float, calls: int, failures: int) -> None:
        self.calls += calls
        self.failures += failures
        for window in self.windows.values():
            window.add(now, calls, failures)


class ErrorMetrics(Lasting):
    """Counts calls and failures, and alerts when the ratio of a rule is reached and when it clears.

    Threads may share an instance. Alerts are checked at each failure of an operation that has a rule, and by
    :meth:`check`; only that can notice that failures have stopped, so call it now and then. Events go to
    ``listeners`` and to the subscribers of all events, outside the lock.
    """

    def __init__(
        self,
        options: MetricsOptions | None = None,
        *,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.options = kinds.instance("options", options, MetricsOptions, optional=True) or MetricsOptions()
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        # Reentrant: a signal handler may count an error while its own thread is counting.
        self._lock = threading.RLock()
        survive_fork(self)
        windows = {self.options.window, *(r.window for r in self.options.alerts)}
        self._windows = tuple(sorted(windows))
        self._series: dict[tuple[str, str], _Series] = {(ANY, ANY): self._new()}
        self._types: dict[str, set[str]] = {ANY: set(), OTHER: set()}
        self._raised: set[AlertRule] = set()

    def success(self, operation: str) -> None:
        """Count a call that succeeded."""
        self._count(operation, None)

    def failure(self, operation: str, error: BaseException | str) -> None:
        """Count a call that failed with ``error``, or with an error type of that name."""
        name = error if isinstance(error, str) else type(error).__name__
        self._count(operation, name)
        self._judge([r for r in self.options.alerts if r.operation in (ANY, operation)])

    @block
    def measure(self, operation: str) -> Iterator[None]:
        """Count the block as one call: failed if an ``Exception`` leaves it, not counted on Ctrl-C."""
        try:
            yield
        except Exception as error:
            self.failure(operation, error)
            raise
        self.success(operation)

    def rate(self, operation: str = ANY, error_type: str = ANY, window: float | None = None) -> Rate:
        """The rate in one of the windows that are kept: that of the options and those of the rules.

        Raises:
            UsageError: there is no such window.
        """
        seconds = self.options.window if window is None else window
        if seconds not in self._windows:
            raise wrong(
                "window", window, f"one of {', '.join(map(str, self._windows))}", "Add a rule with it."
            )
        with self._lock:
            return self._rate(operation, error_type, seconds)

    def check(self) -> tuple[AlertRule, ...]:
        """Check every rule now, and return the rules whose alerts are raised."""
        self._judge(self.options.alerts)
        with self._lock:
            return tuple(r for r in self.options.alerts if r in self._raised)

    def snapshot(self) -> dict[str, Any]:
        """All counts and rates by operation and error type, and the raised rules, as JSON types."""
        with self._lock:
            now = self._clock.monotonic()
            operations: dict[str, Any] = {}
            for (operation, error_type), series in self._series.items():
                rate = series.windows[self.options.window].rate(now)
                operations.setdefault(operation, {})[error_type] = {
                    "calls": series.calls,
                    "failures": series.failures,
                    "window_calls": rate.calls,
                    "window_failures": rate.failures,
                }
            raised = [f"{r.operation}/{r.error_type}" for r in self.options.alerts if r in self._raised]
            return {"window": self.options.window, "operations": operations, "raised": raised}

    def _after_fork(self) -> None:
        """Replace the lock; a forked child continues with its parent's counts."""

    def _new(self) -> _Series:
        return _Series(self._windows, self.options.slots)

    def _count(self, operation: str, error: str | None) -> None:
        with self._lock:
            now = self._clock.monotonic()
            operation = self._known(operation)
            failures = 0 if error is None else 1
            self._series[(ANY, ANY)].add(now, 1, failures)
            self._get(operation, ANY).add(now, 1, failures)
            if error is not None:
                error = self._known_type(operation, error)
                # Failures only: successful calls have no error type.
                self._get(operation, error).add(now, 1, 1)
                self._get(ANY, self._known_type(ANY, error)).add(now, 1, 1)

    def _known(self, operation: str) -> str:
        # ``*`` stands for all operations; an operation of that name would spoil their sum.
        if operation == ANY:
            return OTHER
        if operation not in self._types:
            # Without the two that always exist.
            if len(self._types) - 2 >= self.options.operations:
                return OTHER
            self._types[operation] = set()
        return operation

    def _known_type(self, operation: str, error: str) -> str:
        known = self._types[operation]
        if error not in known and len(known) >= self.options.error_types:
            return OTHER
        known.add(error)
        return error

    def _get(self, operation: str, error: str) -> _Series:
        series = self._series.get((operation, error))
        if series is None:
            series = self._series[(operation, error)] = self._new()
        return series

    def _rate(self, operation: str, error_type: str, seconds: float) -> Rate:
        now = self._clock.monotonic()
        whole = self._series.get((operation, ANY))
        # Not an error: a dashboard asks before the first call is counted.
        if whole is None:
            return Rate(0, 0, seconds)
        rate = whole.windows[seconds].rate(now)
        if error_type == ANY:
            return rate
        part = self._series.get((operation, error_type))
        return Rate(rate.calls, part.windows[seconds].rate(now).failures if part else 0, seconds)

    def _judge(self, rules: Sequence[AlertRule]) -> None:
        events = []
        with self._lock:
            for rule in rules:
                rate = self._rate(rule.operation, rule.error_type, rule.window)
                # Only changes: readers would mute an alert that is repeated at each failure.
                kind = self._edge(rule, rate)
                if kind is not None:
                    events.append(self._event(kind, rule, rate))
        # After the lock is released: a listener may count an error itself, or take long.
        for event in events:
            emit(self._listeners, event)

    def _edge(self, rule: AlertRule, rate: Rate) -> Callable[..., AlertRaised] | None:
        enough = rate.calls >= rule.minimum
        if rule not in self._raised and enough and rate.ratio >= rule.ratio:
            self._raised.add(rule)
            return AlertRaised
        # Two thresholds, so that a ratio that fluctuates around one of them does not raise and clear in turn.
        low = rule.ratio if rule.clear_below is None else rule.clear_below
        if rule in self._raised and (not enough or rate.ratio < low):
            self._raised.discard(rule)
            return AlertCleared
        return None

    def _event(self, kind: Callable[..., AlertRaised], rule: AlertRule, rate: Rate) -> AlertRaised:
        return kind(
            at=self._clock.monotonic(),
            operation=rule.operation,
            error_type=rule.error_type,
            ratio=rate.ratio,
            threshold=rule.ratio,
            calls=rate.calls,
            window=rule.window,
        )
