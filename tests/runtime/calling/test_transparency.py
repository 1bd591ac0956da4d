"""A coroutine sees the same with a strategy around it as without: every error, every cancellation, in order.

Coroutines are generated, run bare, and run again under each strategy, on a loop in virtual time; what they
wrote down on their way must be equal. The strategies are set so that none has a reason to step in.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaoskit.contracts.virtual import run
from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    Category,
    CircuitBreaker,
    Deadline,
    FallbackChain,
    PerKey,
    Pipeline,
    RateLimiter,
    Recovery,
    RecoveryStep,
    RetryBudget,
    Timeout,
    VirtualClock,
    deadline,
    hedge,
    remaining,
    retry,
)

Program = tuple[Any, ...]
Coroutine = Callable[["World"], Any]

AGES = 1e6  # seconds: longer than any generated coroutine takes
TICK = 0.01


# Which part of a program runs: tasks of a group run in no promised order, so each has a trace to itself.
BRANCH: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("branch", default=())
DEPTH: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)

# Tasks that begin within the call that makes them. CPython 3.12 has them, but a TaskGroup there forgets the
# coroutine that it refuses once a child has failed: python/cpython#115957, mended in 3.13 only.
EAGER = getattr(asyncio, "eager_task_factory", None) if sys.version_info >= (3, 13) else None


@dataclass
class World:
    """What one run writes down, and at which of its suspensions its task is cancelled."""

    cancel_at: tuple[int, ...]
    seen: dict[tuple[int, ...], list[Any]] = field(default_factory=dict)
    suspensions: int = 0
    durations: Counter[tuple[int, ...]] = field(default_factory=Counter)
    task: asyncio.Task[Any] | None = None

    def log(self, *what: Any) -> None:
        now = round(asyncio.get_running_loop().time(), 9)
        self.seen.setdefault(BRANCH.get(), []).append((now, *what))

    def suspend(self) -> None:
        """To be called right before each await that suspends."""
        self.suspensions += not BRANCH.get()
        if not BRANCH.get():
            assert self.task is not None
            # As often as it is named: the second one finds the first not delivered yet.
            for _ in range(self.cancel_at.count(self.suspensions)):
                asyncio.get_running_loop().call_soon(self.task.cancel)

    def seconds(self, ticks: int) -> float:
        """A duration that no other has: which of two timers of one moment comes first is left to chance."""
        branch = BRANCH.get()
        self.durations[branch] += 1
        return ticks * TICK + self.durations[branch] * 1e-5 + sum((n + 1) * 1e-7 for n in branch)


def shown(error: BaseException | None) -> Any:
    """An error with everything that hangs on it, as far as a handler can tell."""
    if error is None:
        return None
    members = [shown(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    return (type(error).__name__, str(error), shown(error.__cause__), shown(error.__context__), members)


async def execute(program: Program, world: World) -> None:
    """Do what ``program`` says, and write down every step."""
    kind, *parts = program
    await globals()[f"do_{kind}"](world, *parts)


async def do_sequence(world: World, *parts: Program) -> None:
    for part in parts:
        await execute(part, world)


async def do_sleep(world: World, ticks: int) -> None:
    world.suspend()
    await asyncio.sleep(world.seconds(ticks) if ticks else 0)
    world.log("slept", ticks)


async def do_fails(world: World, ticks: int) -> None:
    """A future that fails from outside: the error arrives at a suspension."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(
        world.seconds(ticks), lambda: future.done() or future.set_exception(OSError(f"after {ticks}"))
    )
    world.suspend()
    await future


async def do_raises(world: World, text: str) -> None:
    raise ValueError(text)


async def do_handled(world: World, body: Program, handler: Program) -> None:
    try:
        await execute(body, world)
    except Exception as error:
        world.log("handled", shown(error))
        await execute(handler, world)
    world.log("in flight", shown(sys.exc_info()[1]))


async def do_cancel_swallowed(world: World, body: Program, handler: Program) -> None:
    try:
        await execute(body, world)
    except asyncio.CancelledError as error:
        world.log("cancelled", shown(error), asyncio.current_task().cancelling())  # type: ignore[union-attr]
        await execute(handler, world)


async def do_cleaned(world: World, body: Program, cleanup: Program) -> None:
    try:
        await execute(body, world)
    finally:
        world.log("cleaning", shown(sys.exc_info()[1]))
        await execute(cleanup, world)
        world.log("clean")


@asynccontextmanager
async def resource(world: World) -> AsyncIterator[None]:
    world.suspend()
    await asyncio.sleep(0)
    world.log("open")
    try:
        yield
    finally:
        world.log("closing", shown(sys.exc_info()[1]))
        world.suspend()
        await asyncio.sleep(world.seconds(1))
        world.log("closed")


async def do_resource(world: World, body: Program) -> None:
    async with resource(world):
        await execute(body, world)


async def do_limited(world: World, ticks: int, body: Program) -> None:
    async with asyncio.timeout(world.seconds(ticks)):
        await execute(body, world)


async def do_waited_for(world: World, ticks: int, body: Program) -> None:
    world.suspend()
    await asyncio.wait_for(execute(body, world), world.seconds(ticks))


async def do_together(world: World, *bodies: Program) -> None:
    world.suspend()
    async with asyncio.TaskGroup() as group:
        for number, body in enumerate(bodies):
            group.create_task(branch(world, number, body))


async def branch(world: World, number: int, body: Program) -> None:
    BRANCH.set((*BRANCH.get(), number))
    await execute(body, world)


async def do_generated(world: World, items: int, body: Program) -> None:
    async def generator() -> AsyncIterator[int]:
        try:
            for number in range(3):
                await execute(body, world)
                yield number
        finally:
            world.log("generator ends", shown(sys.exc_info()[1]))

    async with aclosing(generator()) as numbers:  # type: ignore[type-var]
        async for number in numbers:
            world.log("item", number)
            if number == items:
                break


async def do_driven(world: World, steps: tuple[str, ...], body: Program) -> None:
    """An async generator that is sent to, thrown into and closed by hand, and suspends at each of these."""

    async def generator() -> AsyncGenerator[str, str]:
        given = "begun"
        try:
            while True:
                try:
                    given = yield given
                except LookupError as error:
                    world.log("thrown in", shown(error))
                    given = "handled"
                await execute(body, world)
        finally:
            world.log("driven generator ends", shown(sys.exc_info()[1]))
            world.suspend()
            await asyncio.sleep(0)

    driven = generator()
    try:
        world.log("first", await anext(driven))
        for step in steps:
            if step == "send":
                world.log("sent", await driven.asend("sent"))
            elif step == "throw":
                world.log("thrown", await driven.athrow(LookupError("in")))
            else:
                await driven.aclose()
    except StopAsyncIteration:
        world.log("exhausted")
    finally:
        await driven.aclose()


async def do_shielded(world: World, body: Program) -> None:
    """What is shielded goes on when its waiter is cancelled, which then waits for it after all."""
    work = asyncio.ensure_future(branch(world, 9, body))
    try:
        world.suspend()
        await asyncio.shield(work)
    finally:
        world.log("shield", work.done(), shown(sys.exc_info()[1]))
        while not work.done():
            try:
                world.suspend()
                await asyncio.wait([work])
            except asyncio.CancelledError:
                world.log("cancelled at the shield")
        world.log("shielded", work.cancelled() or shown(work.exception()))


async def do_variable(world: World, body: Program) -> None:
    """A variable of the context: set, seen after every suspension, and reset where it was set."""
    token = DEPTH.set(DEPTH.get() + 1)
    try:
        await execute(body, world)
    finally:
        world.log("variable", DEPTH.get())
        DEPTH.reset(token)


async def do_cancels_itself(world: World) -> None:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    world.suspend()
    await asyncio.sleep(0)


def bare(coroutine: Coroutine) -> Coroutine:
    return coroutine


def in_block(coroutine: Coroutine) -> Coroutine:
    policy = retry(on=ZeroDivisionError)(coroutine)

    async def call(world: World) -> Any:
        with deadline(AGES):
            return await policy(world)

    return call


def in_loop(coroutine: Coroutine) -> Coroutine:
    async def call(world: World) -> Any:
        async for attempt in retry(on=ZeroDivisionError, deadline=AGES):
            with attempt:
                return await coroutine(world)
        return None

    return call


def in_async_block(strategy: Any) -> Callable[[Coroutine], Coroutine]:
    def around(coroutine: Coroutine) -> Coroutine:
        async def call(world: World) -> Any:
            async with strategy:
                return await coroutine(world)

        return call

    return around


def followed(coroutine: Coroutine) -> Coroutine:
    """Behind a plain function, so that the breaker follows what it returns."""
    return CircuitBreaker(failures=1000)(lambda world: coroutine(world))


GIVES_UP: dict[Any, RecoveryStep] = dict.fromkeys(Category, RecoveryStep.GIVE_UP)
NEVER = Candidate("never", lambda world: pytest.fail("nothing was to fall back on"))

STRATEGIES: dict[str, Callable[[], Callable[[Coroutine], Coroutine]]] = {
    "retry": lambda: retry(on=ZeroDivisionError),
    "retry, deadline": lambda: retry(on=ZeroDivisionError, deadline=AGES),
    "retry, attempt_timeout": lambda: retry(on=ZeroDivisionError, attempt_timeout=AGES),
    "retry, everything": lambda: retry(
        on=ZeroDivisionError,
        deadline=AGES,
        attempt_timeout=AGES / 2,
        budget=RetryBudget(),
        on_result=lambda value: False,
    ),
    "retry in a deadline": lambda: in_block,
    "retry as a loop": lambda: in_loop,
    "deadline": lambda: Deadline(AGES),
    "deadline of a retry": lambda: lambda fn: Deadline(AGES)(retry(on=ZeroDivisionError)(fn)),
    "timeout": lambda: Timeout(AGES),
    "breaker": lambda: CircuitBreaker(failures=1000),
    "breaker, window": lambda: CircuitBreaker(failures=None, failure_rate=1.0, window_calls=1000),
    "breaker, followed": lambda: followed,
    "breaker in a deadline": lambda: lambda fn: Deadline(AGES)(CircuitBreaker(failures=1000)(fn)),
    "recovery": lambda: Recovery(by=GIVES_UP),
    "per key": lambda: PerKey(lambda key: Timeout(AGES), key=lambda world: 1),
    "deadline around each call": lambda: deadline(AGES),
    "blocks of all kinds": lambda: in_async_block(
        Pipeline(
            deadline=AGES,
            rate_limiter=RateLimiter(1e6, burst=1000),
            bulkhead=Bulkhead(1, queue=1),
            breaker=CircuitBreaker(failures=1000),
            timeout=Timeout(AGES),
        )
    ),
    "bulkhead": lambda: Bulkhead(1),
    "limiter": lambda: RateLimiter(1e6, burst=1000),
    "fallback": lambda: FallbackChain(NEVER, on=ZeroDivisionError),
    "pipeline": lambda: Pipeline(
        fallback=FallbackChain(NEVER, on=ZeroDivisionError),
        deadline=AGES,
        retry=retry(on=ZeroDivisionError, attempt_timeout=AGES),
        rate_limiter=RateLimiter(1e6, burst=1000),
        bulkhead=Bulkhead(1),
        breaker=CircuitBreaker(failures=1000),
        timeout=Timeout(AGES),
    ),
}


def trace(
    program: Program,
    cancel_at: tuple[int, ...],
    strategy: Callable[[Coroutine], Coroutine],
    *,
    within: int | None = None,
    eager: bool = False,
) -> tuple[Any, ...]:
    """What ``program`` saw, how its task ended, and whether a deadline stayed behind."""
    world = World(cancel_at)

    async def coroutine(world: World) -> str:
        await execute(program, world)
        return "value"

    async def main() -> tuple[Any, ...]:
        left: list[Any] = []

        async def task() -> Any:
            world.task = asyncio.current_task()
            try:
                async with asyncio.timeout(None if within is None else within * TICK + 5e-6):
                    return await strategy(coroutine)(world)
            finally:
                left.append((remaining(), DEPTH.get()))

        if eager:
            asyncio.get_running_loop().set_task_factory(EAGER)
        world.task = asyncio.create_task(task())
        await asyncio.wait([world.task])
        ended = (
            "cancelled" if world.task.cancelled() else (shown(world.task.exception()) or world.task.result())
        )
        return (world.seen, ended, world.task.cancelling(), *left)

    return run(VirtualClock(), main)


def nested(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    ticks = st.integers(0, 3)
    return st.one_of(
        st.tuples(st.just("sequence"), inner, inner),
        st.tuples(st.just("sequence"), inner, inner, inner),
        st.tuples(st.just("handled"), inner, inner),
        st.tuples(st.just("cancel_swallowed"), inner, inner),
        st.tuples(st.just("cleaned"), inner, inner),
        st.tuples(st.just("resource"), inner),
        st.tuples(st.just("limited"), ticks, inner),
        st.tuples(st.just("waited_for"), ticks, inner),
        st.tuples(st.just("together"), inner, inner),
        st.tuples(st.just("generated"), st.integers(0, 3), inner),
        st.tuples(
            st.just("driven"),
            st.lists(st.sampled_from(["send", "throw", "close"]), max_size=3).map(tuple),
            inner,
        ),
        st.tuples(st.just("shielded"), inner),
        st.tuples(st.just("variable"), inner),
    )


PROGRAMS: st.SearchStrategy[Program] = st.recursive(
    st.one_of(
        st.tuples(st.just("sleep"), st.integers(0, 3)),
        st.tuples(st.just("fails"), st.integers(0, 3)),
        st.tuples(st.just("raises"), st.sampled_from("ab")),
        st.just(("cancels_itself",)),
        st.just(("sequence",)),
    ),
    nested,
    max_leaves=8,
)

NOTHING = ("sequence",)
FAIL_AND_GO_ON = ("handled", ("fails", 0), NOTHING)
POLL = ("handled", ("limited", 1, ("sleep", 3)), NOTHING)
WAIT = ("handled", ("waited_for", 1, ("sleep", 3)), NOTHING)
CLEANUP = ("cleaned", ("sleep", 3), ("sequence", ("sleep", 1), ("sleep", 1)))

calm_example = functools.partial(example, within=None, eager=False)


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    program=PROGRAMS,
    cancel_at=st.lists(st.integers(1, 6), max_size=3).map(tuple),
    within=st.none() | st.integers(0, 6),
    eager=st.booleans() if EAGER else st.just(False),
)
@example(
    program=("sequence", FAIL_AND_GO_ON, FAIL_AND_GO_ON, FAIL_AND_GO_ON),
    cancel_at=(),
    within=None,
    eager=False,
)
@calm_example(program=("sequence", POLL, POLL, POLL), cancel_at=())
@calm_example(program=("sequence", WAIT, WAIT, WAIT), cancel_at=())
@calm_example(program=CLEANUP, cancel_at=(1, 2))
@calm_example(program=("resource", ("resource", ("fails", 1))), cancel_at=(2, 3))
@example(
    program=("generated", 1, ("handled", ("fails", 0), ("fails", 0))), cancel_at=(), within=None, eager=False
)
@calm_example(program=("together", ("fails", 0), CLEANUP), cancel_at=(2,))
@calm_example(program=("driven", ("throw", "send"), ("sleep", 0)), cancel_at=(2, 2))
@example(program=("shielded", ("sleep", 2)), cancel_at=(1, 2), within=1, eager=False)
@example(
    program=("variable", ("handled", ("fails", 0), POLL)), cancel_at=(1,), within=None, eager=bool(EAGER)
)
def test_a_strategy_changes_nothing_that_a_coroutine_sees(
    name: str, program: Program, cancel_at: tuple[int, ...], within: int | None, eager: bool
) -> None:
    """Handlers, clean-ups, generators and groups run in the same order, on the same errors."""
    seen = trace(program, cancel_at, STRATEGIES[name](), within=within, eager=eager)
    assert seen == trace(program, cancel_at, bare, within=within, eager=eager)


class Forgetful:
    """An awaitable that drops the coroutine once an error has been thrown into it, as a bug once did."""

    def __init__(self, coroutine: Any) -> None:
        self._steps = coroutine.__await__()

    def __await__(self) -> Iterator[Any]:
        step = next(self._steps)
        try:
            yield step
        except BaseException as error:
            yield self._steps.throw(error)
        return (yield from self._steps)  # type: ignore[no-any-return]


def test_the_property_sees_a_strategy_that_drops_a_thrown_error() -> None:
    """Planted: the second of two errors does not reach the coroutine."""

    def forgetful(coroutine: Coroutine) -> Coroutine:
        async def call(world: World) -> Any:
            return await Forgetful(coroutine(world))

        return call

    program = ("sequence", FAIL_AND_GO_ON, FAIL_AND_GO_ON)
    assert trace(program, (), forgetful) != trace(program, (), bare)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_coroutine_that_is_dropped_is_closed_with_its_handlers(name: str) -> None:
    """Closing a suspended call runs the clean-up inside, and leaves no deadline behind."""
    steps: list[str] = []

    @contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        finally:
            steps.append("closed")

    async def coroutine(world: World) -> None:
        with noted():
            await asyncio.sleep(AGES / 10)

    async def main() -> float | None:
        call = STRATEGIES[name]()(coroutine)(World(()))
        call.send(None)
        call.close()
        return remaining()

    assert run(VirtualClock(), main) is None
    assert steps == ["closed"]


def free_port() -> int:
    """A port of the loopback at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("name", STRATEGIES)
def test_hosts_are_tried_one_after_the_other_on_a_real_loop(name: str) -> None:
    """Three refused connections in a row, each handled, and then the one that answers."""

    async def main() -> int:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        ports = [free_port(), free_port(), free_port(), server.sockets[0].getsockname()[1]]

        async def connect(world: World) -> int:
            for tried, port in enumerate(ports):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    continue
                writer.close()
                return tried
            return -1

        async with server:
            return int(await STRATEGIES[name]()(connect)(World(())))

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize(
    "strategy", [Timeout(TICK), Deadline(TICK), retry(on=KeyError, attempt_timeout=TICK)]
)
def test_a_time_out_of_the_coroutine_in_the_moment_of_the_cut_is_its_error(strategy: Any) -> None:
    """What answers the cancellation with a TimeoutError of its making is not taken for the cut."""

    async def coroutine(world: World) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise TimeoutError("mine") from None

    with pytest.raises(TimeoutError, match=r"^mine$"):
        run(VirtualClock(), lambda: strategy(coroutine)(World(())))


@pytest.mark.parametrize("cancels", [(), (2,), (2, 2)])
def test_a_hedge_changes_nothing_that_its_only_call_sees(cancels: tuple[int, ...]) -> None:
    """It is a task of its own; errors, time-outs and cancellations reach it all the same."""
    program = ("sequence", FAIL_AND_GO_ON, POLL, ("generated", 1, ("sleep", 1)), CLEANUP)
    hedged = trace(program, cancels, hedge(after=AGES))
    plain = trace(program, cancels, bare)
    assert hedged[:2] == plain[:2]
