"""The notifier: a bounded queue, and a thread that serves the channels and catches their errors."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.failures.base import TRANSIENT_ERRORS
from chaoskit.runtime.guarding.notify.records import Channel, Notice, NotifierStatistics, Severity
from chaoskit.runtime.numbers import is_number, is_whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.redact import redact_text
from chaoskit.runtime.retrying.backoff import Exponential
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.stop import Stop

__all__ = ["Notifier"]

logger = logging.getLogger("chaoskit")

_KEYS = 1000
"""The number of keys that are remembered. Beyond it the oldest is forgotten, and may be told again early."""


class Notifier(ClosedOnExit):
    """Sends notifications through ``channels``, and never harms the job.

    ``notify`` puts a notification into a queue with ``room`` places and returns at once, whatever the
    channels do; notifications that do not fit are dropped and counted. The same ``key`` is told once in
    ``dedupe`` seconds, unless it comes with a higher severity than before; the next time it is told with the
    number of repetitions. Beyond ``rate`` notifications in ``per`` seconds, all but critical ones are held
    back and counted. A channel gets ``attempts`` attempts if its error may be transient; its errors are
    logged and counted, and the other channels are still told.

    Raises UsageError for impossible numbers, and for anything but channels.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        rate: int = 10,
        per: float = 60.0,
        dedupe: float = 300.0,
        room: int = 100,
        attempts: int = 3,
        clock: Clock | None = None,
    ) -> None:
        counts = all(is_whole(one) and one >= 1 for one in (rate, room, attempts))
        if not (counts and is_number(per) and per > 0 and is_number(dedupe) and dedupe >= 0):
            raise wrong(
                "rate, per, dedupe, room, attempts",
                (rate, per, dedupe, room, attempts),
                "at least 1, and seconds of a window",
            )
        self.channels = _checked_channels(channels)
        self._rate, self._per, self._dedupe, self._room = rate, per, dedupe, room
        self._attempts, self._clock = attempts, kinds.clock(clock, optional=True) or SystemClock()
        self._counts: dict[str, int] = {}
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.Queue[Notice | None] = queue.Queue(self._room)
        self._counting, self._starting = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = Stop()
        self._told: OrderedDict[str, tuple[float, int, Severity]] = OrderedDict()
        self._recent: deque[float] = deque()
        self._held = 0
        self._telling = threading.local()
        # Network trouble passes, but a wrong password does not, and repeating it may lock the account.
        self._policy = RetryPolicy(
            on=TRANSIENT_ERRORS,
            attempts=self._attempts,
            wait=Exponential(0.5, 30.0),
            clock=self._clock,
            wake=self._over,
            name="notifier",
        )

    def notify(
        self,
        title: str,
        text: str = "",
        *,
        severity: Severity = Severity.WARNING,
        key: str | None = None,
        **fields: Any,
    ) -> bool:
        """Queue a notification; return True if there was room. ``key`` is the title by default. Never raises.

        A notification that cannot be taken, for example with an unknown severity, is logged.
        """
        try:
            if self._pid != os.getpid():
                self._begin()  # In a forked child: the notifications in the queue are the parent's to tell.
            told = Notice.of(title, text, severity, key, fields, self._clock.time())
            self._start()
            self._queue.put_nowait(told)
        except queue.Full:
            self._count("dropped")
            return False
        # No error may reach the job: a ``__str__`` may raise, or a thread may not start.
        except Exception:
            logger.exception("a notification could not be taken")
            return False
        self._count("accepted")
        return True

    def on_event(self, event: Event) -> None:
        """Tell of an event. Pass this method to ``subscribe``, or as a listener to whatever raises alerts.

        Alerts about rates and resources are told as warnings, and their end as information; workers and
        retries that were given up are told as errors. All other events are ignored.
        """
        severity = _EVENTS.get(event.name)
        # Events that telling itself causes are ignored: each failed notification would cause another.
        if severity is None or getattr(self._telling, "now", False):
            return
        known = event.to_dict()
        fields = {name: value for name, value in known.items() if name not in ("event", "at") and value}
        about = known.get("operation") or known.get("resource") or known.get("worker") or ""
        self.notify(f"{event.name} {about}".strip(), severity=severity, **_safe(fields))

    def deliver(self, notification: Notice) -> bool:
        """Tell it at once, past queue and rate; return True if every channel that carries it has taken it.

        For callers that have their own thread and keep notifications that could not be told. Never raises.
        """
        carrying = [one for one in self.channels if notification.severity >= one.least]
        # A list, not a generator: every channel is tried, even after one that failed.
        taken = [self._sent(one, notification) for one in carrying]
        return all(taken)

    def statistics(self) -> NotifierStatistics:
        """The counters, for an operator."""
        with self._counting:
            return NotifierStatistics(**self._counts)

    def close(self, timeout: float = 10.0) -> bool:
        """Tell what is queued, within ``timeout`` seconds; return True if the thread has taken all of it."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return True
        try:
            self._end(thread, timeout)
        except MemoryError:
            # There was no memory to put the end mark into the queue, and without it the thread never ends.
            self._end(thread, timeout)
        self._thread = None
        return not thread.is_alive()

    def _end(self, thread: threading.Thread, timeout: float) -> None:
        end = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
            # Only for the rest of the time: otherwise a full queue would make closing take twice as long.
            thread.join(max(end - time.monotonic(), 0.0))
        except queue.Full:
            pass
        # Ends the waits between attempts. A channel that hangs is left behind with its daemon thread.
        self._over.set()

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._over.clear()
                self._thread = threading.Thread(target=self._run, name="chaoskit-notifier", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            try:
                admitted = self._admitted(told)
                if admitted is not None:
                    self.deliver(admitted)
            except Exception:
                logger.exception("a notification was lost")
                self._count("failed")
            # The notifier was closed while this channel hung, and the queue had no room for the end mark.
            if self._over.is_set():
                self._drop_the_rest()
                return

    def _drop_the_rest(self) -> None:
        """Count the notifications left in the queue as dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                if self._queue.get_nowait() is not None:
                    self._count("dropped")

    def _admitted(self, told: Notice) -> Notice | None:
        """The notification as it will be sent; None if it is a repetition, or beyond the rate."""
        now = self._clock.monotonic()
        last, repeated, severity = self._told.get(told.key, (None, 0, told.severity))
        # A higher severity is news, and may be the first that a channel carries.
        if last is not None and now - last < self._dedupe and told.severity <= severity:
            self._told[told.key] = (last, repeated + 1, severity)
            self._count("repeated")
            return None
        while self._recent and now - self._recent[0] >= self._per:
            self._recent.popleft()
        if len(self._recent) >= self._rate and told.severity < Severity.CRITICAL:
            self._held += 1
            self._count("held_back")
            return None
        self._recent.append(now)
        self._told[told.key] = (now, 0, told.severity)
        self._told.move_to_end(told.key)
        if len(self._told) > _KEYS:
            self._told.popitem(last=False)
        held, self._held = self._held, 0
        return replace(told, repeated=repeated, held_back=held)

    def _sent(self, channel: Channel, notification: Notice) -> bool:
        self._telling.now = True
        try:
            self._policy.call(channel.send, notification)
        except Exception as error:
            # The error's text may contain the address, and a webhook's address is its password.
            text = redact_text(f"{type(error).__name__}: {error}")[:300]
            logger.warning("%s did not take %r: %s", channel.name, notification.title, text)
            self._count("failed")
            return False
        finally:
            self._telling.now = False
        self._count("delivered")
        return True

    def _count(self, name: str) -> None:
        with self._counting:
            self._counts[name] = self._counts.get(name, 0) + 1


def _checked_channels(given: object) -> tuple[Channel, ...]:
    """Check the channels at once: an unusable one would lose every notification."""
    listed: tuple[Any, ...] = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in listed:
        able = callable(getattr(one, "send", None)) and isinstance(getattr(one, "name", None), str)
        if not isinstance(given, Iterable) or not able or isinstance(one, type):
            raise wrong(
                "channels", given, "channels in a list, each with a name, the least severity and send()"
            )
        Severity.of(getattr(one, "least", None))
        synchronous("send", one.send, optional=False)
    return listed


def _safe(fields: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields that are called like parameters of ``notify``."""
    return {f"{n}_" if n in ("title", "text", "severity", "key") else n: v for n, v in fields.items()}


_EVENTS = {
    "alert.raised": Severity.WARNING,
    "alert.cleared": Severity.INFO,
    "resource.alert": Severity.WARNING,
    "resource.cleared": Severity.INFO,
    "memory.pressed": Severity.WARNING,
    "retry.exhausted": Severity.ERROR,
    "thread.given_up": Severity.ERROR,
    "task.given_up": Severity.ERROR,
    "job.stuck": Severity.ERROR,
}
