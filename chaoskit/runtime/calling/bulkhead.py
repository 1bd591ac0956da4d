"""Bulkhead: limits the number of concurrent calls, so that one slow service cannot occupy every thread."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeAlias, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import finished, is_async, protect, synchronous_all
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.taxonomy import BulkheadFull
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.locks import let_go
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit, wanted
from chaoskit.runtime.running.shutdown_records import ShuttingDown
from chaoskit.runtime.stop import Stop, watched

__all__ = ["Bulkhead", "BulkheadRejected"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadRejected(Event):
    """A call found no place after waiting ``waited`` seconds in the queue (0.0 if that was full too)."""

    name: ClassVar[str] = "bulkhead.rejected"

    bulkhead: str
    limit: int
    waited: float


Place: TypeAlias = list[bool]
"""Contains True while a caller holds a place; changed only under the bulkhead's lock."""


class _Waiter:
    """A caller in the queue; the call that hands its place over notes that in ``place``."""

    __slots__ = ("place", "wake")

    def __init__(self, wake: Callable[[], object], place: Place) -> None:
        self.place = place
        self.wake = wake


class Bulkhead(Lasting):
    """Lets ``limit`` calls run at the same time; ``queue`` more wait for a place, in order of arrival.

    Without a queue (the default), a call that finds no place is rejected at once with ``BulkheadFull``. In
    the queue it waits at most ``max_wait`` seconds (no limit by default), and never past the deadline in
    force. If a wait is interrupted or cancelled, the call leaves the queue and no place is lost. Setting
    ``wake``, such as ``shutdown.wake``, ends every wait within 50 ms with ``ShuttingDown``.

    Use it as a decorator for sync and async functions, as ``call(fn, ...)``, or with ``with`` and ``async
    with`` around a block, which holds one place. Threads and tasks of any event loop may share it. A function
    that calls itself through its own bulkhead takes two places, and ``limit`` such calls at once would wait
    for each other: set ``max_wait`` then. In a forked child all places are free. Raises ``UsageError`` for
    impossible limits.
    """

    def __init__(
        self,
        limit: int,
        *,
        queue: int = 0,
        max_wait: float = math.inf,
        name: str = "bulkhead",
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        listeners: Sequence[Listener] = (),
        wake: threading.Event | None = None,
    ) -> None:
        whole("limit", limit, 1)
        whole("queue", queue, 0)
        if not (is_number(max_wait) and max_wait >= 0):
            raise wrong("max_wait", max_wait, "zero or more seconds, or infinity")
        self.name = kinds.text("name", name)
        self.limit = limit
        self.listeners = synchronous_all("listener", listeners)
        self._queue = queue
        self._max_wait = float(max_wait)
        self._wake = kinds.event("wake", wake)
        self._clock = kinds.clock(clock)
        # Reentrant: a signal handler may make a call while its own thread holds the lock.
        self._lock = threading.RLock()
        self._free = limit
        self._waiters: deque[_Waiter] = deque()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<Bulkhead {self.name!r} {self.in_use} of {self.limit} in use, {self.waiting} waiting>"

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with its concurrency limited."""
        return protect("a bulkhead", fn, self._run, self._arun)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` once a place is free; if it is async, await the result as usual."""
        if is_async(fn):
            return cast(R, self._arun(fn, args, kwargs))
        return cast(R, finished("a bulkhead", fn, self._run(fn, args, kwargs)))

    def __enter__(self) -> None:
        place = [False]
        try:
            self._enter(place)
        except BaseException:
            self._leave(place)
            raise

    def __exit__(self, *exc: object) -> None:
        self._leave([True])

    async def __aenter__(self) -> None:
        place = [False]
        try:
            await self._aenter(place)
        except BaseException:
            self._leave(place)
            raise

    async def __aexit__(self, *exc: object) -> None:
        self._leave([True])

    @property
    def in_use(self) -> int:
        """How many calls are running."""
        return self.limit - self._free

    @property
    def waiting(self) -> int:
        """How many calls are in the queue."""
        return len(self._waiters)

    def _run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        # A signal handler may raise between any two calls. So the place is noted where it is taken, and the
        # lock is taken within the try, which a with statement does not do from CPython 3.14 on.
        place, lock = [False], self._lock
        try:
            try:  # _take_place, without its call
                lock.acquire()
                if self._free > 0:
                    self._free -= 1
                    place[0] = True
                lock.release()
            except BaseException:
                let_go(lock)
                raise
            if not place[0]:
                self._enter(place)
            # Merging an empty dict costs as much as the lock.
            return fn(*args, **kwargs) if kwargs else fn(*args)
        finally:
            try:
                self._leave(place)
            except BaseException:
                # An exception struck on the way into _leave: try again. A place that was given back already
                # is not given back twice.
                self._leave(place)
                raise

    async def _arun(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        place = [False]
        try:
            await self._aenter(place)
            return await fn(*args, **kwargs)
        finally:
            self._leave(place)

    def _take_place(self, place: Place) -> bool:
        # Tried first: nearly every call finds a place, and needs none of what a wait needs.
        lock = self._lock
        try:
            lock.acquire()
            if self._free > 0:
                self._free -= 1
                place[0] = True
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        return place[0]

    def _enter(self, place: Place) -> None:
        """Take a place, waiting if necessary. If this raises, the caller gives back any place that it got."""
        if self._take_place(place):
            return
        # An event for each waiter: a shared condition would wake all of them for a single place.
        event = threading.Event()
        waiter = _Waiter(event.set, place)
        try:
            if self._place_or_queue(waiter):
                return
            patience = self._patience()
            stop, forget = self._listen(event.set)
            try:
                # No thread can wait longer than TIMEOUT_MAX (292 years on Linux): practically forever.
                self._clock.sleep(min(patience, threading.TIMEOUT_MAX), event)
            finally:
                forget()
            self._granted_or_rejected(waiter, patience, stop.is_set())
        except BaseException:
            self._give_up(waiter)
            raise

    async def _aenter(self, place: Place) -> None:
        if self._queue:
            needs_asyncio("a bulkhead with a queue")
        if self._take_place(place):
            return
        if not self._queue:
            raise self._rejection(0.0)
        import asyncio  # 35 ms that a program without an event loop does not pay

        from chaoskit.runtime.timers import timer

        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        # The place may be freed in another thread, where setting an asyncio event would wake nothing.
        waiter = _Waiter(lambda: loop.call_soon_threadsafe(event.set), place)
        try:
            if self._place_or_queue(waiter):
                return
            patience = self._patience()
            stop, forget = self._listen(lambda: loop.call_soon_threadsafe(event.set))
            try:
                async with timer(None if patience == math.inf else patience, self._clock):
                    await event.wait()
            except TimeoutError:
                pass
            finally:
                forget()
            self._granted_or_rejected(waiter, patience, stop.is_set())
        except BaseException:
            self._give_up(waiter)
            raise

    def _listen(self, waker: Callable[[], object]) -> tuple[Stop, Callable[[], None]]:
        """Return a signal for one wait, set when ``wake`` is, that calls ``waker``; and what cancels it."""
        stop = Stop()
        stop.tell(waker)
        return stop, (lambda: None) if self._wake is None else watched(self._wake, stop)

    def _patience(self) -> float:
        left = remaining()
        return self._max_wait if left is None else min(self._max_wait, left)

    def _place_or_queue(self, waiter: _Waiter) -> bool:
        """Take a place (True) or one in the queue (False); raises ``BulkheadFull`` if there is neither."""
        lock, is_full = self._lock, False
        try:
            lock.acquire()
            if self._free > 0:
                self._free -= 1
                waiter.place[0] = True
            elif len(self._waiters) < self._queue:
                self._waiters.append(waiter)
            else:
                is_full = True
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        if is_full:
            raise self._rejection(0.0)
        return waiter.place[0]

    def _granted_or_rejected(self, waiter: _Waiter, waited: float, woken: bool) -> None:
        """End a wait: return if a place was granted, even at the last moment, else raise the reason."""
        if self._give_up(waiter):
            return
        if woken:
            raise ShuttingDown(f"{self.name}: the wait for a place was ended by its wake signal")
        raise self._rejection(waited)

    def _give_up(self, waiter: _Waiter) -> bool:
        """Leave the queue; return True if a place came before that, which the caller must then give back."""
        lock = self._lock
        try:
            lock.acquire()
            if not waiter.place[0] and waiter in self._waiters:
                self._waiters.remove(waiter)
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        return waiter.place[0]

    def _leave(self, place: Place) -> None:
        """Hand the place to the first in the queue, or free it; do nothing if this caller holds none."""
        lock = self._lock
        try:
            lock.acquire()
            if place[0] and not (self._waiters and self._hand_over(place)):
                # Not above the limit: see _after_fork.
                self._free = free if (free := self._free + 1) < self.limit else self.limit
                place[0] = False
            lock.release()
        except BaseException:
            let_go(lock)
            raise

    def _hand_over(self, place: Place) -> bool:
        """Give ``place`` to the first in the queue that can take it; False if none can."""
        while self._waiters:
            waiter = self._waiters[0]
            # Handed over directly: if the place were freed first, a call that arrives now would overtake the
            # queue. There is no call between the two lines, so no signal handler can come between them.
            del self._waiters[0]
            waiter.place[0], place[0] = True, False
            try:
                waiter.wake()
            except RuntimeError:
                # The waiter's event loop was closed, so there is no caller left to take the place.
                waiter.place[0], place[0] = False, True
                continue
            except BaseException:
                waiter.wake()
                raise
            return True
        return False

    def _rejection(self, waited: float) -> BulkheadFull:
        if wanted(self.listeners):
            now = self._clock.monotonic()
            emit(
                self.listeners, BulkheadRejected(at=now, bulkhead=self.name, limit=self.limit, waited=waited)
            )
        return BulkheadFull(
            f"{self.name}: all {self.limit} places are taken, and so are the {self._queue} in the queue"
            if waited == 0.0
            else f"{self.name}: none of the {self.limit} places became free within {waited:.3g} s",
            context={"bulkhead": self.name, "limit": self.limit},
        )

    def _after_fork(self) -> None:
        # The parent's callers do not exist here. Only the forking thread may be one, and then gives back one
        # place too many when it leaves: hence the limit in _leave.
        self._free = self.limit
        self._waiters.clear()
