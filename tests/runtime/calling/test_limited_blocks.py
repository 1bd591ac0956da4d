"""A limit around a block: taken before it, given back after it, whatever the block does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AttemptTimedOut,
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Constant,
    Deadline,
    DeadlineExceeded,
    FallbackChain,
    PerKey,
    Pipeline,
    RateLimiter,
    Throttled,
    Timeout,
    VirtualClock,
    remaining,
    retry,
)
from chaoskit.runtime.calling.blocks import block


def test_a_block_holds_one_place_and_gives_it_back() -> None:
    """Within the block the place is taken for all; after it, it is free, also after an error."""
    bulkhead = Bulkhead(1)
    with bulkhead:
        assert bulkhead.in_use == 1
        with pytest.raises(BulkheadFull):
            bulkhead.__enter__()
    with pytest.raises(KeyError), bulkhead:
        raise KeyError
    assert bulkhead.in_use == 0


def test_an_async_block_waits_for_the_place_and_gives_it_back() -> None:
    """Two tasks with one place are in their blocks one after the other; a cancelled one loses no place."""
    inside: list[int] = []

    async def work(bulkhead: Bulkhead) -> None:
        async with bulkhead:
            inside.append(bulkhead.in_use)
            await asyncio.sleep(0)

    async def main() -> int:
        bulkhead = Bulkhead(1, queue=1)
        await asyncio.gather(work(bulkhead), work(bulkhead))
        task = asyncio.create_task(work(bulkhead))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return bulkhead.in_use

    assert asyncio.run(main()) == 0
    assert inside == [1, 1, 1]


def test_a_block_takes_a_turn_of_the_limiter() -> None:
    """The second block within the period waits for its turn, and is refused where it may not wait."""
    clock = VirtualClock()
    patient = RateLimiter(1, per=10.0, max_wait=60.0, clock=clock)
    for _ in range(2):
        with patient:
            pass
    assert clock.monotonic() == pytest.approx(10.0)
    strict = RateLimiter(1, per=10.0, clock=clock)
    with strict:
        pass
    with pytest.raises(Throttled):
        strict.__enter__()


def test_an_async_block_takes_a_turn_of_the_limiter() -> None:
    """The same for tasks."""
    clock = VirtualClock()

    async def main() -> None:
        limiter = RateLimiter(1, per=10.0, max_wait=60.0, clock=clock)
        for _ in range(2):
            async with limiter:
                pass

    asyncio.run(main())
    assert clock.monotonic() == pytest.approx(10.0)


# -- the other strategies


def test_a_deadline_is_in_force_within_its_block() -> None:
    """Sync and async blocks have it, nested ones of one object too, and nothing stays behind."""
    clock = VirtualClock()
    limit = Deadline(5.0, clock=clock)
    with limit:
        clock.advance(1.0)
        with limit:
            assert remaining() == 4.0
        assert remaining() == 4.0
    assert remaining() is None

    async def main() -> float | None:
        async with limit:
            return remaining()

    assert asyncio.run(main()) == 5.0


@pytest.mark.parametrize(
    ("limit", "error"),
    [(Timeout, AttemptTimedOut), (Deadline, DeadlineExceeded)],
    ids=["timeout", "deadline"],
)
def test_an_async_block_is_cut_on_the_virtual_clock(
    limit: Callable[..., Any], error: type[Exception]
) -> None:
    """A block that lets the time pass is cut where it waits, without a wait of the machine."""
    clock, after = VirtualClock(), []

    async def main() -> None:
        async with limit(5.0, clock=clock):
            await clock.asleep(4.0)
            after.append("in time")
            await clock.asleep(60.0)
            after.append("too late")

    with pytest.raises(error):
        asyncio.run(main())
    assert after == ["in time"]


def test_a_call_is_cut_on_the_virtual_clock() -> None:
    """The decorated forms too: a coroutine, a thread that is left behind, and an attempt of a retry."""
    clock = VirtualClock()

    async def slow() -> None:
        await clock.asleep(60.0)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(Deadline(5.0, clock=clock)(slow)())
    policy = retry(on=OSError, attempts=2, attempt_timeout=5.0, wait=Constant(1.0), clock=clock)
    with pytest.raises(AttemptTimedOut):
        asyncio.run(policy(slow)())
    assert clock.sleeps == [60.0, 60.0, 1.0, 60.0]
    go, begun = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        go.wait(60.0)

    def pass_time() -> None:
        begun.wait(60.0)
        clock.advance(6.0)

    helper = threading.Thread(target=pass_time)
    helper.start()
    with pytest.raises(AttemptTimedOut):
        Timeout(5.0, abandon=1, clock=clock).call(stuck)
    go.set()
    helper.join()


def test_a_breaker_counts_its_blocks() -> None:
    """Failures in a block count as those of a call; an open breaker rejects the block before it begins."""
    breaker, begun = CircuitBreaker(failures=2), []
    for _ in range(2):
        with pytest.raises(OSError, match="down"), breaker:
            raise OSError("down")
    with pytest.raises(BreakerOpen), breaker:
        begun.append(1)

    async def main() -> None:
        async with breaker:
            begun.append(2)

    with pytest.raises(BreakerOpen):
        asyncio.run(main())
    breaker.reset()
    asyncio.run(main())
    with breaker, breaker:
        begun.append(3)
    assert begun == [2, 3]


def test_blocks_of_tasks_and_threads_do_not_meet() -> None:
    """One breaker with blocks of two tasks that are left in the order in which they were entered."""
    breaker, order = CircuitBreaker(failures=1, window_calls=10, failure_rate=1.0, minimum_calls=5), []

    async def work(name: str, turns: int) -> None:
        async with breaker:
            for _ in range(turns):
                await asyncio.sleep(0)
            order.append(name)

    async def main() -> None:
        await asyncio.gather(work("first", 1), work("second", 3))

    asyncio.run(main())
    assert order == ["first", "second"]
    assert breaker._entered._stacks == {}


def test_a_block_is_left_where_it_was_entered() -> None:
    """A thread that leaves the block of another one is told so."""
    breaker = CircuitBreaker()
    with ThreadPoolExecutor(1) as pool:
        breaker.__enter__()
        with pytest.raises(UsageError, match="a circuit breaker is left where it was not entered"):
            pool.submit(breaker.__exit__, None, None, None).result()
        breaker.__exit__(None, None, None)


def test_a_pipeline_protects_a_block() -> None:
    """Each strategy is around the block; what one refuses leaves those that were entered already."""
    bulkhead = Bulkhead(1)
    pipeline = Pipeline(bulkhead=bulkhead, breaker=CircuitBreaker(failures=1), deadline=60)
    used = []

    def fail() -> None:
        used.append(bulkhead.in_use)
        raise OSError("down")

    with pytest.raises(OSError, match="down"), pipeline:
        fail()
    with pytest.raises(BreakerOpen), pipeline:
        used.append(2)
    assert used == [1]
    assert bulkhead.in_use == 0
    assert remaining() is None

    async def main() -> None:
        async with Pipeline(bulkhead=bulkhead, timeout=Timeout(60.0)):
            assert bulkhead.in_use == 1

    asyncio.run(main())
    assert bulkhead.in_use == 0


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (retry(on=OSError), "Python runs a block once and cannot repeat it"),
        (FallbackChain(), "a block has no value to replace"),
        (PerKey(lambda key: Bulkhead(1)), "Use 'with limits.of"),
        (Pipeline(retry=retry(on=OSError)), "for attempt in policy"),
    ],
    ids=["retry", "fallback", "by key", "pipeline"],
)
def test_where_a_block_means_nothing_it_is_refused(strategy: Any, reason: str) -> None:
    """``with`` and ``async with`` say why not, and what to write instead."""
    with pytest.raises(UsageError, match=reason), strategy:
        pass

    async def main() -> None:
        async with strategy:
            pass

    with pytest.raises(UsageError, match=reason):
        asyncio.run(main())


def test_a_timeout_refuses_a_synchronous_block() -> None:
    """Nothing can cut it; the error names what can."""
    with pytest.raises(UsageError, match="Use 'async with', or call"), Timeout(5.0):
        pass


def test_a_block_gives_what_its_generator_gives() -> None:
    """``with made() as value`` has what the generator yields, and what it swallows is swallowed."""

    @block
    def made() -> Iterator[int]:
        try:
            yield 7
        except KeyError:
            pass

    with made() as value:
        assert value == 7
        raise KeyError
