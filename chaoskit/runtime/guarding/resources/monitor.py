"""A thread that watches resources and tells when a threshold is crossed."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.running.repeating import Repeating

__all__ = ["ResourceAlert", "ResourceCleared", "ResourceMonitor", "ResourceThreshold"]

logger = logging.getLogger("chaoskit")

Resource = Literal["rss", "memory", "disk", "descriptors", "threads", "processes"]


@dataclass(frozen=True, slots=True)
class ResourceThreshold:
    """The value of a resource at which to alert.

    ``rss`` (bytes) and ``threads`` alert at ``limit`` or more; ``memory``, ``disk`` (bytes), ``descriptors``
    and ``processes`` (a number) alert if less than ``limit`` is left. ``path`` selects the disk.

    The alert clears at ``clear``, by default a tenth of ``limit`` beyond it on the good side, so that a value
    that fluctuates around the limit causes only one alert.

    Raises:
        UsageError: ``limit`` is not above zero, or ``clear`` is on the wrong side of it.
    """

    resource: Resource
    limit: float = option(above=0)
    path: str = "."
    clear: float | None = option(default=None, minimum=0)

    def __post_init__(self) -> None:
        if not isinstance(self.resource, str) or self.resource not in _READERS:
            raise wrong("resource", self.resource, f"one of {', '.join(_READERS)}")
        if not (is_number(self.limit) and 0 < self.limit < math.inf):
            raise wrong("limit", self.limit, "a finite number, more than zero")
        if not isinstance(self.path, str | os.PathLike):
            raise wrong("path", self.path, "a path on the disk that is meant")
        if self.clear is not None and (not is_number(self.clear) or self.beyond(self.clear)):
            side = "below" if self.rises else "at or above"
            raise wrong("clear", self.clear, f"a number {side} the limit, {self.limit:g}")

    @property
    def rises(self) -> bool:
        """True if large values are bad, False if small values are."""
        return self.resource in ("rss", "threads")

    @property
    def cleared_at(self) -> float:
        """The value at which the alert clears."""
        if self.clear is not None:
            return self.clear
        tenth = self.limit / 10
        return self.limit - tenth if self.rises else self.limit + tenth

    def beyond(self, value: float) -> bool:
        """Return True if the value is bad enough for an alert."""
        return value >= self.limit if self.rises else value < self.limit

    def back(self, value: float) -> bool:
        """Return True if the value is good again."""
        return value <= self.cleared_at if self.rises else value >= self.cleared_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceAlert(Event):
    """A threshold was crossed. ``value`` is the reading; ``bound`` names the limit that leaves so little."""

    name: ClassVar[str] = "resource.alert"

    resource: str
    path: str
    value: float
    limit: float
    bound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceCleared(ResourceAlert):
    """The value is good again."""

    name: ClassVar[str] = "resource.cleared"


Reading = tuple[float, str] | None


def _left(usage: readings.Usage | None) -> Reading:
    return None if usage is None else (usage.free, usage.bound)


def _resident(path: str) -> Reading:
    used = readings.resident()
    return None if used is None else (used, "")


_READERS: Mapping[str, Callable[[str], Reading]] = {
    "rss": _resident,
    "memory": lambda path: _left(readings.memory()),
    "disk": lambda path: _left(readings.disk(path)),
    "descriptors": lambda path: _left(readings.descriptors()),
    "threads": lambda path: (threading.active_count(), ""),
    "processes": lambda path: _left(readings.processes()),
}


class ResourceMonitor(Repeating):
    """Checks each threshold every ``every`` seconds, on a thread that does nothing else.

    Alerts go to ``listeners`` and to the subscribers of all events, once when a threshold is crossed and once
    when the value is good again. A resource that cannot be read is logged once and read again the next time.
    A monitor never raises into the work, and never ends before it is closed.

    Raises UsageError for an interval that is not above zero, and for anything but thresholds.
    """

    def __init__(
        self,
        thresholds: Sequence[ResourceThreshold],
        *,
        every: float = 5.0,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        listed = isinstance(thresholds, Sequence)
        if not listed or not all(isinstance(one, ResourceThreshold) for one in thresholds):
            raise wrong("thresholds", thresholds, "ResourceThresholds in a list")
        super().__init__(f"monitor of {len(thresholds)} thresholds", every)
        self.thresholds = tuple(thresholds)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._raised: dict[ResourceThreshold, float] = {}
        self._silent: set[ResourceThreshold] = set()
        self._looking = threading.Lock()

    def _once(self) -> None:
        """Look; ``emit`` catches what a listener raises."""
        self.look()

    def _forked(self) -> None:
        """Replace the lock: the parent's thread may have held it."""
        self._looking = threading.Lock()

    @property
    def raised(self) -> tuple[ResourceThreshold, ...]:
        """The thresholds that were crossed at the last look."""
        return tuple(self._raised.copy())

    def look(self) -> tuple[ResourceThreshold, ...]:
        """Look now, report changes, and return the thresholds that are crossed."""
        # One look at a time: otherwise two of them would see the same crossing, and tell it twice.
        with self._looking:
            events = [event for one in self.thresholds if (event := self._judge(one)) is not None]
        # Emitted after the lock is released, since a listener may call this method.
        for event in events:
            emit(self._listeners, event)
        return self.raised

    def _judge(self, threshold: ResourceThreshold) -> ResourceAlert | None:
        read = self._read(threshold)
        if read is None:
            return None
        value, bound = read
        if threshold in self._raised:
            if not threshold.back(value):
                return None
            del self._raised[threshold]
            kind: type[ResourceAlert] = ResourceCleared
        elif threshold.beyond(value):
            self._raised[threshold] = value
            kind = ResourceAlert
        else:
            return None
        return kind(
            at=self._clock.monotonic(),
            resource=threshold.resource,
            path=threshold.path if threshold.resource == "disk" else "",
            value=value,
            limit=threshold.limit,
            bound=bound,
        )

    def _read(self, threshold: ResourceThreshold) -> Reading:
        try:
            read = _READERS[threshold.resource](threshold.path)
            trouble = "it cannot be read on this machine" if read is None else ""
        except (OSError, ValueError) as error:
            read, trouble = None, str(error)
        if read is not None:
            self._silent.discard(threshold)
        elif threshold not in self._silent:
            # Logged once: a share that is unreachable for a night would fill the log.
            self._silent.add(threshold)
            logger.warning("%s is not watched: %s", threshold.resource, trouble)
        return read
