"""Timeout of one call, and total deadline of everything inside a call.

An async call is cut off by cancellation. A sync call cannot be cut off, since Python has no safe way to stop
a thread; it can be left behind in its thread, if the user allows it and says for how many threads.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, ParamSpec, TypeVar, cast

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import deadlines as total
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import OpenBlocks
from chaoskit.runtime.calling.callables import finished, is_async, protect, synchronous_all
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import AttemptTimedOut, BulkheadFull, DeadlineExceeded
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit, wanted

__all__ = ["Deadline", "TimedOut", "Timeout"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(Event):
    """A call was cut off, or (``abandoned``) left behind in its thread, after ``seconds``.

    With ``total``, the deadline in force ran out, not the timeout of this call.
    """

    name: ClassVar[str] = "timeout.expired"

    seconds: float
    total: bool
    abandoned: bool


class Timeout(Lasting):
    """Gives a call ``seconds``, then raises ``AttemptTimedOut``, or ``DeadlineExceeded`` at the deadline.

    An async function is cancelled and awaited: its ``finally`` blocks are done before the error comes, and a
    cancellation from outside stays a cancellation. Inside the call the time limit is the deadline in force
    (:mod:`chaoskit.runtime.deadlines`), for any code that can be told how long to wait.

    A sync function is refused unless ``abandon`` is given: the most threads that may be left running. It then
    runs in a thread with the caller's context variables; when the time is over, the caller goes on and the
    thread stays behind until the function returns by itself. As each call may have to be left behind, at most
    ``abandon`` calls run at a time, including those left behind; further ones are rejected with
    ``BulkheadFull``.

    ``async with`` cuts off a block in the same way. ``with`` is refused, since a synchronous block can
    neither be cut off nor left behind. Time is measured by ``clock``, which may be a virtual one.
    """

    def __init__(
        self,
        seconds: float,
        *,
        abandon: int = 0,
        listeners: Sequence[Listener] = (),
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> None:
        _check_seconds(seconds)
        self.seconds = seconds
        self.abandon = whole("abandon", abandon, 0)
        self.listeners = synchronous_all("listener", listeners)
        self._clock = kinds.clock(clock)
        self._lock = threading.RLock()
        self._running = 0
        self._abandoned = 0
        self._entered: OpenBlocks[_CutBlock] = OpenBlocks("a timeout")
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<Timeout {self.seconds:g} s>"

    @property
    def abandoned(self) -> int:
        """How many threads are left behind and still running."""
        return self._abandoned

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with a time limit; refuses a sync ``fn`` without ``abandon``."""
        self._check_kind(fn.__func__ if isinstance(fn, staticmethod | classmethod) else fn)
        return protect("a timeout", fn, self._run, self._arun)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` with a time limit; if it is async, await the result as usual."""
        if is_async(fn):
            return cast(R, self._arun(fn, args, kwargs))
        self._check_kind(fn)
        return cast(R, finished("a timeout", fn, self._run(fn, args, kwargs)))

    def __enter__(self) -> NoReturn:
        raise UsageError(
            "A timeout cannot cut a synchronous block: Python has no safe way to stop a thread. "
            "Use 'async with', or call(fn) with abandon=N, or 'with Deadline(...)' and ask remaining()."
        )

    def __exit__(self, *exc: object) -> None:
        """Never reached."""

    async def __aenter__(self) -> None:
        cut = self._cut()
        await cut.__aenter__()
        self._entered.push(cut)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._entered.pop().__aexit__(kind, error, trace)

    def _cut(self) -> _CutBlock:
        needs_asyncio("a timeout")
        seconds, is_total = self._limit()
        return _CutBlock(seconds, self._clock, lambda: self._expired(seconds, is_total, abandoned=False))

    def _check_kind(self, fn: Callable[..., Any]) -> None:
        if callable(fn) and not is_async(fn) and self.abandon == 0:
            raise wrong(
                "the function given to a timeout",
                fn,
                "an async function",
                "A sync function cannot be interrupted: give abandon=N to leave up to N threads behind, or "
                "have the function ask chaoskit.runtime.remaining() and stop by itself.",
            )

    async def _arun(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        async with self._cut():
            return await fn(*args, **kwargs)

    def _run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with self._lock:
            if self._running >= self.abandon:
                raise BulkheadFull(
                    f"{self._running} calls run, {self._abandoned} of them left behind; {self.abandon} may",
                    context={"running": self._running, "abandoned": self._abandoned},
                )
            # Counted from its start, not from when it is left behind: many calls may time out at once.
            self._running += 1
        seconds, is_total = self._limit()
        end = self._clock.monotonic() + seconds
        try:
            with total.deadline(seconds, clock=self._clock):
                # The thread copies the context when it is made, including the deadline that has just been
                # set.
                work = _Work(fn, args, kwargs, self._came_back)
        except BaseException:
            self._came_back(left_behind=False)
            raise
        alarm = getattr(self._clock, "alarm", None)
        # A virtual clock calls back when the time is over; with a real one, wait for it.
        forget = None if alarm is None else alarm(end, work.done.set)
        work.done.wait(seconds if forget is None else None)
        if forget is not None:
            forget()
        if self._leave_behind(work):
            raise self._expired(seconds, is_total, abandoned=True)
        return work.outcome()

    def _limit(self) -> tuple[float, bool]:
        """The seconds for this call, and True if they are what is left of the deadline in force."""
        left = total.remaining()
        # The error depends on which of the two it is: a cut attempt may be retried, a passed deadline may
        # not.
        return (self.seconds, False) if left is None or left >= self.seconds else (left, True)

    def _leave_behind(self, work: _Work) -> bool:
        """Count the thread of ``work`` as left behind; return False if it returned at the last moment."""
        with self._lock:
            if not work.leave_behind():
                return False
            self._abandoned += 1
            return True

    def _came_back(self, left_behind: bool) -> None:
        with self._lock:
            # Not below zero: a fork resets the count, and the forking thread's call still returns once.
            self._running = max(0, self._running - 1)
            if left_behind:
                self._abandoned = max(0, self._abandoned - 1)

    def _expired(self, seconds: float, is_total: bool, *, abandoned: bool) -> Exception:
        if wanted(self.listeners):
            now = self._clock.monotonic()
            emit(self.listeners, TimedOut(at=now, seconds=seconds, total=is_total, abandoned=abandoned))
        if is_total:
            return _exceeded(seconds)
        return AttemptTimedOut(f"the call took longer than {seconds:g} s")

    def _after_fork(self) -> None:
        self._running = self._abandoned = 0


class _Work:
    """A sync call in a daemon thread, which need not be joined."""

    __slots__ = ("_ended", "_error", "_left", "_lock", "_on_return", "_value", "done")

    def __init__(
        self, fn: Callable[..., Any], args: Any, kwargs: Any, on_return: Callable[[bool], None]
    ) -> None:
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._value: Any = None
        self._error: BaseException | None = None
        self._on_return = on_return
        # The lock decides which of the two comes first; the other has no effect.
        self._ended = self._left = False
        # A new thread starts with an empty context: without this, the correlation id would be lost.
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._do, fn, args, kwargs), name="chaoskit-timeout", daemon=True
        )
        thread.start()

    def _do(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            self._value = fn(*args, **kwargs)
        except BaseException as error:
            self._error = error
        with self._lock:
            self._ended = True
        # Before the caller goes on: its next call must find the place free. Not under this lock: the call
        # takes the timeout's lock, and elsewhere the two are taken in the opposite order.
        self._on_return(self._left)
        self.done.set()

    def leave_behind(self) -> bool:
        """Have the caller go on without the call; return False if it has returned already."""
        with self._lock:
            if self._ended:
                return False
            self._left = True
            return True

    def outcome(self) -> Any:
        """Return or raise the call's outcome; the error is released, so that it keeps no argument alive."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error


class Deadline:
    """Gives everything inside a call ``seconds`` in total, including waits and retries.

    It is the deadline in force for all code that asks: retries, limiters, timeouts, the user's code. When it
    passes, an async call is cut off; a sync one is not. In both, whatever notices it raises
    ``DeadlineExceeded``. An earlier outer deadline stays in force.

    Decorator, ``call(fn, ...)``, or ``with`` and ``async with`` around a block. ``clock`` measures the time.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> None:
        _check_seconds(seconds)
        self.seconds = seconds
        self._clock = kinds.clock(clock)
        self._entered: OpenBlocks[Any] = OpenBlocks("a deadline")

    def __repr__(self) -> str:
        return f"<Deadline {self.seconds:g} s>"

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with a total deadline."""
        return protect("a deadline", fn, self._run, self._arun)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` with a total deadline; if it is async, await the result as usual."""
        if is_async(fn):
            return cast(R, self._arun(fn, args, kwargs))
        return cast(R, finished("a deadline", fn, self._run(fn, args, kwargs)))

    def __enter__(self) -> None:
        within = total.deadline(self.seconds, clock=self._clock)
        within.__enter__()
        self._entered.push(within)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._entered.pop().__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        cut = self._cut()
        await cut.__aenter__()
        self._entered.push(cut)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._entered.pop().__aexit__(kind, error, trace)

    def _run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with total.deadline(self.seconds, clock=self._clock):
            return fn(*args, **kwargs)

    async def _arun(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        async with self._cut():
            return await fn(*args, **kwargs)

    def _cut(self) -> _CutBlock:
        needs_asyncio("a deadline")
        left = total.remaining()
        # An outer deadline may use another clock, but the seconds that are left are the same.
        seconds = self.seconds if left is None else min(self.seconds, left)
        return _CutBlock(seconds, self._clock, lambda: _exceeded(seconds))


class _CutBlock:
    """Gives a task's block ``seconds``, then cancels it and raises ``expired()``."""

    __slots__ = ("_clock", "_expired", "_seconds", "_timer", "_within")

    def __init__(self, seconds: float, clock: Clock, expired: Callable[[], Exception]) -> None:
        self._seconds, self._clock, self._expired = seconds, clock, expired

    async def __aenter__(self) -> None:
        # asyncio takes 35 ms to import, which a program without an event loop should not pay.
        from chaoskit.runtime.timers import timer

        self._timer = timer(self._seconds, self._clock)
        await self._timer.__aenter__()
        self._within = total.deadline(self._seconds, clock=self._clock)
        self._within.__enter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._within.__exit__(None, None, None)
        try:
            # A TimeoutError of the block itself did not come from here, and passes on.
            await self._timer.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self._expired() from late


def _exceeded(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"the deadline passed {seconds:.3g} s into the call")


def _check_seconds(seconds: float) -> None:
    if not (isinstance(seconds, int | float) and is_number(seconds) and 0 < seconds < math.inf):
        raise wrong("seconds", seconds, "finite seconds, more than zero")
