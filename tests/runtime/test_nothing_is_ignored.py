"""Nothing is accepted and then not run: each place that takes a function refuses what it would not carry out.

One table for every strategy, hook, predicate and job, because each of them once had a rule to itself.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    CircuitBreaker,
    Constant,
    Deadline,
    ErrorDetails,
    ErrorMetrics,
    FallbackChain,
    JobRunner,
    LastGood,
    NoCandidate,
    PartialFailureCollector,
    Pipeline,
    RateLimiter,
    Rule,
    Shutdown,
    Supervisor,
    Timeout,
    TransientError,
    UsageError,
    VirtualClock,
    deadline,
    remaining,
    retry,
    subscribe,
)
from chaoskit.runtime.calling.callables import CallableKind, asked, kind_of, protectable, synchronous


def on_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """``test``, a coroutine function, as a test that runs it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def acoro(*args: Any) -> bool:
    """Refused or awaited, never just made: a coroutine that is dropped warns, and warnings are errors."""
    return False


def lazily(*args: Any) -> Any:
    """Looks synchronous until it is called."""
    return acoro(*args)


def agenerator(*args: Any) -> Iterator[int]:
    yield 1


async def aitems() -> AsyncIterator[int]:
    yield 1


def submit(fn: Any) -> None:
    with JobRunner() as runner:
        runner.submit("job", fn)


def spawn(fn: Any) -> None:
    with Supervisor() as supervisor:
        supervisor.spawn("thread", fn)


def defer(fn: Any) -> None:
    with Shutdown(signals=()) as shutdown:
        shutdown.defer(fn)


def run_in(fn: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        PartialFailureCollector().run_in(pool, fn, [1])


TAKERS: dict[str, Callable[[Any], object]] = {
    "on": lambda fn: retry(on=fn),
    "on_result": lambda fn: retry(on=OSError, on_result=fn),
    "hooks": lambda fn: retry(on=OSError, hooks=(fn,)),
    "retry listeners": lambda fn: retry(on=OSError, listeners=(fn,)),
    "breaker on": lambda fn: CircuitBreaker(on=fn),
    "breaker ignore": lambda fn: CircuitBreaker(ignore=fn),
    "failed_result": lambda fn: CircuitBreaker(failed_result=fn),
    "breaker listeners": lambda fn: CircuitBreaker(listeners=[fn]),
    "limiter listeners": lambda fn: RateLimiter(1, listeners=[fn]),
    "bulkhead listeners": lambda fn: Bulkhead(1, listeners=[fn]),
    "timeout listeners": lambda fn: Timeout(1, listeners=[fn]),
    "chain listeners": lambda fn: FallbackChain(listeners=[fn]),
    "metrics listeners": lambda fn: ErrorMetrics(listeners=[fn]),
    "subscribe": subscribe,
    "available": lambda fn: Candidate("a", len, available=fn),
    "quality": lambda fn: Candidate("a", len, quality=fn),
    "key": lambda fn: LastGood(1, key=fn),
    "when": lambda fn: Rule(name="r", verdict=TransientError, when=fn),
    "progress": lambda fn: PartialFailureCollector(progress=fn),
    "batch": lambda fn: PartialFailureCollector().run(fn, [1]),
    "batch in a pool": run_in,
    "job": submit,
    "thread": spawn,
    "on_give_up": lambda fn: Supervisor(on_give_up=fn),
}


@pytest.mark.parametrize("fn", [acoro, agenerator], ids=["async", "generator"])
@pytest.mark.parametrize("name", TAKERS)
def test_a_function_that_nothing_would_await_is_refused(name: str, fn: Any) -> None:
    """When it is given, by an error that names the place, not when it is needed."""
    with pytest.raises(UsageError, match="expected a synchronous function"):
        TAKERS[name](fn)


STRATEGIES: dict[str, Callable[[], Any]] = {
    "retry": lambda: retry(on=ZeroDivisionError),
    "breaker": CircuitBreaker,
    "bulkhead": lambda: Bulkhead(1),
    "limiter": lambda: RateLimiter(1e6, burst=100),
    "deadline": lambda: Deadline(5),
    "timeout": lambda: Timeout(5, abandon=9),
    "fallback": lambda: FallbackChain(Candidate("none", len), on=ZeroDivisionError),
    "pipeline": lambda: Pipeline(retry=retry(on=ZeroDivisionError), bulkhead=Bulkhead(1)),
    "block": lambda: deadline(5),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_static_and_class_methods_bind_as_before(name: str) -> None:
    """A strategy above ``@staticmethod`` or ``@classmethod`` works on the class and on an instance."""
    strategy = STRATEGIES[name]()

    class Owner:
        @strategy
        @staticmethod
        def static(x: int) -> int:
            return x

        @strategy
        @classmethod
        def cls(cls, x: int) -> tuple[str, int]:
            return (cls.__name__, x)

    assert Owner.static(1) == Owner().static(1) == 1
    assert Owner.cls(2) == Owner().cls(2) == ("Owner", 2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_class_is_no_function(name: str) -> None:
    """A decorated class would be replaced by a function without a word."""
    with pytest.raises(UsageError, match="expected a function"):

        @STRATEGIES[name]()
        class Client:
            pass


@on_a_loop
async def test_a_candidate_that_returns_an_awaitable_is_awaited() -> None:
    """The value is what the coroutine gives, and that is what is kept as the last known good one."""
    values = [42]

    async def get(key: str) -> int:
        return values.pop()

    chain: FallbackChain[int] = FallbackChain(
        Candidate("cache", lambda key: get(key)), last_good=LastGood(9, key=str)
    )
    assert (await chain.achoose("a")).value == 42
    assert (await chain.achoose("a")).value == 42


def test_an_async_candidate_behind_a_synchronous_function_is_refused_at_once() -> None:
    """Not at the moment of need, and not as a candidate that failed."""
    with pytest.raises(UsageError, match="expected a synchronous function, since the call is one"):

        @FallbackChain(Candidate("remote", acoro))
        def get() -> int:
            return 1


def test_a_candidate_that_turns_out_to_be_async_is_a_bug_and_no_reason_to_fall_back() -> None:
    """The error says so, rather than that nothing acceptable was found."""
    with pytest.raises(UsageError, match="returns a coroutine"):
        FallbackChain(Candidate("remote", lazily)).choose()


def test_a_last_resort_is_neither_kept_nor_preferred_to_a_known_value() -> None:
    """A constant at the end of the chain does not become the last known good value."""
    answers: list[Any] = [42, OSError(), OSError()]

    def get() -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return int(answer)

    chain: FallbackChain[int] = FallbackChain(
        Candidate("service", get),
        Candidate("constant", lambda: 0, last_resort=True),
        last_good=LastGood(max_age=60),
        clock=(clock := VirtualClock()),
    )
    assert chain.call() == 42
    assert chain.choose().candidate == "service"  # its value of a moment ago
    clock.advance(61)
    assert chain.choose().candidate == "constant"


def test_a_failed_chain_keeps_no_argument_alive() -> None:
    """The errors of the candidates go with the error that is raised; the garbage collector has no part."""

    class Payload:
        pass

    def fails(payload: Payload) -> int:
        raise OSError

    chain: FallbackChain[int] = FallbackChain(Candidate("a", fails), Candidate("b", len, quality=len))
    gc.disable()
    try:
        payload = Payload()
        alive = weakref.ref(payload)
        with pytest.raises(NoCandidate):
            chain.call(payload)
        del payload
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("option", [{"on_result": bool}, {"attempt_timeout": 1.0}])
@on_a_loop
async def test_a_loop_refuses_what_it_cannot_do(option: dict[str, Any]) -> None:
    """The block of a loop has no result, and is not cut."""
    policy = retry(on=OSError, **option)
    with pytest.raises(UsageError, match="expected None for a policy that is used as a loop"):
        next(iter(policy))
    with pytest.raises(UsageError, match="expected None for a policy that is used as a loop"):
        await anext(policy.__aiter__())


def test_a_synchronous_loop_refuses_an_async_repair() -> None:
    """It would be made and never awaited."""
    with pytest.raises(UsageError, match="Use 'async for'"):
        next(iter(retry(on=OSError, repair=acoro)))


@pytest.mark.parametrize("option", [{"on_result": bool}, {"attempt_timeout": 1.0}])
def test_a_restarted_generator_refuses_what_it_cannot_do(option: dict[str, Any]) -> None:
    """There is no one attempt to cut, and no one result to judge."""
    with pytest.raises(UsageError, match="expected None for a generator function"):
        retry(on=OSError, generators="restart", **option)(agenerator)


@pytest.mark.parametrize("option", ["on", "on_result", "wait", "repair"])
@pytest.mark.parametrize("broken", [lambda *a: 1 / 0, lazily], ids=["raises", "coroutine"])
def test_a_part_of_the_policy_that_fails_does_not_hide_the_calls_outcome(
    option: str, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the caller sees the attempt's own error, or its value."""
    if option == "wait":
        broken = lambda: 1 / 0  # noqa: E731 - a band is a pair of numbers, which no coroutine is taken for

    class Wait:
        cap = 1.0

        def band(self, failures: int, previous: float) -> tuple[float, float]:
            return broken()  # type: ignore[no-any-return]

    def fails() -> None:
        raise OSError("mine")

    parts: dict[str, Any] = {"on": OSError, "wait": Constant(0), "attempts": 2, "clock": VirtualClock()}
    policy = retry(**{**parts, option: Wait() if option == "wait" else broken})
    with caplog.at_level(logging.ERROR, "chaoskit"):
        if option == "on_result":
            assert policy.call(lambda: 7) == 7
        else:
            with pytest.raises(OSError, match="mine") as caught:
                policy.call(fails)
            assert caught.value.__context__ is None
            assert len(caught.value.__notes__) == 1
    assert caplog.records


def test_a_breaker_of_healthy_calls_is_not_opened_by_a_coroutine() -> None:
    """A predicate whose answer is a coroutine is reported each time, on the side of protecting."""
    breaker = CircuitBreaker(failures=1, failed_result=lambda value: acoro(value))  # type: ignore[arg-type,return-value]
    assert breaker.call(lambda: 1) == 1
    assert breaker.state == "open"


@on_a_loop
async def test_blocks_protect_async_functions_that_they_decorate(tmp_path: Path) -> None:
    """The block is left when the coroutine has ended, not when it has been made."""
    metrics, details = ErrorMetrics(), ErrorDetails(tmp_path)

    @metrics.measure("op")
    @details.capture()
    @deadline(5)
    async def fails() -> None:
        assert remaining() is not None
        await asyncio.sleep(0)
        raise OSError

    with pytest.raises(OSError):
        await fails()
    assert metrics.rate("op").failures == 1
    assert len(list(tmp_path.iterdir())) == 1


@on_a_loop
async def test_an_operation_that_is_a_coroutine_is_waited_for() -> None:
    """The shutdown's count of operations holds while it runs."""
    shutdown = Shutdown(signals=())

    @shutdown.operation("upload")
    async def upload() -> int:
        await asyncio.sleep(0)
        return shutdown._running

    assert await upload() == 1
    assert shutdown._running == 0


@on_a_loop
async def test_a_synchronous_function_in_an_async_batch_is_refused() -> None:
    """It would run, and then count as failed."""
    with pytest.raises(UsageError, match=r"Use run\(\)"):
        await PartialFailureCollector().arun(agenerator, [1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (staticmethod(len), CallableKind.METHOD),
        (classmethod(len), CallableKind.METHOD),
        (property(len), CallableKind.METHOD),
        (5, CallableKind.NOT_CALLABLE),
        (agenerator, CallableKind.GENERATOR),
        (functools.partial(agenerator, 1), CallableKind.GENERATOR),
        (aitems, CallableKind.ASYNC_GENERATOR),
        (acoro, CallableKind.ASYNC),
        (functools.partial(acoro), CallableKind.ASYNC),
        (ValueError, CallableKind.CLASS),
        (len, CallableKind.SYNC),
        (lazily, CallableKind.SYNC),
    ],
)
def test_one_place_decides_what_a_callable_is(fn: Any, kind: CallableKind) -> None:
    """By what is known before it is called; a lambda that returns a coroutine is found out when it does."""
    assert kind_of(fn) is kind


def test_only_a_method_is_told_where_the_strategy_goes() -> None:
    """A number is not a callable, and there is no def to put the decorator above."""
    with pytest.raises(UsageError, match="directly above the def") as method:
        protectable("a retry", property(len))
    with pytest.raises(UsageError, match="a callable") as number:
        protectable("a retry", 5)
    assert "above the def" in str(method.value)
    assert "above the def" not in str(number.value)


def test_what_may_be_left_out_says_so() -> None:
    """A hook that is not given is not an error where it is optional; the message knows which."""
    synchronous("hook", None)
    with pytest.raises(UsageError, match="a function, or None"):
        synchronous("hook", 5)
    with pytest.raises(UsageError, match=r"a function\b(?!, or None)"):
        synchronous("hook", 5, optional=False)


@pytest.mark.parametrize(("answer", "said"), [(True, "yes"), (False, "no")])
def test_a_predicate_that_raises_says_what_it_is_taken_for(
    answer: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in a note on the error that it was asked about, once."""

    def fails(error: object) -> bool:
        raise ZeroDivisionError

    error = ConnectionError()
    for _ in range(2):
        assert asked("on", fails, error, if_it_raises=answer) is answer
    assert f"which is taken as {said}" in caplog.text
    assert len(error.__notes__) == 1
    assert error.__notes__[0].endswith(f"taken as {said}")


def test_a_class_is_async_if_its_metaclass_makes_it_so() -> None:
    """Calling it gives a coroutine, whatever its name says; other classes are not."""

    class Later(type):
        async def __call__(cls) -> Any:  # type: ignore[override]
            return None

    class Made(metaclass=Later):
        pass

    assert kind_of(Made) is CallableKind.ASYNC
    assert kind_of(Later) is CallableKind.CLASS
    assert kind_of(len) is CallableKind.SYNC
