"""Retried coroutine functions: cancellation, tasks that share a policy, deadlines that cut an attempt.

The event loop runs in virtual time, so that waits and time-outs take no real time.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import LIMITS, SECONDS, SMALL, shows
from chaoskit.contracts.virtual import run

__all__ = ["TASKS"]


async def _outcome(awaitable: Any) -> tuple[str, Any]:
    """``("value", v)`` or ``("error", e)``; a cancellation counts as an error here."""
    try:
        return "value", await awaitable
    except BaseException as error:
        return "error", error


def _failing(failures: float, cost: float = 0.0) -> tuple[Callable[..., Any], list[float]]:
    """A coroutine function that fails ``failures`` times, after ``cost`` seconds each; and its call times."""
    starts: list[float] = []

    async def work(value: Any = None) -> Any:
        starts.append(asyncio.get_running_loop().time())
        number = len(starts)
        await asyncio.sleep(cost)
        if number <= failures:
            raise ConnectionError(number)
        return value

    return work, starts


def cancelled(adapter: RetryAdapter, example: tuple[float, float, bool, int]) -> None:
    """R6: a task that is cancelled, in an attempt or in a wait, ends at that moment, as cancelled."""
    cost, when, anything, after_turns = example
    anything = anything and "predicate" in adapter.features
    plan = RetryPlan(
        on=(Exception,),
        predicate=(lambda error: True) if anything else None,
        attempts=20,
        initial=1.0,
        cap=2.0,
    )
    with adapter.world() as clock:
        work, starts = _failing(math.inf, cost)

        async def body() -> None:
            task = asyncio.ensure_future(adapter.awrap(work, plan)())
            await asyncio.sleep(when)
            # A few turns more, so that some cancellations come between a sleep and the next attempt.
            for _ in range(after_turns):
                await asyncio.sleep(0)
            # From here on there must be no call, and no time may pass.
            began, at = len(starts), clock.monotonic()
            task.cancel()
            # Not ``await task``, which would wait for the end of a task that swallows its cancellation.
            await asyncio.wait([task], timeout=100.0)
            demand(task.done(), "the task goes on after its cancellation")
            demand(task.cancelled(), f"the task ended with {_end(task)} instead of as cancelled")
            demand(len(starts) == began, "another attempt was made after the cancellation")
            demand(clock.monotonic() == at, f"it took {clock.monotonic() - at} s to obey")

        run(clock, body)


def _end(task: asyncio.Future[Any]) -> str:
    return "cancellation" if task.cancelled() else repr(task.exception() or task.result())


def own_results(adapter: RetryAdapter, failures: list[int]) -> None:
    """R9: tasks that share a policy, at the same time, get their own results or errors."""
    with adapter.world() as clock:
        left = dict(enumerate(failures))

        async def work(caller: int) -> int:
            # Of different lengths, so that attempts of one task overlap with waits of another.
            await asyncio.sleep(0.1 * (caller + 1))
            left[caller] -= 1
            if left[caller] >= 0:
                raise ConnectionError(caller)
            return caller

        async def body() -> list[tuple[str, Any]]:
            wrapped = adapter.awrap(work, RetryPlan(attempts=3, initial=0.1))
            return await asyncio.gather(*(_outcome(wrapped(caller)) for caller in left))

        # With three attempts, a call survives two failures and not three.
        for caller, (kind, got) in enumerate(run(clock, body)):
            if failures[caller] < 3:
                demand(
                    (kind, got) == ("value", caller),
                    f"task {caller}, {failures[caller]} failures, got {kind} {got!r}",
                )
            else:
                demand(kind == "error" and _argument(got) == caller, f"task {caller} got {kind} {got!r}")


def _argument(error: BaseException) -> object:
    while not isinstance(error, ConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    return error.args[0] if error.args else None


def cut(adapter: RetryAdapter, example: tuple[float, float, float]) -> None:
    """R12: an attempt of an async function that would outlast the deadline is cut off there."""
    deadline, cost, initial = example
    with adapter.world() as clock:
        work, starts = _failing(math.inf, cost)

        async def body() -> tuple[str, Any]:
            wrapped = adapter.awrap(
                work, RetryPlan(attempts=50, deadline=deadline, initial=initial, cap=initial)
            )
            return await _outcome(wrapped())

        begun = clock.monotonic()
        kind, got = run(clock, body)
        # In virtual time, so that the limit is exact.
        took = clock.monotonic() - begun
        # The attempt is cut off by a cancellation, which must not reach a caller that cancelled nothing.
        demand(kind == "error" and not isinstance(got, asyncio.CancelledError), f"it ended with {got!r}")
        demand(took <= deadline + 1e-6, f"it took {took} s, the deadline was {deadline} s")
        late = [start - begun for start in starts if start - begun > deadline]
        demand(not late, f"an attempt started at {late[:1]} s, the deadline was {deadline} s")


def told_apart(adapter: RetryAdapter, which: int) -> None:
    """R16: a synchronous function given to the async interface is refused, or retried anyway."""
    calls = itertools.count(1)

    def work() -> str:
        if next(calls) <= 2:
            raise ConnectionError
        return "done"

    class SyncCallee:
        def __call__(self) -> str:
            return work()

    fn = (work, partial(work), SyncCallee(), lambda: work())[which]
    with adapter.world() as clock:

        async def body() -> tuple[str, Any]:
            try:
                awaitable = adapter.awrap(fn, RetryPlan(initial=0.0))()
            except Exception:
                return "value", "refused"
            kind, got = await _outcome(awaitable)
            # The function's own error shows that it was called and not retried; any other is a refusal.
            refused = kind == "error" and not isinstance(got, ConnectionError)
            return ("value", "refused") if refused else (kind, got)

        kind, got = run(clock, body)
        demand(kind == "value" and got in ("done", "refused"), f"the retry was never in force: {got!r}")


def stays_async(adapter: RetryAdapter, failures: int) -> None:
    """R24: a coroutine function stays one, and raises its own last error like a synchronous one."""
    with adapter.world() as clock:
        work, starts = _failing(failures)
        wrapped = adapter.awrap(work, RetryPlan(attempts=3, initial=0.1))
        demand(inspect.iscoroutinefunction(wrapped), "it is not a coroutine function any more")

        async def body() -> tuple[str, Any]:
            return await _outcome(wrapped("v"))

        kind, got = run(clock, body)
        demand(len(starts) == min(3, failures + 1), f"{len(starts)} calls")
        if failures < 3:
            demand((kind, got) == ("value", "v"), f"it ended with {got!r}")
        else:
            demand(shows(got, got) and _argument(got) == 3, f"{got!r} hides the last error")


_ASYNC = frozenset({"async"})

TASKS = (
    Row(
        "R6",
        "cancellation wins at once",
        cancelled,
        st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 5.0), st.booleans(), st.integers(0, 3)),
        _ASYNC,
    ),
    Row(
        "R9",
        "tasks sharing a policy get their own results",
        own_results,
        st.lists(SMALL, min_size=2, max_size=6),
        _ASYNC,
    ),
    Row(
        "R12",
        "an attempt is cut at the deadline",
        cut,
        st.tuples(SECONDS, st.floats(0.01, 20.0), st.floats(0.01, 3.0)),
        frozenset({"async", "cuts", "deadline"}),
    ),
    Row("R16a", "synchronous functions are told apart", told_apart, st.integers(0, 3), _ASYNC),
    Row("R24a", "a coroutine function stays one", stays_async, LIMITS, _ASYNC),
)
