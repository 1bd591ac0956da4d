"""What an attack on the policies found, one test for each defect; each fails on the code of before.

The defects that need a server, a signal or a client library have their tests beside the others of their
part. Only names that both codes have are used, so that the tests can be run against the old one.
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AdaptiveThrottle,
    Bulkhead,
    Candidate,
    CircuitBreaker,
    Constant,
    Deadline,
    FallbackChain,
    JobBoard,
    JobRunner,
    LastGood,
    PartialFailureCollector,
    Pipeline,
    RateLimiter,
    RetryPolicy,
    Shutdown,
    Supervisor,
    Timeout,
    VirtualClock,
    classify,
    hedge,
    retry,
)


def failing() -> None:
    raise OSError("the real error")


async def done() -> int:
    return 1


CHAIN: FallbackChain[int] = FallbackChain(Candidate("one", lambda: 1))


@pytest.mark.parametrize("option", ["deadline", "attempt_timeout"])
def test_a_coroutine_under_a_limit_sees_every_error(option: str) -> None:
    """It handles one failed await after the other, as it does without the limit (D1)."""

    @retry(on=ValueError, **{option: 60.0})  # type: ignore[misc]
    async def work() -> int:
        handled = 0
        for _ in range(3):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_exception, ConnectionRefusedError())
            try:
                await future
            except ConnectionRefusedError:
                handled += 1
        return handled

    assert asyncio.run(work()) == 3


def test_a_shutdown_lets_the_event_loop_go_on() -> None:
    """The operation of another task ends while the shutdown waits for it (D2)."""

    async def main() -> list[str]:
        ended, begun = [], asyncio.Event()

        async def operation(shutdown: Shutdown) -> None:
            with shutdown.operation("upload"):
                begun.set()
                for _ in range(5):
                    await asyncio.sleep(0)
                ended.append("uploaded")

        async with Shutdown(signals=()) as shutdown:
            task = asyncio.create_task(operation(shutdown))
            await begun.wait()
            shutdown.request()
        await task
        return ended

    assert asyncio.run(main()) == ["uploaded"]


def test_a_job_that_obeys_is_not_done() -> None:
    """Told to stop, it returns without having done its work (D3)."""
    board = JobBoard()
    board.submit("a")
    ticket = board.claim()
    assert ticket is not None
    board.withdraw()
    board.finish(ticket)
    assert board.state("a").name == "CANCELLED"


def test_leaving_a_supervisor_ends_nothing_else() -> None:
    """The signal that it was given to hear is not set by it (D4)."""
    with Shutdown(signals=()) as shutdown:
        with Supervisor(stop=shutdown.wake):
            pass
        assert not shutdown.requested


async def adone_of(item: object) -> int:
    return 1


def within(manager: Any, work: Callable[[Any], object]) -> None:
    with manager as entered:
        work(entered)


ACCEPTS: dict[str, Callable[[], object]] = {
    "collector": lambda: PartialFailureCollector().run(adone_of, [1]),
    "runner": lambda: within(JobRunner(), lambda runner: runner.submit("a", adone_of)),
    "supervisor": lambda: within(Supervisor(), lambda supervisor: supervisor.spawn("a", adone_of)),
    "shutdown": lambda: within(Shutdown(signals=()), lambda shutdown: shutdown.defer(done)),
}


@pytest.mark.parametrize("where", ACCEPTS)
def test_nothing_is_accepted_and_then_not_run(where: str) -> None:
    """A coroutine function is refused where nothing would await it (D5)."""
    with pytest.raises(UsageError):
        ACCEPTS[where]()


def test_a_candidate_may_return_an_awaitable() -> None:
    """The caller of an async chain gets the value, and not a coroutine (D6)."""

    async def main() -> object:
        return (await FallbackChain(Candidate("lambda", lambda: done())).achoose()).value

    assert asyncio.run(main()) == 1


def test_the_number_of_abandoned_threads_is_a_bound() -> None:
    """Callers that come together leave no more threads behind than one at a time would (D7)."""
    timeout, go = Timeout(0.05, abandon=1), threading.Event()
    start = threading.Barrier(3)

    def call() -> None:
        start.wait(30)
        try:
            timeout.call(go.wait, 60)
        except Exception:
            pass

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    left = timeout.abandoned
    go.set()
    assert left <= 1


def test_a_failed_job_waits_before_it_is_tried_again() -> None:
    """Its next attempt is not due at once (D9)."""
    board = JobBoard()
    board.submit("a")
    ticket = board.claim()
    assert ticket is not None
    board.fail(ticket, RuntimeError())
    assert board.claim() is None


def test_a_withdrawn_board_begins_no_more() -> None:
    """A job that is submitted after it is refused (D10)."""
    board = JobBoard()
    board.withdraw()
    with pytest.raises(Exception, match="withdrawn"):
        board.submit("late")


@pytest.mark.parametrize("kind", [JobRunner, Supervisor])
def test_what_was_left_is_not_entered_again(kind: Any) -> None:
    """Its helper thread would end at once (D11)."""
    used = kind()
    with used:
        pass
    with pytest.raises(UsageError):
        used.__enter__()


def test_a_dead_worker_is_not_restarted_at_once() -> None:
    """What is away for a moment does not use up all restarts (D12)."""
    starts: list[int] = []

    def dies(worker: Any) -> None:
        starts.append(1)
        raise OSError

    with Supervisor(clock=VirtualClock()) as supervisor:
        worker = supervisor.spawn("a", dies)
        assert worker.thread is not None
        worker.thread.join()
        supervisor.check()
        seen = len(starts)
    assert seen == 1


PARTS: dict[str, dict[str, Any]] = {
    "on": {"on": lambda error: 1 / 0},
    "wait": {"on": OSError, "wait": type("Broken", (), {"cap": 1.0, "band": lambda *_: 1 / 0})()},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_policy_that_raises_hides_no_error(part: str) -> None:
    """The caller sees what the call failed with (D13)."""
    with pytest.raises(OSError, match="the real error"):
        RetryPolicy(**PARTS[part]).call(failing)


@pytest.mark.parametrize("option", [{"on_result": bool}, {"attempt_timeout": 1.0}])
def test_an_option_that_a_loop_cannot_have_is_refused(option: dict[str, Any]) -> None:
    """It is not left out without a word (D14)."""
    with pytest.raises(UsageError):
        next(iter(RetryPolicy(on=OSError, **option)))


@pytest.mark.parametrize(
    "strategy",
    [CircuitBreaker(), Bulkhead(1), RateLimiter(1e6), Deadline(60.0), CHAIN],
    ids=lambda strategy: type(strategy).__name__,
)
def test_a_static_method_stays_one(strategy: Any) -> None:
    """Decorated, it is called on an object as on the class (D17)."""

    class Service:
        @strategy
        @staticmethod
        def value() -> int:
            return 1

    assert Service().value() == Service.value() == 1


def test_a_peer_that_closes_is_no_damaged_archive() -> None:
    """Of a stream that ended early the rest may still come from another try (D19)."""
    assert classify(asyncio.IncompleteReadError(b"", 4)).retryable


def test_a_default_does_not_hide_the_last_known_value() -> None:
    """The last good value of the function comes before the default behind it (D21)."""
    answers = iter([42])
    chain = FallbackChain(
        Candidate("service", lambda: next(answers)),
        Candidate("default", lambda: 0, last_resort=True),
        last_good=LastGood(60.0),
    )
    assert [chain.call(), chain.call()] == [42, 42]


def test_a_failed_chain_lets_its_arguments_go() -> None:
    """No cycle keeps them until the collector comes (D24)."""

    class Argument:
        pass

    def fails(argument: object) -> None:
        raise OSError

    argument = Argument()
    alive = weakref.ref(argument)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Exception):  # noqa: B017 - which one is not what is asked
            FallbackChain(Candidate("fails", fails)).call(argument)
        del argument
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("strategy", [retry(on=OSError), CircuitBreaker()], ids=["retry", "breaker"])
def test_a_class_is_refused(strategy: Any) -> None:
    """Decorated, it would be a function (D25)."""
    with pytest.raises(UsageError):

        @strategy
        class Thing:
            pass


def test_a_wait_that_is_no_number_is_refused() -> None:
    """The error says what is expected in its place (D26)."""
    with pytest.raises(UsageError):
        Constant(datetime.timedelta(seconds=1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "strategy",
    [
        CircuitBreaker(),
        RateLimiter(1.0),
        Bulkhead(1),
        Timeout(1.0),
        CHAIN,
        PartialFailureCollector(),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_every_strategy_can_be_copied(strategy: Any) -> None:
    """Settings that hold one can be copied whole (D27)."""
    assert type(copy.deepcopy(strategy)) is type(strategy)


def test_one_error_for_many_items_is_noted_once() -> None:
    """An error object that every item raises does not grow with them (D28)."""
    error = OSError()

    def fails(item: int) -> None:
        raise error

    PartialFailureCollector(on=OSError).run(fails, range(50))
    assert len(getattr(error, "__notes__", ())) <= 1


def test_a_sync_function_with_an_async_candidate_is_refused() -> None:
    """When it is decorated, and not when the fallback is needed (D29)."""
    with pytest.raises(UsageError):
        FallbackChain(Candidate("async", done))(failing)


def test_a_throttle_shows_the_error_of_the_service() -> None:
    """A call whose attempts are held back ends with what the service said, or tells of it (D30)."""
    policy = RetryPolicy(on=OSError, wait=Constant(0.0), throttle=AdaptiveThrottle())
    with pytest.raises(Exception) as caught:
        policy.call(failing)
    assert isinstance(caught.value, OSError) or isinstance(caught.value.__cause__, OSError)


def test_a_pipeline_prints_short() -> None:
    """What it shows of a policy is what was said, without addresses in memory (D31)."""
    assert "object at 0x" not in str(Pipeline(retry=retry(on=OSError, wait=Constant(1.0))))


def test_a_mistake_is_not_hedged() -> None:
    """An error that will not pass ends the race (D32)."""
    calls: list[int] = []

    @hedge(after=60.0, extra=2)
    async def mistaken() -> None:
        calls.append(1)
        raise TypeError

    with pytest.raises(TypeError):
        asyncio.run(mistaken())
    assert len(calls) == 1


def test_what_a_predicate_returns_is_looked_at() -> None:
    """A coroutine is not an answer: a predicate that is async is refused (D33, D34)."""

    async def ask(error: object) -> bool:
        return True

    with pytest.raises(UsageError):
        RetryPolicy(on=ask)  # type: ignore[arg-type]
