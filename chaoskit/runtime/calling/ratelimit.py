"""Rate limiter: a given number of calls per second, with a burst; other calls wait or are rejected."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import finished, is_async, protect, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.taxonomy import Throttled
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.locks import let_go
from chaoskit.runtime.numbers import is_number, is_whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit, wanted
from chaoskit.runtime.running.shutdown_records import ShuttingDown
from chaoskit.runtime.stop import sleep_async

__all__ = ["Bucket", "RateLimit", "RateLimiter", "RateWaited"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
# When the bucket would be full again: before a turn was taken from it, and after.
Ticket = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateWaited(Event):
    """A call waits ``wait`` seconds for its turn, or (``rejected``) would have to wait longer than it may."""

    name: ClassVar[str] = "ratelimit.waited"

    limiter: str
    wait: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One rate: ``calls`` in each ``per`` seconds, evenly, and ``burst`` at once after a pause.

    Raises ``UsageError`` for an impossible rate.
    """

    calls: float
    per: float = 1.0
    burst: int = 1

    def __post_init__(self) -> None:
        _positive("calls", self.calls)
        _positive("per", self.per)
        # The slack of a burst is kept as a float, hence is_number: 10**400 would overflow later.
        if not (is_whole(self.burst) and is_number(self.burst) and self.burst >= 1):
            raise wrong("burst", self.burst, "a whole number of 1 or more")

    def __str__(self) -> str:
        return f"{self.calls:g} calls per {self.per:g} s, burst {self.burst}"


class Bucket:
    """The decision alone: when the next call may go, in constant memory; no clock, no lock.

    It is the Generic Cell Rate Algorithm (ITU-T I.371, annex A) in its virtual-scheduling form: one number,
    the time at which the bucket would be full again. In any period of ``t`` seconds at most ``burst + t /
    interval`` calls go.
    """

    __slots__ = ("_full_at", "_interval", "_slack")

    def __init__(self, interval: float, burst: int) -> None:
        self._interval = interval
        # One less than the burst: the first call of a burst needs no slack.
        self._slack = interval * (burst - 1)
        # The bucket starts full: the first calls of a program need not wait.
        self._full_at = -math.inf

    def wait(self, now: float) -> float:
        """Seconds from ``now`` until the next call may go."""
        return max(0.0, self._full_at - self._slack - now)

    def reserve(self, at: float) -> Ticket:
        """Let a call go at the moment ``at``, which must not be before the one from :meth:`wait`."""
        before = self._full_at
        # Idle time beyond the burst is not saved up.
        self._full_at = max(before, at) + self._interval
        return before, self._full_at

    def give_back(self, ticket: Ticket) -> None:
        """Undo :meth:`reserve` for a call that did not go.

        Only the newest can be undone: later calls have their turns already, and moving the next call ahead of
        them would let two go at the same time.
        """
        before, after = ticket
        if after == self._full_at:
            self._full_at = before


class RateLimiter(Lasting):
    """Lets ``calls`` go in each ``per`` seconds, evenly, and ``burst`` at once after a pause.

    ``also`` has further rates that apply at the same time: ten a second, and a thousand an hour. A call that
    one of them rejects uses up none.

    A call whose turn comes later waits for it, in the order of arrival, but no longer than ``max_wait``
    seconds (0 by default: it never waits) nor past the deadline in force. A call that would have to is
    rejected at once with ``Throttled``, whose ``retry_after`` is the wait that it would have needed. If a
    wait is interrupted, the turn is given back, unless a later call has been given its turn already. Setting
    ``wake``, such as ``shutdown.wake``, ends every wait within 50 ms with ``ShuttingDown``.

    Use it as a decorator for sync and async functions, as ``call(fn, ...)``, or with ``with`` and ``async
    with`` around a block, which waits for its turn first. Threads and tasks may share it; a forked child has
    the same limit to itself. Raises ``UsageError`` for impossible rates.
    """

    def __init__(
        self,
        calls: float,
        *,
        per: float = 1.0,
        burst: int = 1,
        also: Sequence[RateLimit] = (),
        max_wait: float = 0.0,
        name: str = "rate limiter",
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        listeners: Sequence[Listener] = (),
        wake: threading.Event | None = None,
    ) -> None:
        rates = (RateLimit(calls, per, burst), *kinds.listed("also", also, RateLimit))
        if not (is_number(max_wait) and max_wait >= 0):
            raise wrong("max_wait", max_wait, "zero or more seconds")
        self.name = kinds.text("name", name)
        self.listeners = synchronous_all("listener", listeners)
        self._clock = kinds.clock(clock)
        self._max_wait = float(max_wait)
        self._wake = kinds.event("wake", wake)
        self._buckets = tuple(Bucket(rate.per / rate.calls, rate.burst) for rate in rates)
        self._lock = threading.RLock()
        self._text = "; ".join(map(str, rates))
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<RateLimiter {self.name!r} {self._text}>"

    def __call__(self, fn: F) -> F:
        """Return ``fn`` limited."""
        return protect("a rate limiter", fn, self._run, self._arun)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` when its turn comes; if it is async, await the result as usual."""
        if is_async(fn):
            return cast(R, self._arun(fn, args, kwargs))
        return cast(R, finished("a rate limiter", fn, self._run(fn, args, kwargs)))

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        """Nothing is held, so nothing is given back."""

    async def __aenter__(self) -> None:
        await self.aacquire()

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is held, so nothing is given back."""

    def acquire(self) -> None:
        """Wait for a turn.

        Raises:
            Throttled: the turn comes later than this call may wait.
            ShuttingDown: ``wake`` was set during the wait.
        """
        wait, tickets = self._take()
        try:
            self._check_woken(self._clock.sleep(wait, self._wake) if wait > 0 else False)
        except BaseException:
            self._give_back(tickets)
            raise

    async def aacquire(self) -> None:
        """Wait for a turn without blocking the event loop; raises the same errors as :meth:`acquire`."""
        wait, tickets = self._take()
        if wait > 0:
            try:
                self._check_woken(await sleep_async(self._clock, wait, self._wake))
            except BaseException:
                self._give_back(tickets)
                raise

    def _run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.acquire()
        return fn(*args, **kwargs)

    async def _arun(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        await self.aacquire()
        return await fn(*args, **kwargs)

    def _take(self) -> tuple[float, tuple[Ticket, ...]]:
        left = remaining()
        patience = self._max_wait if left is None else min(self._max_wait, left)
        lock = self._lock
        try:
            # Not by a with statement: from CPython 3.14 on a signal handler may raise between its two steps.
            lock.acquire()
            # Read under the lock: turns are given in the order of these readings.
            now = self._clock.monotonic()
            wait = max([bucket.wait(now) for bucket in self._buckets])
            # All or none: a turn taken from one rate for a call that another rate rejects would be lost.
            late = wait > patience
            tickets = () if late else tuple([bucket.reserve(now + wait) for bucket in self._buckets])
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        if wait > 0 and wanted(self.listeners):
            event = RateWaited(at=now, limiter=self.name, wait=wait, rejected=late)
            emit(self.listeners, event)
        if late:
            raise Throttled(
                f"{self.name}: {self._text}; the next turn is in {wait:.3g} s, "
                f"more than the {patience:.3g} s that this call may wait",
                retry_after=wait,
                context={"limiter": self.name},
            )
        return wait, tickets

    def _check_woken(self, woken: bool) -> None:
        if woken:
            raise ShuttingDown(f"{self.name}: the wait for a turn was ended by its wake signal")

    def _give_back(self, tickets: tuple[Ticket, ...]) -> None:
        lock = self._lock
        try:
            lock.acquire()
            for bucket, ticket in zip(self._buckets, tickets, strict=True):
                bucket.give_back(ticket)
            lock.release()
        except BaseException:
            let_go(lock)
            raise

    def _after_fork(self) -> None:
        """Do nothing: the turns that the parent's callers took cost the child a pause at most."""


def _positive(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and is_number(value) and 0 < value < math.inf):
        raise wrong(name, value, "a finite number, more than zero")
