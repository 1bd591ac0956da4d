"""Observers of events: a strategy's listeners, subscribers to all events, the log. They cannot harm a call.

A program passes a listener to one strategy, or subscribes to the events of all. The records are in
:mod:`chaoskit.runtime.observing.events`, and are loaded only when there is an event to emit.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.log import ERROR, log

if TYPE_CHECKING:
    from chaoskit.runtime.observing.events import Event

__all__ = ["Listener", "Subscription", "emit", "observer_errors", "subscribe", "untold", "wanted"]

Listener = Callable[[Any], object]
"""Called with an :class:`Event`; its result is ignored."""


class Subscription(ClosedOnExit):
    """A listener to the events of all strategies; leaving the ``with`` block, or ``close()``, ends it."""

    __slots__ = ("_active", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        # By thread: this thread's events do not cause those of another.
        self._active = threading.local()

    def close(self) -> None:
        """End the subscription. Calling it again does nothing."""
        try:
            _subscriptions.remove(self)
        except ValueError:
            pass

    def _tell(self, event: Event) -> None:
        # Without this, a subscriber that retries would hear about its retries forever.
        if getattr(self._active, "now", False):
            return
        self._active.now = True
        try:
            _call(self.listener, event)
        finally:
            self._active.now = False


# A plain list: append and remove are atomic, so no lock is needed that a forked child could inherit locked.
_subscriptions: list[Subscription] = []
# Fields that every log line has, or that are too long for one.
_NOT_SAID = frozenset({"event", "at", "context", "stacks"})
_failures = itertools.count(1)
_failed = 0


def subscribe(listener: Listener) -> Subscription:
    """Call ``listener`` with every event of every strategy in this process, until the guard is closed.

    It runs in the thread that emits, inside the observed call, so it should be quick. It does not get events
    that it causes itself. Raises ``UsageError`` for an async function, which no loop would await.
    """
    synchronous("listener", listener, optional=False)
    subscription = Subscription(listener)
    _subscriptions.append(subscription)
    return subscription


def wanted(listeners: Iterable[Listener]) -> bool:
    """Return True if an event would reach a listener or a subscriber. ``listeners`` is a tuple or a list."""
    return bool(listeners) or bool(_subscriptions)


def emit(listeners: Iterable[Listener], event: Event) -> None:
    """Pass ``event`` to ``listeners``, in order, then to the subscribers.

    An observer's exception is logged (logger ``chaoskit``, level ERROR) and counted, and the next observer is
    called. This includes ``CancelledError``, since cancellation is never delivered to code that does not
    await. ``KeyboardInterrupt``, ``SystemExit`` and ``GeneratorExit`` pass through: they are meant for the
    process, not for this call.

    An event with a level is logged (logger ``chaoskit``), unless one of the observers is an ``EventLog``.
    """
    if event.log_level is not None:
        _log(event.log_level, listeners, event)
    for listener in listeners:
        _call(listener, event)
    if _subscriptions:
        # A copy: a subscriber may close its own subscription or another.
        for subscription in tuple(_subscriptions):
            subscription._tell(event)


def observer_errors() -> int:
    """The number of exceptions of observers since the process began."""
    return _failed


def untold(what: str, failure: Exception) -> None:
    """Count ``what``, an event that could not be made, as an observer's error, and log it.

    The records of a strategy are loaded with its first event, which fails without memory or a descriptor; the
    observed call goes on.
    """
    _count()
    log(ERROR, "%s could not be told", what, error=failure)


def _log(level: int, listeners: Iterable[Listener], event: Event) -> None:
    observers = [*listeners, *(subscription.listener for subscription in tuple(_subscriptions))]
    if any(getattr(one, "logs_events", False) for one in observers):
        return
    try:
        import logging

        if not logging.getLogger("chaoskit").isEnabledFor(level):
            return
        fields = event.to_dict()
        shown = [key for key, value in fields.items() if key not in _NOT_SAID and value not in ("", None)]
        log(level, "%s %s", event.name, " ".join(f"{key}={fields[key]}" for key in shown))
    except Exception:
        # As with listeners that raise: no observer may end the call that it observes.
        pass


def _call(listener: Listener, event: Event) -> None:
    try:
        called("listener", listener, event)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        _count()
        log(ERROR, "observer %r failed on event %s", listener, event.name, error=error)


def _count() -> None:
    global _failed
    # next() on a counter is atomic, += is not.
    _failed = next(_failures)
