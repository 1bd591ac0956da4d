"""The pipeline: one order, whatever the order in which the strategies are given, and it can be printed."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    CircuitBreaker,
    FallbackChain,
    Pipeline,
    RateLimiter,
    Timeout,
)
from chaoskit.runtime.calling.pipeline import ORDER
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.taxonomy import BreakerOpen, Throttled


class Down(ConnectionError):
    """The service is down."""


def down() -> Any:
    """A backend that is down."""
    raise Down


def tracer(name: str, log: list[str]) -> Callable[[Any], Any]:
    """A strategy that writes its name when it is entered."""

    def strategy(fn: Any) -> Any:
        @functools.wraps(fn)
        def protected(*args: Any, **kwargs: Any) -> Any:
            log.append(name)
            return fn(*args, **kwargs)

        return protected

    return strategy


@pytest.mark.parametrize(
    "names", list(itertools.islice(itertools.permutations(ORDER), 0, 5040, 719)), ids="-".join
)
def test_the_order_is_always_the_same(names: tuple[str, ...]) -> None:
    """However the strategies are given, they are entered in the documented order."""
    log: list[str] = []
    pipeline = Pipeline(**{name: tracer(name, log) for name in names})  # type: ignore[arg-type]
    assert pipeline.call(lambda: "value") == "value"
    assert tuple(log) == ORDER
    assert repr(pipeline) == f"<Pipeline {' > '.join(ORDER)} > call>"


def test_it_prints_its_order() -> None:
    """``print`` shows one strategy a line, from the outside in, ending with the call."""
    pipeline = Pipeline(
        timeout=Timeout(2.0),
        breaker=CircuitBreaker(name="archive"),
        deadline=30,
        rate_limiter=RateLimiter(10, name="api"),
        bulkhead=Bulkhead(4),
        fallback=FallbackChain(Candidate("cache", down)),
    )
    assert str(pipeline).splitlines() == [
        "fallback      FallbackChain 'fallback': cache",
        "deadline      Deadline 30 s",
        "rate limiter  RateLimiter 'api' 10 calls per 1 s, burst 1",
        "bulkhead      Bulkhead 'bulkhead' 0 of 4 in use, 0 waiting",
        "breaker       CircuitBreaker 'archive' closed",
        "timeout       Timeout 2 s",
        "the call",
    ]


def test_an_empty_pipeline_is_the_call() -> None:
    """Without strategies the function itself comes back."""
    pipeline = Pipeline()
    assert pipeline(down) is down
    assert str(pipeline) == "the call"


def test_rejections_by_our_own_limits_do_not_open_the_breaker() -> None:
    """The rate limiter stands outside the breaker: what it rejects is not a failure of the other side."""
    clock = VirtualClock()
    breaker = CircuitBreaker(failures=1, clock=clock)
    call = Pipeline(breaker=breaker, rate_limiter=RateLimiter(1, clock=clock))(lambda: "value")
    assert call() == "value"
    for _ in range(3):
        with pytest.raises(Throttled):
            call()
    assert breaker.state == "closed"


def test_the_breaker_sees_what_the_timeout_cuts() -> None:
    """An attempt that is cut counts as a failure of the other side."""
    breaker = CircuitBreaker(failures=1)

    @Pipeline(breaker=breaker, timeout=Timeout(0.01))
    async def hang() -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(hang())
    assert breaker.state == "open"


def test_the_fallback_catches_the_rejections_of_the_breaker() -> None:
    """With a fallback outside, an open breaker means the cache, not an error."""
    breaker = CircuitBreaker(failures=1)
    call = Pipeline(
        fallback=FallbackChain(Candidate("cache", lambda: "cached")), breaker=breaker, bulkhead=Bulkhead(1)
    )(down)
    assert [call(), call()] == ["cached", "cached"]
    with pytest.raises(BreakerOpen):
        breaker.call(down)


def test_a_deadline_in_seconds_is_in_force_inside() -> None:
    """``deadline=30`` is the deadline that everything inside asks for."""
    left = Pipeline(deadline=30).call(remaining)
    assert left is not None
    assert 20 < left <= 30


def test_async_functions_stay_async() -> None:
    """A decorated coroutine function is one, and ``call`` gives an awaitable."""
    pipeline = Pipeline(deadline=60, breaker=CircuitBreaker(), bulkhead=Bulkhead(1), timeout=Timeout(60.0))

    async def work(n: int) -> int:
        return n

    async def scenario() -> None:
        assert inspect.iscoroutinefunction(pipeline(work))
        assert await pipeline(work)(3) == 3
        assert await pipeline.call(work, 4) == 4

    asyncio.run(scenario())


def test_what_cannot_work_is_refused() -> None:
    """A wrong strategy, an unknown place, a deadline of zero, and a generator are errors at once."""
    with pytest.raises(UsageError, match="retry is 3"):
        Pipeline(retry=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cache"):
        Pipeline(cache=down)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="seconds is 0"):
        Pipeline(deadline=0)

    def generator() -> Any:
        yield 1

    with pytest.raises(UsageError, match="generator function"):
        Pipeline()(generator)


def test_a_function_is_prepared_once_and_nothing_of_its_maker_is_kept() -> None:
    """``call`` protects a plain function once; a closure is protected each time, and let go."""
    made: list[Any] = []

    def counting(fn: Any) -> Any:
        made.append(fn)
        return fn

    pipeline = Pipeline(retry=counting)
    for _ in range(3):
        assert pipeline.call(_doubled, 2) == 4
    assert made == [_doubled]

    class Held:
        """Something that can be watched."""

    held = Held()
    watch = weakref.ref(held)
    pipeline = Pipeline(breaker=CircuitBreaker())
    for _ in range(2):
        pipeline.call(lambda kept=held: None)
        pipeline.call(_holding(held))
    del held
    gc.collect()
    assert watch() is None


def _holding(what: object) -> Any:
    return lambda: what is None


def _doubled(x: int) -> int:
    return 2 * x


class Swallowing:
    """A strategy whose block swallows what is raised in it."""

    def __call__(self, fn: Any) -> Any:
        return fn

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> bool:
        return True

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> bool:
        return True


def test_a_block_swallows_what_a_strategy_swallows() -> None:
    """Around a block a pipeline answers as its strategies do, in both kinds of program."""
    with Pipeline(breaker=Swallowing()):
        raise Down

    async def main() -> None:
        async with Pipeline(breaker=Swallowing()):
            raise Down

    asyncio.run(main())


def test_prepared_functions_are_bounded() -> None:
    """Functions that a program makes without end do not fill the memory: no more than 64 are kept."""
    pipeline = Pipeline(breaker=CircuitBreaker())
    kept = []
    for number in range(70):
        space: dict[str, Any] = {}
        exec(f"def fn(): return {number}", space)
        assert pipeline.call(space["fn"]) == number
        kept.append(len(pipeline._prepared))
    assert kept == [*range(1, 65), *range(1, 7)]
