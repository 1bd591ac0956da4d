"""Events: a frozen record for every decision, told to observers that can never hurt the call.

A strategy defines its events beside itself, as subclasses of :class:`Event`, and calls :func:`emit`.
A program gives a listener to that strategy, or subscribes to the events of all.

Building a record costs more than finding no listener, so a hot path asks :func:`wanted` first.
"""

from __future__ import annotations

import enum
import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.context import correlation_id
from chaoskit.runtime.redact import DEFAULT

__all__ = ["Event", "Listener", "Subscription", "emit", "observer_errors", "subscribe", "wanted"]

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event says. ``at`` is in seconds of the emitting strategy's monotonic clock.

    ``correlation_id`` is filled in from the context in force. A subclass is a frozen, slotted
    dataclass too and sets ``name``, which is promised to stay the same: ``retry.scheduled``.
    """

    name: ClassVar[str] = "event"

    at: float
    correlation_id: str | None = field(default_factory=correlation_id)

    def to_dict(self) -> dict[str, Any]:
        """``event`` (the name) and every field, as values that JSON can hold, bounded and without secrets."""
        return {"event": self.name, **{f.name: _plain(getattr(self, f.name), f.name) for f in fields(self)}}


Listener = Callable[[Any], object]
"""Called with an :class:`Event`; what it returns is ignored."""


class Subscription:
    """A listener to the events of all strategies; leaving the ``with`` block, or ``close()``, ends it."""

    __slots__ = ("_active", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        # By thread: another thread's events are not caused by this one's.
        self._active = threading.local()

    def close(self) -> None:
        """End the subscription; again is fine."""
        try:
            _subscriptions.remove(self)
        except ValueError:
            pass

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tell(self, event: Event) -> None:
        # A subscriber that itself retries would be told of these retries, for ever.
        if getattr(self._active, "now", False):
            return
        self._active.now = True
        try:
            _call(self.listener, event)
        finally:
            self._active.now = False


# A plain list: append and remove are atomic, and there is no lock that a forked child could inherit held.
_subscriptions: list[Subscription] = []
_failures = itertools.count(1)
_failed = 0


def subscribe(listener: Listener) -> Subscription:
    """Call ``listener`` with every event of every strategy in this process, until the guard is closed.

    It runs in the thread that emits, inside the call it observes: it should be quick. It is not told
    of events that it causes itself. Raises ``UsageError`` for an async function: no loop would await it.
    """
    synchronous("listener", listener, optional=False)
    subscription = Subscription(listener)
    _subscriptions.append(subscription)
    return subscription


def wanted(listeners: Iterable[Listener]) -> bool:
    """True if an event would reach a listener or a subscriber. ``listeners`` is a tuple or a list."""
    return bool(listeners) or bool(_subscriptions)


def emit(listeners: Iterable[Listener], event: Event) -> None:
    """Tell ``event`` to ``listeners``, in order, then to the subscribers.

    What an observer raises goes no further: it is logged (logger ``chaoskit``, level ERROR) and
    counted, and the next observer is told. A ``CancelledError`` counts as an observer's error as
    well, since cancellation is never delivered to code that does not await. ``KeyboardInterrupt``,
    ``SystemExit`` and ``GeneratorExit`` pass: they are meant for the process, not for this call.
    """
    for listener in listeners:
        _call(listener, event)
    if _subscriptions:
        # A copy: a subscriber may close its subscription, or another one.
        for subscription in tuple(_subscriptions):
            subscription._tell(event)


def observer_errors() -> int:
    """How many times an observer raised, since the process began."""
    return _failed


def _call(listener: Listener, event: Event) -> None:
    try:
        called("listener", listener, event)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        _report(listener, event, error)


def _report(listener: Listener, event: Event, error: BaseException) -> None:
    global _failed
    # next() on a counter is atomic, += is not.
    _failed = next(_failures)
    try:
        logger.error("observer %r failed on event %s", listener, event.name, exc_info=error)
    except Exception:
        # A log handler that raises, memory or stack at their end: the count is all that is left.
        pass


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, BaseException):
        # Type and text alone: a traceback may show values that must not be logged.
        return {"type": type(value).__qualname__, "message": DEFAULT.message(value)}
    return DEFAULT.plain(value, name)
