"""The A rows: what a retried coroutine sees, and that every function that is accepted is run.

The event loop runs in virtual time, so that waits and time-outs take no real time.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Any, TypeAlias

from hypothesis import strategies as st

from chaoskit.contracts.memory import deep_size
from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import LAZY, LIMITS, SMALL, Failing, function, lazy, outcome, shows
from chaoskit.contracts.retry_rows.observers import errors_logged, nothing_logged
from chaoskit.contracts.virtual import RecordingClock, run

__all__ = ["ASYNC"]

Steps: TypeAlias = list[tuple[str, bool, bool]]
Seen: TypeAlias = list[tuple[Any, ...]]

GLANCE = 0.05
"""Seconds within which a signal must end a wait."""


class _NotedBlock:
    """A context manager that notes how its block ended."""

    def __init__(self, seen: Seen, number: int) -> None:
        self._seen, self._number = seen, number

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.sleep(0)
        self._seen.append((self._number, "left", kind))


async def _step(kind: str, number: int) -> None:
    if kind == "sleep":
        await asyncio.sleep(0.5)
    elif kind == "fail":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.125, future.set_exception, LookupError(number))
        await future
    else:
        async with asyncio.timeout(0.25):
            await asyncio.sleep(60.0)


async def _work(steps: Steps, seen: Seen) -> str:
    """A coroutine that waits in several ways, handles some errors, and waits again while it cleans up."""
    for number, (kind, handled, alone) in enumerate(steps):
        try:
            async with nullcontext() if alone else _NotedBlock(seen, number):
                await _step(kind, number)
            seen.append((number, "went on"))
        except (LookupError, TimeoutError) as error:
            seen.append((number, "caught", type(error)))
            if not handled:
                raise
        except asyncio.CancelledError:
            seen.append((number, "cancelled"))
            await asyncio.sleep(0.25)
            seen.append((number, "cleaned up"))
            raise
        finally:
            seen.append((number, "finally"))
    return "done"


def _observed(
    clock: RecordingClock, wrap: Callable[[Callable[..., Any]], Any], steps: Steps, cancels: list[float]
) -> tuple[Seen, str]:
    """What the coroutine saw, and how its task ended, when it was cancelled after each of ``cancels``."""
    seen: Seen = []

    async def work() -> str:
        return await _work(steps, seen)

    async def main() -> str:
        task = asyncio.ensure_future(wrap(work)())
        for pause in cancels:
            await asyncio.wait([task], timeout=pause)
            task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else repr(task.exception() or task.result())

    return seen, run(clock, main)


def transparent(adapter: RetryAdapter, example: tuple[Steps, list[float]]) -> None:
    """A1: results, errors, time-outs and cancellations reach the coroutine as they would without a retry."""
    steps, cancels = example
    plan = RetryPlan(deadline=1000.0 if "deadline" in adapter.features else None)
    with adapter.world() as clock:
        expected = _observed(clock, lambda work: work, steps, cancels)
    with adapter.world() as clock:
        got = _observed(clock, lambda work: adapter.awrap(work, plan), steps, cancels)
    demand(got == expected, f"it saw {got} instead of {expected}")


def awaited_or_refused(adapter: RetryAdapter, example: tuple[str, bool]) -> None:
    """A2: an async predicate is awaited, refused or reported; its coroutine is never taken for True."""
    shape, as_task = example
    ran: list[bool] = []
    predicate = lazy(shape, ran)
    work = Failing(math.inf)
    with adapter.world() as clock, errors_logged() as logged, warnings.catch_warnings():
        # A coroutine that was never awaited is what this row looks for; Python's warning would repeat it.
        warnings.simplefilter("ignore")
        plan = RetryPlan(on=(Exception,), predicate=predicate)
        try:
            if as_task and "async" in adapter.features:

                async def awork() -> None:
                    work()

                wrapped = adapter.awrap(awork, plan)
                outcome(run, clock, wrapped)
            else:
                outcome(adapter.wrap(function(work), plan))
        except Exception:
            # Refused when it was given: nothing was accepted.
            return
        finally:
            # A coroutine that was never awaited may be part of a cycle, and warn in a later test. It is
            # young: collecting all generations would take a hundred times as long.
            gc.collect(1)
    demand(work.calls <= 1, f"{work.calls} calls, although the answer was no (it was asked {len(ran)} times)")
    demand(bool(ran) or bool(logged) or work.calls == 0, "the predicate was accepted and never run")


def stopped(adapter: RetryAdapter, example: tuple[float, bool]) -> None:
    """A3: setting the signal ends a task's wait within 50 ms, with the error of the call."""
    when, at_once = example
    wake = threading.Event()
    plan = RetryPlan(attempts=5, initial=30.0, factor=1.0, wake=wake)
    starts: list[float] = []
    with adapter.world() as clock:

        async def work() -> None:
            starts.append(clock.monotonic())
            raise ConnectionError(len(starts))

        async def main() -> tuple[float, BaseException | None]:
            task = asyncio.ensure_future(adapter.awrap(work, plan)())
            if not at_once:
                await asyncio.sleep(when)
            wake.set()
            at = clock.monotonic()
            await asyncio.wait([task], timeout=500.0)
            return clock.monotonic() - at, task.exception() if task.done() else None

        late, error = run(clock, main)
    demand(late <= GLANCE, f"the wait went on for {late:.3g} s after the signal")
    demand(len(starts) <= 1, f"{len(starts)} attempts, the last ones after the signal")
    demand(isinstance(error, ConnectionError), f"it ended with {error!r} instead of the error of the call")


def raising_predicate(adapter: RetryAdapter, example: tuple[int, bool]) -> None:
    """A4: an error of a predicate never replaces the error of the call."""
    failures, as_task = example
    work = Failing(failures + 1)
    first: list[BaseException] = []

    def broken(error: BaseException) -> bool:
        first.append(error)
        raise ZeroDivisionError("the predicate")

    plan = RetryPlan(on=(Exception,), predicate=broken)
    with adapter.world() as clock, errors_logged():
        if as_task and "async" in adapter.features:

            async def awork() -> Any:
                return work("v")

            kind, value = outcome(run, clock, adapter.awrap(awork, plan))
        else:
            kind, value = outcome(adapter.wrap(function(work), plan), "v")
    demand(kind == "error", f"it ended with {value!r}")
    demand(
        bool(first) and shows(value, first[-1]),
        f"{value!r} is raised, and {first[-1:]} is nowhere to be seen",
    )


def _cycling(failures: int) -> Callable[[], Any]:
    calls = itertools.count()

    async def work() -> None:
        await asyncio.sleep(0)
        if next(calls) % (failures + 1) != failures:
            raise ConnectionError

    return work


def no_growth(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """A6: the memory that a retried coroutine function holds does not grow with its calls."""
    failures, attempts = example
    with adapter.world() as clock:
        wrapped = adapter.awrap(_cycling(failures), RetryPlan(attempts=attempts, initial=0.01))

        async def calls(times: int) -> None:
            for _ in range(times):
                try:
                    await wrapped()
                except ConnectionError:
                    pass

        def held(times: int) -> int:
            with nothing_logged():
                run(clock, lambda: calls(times))
            clock.calls.clear()
            clock.sleeps.clear()
            return deep_size(wrapped)

        sizes = [held(30), *(held(100) for _ in range(3))]
        grown = min(after - before for before, after in itertools.pairwise(sizes))
        # Forty bytes per call: less than the smallest object that could be kept for each.
        demand(grown < 4000, f"100 calls left at least {grown} bytes behind, 3 times in a row")


_STEP = st.tuples(st.sampled_from(["sleep", "fail", "time out"]), st.booleans(), st.booleans())

ASYNC = (
    Row(
        "A1",
        "a coroutine sees what it sees without a retry",
        transparent,
        st.tuples(st.lists(_STEP, max_size=4), st.lists(st.sampled_from([0.0, 0.0625, 0.3]), max_size=2)),
        frozenset({"async"}),
    ),
    Row(
        "A2",
        "an async predicate is awaited or refused",
        awaited_or_refused,
        st.tuples(st.sampled_from(LAZY), st.booleans()),
        frozenset({"predicate"}),
    ),
    Row(
        "A3",
        "a signal ends the wait of a task within 50 ms",
        stopped,
        st.tuples(st.floats(0.0, 29.0), st.booleans()),
        frozenset({"async", "wake"}),
    ),
    Row(
        "A4",
        "a predicate that raises hides no error",
        raising_predicate,
        st.tuples(SMALL, st.booleans()),
        frozenset({"predicate"}),
    ),
    Row(
        "A6",
        "calls of a coroutine leave nothing behind",
        no_growth,
        st.tuples(SMALL, LIMITS),
        frozenset({"async"}),
    ),
)
