"""The circuit breaker as users hold it: decorator, call, guard, errors, listeners, hands, forks."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import os
import pickle
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BreakerChanged,
    BreakerJudged,
    BreakerReason,
    BreakerRejected,
    BreakerState,
    CircuitBreaker,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import BreakerOpen


class Down(ConnectionError):
    """The other side is down."""


@pytest.fixture
def clock() -> VirtualClock:
    """Time that moves when told."""
    return VirtualClock(start=1000.0)


def fail(*_: object) -> Any:
    """A backend that is down."""
    raise Down


def ok(value: Any = "value") -> Any:
    """A backend that is well."""
    return value


def trip(breaker: CircuitBreaker) -> None:
    """Fail until it opens."""
    while breaker.state is BreakerState.CLOSED:
        with pytest.raises(Down):
            breaker.call(fail)


# -- the pinned surface --------------------------------------------------------------------------


def test_it_opens_rejects_and_comes_back(clock: VirtualClock) -> None:
    """Five failures in a row open it for sixty seconds; then one good call closes it."""
    breaker = CircuitBreaker(failures=5, open_for=60.0, clock=clock)

    @breaker
    def fetch(down: bool) -> str:
        return fail() if down else "data"

    for _ in range(4):
        with pytest.raises(Down):
            fetch(True)
    assert fetch(False) == "data"
    for _ in range(5):
        with pytest.raises(Down):
            fetch(True)
    assert breaker.state is BreakerState.OPEN
    clock.advance(59.9)
    with pytest.raises(BreakerOpen):
        fetch(False)
    clock.advance(0.1)
    assert breaker.state is BreakerState.HALF_OPEN
    assert fetch(False) == "data"
    assert breaker.state is BreakerState.CLOSED


class _Row:
    """A result of the program's own class, which the breaker has never seen."""


@pytest.mark.parametrize("value", ["data", _Row(), functools.partial(ok)], ids=["text", "object", "partial"])
def test_a_probe_counts_whatever_class_it_returns(clock: VirtualClock, value: object) -> None:
    """A class that is new to the breaker is looked at once; the permit of the call stays its permit."""
    breaker = CircuitBreaker(failures=1, open_for=60.0, probes=2, clock=clock)
    trip(breaker)
    clock.advance(60.0)
    assert breaker.call(ok, value) is value
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.call(ok, value) is value
    assert breaker.state is BreakerState.CLOSED


def test_the_states_compare_with_text() -> None:
    """States are text as well, so that they go into logs, metrics and JSON as they are."""
    breaker = CircuitBreaker()
    assert breaker.state == "closed"
    assert [str(s) for s in BreakerState] == ["closed", "open", "half-open", "forced-open", "disabled"]
    assert repr(breaker) == "<CircuitBreaker 'breaker' closed>"


def test_call_passes_arguments_and_result() -> None:
    """``call`` passes positional and keyword arguments on, also those named ``fn`` and ``self``."""

    def show(*args: object, **kwargs: object) -> tuple[object, ...]:
        return (*args, *sorted(kwargs.items()))

    for breaker in (CircuitBreaker(), CircuitBreaker(failure_rate=0.5, window_calls=10)):
        wanted = (1, 2, ("fn", 3), ("self", 4))
        assert breaker.call(show, 1, 2, fn=3, self=4) == wanted
        assert breaker(show)(1, 2, fn=3, self=4) == wanted
        assert breaker(show)(1) == (1,)


def test_a_decorated_function_keeps_what_it_was(clock: VirtualClock) -> None:
    """Name, doc, signature, coroutine flag and binding as a method stay; the original is ``__wrapped__``."""
    breaker = CircuitBreaker(clock=clock)

    def plain(a: int, *, b: str = "x") -> str:
        """Doc."""
        return b * a

    wrapped = breaker(plain)
    assert (wrapped.__name__, wrapped.__doc__) == ("plain", "Doc.")
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert wrapped.__wrapped__ is plain  # type: ignore[attr-defined]
    assert not inspect.iscoroutinefunction(wrapped)

    class Client:
        @breaker
        def get(self, n: int) -> tuple[Client, int]:
            return self, n

        @classmethod
        @breaker
        def make(cls) -> type:
            return cls

        @staticmethod
        @breaker
        def add(a: int, b: int) -> int:
            return a + b

    client = Client()
    assert client.get(3) == (client, 3)
    assert Client.make() is Client
    assert client.add(1, 2) == 3


@CircuitBreaker()
def module_level(n: int) -> int:
    """Pickled by name below."""
    return n + 1


def test_a_decorated_function_is_pickled_by_name() -> None:
    """A protected function goes to a worker process as any other."""
    assert pickle.loads(pickle.dumps(module_level))(1) == 2


def test_rejections_say_when_to_come_back(clock: VirtualClock) -> None:
    """``BreakerOpen`` has the seconds until a probe may pass, the name and the state, and can be pickled."""
    breaker = CircuitBreaker(failures=1, open_for=10.0, name="archive", clock=clock)
    trip(breaker)
    clock.advance(2.5)
    with pytest.raises(BreakerOpen) as caught:
        breaker.call(ok)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.retry_after == 7.5
    assert error.context == {"breaker": "archive", "state": "open", "last_failure": "Down"}
    said = "breaker 'archive' is open: a call may be let through in 7.5 s"
    assert str(error) == f"{said}; the last failure was Down"


def test_a_rejection_that_cannot_say_when_says_so(clock: VirtualClock) -> None:
    """Beside a running probe, and when forced open, the hint is None rather than a guess."""
    breaker = CircuitBreaker(failures=1, open_for=10.0, clock=clock)
    trip(breaker)
    clock.advance(10.0)

    def probe() -> None:
        with pytest.raises(BreakerOpen, match="is half-open: it is not known when") as caught:
            breaker.call(ok)
        assert caught.value.retry_after is None

    breaker.call(probe)
    breaker.force_open()
    with pytest.raises(BreakerOpen, match="is forced-open: it is not known when"):
        breaker.call(ok)


# -- what counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_never_counts(error: type[BaseException]) -> None:
    """Ctrl-C, exit and cancellation are neutral, even if ``on`` names everything."""
    breaker = CircuitBreaker(failures=1, on=BaseException)
    with pytest.raises(error):
        breaker.call(lambda: (_ for _ in ()).throw(error()))
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "on", [Down, (KeyError, Down), lambda error: isinstance(error, Down)], ids=["class", "tuple", "question"]
)
def test_on_says_what_counts(on: Any) -> None:
    """Only errors meant by ``on`` count: a class, several, or a question; the others are neutral."""
    breaker = CircuitBreaker(failures=2, on=on)
    for error in (Down(), ValueError(), Down()):
        with pytest.raises(type(error)):
            breaker.call(lambda error=error: (_ for _ in ()).throw(error))
    assert breaker.state is BreakerState.OPEN


def test_ignore_wins_over_on() -> None:
    """An error meant by both is neutral."""
    breaker = CircuitBreaker(failures=1, on=ConnectionError, ignore=Down)
    with pytest.raises(Down):
        breaker.call(fail)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("group", "counts"),
    [
        (ExceptionGroup("", [KeyError(), Down()]), True),
        (ExceptionGroup("", [KeyError(), ExceptionGroup("", [KeyError()])]), False),
        (ExceptionGroup("", [ExceptionGroup("", [Down()])]), True),
        (ExceptionGroup("", [Down(), *[KeyError()] * 2]), True),
        (BaseExceptionGroup("", [KeyboardInterrupt(), Down()]), False),
    ],
    ids=["one", "none", "nested", "repeated", "ctrl-c"],
)
def test_a_group_counts_if_one_in_it_does(group: BaseExceptionGroup[Any], counts: bool) -> None:
    """A group of ignored errors is as neutral as each of them; one that counts is enough."""
    breaker = CircuitBreaker(failures=1, ignore=KeyError)
    with pytest.raises(type(group)):
        breaker.call(lambda: (_ for _ in ()).throw(group))
    assert (breaker.state is BreakerState.OPEN) is counts


def test_a_group_that_contains_itself_comes_to_an_end() -> None:
    """A cyclic group is looked at once."""

    class Endless(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> tuple[Exception, ...]:
            return (self, KeyError())

    breaker = CircuitBreaker(failures=1, ignore=KeyError)
    with pytest.raises(Endless):
        breaker.call(lambda: (_ for _ in ()).throw(Endless("", [KeyError()])))
    assert breaker.state is BreakerState.CLOSED


def test_failed_results_count_and_come_back(clock: VirtualClock) -> None:
    """A value for which ``failed_result`` says yes counts as a failure; the caller gets it all the same."""
    breaker = CircuitBreaker(failures=2, clock=clock, failed_result=lambda status: status >= 500)
    protected = breaker(ok)
    assert [protected(503), protected(200), breaker.call(ok, 503)] == [503, 200, 503]
    assert breaker.state is BreakerState.CLOSED
    assert protected(500) == 500
    assert breaker.state is BreakerState.OPEN
    clock.advance(60.0)
    assert protected(200) == 200
    assert breaker.state is BreakerState.CLOSED


def test_async_failed_results_count() -> None:
    """The awaited value is judged, not the coroutine."""
    breaker = CircuitBreaker(failures=1, failed_result=lambda value: value is None)

    async def nothing() -> None:
        return None

    assert asyncio.run(breaker(nothing)()) is None
    assert breaker.state is BreakerState.OPEN


def test_the_value_itself_is_judged() -> None:
    """``failed_result`` sees what comes back, sync, async, and from a coroutine made by a sync function."""
    judged: list[Any] = []
    breaker = CircuitBreaker(failed_result=lambda value: judged.append(value))  # type: ignore[func-returns-value]

    async def work(n: int) -> int:
        return n

    async def scenario() -> None:
        await breaker(work)(1)
        await breaker.call(work, 2)
        await breaker(lambda: work(3))()
        breaker(ok)(4)
        breaker.call(ok, 5)

    asyncio.run(scenario())
    assert judged == [1, 2, 3, 4, 5]


def test_a_question_that_raises_counts_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """An error in the user's own predicate never replaces the call's outcome; it is logged."""

    def asked(error: BaseException) -> bool:
        return error.missing  # type: ignore[attr-defined,no-any-return]

    breaker = CircuitBreaker(failures=1, on=asked)
    with caplog.at_level(logging.ERROR, "chaoskit"), pytest.raises(Down):
        breaker.call(fail)
    assert breaker.state is BreakerState.OPEN
    (record,) = caplog.records
    _, question, about, _ = record.args  # type: ignore[misc]
    assert question is asked
    assert isinstance(about, Down)
    assert record.message.startswith("on: ")
    assert record.message.endswith("which is taken as yes")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AttributeError)


def test_an_ignore_that_raises_ignores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A broken ``ignore`` does not switch the breaker off."""
    breaker = CircuitBreaker(failures=1, ignore=lambda error: error.missing)  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR, "chaoskit"), pytest.raises(Down):
        breaker.call(fail)
    assert breaker.state is BreakerState.OPEN


def test_a_failed_result_that_raises_counts(caplog: pytest.LogCaptureFixture) -> None:
    """A broken ``failed_result`` errs on the side of protecting, and the value comes back."""
    breaker = CircuitBreaker(failures=1, failed_result=lambda value: value.missing)
    with caplog.at_level(logging.ERROR, "chaoskit"):
        assert breaker.call(ok) == "value"
    assert breaker.state is BreakerState.OPEN


def test_ctrl_c_while_a_probe_is_announced_gives_its_place_back(clock: VirtualClock) -> None:
    """A listener of the edge to half-open that is struck by Ctrl-C costs the next caller nothing."""
    strike = [True]

    def listen(event: Any) -> None:
        if event.name == "breaker.changed" and event.after is BreakerState.HALF_OPEN and strike.pop():
            raise KeyboardInterrupt

    breaker = CircuitBreaker(failures=1, open_for=10.0, clock=clock, listeners=[listen])
    trip(breaker)
    clock.advance(10.0)
    with pytest.raises(KeyboardInterrupt):
        breaker.call(ok)
    assert breaker.call(ok) == "value"


@pytest.mark.parametrize("setting", ["on", "ignore"])
@pytest.mark.parametrize("value", [5, "ConnectionError", (ValueError, 5), int, [ValueError], None], ids=str)
def test_what_is_no_exception_class_is_refused(setting: str, value: Any) -> None:
    """A wrong ``on`` or ``ignore`` is an error at once, not a breaker that never opens."""
    with pytest.raises(UsageError) as caught:
        CircuitBreaker(**{setting: value})
    assert str(caught.value) == (
        f"{setting} is {value!r} ({type(value).__name__}); "
        "expected exception classes, a tuple of them, or a function of the error."
    )


def test_nothing_is_ignored_by_default() -> None:
    """The empty tuple ignores nothing; as ``on`` it counts nothing."""
    assert CircuitBreaker(failures=1)._verdict.is_failure(Down())
    assert not CircuitBreaker(failures=1, on=())._verdict.is_failure(Down())


# -- slow calls ----------------------------------------------------------------------------------


def test_slow_calls_open_it(clock: VirtualClock) -> None:
    """When the share of slow calls reaches ``slow_rate`` it opens, though every call succeeded."""
    breaker = CircuitBreaker(
        failures=None, slow_rate=0.5, slow_after=2.0, window_calls=4, minimum_calls=4, clock=clock
    )
    took = breaker(lambda seconds: clock.advance(seconds))
    for seconds in (1.9, 2.0, 0.1):
        took(seconds)
    assert breaker.state is BreakerState.CLOSED
    took(3.0)
    assert breaker.state is BreakerState.OPEN


def test_quick_calls_are_not_slow(clock: VirtualClock) -> None:
    """Good, failed and judged calls that are quick never reach the slow rate, however late it is."""
    breaker = CircuitBreaker(
        failures=None,
        slow_rate=0.1,
        slow_after=2.0,
        window_calls=4,
        minimum_calls=1,
        clock=clock,
        failed_result=lambda value: value == "bad",
    )
    unjudged = CircuitBreaker(breaker.options, clock=clock)

    async def scenario() -> None:
        for one in (breaker, unjudged):
            one(ok)("good")
            one(ok)("bad")
            with one.guard():
                pass
            with pytest.raises(Down):
                one(fail)()
            await one.call(asyncio.sleep, 0)

    asyncio.run(scenario())
    assert breaker.state is unjudged.state is BreakerState.CLOSED
    assert breaker.machine.window is not None
    assert breaker.machine.window.slow == 0


def test_a_slow_failure_is_both(clock: VirtualClock) -> None:
    """A call that is slow and fails counts for both rates."""
    breaker = CircuitBreaker(
        failures=None, slow_rate=1.0, slow_after=2.0, window_calls=2, minimum_calls=2, clock=clock
    )

    def slow_failure() -> None:
        clock.advance(2.0)
        fail()

    for _ in range(2):
        with pytest.raises(Down):
            breaker.call(slow_failure)
    assert breaker.state is BreakerState.OPEN


def test_a_slow_probe_opens_again(clock: VirtualClock) -> None:
    """With ``slow_after`` a probe has to be quick as well as good."""
    told: list[Any] = []
    breaker = CircuitBreaker(failures=1, slow_after=2.0, open_for=10.0, clock=clock, listeners=[told.append])
    trip(breaker)
    clock.advance(10.0)
    breaker.call(lambda: clock.advance(2.0))
    assert breaker.state is BreakerState.OPEN
    assert told[-1].reason is BreakerReason.PROBE_SLOW


# -- async ---------------------------------------------------------------------------------------


def test_async_functions_are_protected(clock: VirtualClock) -> None:
    """The same breaker serves coroutines: they stay coroutines, and are asked for when awaited."""
    breaker = CircuitBreaker(failures=2, clock=clock)

    @breaker
    async def fetch(down: bool = False) -> str:
        return fail() if down else "data"

    async def scenario() -> None:
        assert inspect.iscoroutinefunction(fetch)
        assert await fetch() == "data"
        assert await breaker.call(fetch.__wrapped__) == "data"  # type: ignore[attr-defined]
        assert await breaker.call(fetch.__wrapped__, down=False) == "data"  # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(Down):
                await fetch(down=True)
        rejected = fetch()
        with pytest.raises(BreakerOpen):
            await rejected
        with pytest.raises(BreakerOpen):
            await breaker.call(fetch.__wrapped__)  # type: ignore[attr-defined]
        clock.advance(60.0)
        with pytest.raises(Down):
            await fetch(down=True)
        clock.advance(60.0)
        assert await fetch(down=False) == "data"
        assert breaker.state is BreakerState.CLOSED

    asyncio.run(scenario())


def test_a_coroutine_made_but_not_yet_awaited_takes_no_probe(clock: VirtualClock) -> None:
    """Calling an async function asks for nothing; awaiting does."""
    breaker = CircuitBreaker(failures=1, open_for=10.0, clock=clock)

    async def work() -> str:
        return "data"

    async def scenario() -> None:
        trip(breaker)
        clock.advance(10.0)
        early = breaker.call(work)
        assert await breaker.call(work) == "data"
        assert breaker.state is BreakerState.CLOSED
        assert await early == "data"

    asyncio.run(scenario())


def test_a_coroutine_from_a_sync_function_is_counted_when_awaited(clock: VirtualClock) -> None:
    """``lambda: client.get()`` is protected too: what counts is what awaiting it brings, in every state."""
    breaker = CircuitBreaker(failures=1, open_for=10.0, clock=clock)

    async def work(down: bool) -> str:
        return fail() if down else "data"

    async def scenario() -> None:
        shapes = (breaker(lambda down: work(down)), lambda down: breaker.call(lambda: work(down)))
        for shape in shapes:
            assert await shape(False) == "data"
            failing = shape(True)
            assert breaker.state is BreakerState.CLOSED
            with pytest.raises(Down):
                await failing
            assert breaker.state is BreakerState.OPEN
            clock.advance(10.0)
            probe = shape(False)
            assert breaker.state is BreakerState.HALF_OPEN
            assert await probe == "data"
            assert breaker.state is BreakerState.CLOSED

    asyncio.run(scenario())


class AsyncCallable:
    """An object whose call is a coroutine function."""

    async def __call__(self, n: int) -> int:
        return n


async def triple(n: int, m: int = 3) -> int:
    """An async function to make partials of."""
    return n * m


@pytest.mark.parametrize("fn", [AsyncCallable(), functools.partial(triple, m=1)], ids=["object", "partial"])
def test_all_kinds_of_async_callables_are_seen(fn: Any, clock: VirtualClock) -> None:
    """Objects with an async call, and partials of async functions, are asked for when awaited too."""
    breaker = CircuitBreaker(failures=1, clock=clock)

    async def scenario() -> None:
        assert await breaker(fn)(7) == 7
        trip(breaker)
        waiting = breaker.call(fn, 7)
        clock.advance(60.0)
        assert await waiting == 7

    asyncio.run(scenario())


def generator() -> Iterator[int]:
    """Does nothing when called."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Does nothing when called."""
    yield 1


class GeneratorCallable:
    """An object whose call is a generator function."""

    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "fn",
    [generator, async_generator, functools.partial(generator), GeneratorCallable()],
    ids=["function", "async", "partial", "object"],
)
def test_generators_are_refused(fn: Any) -> None:
    """Decorating a generator function would protect nothing, so it is an error that says what to do."""
    with pytest.raises(UsageError, match="protect the function that consumes it"):
        CircuitBreaker()(fn)


@pytest.mark.parametrize("fn", [None, 5, property(ok)], ids=["none", "number", "property"])
def test_what_cannot_be_called_is_refused(fn: Any) -> None:
    """A decorator above ``@property``, or on a value, is an error where it is written."""
    with pytest.raises(UsageError, match=r"the function given to a circuit breaker is .*expected a callable"):
        CircuitBreaker()(fn)
    with pytest.raises(UsageError, match="below @property"):
        CircuitBreaker()(property(ok))  # type: ignore[type-var]


# -- guard ---------------------------------------------------------------------------------------


def test_a_guard_protects_a_block(clock: VirtualClock) -> None:
    """A block that raises counts, one that ends well counts as good, a rejected one does not run."""
    breaker = CircuitBreaker(failures=2, clock=clock, failed_result=lambda value: True)
    guard = breaker.guard()
    with guard:
        pass
    for _ in range(2):
        with pytest.raises(Down), guard:
            fail()
    with pytest.raises(BreakerOpen), guard:
        raise AssertionError("not to be reached")
    clock.advance(60.0)
    with guard:
        pass
    assert breaker.state is BreakerState.CLOSED


def test_an_async_guard_protects_a_block(clock: VirtualClock) -> None:
    """``async with`` is the same."""
    breaker = CircuitBreaker(failures=1, clock=clock)

    async def scenario() -> None:
        with pytest.raises(Down):
            async with breaker.guard():
                fail()
        with pytest.raises(BreakerOpen):
            async with breaker.guard():
                raise AssertionError("not to be reached")

    asyncio.run(scenario())


def test_a_guard_in_use_is_refused() -> None:
    """One guard is one block at a time: used inside itself, or left without being entered, it says so."""
    guard = CircuitBreaker().guard()
    with guard, pytest.raises(UsageError) as caught:
        guard.__enter__()
    assert str(caught.value) == (
        "This guard is already in use; expected one block at a time. Call guard() for each."
    )
    with pytest.raises(UsageError) as caught:
        guard.__exit__(None, None, None)
    assert str(caught.value) == "This guard was left but never entered; expected it in a with statement."


# -- hands ---------------------------------------------------------------------------------------


def test_forced_open_and_disabled_end_with_reset(clock: VirtualClock) -> None:
    """Forced open rejects all, disabled lets all through, time changes neither, reset ends both."""
    breaker = CircuitBreaker(failures=1, clock=clock)
    breaker.force_open()
    clock.advance(1e9)
    assert breaker.state is BreakerState.FORCED_OPEN
    with pytest.raises(BreakerOpen):
        breaker.call(ok)
    breaker.disable()
    for _ in range(10):
        with pytest.raises(Down):
            breaker.call(fail)
    assert breaker.state is BreakerState.DISABLED
    breaker.reset()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.call(ok) == "value"


def test_reset_closes_and_forgets(clock: VirtualClock) -> None:
    """Reset closes an open breaker; reset of a closed one starts its count again."""
    breaker = CircuitBreaker(failures=2, clock=clock)
    trip(breaker)
    breaker.reset()
    assert breaker.state is BreakerState.CLOSED
    with pytest.raises(Down):
        breaker.call(fail)
    breaker.reset()
    with pytest.raises(Down):
        breaker.call(fail)
    assert breaker.state is BreakerState.CLOSED


def test_observe_only_reports_and_never_rejects(clock: VirtualClock) -> None:
    """Observed, it takes all its edges and says whom it would have rejected, and everybody gets through."""
    told: list[Any] = []
    breaker = CircuitBreaker(
        failures=1, open_for=10.0, observe_only=True, clock=clock, listeners=[told.append]
    )
    trip(breaker)
    told.clear()
    assert breaker.call(ok) == "value"
    assert [type(event) for event in told] == [BreakerRejected]
    assert told[0].enforced is False
    assert breaker.state is BreakerState.OPEN
    clock.advance(10.0)
    assert breaker.call(ok) == "value"
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "window", [{"failures": 1}, {"failure_rate": 0.1, "window_calls": 9, "minimum_calls": 1}]
)
def test_only_an_open_breaker_takes_the_short_way_to_reject(
    clock: VirtualClock, window: dict[str, Any]
) -> None:
    """Without listeners a call is rejected before the state is settled: not when observed or disabled."""

    def enter(breaker: CircuitBreaker) -> str:
        with breaker:
            return "value"

    # Decorated, called and entered: each of these ways looks for itself.
    ways: list[Any] = [lambda b: b(ok)(), lambda b: b.call(ok), enter]
    for way in ways:
        observed = CircuitBreaker(**window, open_for=10.0, observe_only=True, clock=clock, listeners=[])
        trip(observed)
        assert way(observed) == "value"
        disabled = CircuitBreaker(**window, open_for=10.0, clock=clock, listeners=[])
        trip(disabled)
        with pytest.raises(BreakerOpen):
            way(disabled)
        # Before the open period is over.
        disabled.disable()
        assert way(disabled) == "value"


# -- listeners -----------------------------------------------------------------------------------


def test_every_decision_is_told(clock: VirtualClock) -> None:
    """Judged errors, edges and rejections are told in order, each as a full record."""
    told: list[Any] = []
    breaker = CircuitBreaker(
        failures=1, open_for=10.0, name="db", ignore=KeyError, clock=clock, listeners=[told.append]
    )
    ignored, counted = KeyError(), Down()
    for error in (ignored, counted):
        with pytest.raises(type(error)):
            breaker.call(lambda error=error: (_ for _ in ()).throw(error))
    clock.advance(1.0)
    with pytest.raises(BreakerOpen):
        breaker.call(ok)
    assert told == [
        BreakerJudged(at=1000.0, breaker="db", error=ignored, counted=False),
        BreakerJudged(at=1000.0, breaker="db", error=counted, counted=True),
        BreakerChanged(
            at=1000.0,
            breaker="db",
            before=BreakerState.CLOSED,
            after=BreakerState.OPEN,
            reason=BreakerReason.FAILURES,
            era=1,
            open_for=10.0,
        ),
        BreakerRejected(at=1001.0, breaker="db", state=BreakerState.OPEN, retry_in=9.0, enforced=True),
    ]
    assert [event.name for event in told] == [
        "breaker.judged",
        "breaker.judged",
        "breaker.changed",
        "breaker.rejected",
    ]


def test_edges_by_hand_and_by_measured_calls_are_told(clock: VirtualClock) -> None:
    """Reset and force are told at once; so is the edge of a call that went the measured way."""
    told: list[Any] = []
    breaker = CircuitBreaker(
        failures=None,
        failure_rate=0.5,
        window_calls=2,
        minimum_calls=2,
        clock=clock,
        listeners=[
            lambda event: told.append((event.reason, event.at)) if event.name == "breaker.changed" else 0
        ],
    )
    protected = breaker(lambda down: fail() if down else ok())
    with pytest.raises(Down):
        protected(True)
    protected(False)
    assert told == [(BreakerReason.FAILURE_RATE, 1000.0)]
    del told[:]
    for move in (breaker.reset, breaker.force_open, breaker.disable):
        clock.advance(1.0)
        move()
    assert told == [
        (BreakerReason.MANUAL, 1001.0),
        (BreakerReason.MANUAL, 1002.0),
        (BreakerReason.MANUAL, 1003.0),
    ]


def test_a_listener_may_use_the_breaker(clock: VirtualClock) -> None:
    """Listeners run without the lock: they may ask for the state, call, and reset."""
    states: list[BreakerState] = []

    def listen(event: Any) -> None:
        if event.name == "breaker.changed" and event.after is BreakerState.OPEN:
            states.append(breaker.state)
            breaker.reset()

    breaker = CircuitBreaker(failures=1, clock=clock, listeners=[listen])
    with pytest.raises(Down):
        breaker.call(fail)
    assert states == [BreakerState.OPEN]
    assert breaker.state is BreakerState.CLOSED


def test_ctrl_c_in_a_listener_costs_no_count(clock: VirtualClock) -> None:
    """What was decided before a Ctrl-C in a listener stands, and the untold edge is told by the next call."""
    told: list[str] = []

    def listen(event: Any) -> None:
        told.append(event.name)
        if len(told) == 1:
            raise KeyboardInterrupt

    breaker = CircuitBreaker(failures=1, clock=clock, listeners=[listen])
    with pytest.raises(KeyboardInterrupt):
        breaker.call(fail)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(BreakerOpen):
        breaker.call(ok)
    assert told == ["breaker.judged", "breaker.changed", "breaker.rejected"]


def test_a_trip_by_many_threads_is_one_edge() -> None:
    """When many threads fail at once, one edge is told and at most the calls in flight get through."""
    told: list[Any] = []
    breaker = CircuitBreaker(failures=3, open_for=3600.0, listeners=[told.append])
    together = threading.Barrier(8, timeout=10)

    def backend() -> None:
        together.wait()
        fail()

    def caller() -> None:
        with pytest.raises((Down, BreakerOpen)):
            breaker.call(backend)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [event.reason for event in told if isinstance(event, BreakerChanged)] == [BreakerReason.FAILURES]


# -- memory, forks, signals ----------------------------------------------------------------------


class Payload:
    """Something whose life can be watched."""


@pytest.mark.parametrize("settings", [{}, {"failure_rate": 0.5, "window_calls": 10}], ids=["plain", "window"])
def test_no_argument_is_kept_after_a_failure(settings: dict[str, Any]) -> None:
    """Once the error is gone so are the call's arguments, without a pass of the collector."""
    breaker = CircuitBreaker(**settings)
    payload = Payload()
    watch = weakref.ref(payload)
    gc.disable()
    try:
        try:
            breaker.call(fail, payload)
        except Down:
            pass
        del payload
        assert watch() is None
    finally:
        gc.enable()


def test_a_breaker_nobody_uses_goes_away() -> None:
    """Being looked after across forks keeps no breaker alive."""
    watch = weakref.ref(CircuitBreaker())
    gc.collect()
    assert watch() is None


def in_child(check: Any) -> int:
    """The exit status of a forked child that runs ``check``; killed after ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_until_nobody_is_half_way(clock: VirtualClock) -> None:
    """A lock held in another thread at the moment of the fork is let go first, and is free in the child."""
    breaker = CircuitBreaker(failures=2, clock=clock)
    held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with breaker._lock:
            held.set()
            may_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    threading.Timer(0.05, may_go.set).start()

    def check() -> None:
        assert breaker.state is BreakerState.CLOSED
        trip(breaker)
        breaker.reset()
        assert breaker.call(ok) == "value"

    assert in_child(check) == 0
    holder.join(10)
    trip(breaker)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_gets_its_own_probe(clock: VirtualClock) -> None:
    """A probe in flight in the parent does not keep the child's half-open breaker shut."""
    breaker = CircuitBreaker(failures=1, open_for=10.0, clock=clock)
    trip(breaker)
    clock.advance(10.0)

    def check() -> None:
        assert breaker.call(ok) == "value"
        assert breaker.state is BreakerState.CLOSED

    def probe() -> int:
        return in_child(check)

    assert breaker.call(probe) == 0
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_use_the_breaker() -> None:
    """A handler that runs in the middle of the counting neither hangs nor spoils the state."""
    breaker = CircuitBreaker(failure_rate=1.0, window_calls=100, minimum_calls=100)
    protected = breaker(ok)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        protected()
        assert breaker.state is BreakerState.CLOSED

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while handled < 50:
            protected()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert breaker.machine.window is not None
    assert breaker.machine.window.calls == 100


def test_ctrl_c_anywhere_in_a_measured_call_leaves_the_lock_free() -> None:
    """However the counting is interrupted, the next caller, in another thread, gets through."""
    breaker = CircuitBreaker(failure_rate=1.0, window_calls=100, minimum_calls=100)
    succeed = type(breaker.machine).succeed

    class Interrupted(type(breaker.machine)):  # type: ignore[misc]
        __slots__ = ()
        strike = True

        def succeed(self, *args: Any) -> None:
            succeed(self, *args)
            if Interrupted.strike:
                Interrupted.strike = False
                raise KeyboardInterrupt

    breaker.machine.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        breaker.call(ok)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(breaker.call(ok)), daemon=True)
    thread.start()
    thread.join(10)
    assert got == ["value"]


def test_a_good_call_of_a_task_ends_a_streak_of_failures():
    """As in a thread: only failures in a row count, and a good call of any caller ends the row."""
    breaker = CircuitBreaker(failures=2)

    @breaker
    async def work(error: Exception | None) -> None:
        if error is not None:
            raise error

    async def main() -> None:
        for error in (OSError(), None, OSError(), None):
            try:
                await work(error)
            except OSError:
                pass

    asyncio.run(main())
    assert breaker.state is BreakerState.CLOSED
