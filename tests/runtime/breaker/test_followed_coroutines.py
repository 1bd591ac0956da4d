"""A coroutine that a plain function returns: the breaker follows it, and lets go of it wherever it ends."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.contracts.virtual import run
from chaoskit.runtime import (
    BreakerOpen,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    RateLimiter,
    UsageError,
    VirtualClock,
    retry,
)
from chaoskit.runtime.calling.callables import called


async def acoro() -> int:
    await asyncio.sleep(0)
    return 7


def probing() -> tuple[CircuitBreaker, VirtualClock]:
    """A breaker that lets one probe through, and its clock."""
    clock = VirtualClock()
    breaker = CircuitBreaker(failures=1, open_for=1.0, probes=1, clock=clock)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    clock.advance(2.0)
    return breaker, clock


def refused_around(work: Any) -> None:
    with pytest.raises(UsageError, match="returns a coroutine"):
        Bulkhead(1)(lambda: work)()


def thrown_into(work: Any) -> None:
    with pytest.raises(ValueError, match="early"):
        work.throw(ValueError("early"))


def cancelled_before_its_first_step(work: Any) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(VirtualClock(), main)


def closed_as_an_iterator(work: Any) -> None:
    work.__await__().close()


ENDS: list[Callable[[Any], None]] = [
    lambda work: work.close(),
    refused_around,
    thrown_into,
    cancelled_before_its_first_step,
    closed_as_an_iterator,
]


@pytest.mark.parametrize("end", ENDS)
def test_work_that_is_never_begun_is_closed_and_holds_no_probe(end: Callable[[Any], None]) -> None:
    """No warning of a coroutine that was never awaited, and the next call is the probe."""
    breaker, _ = probing()
    work = acoro()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        end(breaker.call(lambda: work))
        gc.collect()
    assert not said
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
    assert breaker.state == "half-open"
    assert breaker.call(lambda: 7) == 7
    assert breaker.state == "closed"


def test_work_that_is_forgotten_holds_no_probe() -> None:
    """The permit is asked for when it is awaited: what never is has none, and Python names it alone."""
    breaker, _ = probing()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        breaker.call(lambda: acoro())
        gc.collect()
    assert [str(one.message) for one in said] == ["coroutine 'acoro' was never awaited"]
    assert breaker.call(lambda: 7) == 7


def test_work_that_comes_too_late_is_rejected_and_closed() -> None:
    """Between the call and the awaiting the breaker has opened."""
    breaker = CircuitBreaker(failures=1)
    work = acoro()
    followed: Any = breaker.call(lambda: work)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    with pytest.raises(BreakerOpen):
        run(VirtualClock(), lambda: followed)
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_work_that_is_under_way_is_closed_with_its_handlers_and_gives_the_probe_back() -> None:
    """It counts neither way."""
    breaker, _ = probing()
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            seen.append("closed")

    async def main() -> None:
        followed: Any = breaker.call(lambda: work())
        followed.send(None)
        followed.close()

    run(VirtualClock(), main)
    assert seen == ["closed"]
    assert breaker.call(lambda: 7) == 7


def test_it_is_a_coroutine_to_whatever_awaits_it() -> None:
    """A task, shown by the name of what it runs; a time-out; a second awaiting is refused as ever."""

    async def main() -> None:
        breaker = CircuitBreaker()
        task = asyncio.create_task(breaker.call(lambda: acoro()))
        assert "acoro" in repr(task)
        assert await task == 7
        assert await asyncio.wait_for(breaker.call(lambda: acoro()), 1) == 7
        followed: Any = breaker.call(lambda: acoro())
        assert asyncio.iscoroutine(followed)
        assert "acoro" in repr(followed)
        assert await followed == 7
        with pytest.raises(RuntimeError, match="already awaited"):
            await followed

    run(VirtualClock(), main)


@pytest.mark.parametrize("outer", [RateLimiter(1e6), Deadline(5), retry(on=OSError), Bulkhead(1)])
def test_a_strategy_around_the_breaker_lets_go_of_all_of_it(outer: Any) -> None:
    """Whatever refuses the coroutine closes what the breaker has made of it, and so the work."""
    work = acoro()
    with pytest.raises(UsageError):
        outer(CircuitBreaker()(lambda: work))()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_a_listener_that_returns_it_is_refused() -> None:
    """It is work that is still to be done like any coroutine."""
    work = acoro()
    with pytest.raises(UsageError, match="does no work yet"):
        called("listener", lambda: CircuitBreaker().call(lambda: work))
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_a_repair_that_returns_a_generator_is_refused() -> None:
    """In a task as well: it would be accepted and never run."""

    async def fails() -> None:
        raise OSError

    def steps() -> Any:
        yield

    clock = VirtualClock()
    policy = retry(on=OSError, attempts=2, repair=lambda error: steps(), clock=clock)
    with pytest.raises(OSError) as caught:
        run(clock, lambda: policy.acall(fails))
    assert "returned a generator" in caught.value.__notes__[0]
