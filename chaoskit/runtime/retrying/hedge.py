"""Hedging: if the answer is late, call again, and take whichever answer comes first.

Source: J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013. With a delay at
the 95th percentile it costs 5 % more requests and removes most of the tail. Only for calls that may be made
twice.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import is_async
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import Category
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.retrying.backoff import LONGEST_WAIT
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.rules import Matcher, On

__all__ = ["hedge"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_CLOCK = SystemClock()


def hedge(
    *,
    after: float,
    extra: int = 1,
    on: On = (Category.TRANSIENT, Category.RESOURCE),
    budget: RetryBudget | None = None,
    clock: Clock = _CLOCK,
) -> Callable[[Callable[_P, Awaitable[_R]]], Callable[_P, Coroutine[Any, Any, _R]]]:
    """Decorate a coroutine function: after every ``after`` seconds without an answer, start one more call.

    There are at most ``extra`` more calls. The first one that succeeds wins; the others are cancelled and
    awaited. An error that ``on`` names (as in :class:`~chaoskit.runtime.RetryPolicy`; by default transient
    errors and a lack of resources) starts the next call early; any other error ends the race and is raised at
    once. If all calls fail, the first call's error is raised. With a ``budget``, each extra call is charged
    like a retry, and left out if the budget is used up. Raises ``UsageError`` for impossible numbers, and for
    a function that is not a coroutine function.
    """
    if not (is_number(after) and 0 < after <= LONGEST_WAIT):
        raise wrong("after", after, "more than 0 seconds, best the time in which 95 % of the calls answer")
    whole("extra", extra, 1)
    kinds.able("budget", budget, "a RetryBudget", "request", "take", optional=True)
    kinds.clock(clock)
    matcher = Matcher(on)

    def decorate(fn: Callable[_P, Awaitable[_R]]) -> Callable[_P, Coroutine[Any, Any, _R]]:
        if isinstance(fn, staticmethod | classmethod):
            # The function inside is hedged, so that the method binds as before.
            return cast(Any, type(fn)(decorate(fn.__func__)))  # type: ignore[no-any-return]
        _check_cancellable(fn)

        @functools.wraps(fn)
        async def hedged(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            needs_asyncio("a hedge")
            if budget is not None:
                budget.request(clock.monotonic())
            race: _Race[_R] = _Race(functools.partial(fn, *args, **kwargs), matcher)

            def is_paid() -> bool:
                return budget is None or budget.take(clock.monotonic()) is not None

            try:
                return await race.run(after, extra, is_paid)
            finally:
                await race.stop()

        return hedged

    return decorate


def _check_cancellable(fn: Callable[..., Any]) -> None:
    if not is_async(fn):
        raise wrong("the function to hedge", fn, "a coroutine function", "Python cannot cancel any other.")


class _Race(Generic[_R]):
    """The calls in progress for one hedged call."""

    def __init__(self, call: Callable[[], Awaitable[_R]], matcher: Matcher) -> None:
        self._call = call
        self._matcher = matcher
        self._tasks: list[asyncio.Task[_R]] = []

    async def run(self, after: float, extra: int, may_start: Callable[[], bool]) -> _R:
        """Return the first answer; ``may_start`` is asked before each of the ``extra`` calls."""
        self._start()
        while True:
            more = len(self._tasks) <= extra
            running = [task for task in self._tasks if not task.done()]
            if running:
                timeout = after if more else None
                await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            ended = [task for task in self._tasks if task.done() and not task.cancelled()]
            winner = next((task for task in ended if task.exception() is None), None)
            if winner is not None:
                return winner.result()
            lost = next((task for task in self._tasks if self._is_final(task)), None)
            if lost is not None:
                return lost.result()
            if more and may_start():
                self._start()
            elif all(task.done() for task in self._tasks):
                # The first call is the one that was asked for, so its outcome counts.
                return self._tasks[0].result()
            else:
                # The budget is used up: wait for the calls in progress, and start no more.
                extra = 0

    async def stop(self) -> None:
        """Cancel the remaining calls and wait for their end: no call outlives its caller."""
        for task in self._tasks:
            task.cancel()
        # Retrieving the losers' errors keeps asyncio from reporting them as never retrieved.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _is_final(self, task: asyncio.Task[_R]) -> bool:
        """Return True if the call failed in a way that another call would repeat."""
        if not task.done() or task.cancelled() or (error := task.exception()) is None:
            return False
        matcher = self._matcher
        decision = matcher.classify(error, None) if matcher.classifies else None
        return not matcher.matches(error, decision)

    def _start(self) -> None:
        self._tasks.append(asyncio.ensure_future(_awaited(self._call)))


async def _awaited(call: Callable[[], Awaitable[_R]]) -> _R:
    # The call is made in the task: an error that it raises before its first await is then the task's.
    return await call()
