"""Resource monitor: a thread that looks at what is left, and tells when a threshold is crossed."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from chaoskit.core.errors import wrong
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
    """When to tell. ``rss`` (bytes) and ``threads`` alert at ``limit`` or more; what is left of ``memory``,
    ``disk`` (bytes), ``descriptors`` and ``processes`` (a number) alerts below it.

    It clears at ``clear``, by default a tenth to the good side of ``limit``: a value that moves about the
    limit is one alert. ``path`` says which disk.

    Raises:
        UsageError: a limit that is not above zero, or a ``clear`` on the wrong side of it.
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
        """True if much of it is bad; False if little of it is."""
        return self.resource in ("rss", "threads")

    @property
    def cleared_at(self) -> float:
        """Where it clears."""
        if self.clear is not None:
            return self.clear
        tenth = self.limit / 10
        return self.limit - tenth if self.rises else self.limit + tenth

    def beyond(self, value: float) -> bool:
        """True if the value is one to tell of."""
        return value >= self.limit if self.rises else value < self.limit

    def back(self, value: float) -> bool:
        """True if the value is good again."""
        return value <= self.cleared_at if self.rises else value >= self.cleared_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceAlert(Event):
    """A threshold is crossed: ``value`` is what was read, ``bound`` which limit leaves so little."""

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
    """Looks at each threshold ``every`` few seconds, on a thread that does nothing else.

    Alerts go to ``listeners`` and to the subscribers of all events, once when a threshold is crossed and once
    when it is good again. What cannot be read is logged once and looked at again the next time: a monitor
    never raises into the work, and never ends before it is closed.

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
        self._clock = clock or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._raised: dict[ResourceThreshold, float] = {}
        self._silent: set[ResourceThreshold] = set()
        self._looking = threading.Lock()

    def _once(self) -> None:
        """Look; what a listener raises is kept from here by ``emit``."""
        self.look()

    def _forked(self) -> None:
        """The thread may have held the lock."""
        self._looking = threading.Lock()

    @property
    def raised(self) -> tuple[ResourceThreshold, ...]:
        """The thresholds that are crossed, as of the last look."""
        return tuple(self._raised.copy())

    def look(self) -> tuple[ResourceThreshold, ...]:
        """Look now, tell what has changed, and return the thresholds that are crossed."""
        # One at a time: else two looks would both see a threshold crossed, and tell it twice.
        with self._looking:
            events = [event for one in self.thresholds if (event := self._judge(one)) is not None]
        # After the lock: a listener may ask the monitor to look.
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
            # Once: a share that is away for a night would fill the log.
            self._silent.add(threshold)
            logger.warning("%s is not watched: %s", threshold.resource, trouble)
        return read
