"""What observes events and can never hurt the call: a strategy's listeners, subscribers to all, the log.

A program gives a listener to one strategy, or subscribes to the events of all. The records themselves are in
:mod:`chaoskit.runtime.observing.events`: they are needed only once there is something to tell.
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
"""Called with an :class:`Event`; what it returns is ignored."""


class Subscription(ClosedOnExit):
    """A listener to the events of all strategies; leaving the ``with`` block, or ``close()``, ends it."""

    __slots__ = ("_active", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        # By thread: another thread's events are not caused by this one's.
        self._active = threading.local()

    def close(self) -> None:
        """End the subscription. Calling it again does nothing."""
        try:
            _subscriptions.remove(self)
        except ValueError:
            pass

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
# Fields that a log line has anyway, or that are too long for one.
_NOT_SAID = frozenset({"event", "at", "context", "stacks"})
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

    An event with a level is logged (logger ``chaoskit``), unless one of the observers is an ``EventLog``.
    """
    if event.log_level is not None:
        _log(event.log_level, listeners, event)
    for listener in listeners:
        _call(listener, event)
    if _subscriptions:
        # A copy: a subscriber may close its subscription, or another one.
        for subscription in tuple(_subscriptions):
            subscription._tell(event)


def observer_errors() -> int:
    """How many times an observer raised, since the process began."""
    return _failed


def untold(what: str, failure: Exception) -> None:
    """Count ``what``, an event that could not be made, as an observer's error, and log it.

    The records of a strategy are loaded with its first event: without memory or a descriptor there is none,
    and the call that it would have been about goes on.
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
        # As for a listener that raises: nothing that observes a call may end it.
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
