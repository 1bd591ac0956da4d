"""Bounded queues between threads: hand-offs have a time limit, and both sides learn of the end."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.taxonomy import PermanentError, ResourceError
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.stop import Stop, watched

__all__ = ["HandoffQueue", "HandoffTimeout", "QueueClosed", "QueueOptions"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """At most ``size`` items; a put or a get gives up after ``timeout`` seconds.

    Raises:
        UsageError: the size is below 1, or the time is negative or infinite.
    """

    size: int = option(default=100, minimum=1)
    timeout: float = option(default=60.0, minimum=0, unit="s")

    def __post_init__(self) -> None:
        whole("size", self.size, 1, hint="An unbounded queue hides a slow consumer.")
        if not (is_number(self.timeout) and 0 <= self.timeout < math.inf):
            raise wrong("timeout", self.timeout, "seconds, zero or more")


class HandoffTimeout(ResourceError, TimeoutError):
    """No other thread took the item, or provided one, in time."""

    default_hint = "See whether the thread on the other side is alive and keeps up."


class QueueClosed(PermanentError):
    """The queue was closed; a get raises it when all items have been taken."""

    default_hint = "Stop working on this queue."


class HandoffQueue(Lasting, Generic[T]):
    """First in, first out. Iterating over it takes items until it is closed and empty.

    Threads share an instance. A timeout of zero does not wait. Limits are in real time; ``clock`` only
    measures the age of items. Setting ``stop``, such as ``shutdown.wake``, closes the queue.
    """

    def __init__(
        self,
        name: str,
        options: QueueOptions | None = None,
        *,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.name = kinds.text("name", name)
        self.options = kinds.instance("options", options, QueueOptions, optional=True) or QueueOptions()
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._items: deque[tuple[float, T]] = deque()
        self._closed = False
        # One lock with two conditions: a put wakes a thread in a get, and never one in a put.
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)
        self._forget: Callable[[], None] | None = None
        kinds.event("stop", stop)
        if stop is not None:
            ours = Stop()
            ours.tell(self.close)
            self._forget = watched(stop, ours)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """True if no more items are accepted."""
        return self._closed

    def put(self, item: T, timeout: float | None = None) -> None:
        """Append ``item``.

        Raises:
            HandoffTimeout: the queue stayed full.
            QueueClosed: the queue is closed; the item was not taken.
        """
        limit = self._limit(timeout)
        with self._emptied:
            free = self._emptied.wait_for(lambda: self._closed or len(self._items) < self.options.size, limit)
            if self._closed:
                raise QueueClosed(f"queue {self.name!r} is closed; the item was not taken")
            if not free:
                raise self._late("was full", limit)
            self._items.append((self._clock.monotonic(), item))
            self._filled.notify()

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item.

        Raises:
            HandoffTimeout: none came in time.
            QueueClosed: the queue is closed and empty.
        """
        limit = self._limit(timeout)
        with self._filled:
            some = self._filled.wait_for(lambda: self._closed or bool(self._items), limit)
            if self._items:
                # Look for items first, even in a closed queue: those put before the close are still handed
                # out.
                item = self._items.popleft()[1]
                self._emptied.notify()
                return item
            # Check the time after the items: one that came at the last moment is still taken.
            if not some:
                raise self._late("was empty", limit)
            raise QueueClosed(f"queue {self.name!r} is closed and empty")

    def close(self) -> None:
        """Accept no more items, and wake all waiting threads; items inside can still be taken."""
        with self._filled:
            self._closed = True
            # Wake all: there will be no more items to wake them.
            self._filled.notify_all()
            self._emptied.notify_all()
        # Nothing is left to stop, so stop listening to the signal.
        if self._forget is not None:
            self._forget()

    def drain(self) -> list[T]:
        """Close the queue and return the items left in it, oldest first, to be saved for the next start."""
        self.close()
        with self._filled:
            left = [item for _, item in self._items]
            self._items.clear()
            return left

    def stats(self) -> dict[str, Any]:
        """``name``, ``items``, ``size``, ``closed``, and ``oldest``: the first item's age in seconds."""
        with self._filled:
            oldest = self._clock.monotonic() - self._items[0][0] if self._items else None
            return {
                "name": self.name,
                "items": len(self._items),
                "size": self.options.size,
                "closed": self._closed,
                "oldest": oldest,
            }

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                yield self.get(threading.TIMEOUT_MAX)
            except QueueClosed:
                return

    def _limit(self, timeout: float | None) -> float:
        limit = self.options.timeout if timeout is None else timeout
        if not 0 <= limit <= threading.TIMEOUT_MAX:
            raise wrong("timeout", timeout, "seconds, zero or more")
        return limit

    def _late(self, state: str, limit: float) -> HandoffTimeout:
        held = f"{len(self._items)} of {self.options.size} items"
        return HandoffTimeout(f"queue {self.name!r} {state} for {limit:g} s ({held})")
