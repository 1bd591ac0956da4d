"""A function that returns work instead of a result is refused by every strategy, or the work is protected.

What is only found out when the work comes: a plain function may return a coroutine, a generator, a task.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import gc
import sys
import types
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    Category,
    CircuitBreaker,
    Deadline,
    FallbackChain,
    JobRunner,
    PartialFailureCollector,
    PerKey,
    Pipeline,
    RateLimiter,
    Recovery,
    RecoveryStep,
    Timeout,
    UsageError,
    VirtualClock,
    deadline,
    retry,
)
from chaoskit.runtime.calling import callables
from chaoskit.runtime.calling.callables import RESULTS, answered, is_workless

STRATEGIES: dict[str, Callable[[], Any]] = {
    "retry": lambda: retry(on=ZeroDivisionError),
    "retry, guarded": lambda: retry(on=ZeroDivisionError, deadline=9.0, on_result=lambda value: True),
    "breaker": CircuitBreaker,
    "breaker, window": lambda: CircuitBreaker(failures=None, failure_rate=1.0, window_calls=100),
    "breaker, results": lambda: CircuitBreaker(failed_result=lambda value: True),
    "bulkhead": lambda: Bulkhead(1),
    "limiter": lambda: RateLimiter(1e6, burst=100),
    "deadline": lambda: Deadline(5),
    "timeout": lambda: Timeout(5, abandon=9),
    "fallback": lambda: FallbackChain(Candidate("none", len), on=ZeroDivisionError),
    "pipeline": lambda: Pipeline(bulkhead=Bulkhead(1), breaker=CircuitBreaker()),
    "recovery": Recovery,
    "per key": lambda: PerKey(lambda key: Bulkhead(1), key=lambda *args: 1),
    "block": lambda: deadline(5),
}
CALLED = {name: make for name, make in STRATEGIES.items() if hasattr(make(), "call") and name != "fallback"}


def items() -> Iterator[int]:
    yield 1


async def aitems() -> AsyncIterator[int]:
    yield 1


async def acoro() -> int:
    return 1


def gathered() -> asyncio.Future[list[int]]:
    return asyncio.gather(acoro())


class Later(concurrent.futures.Future[int]):
    """A future of a library's own."""


@types.coroutine
def stepwise() -> Generator[None, None, int]:
    yield
    return 1


WORK: dict[str, Callable[[], Any]] = {
    "generator": items,
    "async generator": aitems,
    "step of an async generator": lambda: aitems().__anext__(),
    "generator of awaits": stepwise,
    "task": lambda: asyncio.ensure_future(acoro()),
    "future of a loop": lambda: asyncio.get_running_loop().create_future(),
    "several at once": gathered,
    "future of a pool": concurrent.futures.Future,
    "future of a library": Later,
}
# A breaker follows what is awaited, and counts it then.
FOLLOWED = ("breaker", "step of an async generator")


async def given(work: str) -> list[Any]:
    """What each strategy makes of a plain function that returns ``work``, and of a call of it."""
    made: list[Any] = []

    def plain() -> Any:
        made.append(one := WORK[work]())
        return one

    unprotected = []
    for name, make in STRATEGIES.items():
        for how, call in (("decorated", lambda s: s(plain)()), ("called", lambda s: s.call(plain))):
            if (how == "called" and name not in CALLED) or (
                name.startswith(FOLLOWED[0]) and work == FOLLOWED[1]
            ):
                continue
            # In a thread of its own there is no loop to make a task in.
            if name == "timeout" and "future of a p" not in work and "generator" not in work:
                continue
            try:
                call(make())
            except UsageError as error:
                if "expected a" not in str(error) and "is not done yet" not in str(error):
                    unprotected.append((name, how, error))
            else:
                unprotected.append((name, how, "accepted"))
    for one in made:
        if callable(getattr(one, "cancelled", None)):
            # What gathers several ends once they have.
            for _ in range(5):
                await asyncio.sleep(0)
            if not one.done() or not (one.cancelled() or isinstance(one.exception(), asyncio.CancelledError)):
                unprotected.append((one, "left to run"))
        elif hasattr(one, "gi_frame") and one.gi_frame is not None:
            unprotected.append((one, "left open"))
    assert made
    return unprotected


@pytest.mark.parametrize("work", WORK)
def test_work_that_is_returned_is_refused_and_let_go(work: str) -> None:
    """By name, with the next step; what nothing will ever get is closed or cancelled."""
    assert asyncio.run(given(work)) == []


def test_the_message_says_what_came_and_what_to_do() -> None:
    """For each kind of work the way that suits it."""
    with pytest.raises(
        UsageError, match=r"limiter is .*it returned a generator\. Consume it in the function"
    ):
        RateLimiter(1e6)(lambda: items())()
    with pytest.raises(UsageError, match=r"it returned an async_generator\. Consume"):
        Bulkhead(1).call(lambda: aitems())
    with pytest.raises(
        UsageError, match=r"waits for its result; it returned a Future\. Await it in an async def"
    ):
        Deadline(1).call(concurrent.futures.Future)
    with pytest.raises(
        UsageError, match=r"returned a Future, whose work is not done yet.*call its result\(\)"
    ):
        retry(on=OSError).call(concurrent.futures.Future)


@pytest.mark.parametrize("generators", ["pass", "restart"])
def test_a_policy_that_lets_generators_pass_lets_nothing_else_pass(generators: Any) -> None:
    """The option is about generators; a future is refused all the same."""
    policy = retry(on=OSError, generators=generators)
    assert list(policy(lambda: items())()) == [1]
    assert list(policy.call(lambda: items())) == [1]
    with pytest.raises(UsageError, match="returned a Future"):
        policy(lambda: concurrent.futures.Future())()


def test_a_refused_result_takes_no_place_and_counts_for_nothing() -> None:
    """The bulkhead is free, the breaker's probe is given back, and its streak is what it was."""
    clock = VirtualClock()
    bulkhead, breaker = Bulkhead(1), CircuitBreaker(failures=2, open_for=1.0, probes=1, clock=clock)
    for _ in range(3):
        with pytest.raises(UsageError):
            bulkhead.call(items)
        with pytest.raises(UsageError):
            breaker.call(lambda: items())
    assert bulkhead.in_use == 0
    assert breaker.state == "closed"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
    clock.advance(2.0)
    with pytest.raises(UsageError):
        breaker.call(lambda: items())
    assert breaker.state == "half-open"
    assert breaker.call(lambda: 7) == 7
    assert breaker.state == "closed"


def test_a_breaker_counts_a_returned_coroutine_when_it_is_awaited() -> None:
    """It is the one strategy that a plain function with a coroutine keeps."""

    async def fails() -> None:
        raise OSError

    async def main() -> None:
        breaker = CircuitBreaker(failures=1)
        begun = breaker.call(lambda: fails())
        assert breaker.state == "closed"
        with pytest.raises(OSError):
            await begun
        assert breaker.state == "open"

    asyncio.run(main())


class Client:
    """Usable as it stands, and awaitable too, as clients of Redis are."""

    def __await__(self) -> Generator[None, None, Client]:
        yield
        return self


@pytest.mark.parametrize(
    "result",
    [None, 1, "x", [1], iter([1]), map(str, [1]), open, Client(), object, type("Made", (), {})(), sys],
    ids=lambda one: type(one).__name__,
)
def test_a_result_is_a_result_whatever_else_it_can_do(result: Any) -> None:
    """Iterators, files, awaitable clients and classes come through every strategy as they are."""
    for name, make in STRATEGIES.items():
        if name not in ("fallback", "breaker, results", "retry, guarded"):
            assert make()(lambda: result)() is result, name


def test_a_class_is_looked_at_once() -> None:
    """The second result of a class costs one look-up; a class that may go is not kept alive for that."""
    RESULTS.discard(collections.Counter)
    assert not is_workless(collections.Counter())
    assert collections.Counter in RESULTS

    kind: Any = type("Passing", (), {})
    alive = weakref.ref(kind)
    assert not is_workless(kind())
    assert kind not in RESULTS
    del kind
    gc.collect()
    assert alive() is None


def test_an_answer_that_is_still_to_come_is_not_an_answer() -> None:
    """A future is true whatever it will hold: no predicate may return one, and no job."""
    with pytest.raises(UsageError, match="waits for its result"):
        answered("available", concurrent.futures.Future)
    with JobRunner() as runner:
        runner.submit("job", lambda ticket: concurrent.futures.Future())
    assert isinstance(runner.board.error("job"), UsageError)


def test_a_listener_may_start_a_task() -> None:
    """It runs by itself, and nothing is made of what a listener returns."""
    assert isinstance(callables.called("listener", concurrent.futures.Future), concurrent.futures.Future)


def test_what_a_batch_gives_must_be_done() -> None:
    """An item whose work is still to be done is not a success."""
    batch: PartialFailureCollector[int, Any] = PartialFailureCollector()
    with pytest.raises(UsageError, match="a batch"):
        batch.run(lambda item: concurrent.futures.Future(), [1])
    assert not batch.successes


def test_an_alternative_behind_a_lambda_is_awaited() -> None:
    """By the value: the caller of an async function gets no coroutine in the place of one."""

    async def fails() -> int:
        raise ValueError

    async def main() -> Any:
        return await Recovery(
            by={Category.VALIDATION: RecoveryStep.ALTERNATIVE}, alternative=lambda: acoro()
        ).call(fails)

    assert asyncio.run(main()) == 1


def test_a_key_or_limit_that_is_still_to_be_made_is_refused() -> None:
    """Each coroutine would be a key to itself, and none would be limited."""
    with pytest.raises(UsageError, match=r"^key is"):
        PerKey(lambda key: Bulkhead(1), key=lambda: acoro())(lambda: 1)()
    with pytest.raises(UsageError, match=r"^make is"):
        PerKey(lambda key: acoro()).of("a")  # type: ignore[arg-type, return-value]
