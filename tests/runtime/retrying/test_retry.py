"""Retry at work: functions, coroutine functions, loops and generators, in virtual time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import pickle
import random
import sys
import threading
import traceback
from typing import Any

import pytest

from chaoskit.contracts.virtual import RecordingClock, run
from chaoskit.core.errors import UsageError
from chaoskit.runtime import AdaptiveThrottle, Classifier, Constant, Exponential, RetryBudget, Rule, retry
from chaoskit.runtime.clock import SystemClock, VirtualClock
from chaoskit.runtime.deadlines import CURRENT, deadline, remaining
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.observing.observers import subscribe
from chaoskit.runtime.retrying import events as told
from chaoskit.runtime.retrying.backoff import NONE
from chaoskit.runtime.retrying.shell import retried

STEADY = Constant(1.0)


class Backend:
    """Fails with each of ``errors`` in turn (a class is instantiated), then returns its argument."""

    def __init__(self, *errors: Any) -> None:
        self.errors = list(errors)
        self.calls: list[Any] = []

    def __call__(self, value: Any = "v", **more: Any) -> Any:
        self.calls.append((value, more))
        if len(self.calls) <= len(self.errors):
            raise self.errors[len(self.calls) - 1]
        return value

    async def acall(self, value: Any = "v", **more: Any) -> Any:
        await asyncio.sleep(0)
        return self(value, **more)


@pytest.fixture
def clock():
    return RecordingClock()


def every_way(policy: Any, backend: Backend, clock: RecordingClock) -> list[Any]:
    """Ways to make one call through ``policy``: each a function of no arguments."""

    def by_loop() -> Any:
        for attempt in policy:
            with attempt:
                result = backend("x", k=1)
        return result

    async def by_async_loop() -> Any:
        async for attempt in policy:
            with attempt:
                result = await backend.acall("x", k=1)
        return result

    return [
        lambda: policy(backend)("x", k=1),
        lambda: policy.call(backend, "x", k=1),
        by_loop,
        lambda: run(clock, lambda: policy(backend.acall)("x", k=1)),
        lambda: run(clock, lambda: policy.acall(backend.acall, "x", k=1)),
        lambda: run(clock, by_async_loop),
    ]


WAYS = pytest.mark.parametrize(
    "way", range(6), ids=["decorator", "call", "loop", "async", "acall", "async loop"]
)


@WAYS
def test_a_call_that_succeeds_is_made_once(way, clock):
    """No wait, no event, the arguments as they were given."""
    events: list[Any] = []
    backend = Backend()
    policy = retry(on=ConnectionError, wait=STEADY, clock=clock, listeners=(events.append,))
    assert every_way(policy, backend, clock)[way]() == "x"
    assert backend.calls == [("x", {"k": 1})]
    assert clock.calls == events == []


@WAYS
def test_failures_are_retried_until_one_succeeds(way, clock):
    """With the waits of the backoff between the attempts, and an event for each decision."""
    events: list[Any] = []
    backend = Backend(ConnectionError("a"), ConnectionError("b"))
    wait = Exponential(1.0, cap=9.0, jitter=NONE)
    policy = retry(on=ConnectionError, wait=wait, clock=clock, listeners=(events.append,), name="p")
    assert every_way(policy, backend, clock)[way]() == "x"
    assert clock.calls == [1.0, 2.0]
    assert backend.calls == [("x", {"k": 1})] * 3
    assert [e.name for e in events] == ["retry.scheduled", "retry.scheduled", "retry.succeeded"]
    first, second, last = events
    assert (first.attempts, first.wait, first.error_type, first.error) == (1, 1.0, "ConnectionError", "a")
    assert (second.attempts, second.wait, second.error, second.policy) == (2, 2.0, "b", "p")
    assert (first.category, first.rule, first.quiet, first.at) == (None, None, False, 0.0)
    assert last.attempts == 2
    assert not last.context.exhausted
    assert [f.to_dict()["message"] for f in last.context.failures] == ["a", "b"]


@WAYS
def test_the_last_error_itself_is_raised_at_the_end(way, clock):
    """With its cause, without the others as context, and with a history."""
    cause = KeyError("why")
    errors = [ConnectionError(n) for n in range(4)]
    errors[2].__cause__ = cause
    events: list[Any] = []
    backend = Backend(*errors)
    policy = retry(on=ConnectionError, wait=STEADY, clock=clock, listeners=(events.append,))
    with pytest.raises(ConnectionError) as caught:
        every_way(policy, backend, clock)[way]()
    assert caught.value is errors[2]
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None
    assert len(backend.calls) == 3
    assert clock.calls == [1.0, 1.0]
    end = events[-1]
    assert (end.name, end.reason, end.attempts) == ("retry.exhausted", "attempts", 3)
    assert (end.error_type, end.error) == ("ConnectionError", "2")
    assert end.context.exhausted
    assert [f.wait for f in end.context.failures] == [1.0, 1.0, None]
    assert end.context.to_dict()["failures"][0]["timestamp"] == "2023-11-14T22:13:20Z"


@WAYS
def test_other_errors_pass_at_once(way, clock):
    """What ``on`` does not name is not retried, also after retries of what it names."""
    events: list[Any] = []
    backend = Backend(ConnectionError(), LookupError())
    policy = retry(on=ConnectionError, attempts=9, wait=STEADY, clock=clock, listeners=(events.append,))
    with pytest.raises(LookupError) as caught:
        every_way(policy, backend, clock)[way]()
    assert caught.value.__context__ is None
    assert len(backend.calls) == 2
    assert events[-1].reason == "not-retryable"


@WAYS
def test_a_wait_that_does_not_fit_is_not_begun(way, clock):
    """The last error comes out early, and says deadline; equal is too late as well."""
    events: list[Any] = []
    backend = Backend(*[ConnectionError(n) for n in range(9)])
    policy = retry(
        on=ConnectionError, attempts=9, wait=STEADY, deadline=2.0, clock=clock, listeners=(events.append,)
    )
    with pytest.raises(ConnectionError, match="1"):
        every_way(policy, backend, clock)[way]()
    assert clock.calls == [1.0]
    assert events[-1].reason == "deadline"


@WAYS
def test_nested_calls_see_the_deadline(way, clock):
    """In every attempt the time that is left is known, and afterwards there is no deadline any more."""
    seen: list[float | None] = []

    class Looking(Backend):
        def __call__(self, value: Any = "v", **more: Any) -> Any:
            seen.append(remaining())
            return super().__call__(value, **more)

    policy = retry(on=ConnectionError, wait=STEADY, deadline=10.0, clock=clock)
    backend = Looking(ConnectionError())
    assert every_way(policy, backend, clock)[way]() == "x"
    assert backend.calls == [("x", {"k": 1})] * 2
    assert seen == [10.0, 9.0]
    assert remaining() is None


@WAYS
def test_an_outer_deadline_binds_inner_policies(way, clock):
    """A policy without a deadline of its own obeys the one around it, and begins nothing after it."""
    backend = Backend(*[ConnectionError(n) for n in range(9)])
    policy = retry(on=ConnectionError, attempts=9, wait=STEADY, clock=clock)
    with deadline(1.5, clock=clock):
        with pytest.raises(ConnectionError, match="1"):
            every_way(policy, backend, clock)[way]()
        assert len(backend.calls) == 2
        assert remaining() == 0.5
        clock.advance(0.5)
        with pytest.raises(t.DeadlineExceeded):
            every_way(policy, backend, clock)[way]()
        assert remaining() == 0.0
    assert len(backend.calls) == 2
    assert remaining() is None


@WAYS
@pytest.mark.parametrize(("inner", "outer", "left"), [(9.0, 5.0, 5.0), (5.0, 9.0, 5.0)])
def test_the_earlier_deadline_holds(way, inner, outer, left, clock):
    """The policy's own deadline and one around it both count."""
    seen: list[float | None] = []

    class Looking(Backend):
        def __call__(self, value: Any = "v", **more: Any) -> Any:
            seen.append(remaining())
            return super().__call__(value, **more)

    policy = retry(on=ConnectionError, deadline=inner, clock=clock)
    backend = Looking(ConnectionError())
    with deadline(outer, clock=clock):
        assert every_way(retry(policy, wait=Constant(0.0)), backend, clock)[way]() == "x"
        assert backend.calls == [("x", {"k": 1})] * 2
        assert remaining() == outer
    assert seen == [left, left]


@WAYS
def test_a_budget_ends_a_call(way, clock):
    """The error stays, the event is the budget's, and a request was counted."""
    events: list[Any] = []
    budget = RetryBudget(floor=1, ratio=0.0, clock=clock)
    backend = Backend(*[ConnectionError(n) for n in range(9)])
    policy = retry(
        on=ConnectionError, attempts=9, wait=STEADY, budget=budget, clock=clock, listeners=(events.append,)
    )
    with pytest.raises(ConnectionError, match="1"):
        every_way(policy, backend, clock)[way]()
    assert [e.name for e in events] == ["retry.scheduled", "retry.budget_exhausted", "retry.exhausted"]
    assert events[1].balance == 0
    assert events[2].reason == "budget"


@WAYS
def test_requests_earn(way, clock):
    """Each call counts as one request, however often it is tried."""
    budget = RetryBudget(floor=0, ratio=1.0, clock=clock)
    policy = retry(on=ConnectionError, wait=Constant(0.0), budget=budget, clock=clock)
    every_way(policy, Backend(), clock)[way]()
    clock.advance(3.5)  # into another slot
    every_way(policy, Backend(), clock)[way]()
    assert budget.balance() == 2
    every_way(policy, Backend(ConnectionError()), clock)[way]()
    assert budget.balance() == 2


@WAYS
def test_a_shutdown_ends_the_wait_and_the_call(way, clock):
    """The last error is raised, the charge is given back, and the reason is told."""
    events: list[Any] = []
    wake = threading.Event()
    wake.set()
    budget = RetryBudget(floor=5, ratio=0.0, clock=clock)
    policy = retry(
        on=ConnectionError, wait=STEADY, wake=wake, budget=budget, clock=clock, listeners=(events.append,)
    )
    backend = Backend(ConnectionError("a"))
    with pytest.raises(ConnectionError, match="a"):
        every_way(policy, backend, clock)[way]()
    assert len(backend.calls) == 1
    assert events[-1].reason == "shutdown"
    assert budget.balance() == 5
    wake.clear()
    assert every_way(policy, Backend(ConnectionError()), clock)[way]() == "x"
    assert sum(clock.sleeps) + clock.monotonic() >= 1.0


@WAYS
def test_repair_comes_before_each_further_attempt(way, clock):
    """It gets the error, after the wait; its failure ends the call with the attempt's error and a note."""
    log: list[Any] = []
    first, second = ConnectionError("a"), ConnectionError("b")
    policy = retry(
        on=ConnectionError, wait=STEADY, clock=clock, repair=lambda e: log.append((e, clock.monotonic()))
    )
    assert every_way(policy, Backend(first, second), clock)[way]() == "x"
    assert log == [(first, 1.0), (second, 2.0)]

    def fails(error: BaseException) -> None:
        raise PermissionError("wrong password")

    events: list[Any] = []
    backend = Backend(first)
    broken = retry(policy, repair=fails, listeners=(events.append,))
    for _ in range(2):
        backend.calls.clear()
        with pytest.raises(ConnectionError) as caught:
            every_way(broken, backend, clock)[way]()
        assert len(backend.calls) == 1
    note = "The repair step before another attempt failed: PermissionError: wrong password"
    assert caught.value.__notes__ == [note]
    assert [e.name for e in events[-2:]] == ["retry.hook_failed", "retry.exhausted"]
    assert (events[-2].hook, events[-2].error_type, events[-2].error) == (
        "repair",
        "PermissionError",
        "wrong password",
    )
    assert events[-1].reason == "repair"


@WAYS
def test_hooks_hold_something_during_each_wait(way, clock):
    """Opened in order, closed in reverse, once each, whatever they raise; None holds nothing."""
    log: list[Any] = []

    class Held:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            log.append(("open", self.name, clock.monotonic()))
            if self.name == "enter":
                raise ValueError("at the beginning")

        def __exit__(self, *exc: object) -> None:
            log.append(("close", self.name, clock.monotonic()))
            assert exc == (None, None, None)
            if self.name == "exit":
                raise ValueError("at the end")

    def hook(name: str) -> Any:
        return lambda event: Held(f"{name}{event.attempts}" if name in "ab" else name)

    def broken(event: Any) -> None:
        raise ValueError("at once")

    events: list[Any] = []
    hooks = (hook("a"), broken, lambda event: None, hook("enter"), hook("exit"), hook("b"))
    policy = retry(on=ConnectionError, wait=STEADY, clock=clock, hooks=hooks, listeners=(events.append,))
    assert every_way(policy, Backend(ConnectionError(), ConnectionError()), clock)[way]() == "x"
    once = [
        *[("open", name, 0.0) for name in ("a1", "enter", "exit", "b1")],
        *[("close", name, 1.0) for name in ("b1", "exit", "a1")],
    ]
    assert log[:7] == once
    assert len(log) == 14
    failed = [e.error for e in events if e.name == "retry.hook_failed"]
    assert failed == ["at once", "at the beginning", "at the end"] * 2


@WAYS
def test_quiet_failures_are_marked(way, clock):
    """The first ``quiet`` of them, in each call."""
    events: list[Any] = []
    policy = retry(on=ConnectionError, attempts=9, quiet=2, clock=clock, listeners=(events.append,))
    every_way(policy, Backend(*[ConnectionError() for _ in range(4)]), clock)[way]()
    assert [e.quiet for e in events if isinstance(e, told.RetryScheduled)] == [True, True, False, False]


@WAYS
def test_a_throttle_holds_attempts_back(way, clock):
    """A refused attempt is not made; it is retried only if ``on`` names Throttled."""

    class Never:
        def random(self) -> float:
            return 0.0

    def tired() -> AdaptiveThrottle:
        throttle = AdaptiveThrottle()
        for _ in range(20):
            throttle.admits(0.0, Never())
            throttle.rejected(0.0)
        return throttle

    backend = Backend()
    policy = retry(on=ConnectionError, throttle=tired(), clock=clock, random=Never(), wait=STEADY)
    with pytest.raises(t.Throttled):
        every_way(policy, backend, clock)[way]()
    assert backend.calls == clock.calls == []
    patient = retry(policy, on=t.Throttled, attempts=200, throttle=tired(), random=random.Random(5))
    assert every_way(patient, backend, clock)[way]() == "x"
    assert len(backend.calls) == 1
    assert clock.calls == [1.0] * round(clock.monotonic())
    assert 1 < clock.monotonic() < 60


@WAYS
def test_rejections_feed_the_throttle(way, clock):
    """What would be retried counts as rejected, everything else as accepted."""
    throttle = AdaptiveThrottle()
    policy = retry(on=ConnectionError, throttle=throttle, clock=clock, wait=Constant(0.0), attempts=2)
    for error in (ConnectionError, LookupError):
        for _ in range(5):
            with pytest.raises((error, t.Throttled)):
                every_way(policy, Backend(error(), error()), clock)[way]()
        assert throttle.refusal(0.0) > 0.5
        throttle = AdaptiveThrottle()
        policy = retry(policy, throttle=throttle)
        if error is ConnectionError:
            for _ in range(3):
                with pytest.raises(LookupError):
                    every_way(policy, Backend(LookupError()), clock)[way]()
            assert throttle.refusal(0.0) == 0.0
            break


# -- waits by category, Retry-After


def test_each_category_has_its_own_wait(clock):
    """The nearest class of the verdict decides, then its category, then the policy's wait."""
    waits = {
        t.Unreachable: Constant(7.0),
        t.Category.RESOURCE: Constant(5.0),
        t.TransientError: Constant(3.0),
    }
    rule = Rule(name="mine", verdict=t.RecoverableError, types=(LookupError,))
    events: list[Any] = []
    policy = retry(
        on=Exception,
        attempts=9,
        wait=STEADY,
        waits=waits,
        classifier=Classifier([rule]),
        clock=clock,
        listeners=(events.append,),
    )
    backend = Backend(ConnectionRefusedError(), MemoryError(), ConnectionResetError(), LookupError())
    policy.call(backend)
    assert clock.calls == [7.0, 5.0, 3.0, 1.0]
    assert [e.rule for e in events[:4]] == ["connection.refused", "memory", "connection", "mine"]
    assert [e.category for e in events[:2]] == ["transient", "resource"]


class Refusal(ConnectionError):
    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.headers = headers


@pytest.mark.parametrize(
    ("value", "cap", "wait"),
    [
        ("7", 300.0, 7.0),
        ("0", 300.0, 1.0),
        ("7", 5.0, 5.0),
        ("7", 0, 1.0),
        ("soon", 300.0, 1.0),
        (None, 300.0, 1.0),
    ],
)
def test_retry_after_is_obeyed_up_to_its_cap(value, cap, wait, clock):
    """The longer of it and the backoff; a cap of zero ignores it, and so does nonsense."""
    policy = retry(on=ConnectionError, wait=STEADY, retry_after_cap=cap, clock=clock)
    policy.call(Backend(Refusal({} if value is None else {"Retry-After": value})))
    assert clock.calls == [wait]


def test_retry_after_of_our_own_errors(clock):
    """An error with ``retry_after`` needs no header."""
    policy = retry(on=t.BreakerOpen, wait=STEADY, clock=clock)
    policy.call(Backend(t.BreakerOpen("open", retry_after=4.0)))
    assert clock.calls == [4.0]


def test_decorrelated_waits_grow_from_the_last(clock):
    """The backoff is given the wait before."""
    given: list[tuple[int, float]] = []

    class Spy:
        cap = 9.0

        def band(self, failures: int, previous: float) -> tuple[float, float]:
            given.append((failures, previous))
            return failures + 0.5, failures + 0.5

    retry(on=ConnectionError, wait=Spy(), clock=clock).call(Backend(ConnectionError(), ConnectionError()))
    assert given == [(1, 0.0), (2, 1.5)]


# -- results


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_results_can_be_rejected(kind, clock):
    """A rejected result is retried, whatever ``on`` says; at the end the error holds it."""
    results = itertools.count(1)
    events: list[Any] = []
    policy = retry(
        on=LookupError, on_result=lambda v: v < 3, wait=STEADY, clock=clock, listeners=(events.append,)
    )

    def call(options: Any) -> Any:
        if kind == "sync":
            return options(lambda: next(results))()

        async def work() -> int:
            return next(results)

        return run(clock, options(work))

    assert call(policy) == 3
    assert clock.calls == [1.0, 1.0]
    assert events[0].error_type == "ResultRejected"
    results = itertools.count(-9)
    with pytest.raises(t.ResultRejected) as caught:
        call(policy)
    assert caught.value.value == -7
    results = itertools.count(1)
    with deadline(100.0, clock=clock):
        assert call(policy) == 3


def test_an_inner_policys_verdict_is_an_ordinary_error_outside(clock):
    """An outer policy with ``on_result`` does not take the inner one's rejection for its own."""
    inner = retry(on=LookupError, on_result=lambda v: True, attempts=2, wait=STEADY, clock=clock)
    backend = Backend()
    outer = retry(on=LookupError, on_result=lambda v: False, attempts=5, clock=clock)
    with pytest.raises(t.ResultRejected):
        outer(inner(backend))()
    assert len(backend.calls) == 2


# -- async


def test_an_attempt_is_cut_at_the_deadline(clock):
    """The error says so, and its cause is the failure before."""

    async def work() -> None:
        starts.append(clock.monotonic())
        if len(starts) == 1:
            raise before
        await asyncio.sleep(100)

    before, starts = ConnectionError("first"), []
    policy = retry(on=ConnectionError, wait=STEADY, deadline=5.0, clock=clock)
    with pytest.raises(t.DeadlineExceeded, match="cut at the deadline") as caught:
        run(clock, policy(work))
    assert caught.value.__cause__ is before
    assert starts == [0.0, 1.0]
    assert clock.monotonic() == pytest.approx(5.0)
    starts.append(0.0)
    with pytest.raises(t.DeadlineExceeded) as caught:
        run(clock, policy(work))
    assert caught.value.__cause__ is None


def test_an_attempt_timeout_is_retried(clock):
    """Each attempt is cut after its time, whatever ``on`` says, and the total deadline stays apart."""
    starts: list[float] = []

    async def work() -> str:
        starts.append(clock.monotonic())
        await asyncio.sleep(100 if len(starts) < 3 else 0.1)
        return "done"

    policy = retry(on=LookupError, wait=STEADY, attempt_timeout=2.0, clock=clock)
    assert run(clock, policy(work)) == "done"
    assert starts == pytest.approx([0.0, 3.0, 6.0])
    starts.clear()
    with pytest.raises(t.AttemptTimedOut, match=r"cut after 2.0 s"):
        run(clock, retry(policy, attempts=2)(work))
    starts.clear()
    with pytest.raises(t.DeadlineExceeded):
        run(clock, retry(policy, deadline=1.0)(work))
    starts.clear()
    with deadline(1.0, clock=clock), pytest.raises(t.DeadlineExceeded):
        run(clock, policy(work))


def test_the_functions_own_timeout_is_its_own(clock):
    """A TimeoutError from within is judged by ``on``, with and without limits around."""

    async def work() -> None:
        calls.append(1)
        await asyncio.sleep(0.1)
        raise TimeoutError("mine")

    for options in ({}, {"deadline": 50.0}, {"attempt_timeout": 9.0}):
        calls: list[int] = []
        with pytest.raises(TimeoutError, match="mine"):
            run(clock, retry(on=LookupError, clock=clock, **options)(work))
        assert calls == [1]


def test_work_that_never_waits_is_never_cut(clock):
    """It has no point at which it could be; its result counts, however late."""

    async def work() -> str:
        clock.advance(10.0)
        return "late"

    assert run(clock, retry(on=LookupError, deadline=5.0, clock=clock)(work)) == "late"


def test_what_is_sent_and_thrown_reaches_the_work(clock):
    """Cancellation arrives inside the attempt, which may clean up, and even wait while it does."""
    log: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            log.append("told")
            await asyncio.sleep(1)
            log.append("cleaned")
            raise

    async def main() -> None:
        task = asyncio.create_task(retry(on=Exception, deadline=100.0, clock=clock)(work)())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(clock, main)
    assert log == ["told", "cleaned"]


def test_work_may_end_well_when_it_is_cancelled(clock):
    """A result that it still hands over is the result."""

    async def work() -> str:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            return "saved"
        return "never"

    assert run(clock, retry(on=LookupError, attempt_timeout=1.0, clock=clock)(work)) == "saved"


def test_cancellation_by_name(clock):
    """``on`` may name CancelledError for what others cancel; a task's own cancellation still wins."""

    async def foreign() -> str:
        calls.append(1)
        if len(calls) == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return "done"

    async def endless() -> None:
        calls.append(1)
        await asyncio.sleep(50)

    calls: list[int] = []
    policy = retry(on=asyncio.CancelledError, wait=STEADY, clock=clock)
    assert run(clock, policy(foreign)) == "done"

    async def main(options: dict[str, Any]) -> None:
        task = asyncio.create_task(retry(policy, **options)(endless)())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def looping() -> None:
        async for attempt in policy:
            with attempt:
                await endless()

    async def main_loop() -> None:
        task = asyncio.create_task(looping())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for options in ({}, {"deadline": 99.0}):
        calls.clear()
        run(clock, functools.partial(main, options))
        assert calls == [1]
    calls.clear()
    run(clock, main_loop)
    assert calls == [1]


def test_an_async_repair_is_awaited(clock):
    """And refused for synchronous functions, where nobody could."""
    log: list[str] = []

    async def repair(error: BaseException) -> None:
        await asyncio.sleep(2)
        log.append(str(error))

    policy = retry(on=ConnectionError, wait=STEADY, repair=repair, clock=clock)
    assert run(clock, lambda: policy.acall(Backend(ConnectionError("a")).acall)) == "v"
    assert log == ["a"]
    with pytest.raises(UsageError, match="repair is"):
        policy(lambda: None)


def test_an_abandoned_call_leaves_no_deadline_and_no_noise(clock):
    """A coroutine that is never finished is closed in whatever context collects it."""

    async def endless() -> None:
        await asyncio.sleep(50)

    async def main() -> None:
        for options in ({}, {"deadline": 9.0}):
            work = retry(on=LookupError, clock=clock, **options)(endless)()
            with deadline(20.0, clock=clock):
                work.send(None)
            await asyncio.get_running_loop().run_in_executor(None, work.close)
            assert remaining() is None

    asyncio.run(main())


# -- kinds


def test_a_method_a_static_and_a_class_method(clock):
    """They bind as without the policy, decorated above or below."""
    policy = retry(on=ConnectionError, clock=clock)

    class Owner:
        @policy
        def method(self) -> Any:
            return self

        @policy
        @staticmethod
        def static(x: int) -> int:
            return x

        @policy
        @classmethod
        def of_class(cls) -> Any:
            return cls

    owner = Owner()
    assert owner.method() is owner
    assert owner.static(3) == Owner.static(3) == 3
    assert owner.of_class() is Owner.of_class() is Owner


@retry(on=ConnectionError, deadline=5.0)
def module_function(x: int) -> int:
    """Doc."""
    return x


def test_a_decorated_function_is_itself():
    """Name, documentation, signature, and pickling by name, on the guarded path too."""
    assert (module_function.__name__, module_function.__doc__) == ("module_function", "Doc.")
    assert str(inspect.signature(module_function)) == "(x: 'int') -> 'int'"
    assert pickle.loads(pickle.dumps(module_function)) is module_function
    assert not inspect.iscoroutinefunction(module_function)

    @retry(on=ConnectionError, deadline=5.0)
    async def work() -> None:
        """Async."""

    assert inspect.iscoroutinefunction(work)
    assert work.__doc__ == "Async."
    judged = retry(on=ConnectionError, on_result=lambda v: False)(module_function)
    assert judged.__name__ == "module_function"


def produce(failures: list[BaseException], n: int = 3) -> Any:
    yield from range(n - 1)
    if failures:
        raise failures.pop()
    yield n - 1
    return "end"


async def aproduce(failures: list[BaseException]) -> Any:
    for item in produce(failures):
        yield item


def test_generators_are_refused_unless_they_may_restart(clock):
    """The message says both ways out, and the opt-in begins from the start."""
    policy = retry(on=ConnectionError, wait=STEADY, clock=clock)
    for fn in (
        produce,
        aproduce,
        functools.partial(produce, []),
        type("C", (), {"__call__": lambda s: (yield)})(),
    ):
        for wrap in (policy, policy.call):
            with pytest.raises(UsageError, match="generators='restart'"):
                wrap(fn)
    for fn in (produce, aproduce):
        with pytest.raises(UsageError, match="generators='restart'"):
            run(clock, lambda fn=fn: policy.acall(fn))
    again = retry(policy, generators="restart")
    assert list(again(produce)([ConnectionError()])) == [0, 1, 0, 1, 2]

    async def collect() -> list[int]:
        return [item async for item in again(aproduce)([ConnectionError()])]

    assert run(clock, collect) == [0, 1, 0, 1, 2]
    with pytest.raises(LookupError):
        list(again(produce)([LookupError()]))
    assert again(produce).__name__ == "produce"
    assert again(aproduce).__name__ == "aproduce"


def test_a_restarted_generator_returns_and_closes_like_one(clock):
    """Its return value comes through, and closing it closes the one within."""
    log: list[str] = []

    def inner() -> Any:
        try:
            got = yield 1
            log.append(got)
            yield 2
        finally:
            log.append("closed")

    again = retry(on=ConnectionError, generators="restart", clock=clock, deadline=9.0)
    generator = again(inner)()
    assert next(generator) == 1
    assert remaining() is None  # the consumer is not in the call
    assert generator.send("sent") == 2
    generator.close()
    assert log == ["sent", "closed"]

    def outer() -> Any:
        return (yield from again(produce)([]))

    def drain() -> Any:
        result = yield from outer()
        log.append(result)

    list(drain())
    assert log[-1] == "end"


def test_a_function_that_returns_work_not_done_is_refused(clock):
    """A coroutine or a generator as a result means that nothing has been tried yet."""

    async def work() -> None:
        """Never runs."""

    policy = retry(on=Exception, clock=clock)
    with deadline(9.0, clock=clock):
        guards = [policy, retry(policy, deadline=5.0), retry(policy, on_result=lambda v: False)]
        for guard in guards:
            with pytest.raises(UsageError, match=r"returned a coroutine.*acall"):
                guard(lambda: work())()
    for guard in [policy, retry(policy, deadline=5.0), retry(policy, on_result=lambda v: False)]:
        with pytest.raises(UsageError, match=r"returned a coroutine.*acall"):
            guard(lambda: work())()
        for lazy in (lambda: produce([]), lambda: aproduce([])):
            with pytest.raises(UsageError, match="generators='pass'"):
                guard(lazy)()
    passing = retry(policy, generators="pass")(lambda: produce([]))
    assert list(passing()) == [0, 1, 2]
    with pytest.raises(UsageError, match="coroutine"):
        retry(policy, generators="pass")(lambda: work())()


def test_interfaces_refuse_the_other_kind(clock):
    """``call`` wants a synchronous function, ``acall`` one that gives an awaitable."""

    async def work() -> str:
        return "done"

    policy = retry(on=ConnectionError, clock=clock)
    with pytest.raises(UsageError, match="acall"):
        policy.call(work)
    with pytest.raises(UsageError, match=r"policy\.call"):
        run(clock, lambda: policy.acall(test_defaults_are_not_shared))
    assert run(clock, lambda: policy.acall(lambda: work())) == "done"

    @functools.wraps(work)
    def plain_wrapper() -> Any:
        return work()

    assert run(clock, lambda: policy.acall(plain_wrapper)) == "done"
    for thing in (3, property(lambda self: 1)):
        with pytest.raises(UsageError, match="function to retry"):
            policy(thing)


def test_defaults_are_not_shared(clock):
    """Two policies have nothing mutable in common."""
    one, other = retry(on=ConnectionError), retry(on=ConnectionError)
    assert one.waits is not other.waits


def test_an_attempt_timeout_is_refused_where_nothing_can_be_cut():
    """Better than a limit that does not hold."""
    with pytest.raises(UsageError, match=r"attempt_timeout is 3\.0"):
        retry(on=ConnectionError, attempt_timeout=3.0)(lambda: None)


# -- loops


def test_the_loops_attempts_are_numbered_and_know_the_past(clock):
    """From one, with the failures so far."""
    seen: list[tuple[int, list[str]]] = []
    for attempt in retry(on=ConnectionError, clock=clock):
        seen.append((attempt.number, [f.message for f in attempt.context.failures]))
        with attempt:
            if attempt.number < 3:
                raise ConnectionError(attempt.number)
    assert seen == [(1, []), (2, ["1"]), (3, ["1", "2"])]


def test_an_attempt_that_is_not_entered_is_an_error(clock):
    """Without ``with`` the loop could never end."""
    with pytest.raises(UsageError, match="with attempt"):
        for _ in retry(on=ConnectionError, clock=clock):
            pass
    for attempt in retry(on=ConnectionError, clock=clock):
        with attempt:
            pass
        with pytest.raises(UsageError, match="entered before"), attempt:
            pass


def test_leaving_the_loop_is_success(clock):
    """``break`` and ``return`` end it, and nothing of the deadline stays."""
    for attempt in retry(on=ConnectionError, deadline=5.0, clock=clock):
        with attempt:
            assert remaining() == 5.0
            break
    assert remaining() is None


# -- the rest


def test_a_whole_day_of_backoff_takes_no_time():
    """A policy without a limit runs through days of virtual time; its history stays short."""
    clock = VirtualClock()
    events: list[Any] = []
    policy = retry(
        on=ConnectionError,
        attempts=None,
        wait=Exponential(5.0, cap=86400.0, jitter=NONE),
        clock=clock,
        listeners=(events.append,),
    )
    policy.call(Backend(*[ConnectionError(n) for n in range(300)]))
    assert clock.monotonic() > 280 * 86400
    failures = events[-1].context.failures
    assert len(failures) == 100
    assert failures[-1].attempt == 300


def test_subscribers_hear_of_retries_without_listeners(clock):
    """Who subscribed to all events gets these too."""
    heard: list[str] = []
    with subscribe(lambda event: heard.append(event.name)):
        retry(on=ConnectionError, clock=clock).call(Backend(ConnectionError()))
    assert heard == ["retry.scheduled", "retry.succeeded"]


def test_events_hold_no_error(clock):
    """Only text: an observer that keeps its events keeps no arguments alive."""

    class Unprintable(ConnectionError):
        def __str__(self) -> str:
            raise ValueError

    events: list[Any] = []
    retry(on=ConnectionError, clock=clock, listeners=(events.append,)).call(Backend(Unprintable()))
    assert events[0].error == "<ValueError while it was turned into text>"
    assert events[0].function == "Backend"
    assert not any(isinstance(getattr(event, f), BaseException) for event in events for f in event.__slots__)


def test_a_predicate_that_raises_is_heard(clock, caplog):
    """It is logged and noted on the call's error, which is what comes out: no reason to try again."""

    def confused(error: BaseException) -> bool:
        raise ZeroDivisionError

    backend = Backend(ConnectionError())
    with caplog.at_level("ERROR", "chaoskit"), pytest.raises(ConnectionError) as caught:
        retry(on=confused, clock=clock).call(backend)
    assert len(backend.calls) == 1
    assert "raised ZeroDivisionError" in caught.value.__notes__[0]
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_an_interrupt_in_a_wait_gives_the_charge_back(clock):
    """Ctrl-C while it waits: the retry never began."""

    class Interrupted(RecordingClock):
        def sleep(self, seconds: float, wake: Any = None) -> bool:
            raise KeyboardInterrupt

    mine = Interrupted()
    budget = RetryBudget(floor=3, ratio=0.0, clock=mine)
    policy = retry(on=ConnectionError, wait=STEADY, clock=mine, budget=budget, deadline=9.0)
    with pytest.raises(KeyboardInterrupt):
        policy.call(Backend(ConnectionError()))
    assert budget.balance() == 3
    assert remaining() is None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_interrupt_in_an_attempt_ends_the_deadline(kind, clock):
    """No scope stays open behind an error that nobody retries."""
    policy = retry(on=ConnectionError, deadline=9.0, clock=clock)

    def check() -> None:
        scope = CURRENT.get()
        assert scope is None or scope[0] is None

    def work() -> None:
        raise SystemExit

    async def awork() -> None:
        await asyncio.sleep(0)
        raise SystemExit

    async def main() -> None:
        with pytest.raises(SystemExit):
            await policy(awork)()
        check()

    if kind == "sync":
        with pytest.raises(SystemExit):
            policy(work)()
        check()
    else:
        run(clock, main)


def test_tracebacks_lead_to_the_cause(clock):
    """The function that failed is in the traceback of what comes out."""

    def the_culprit() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        retry(on=ConnectionError, clock=clock)(the_culprit)()
    assert "the_culprit" in "".join(traceback.format_exception(caught.value))


def test_the_real_clock_waits():
    """With nothing injected, time goes by."""
    clock = SystemClock()
    begun = clock.monotonic()
    retry(on=ConnectionError, wait=Constant(0.02)).call(Backend(ConnectionError()))
    assert clock.monotonic() - begun >= 0.02


def test_the_fast_path_is_fast():
    """A call that succeeds makes no object of ours: the wrapper has one ``try`` and no loop."""
    call = retried(retry(on=ConnectionError), lambda: 1)
    before = sys.getallocatedblocks()
    for _ in range(1000):
        call()
    assert sys.getallocatedblocks() - before < 200


def test_the_async_loop_knows_the_past_too(clock):
    """Attempt numbers and failures, and no deadline between the items of a restarted generator."""
    seen: list[tuple[int, list[str]]] = []
    left: list[float | None] = []

    async def main() -> None:
        async for attempt in retry(on=ConnectionError, clock=clock):
            seen.append((attempt.number, [f.message for f in attempt.context.failures]))
            with attempt:
                if attempt.number < 2:
                    raise ConnectionError("a")
        again = retry(on=ConnectionError, generators="restart", deadline=9.0, clock=clock)
        async for _ in again(aproduce)([]):
            left.append(remaining())

    run(clock, main)
    assert seen == [(1, []), (2, ["a"])]
    assert left == [None] * 3


def test_the_async_loop_refuses_what_the_loop_refuses(clock):
    """An attempt that is not entered is an error there, too."""

    async def main() -> None:
        async for _ in retry(on=ConnectionError, clock=clock):
            pass

    with pytest.raises(UsageError, match="with attempt"):
        run(clock, main)


def test_a_futures_result_is_awaited_within_the_deadline(clock):
    """``acall`` takes whatever can be awaited, with a deadline and without."""

    def soon() -> Any:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(1.0, future.set_result, "done")
        return future

    for options in ({}, {"deadline": 5.0}, {"attempt_timeout": 5.0}):
        assert (
            run(clock, lambda o=options: retry(on=LookupError, clock=clock, **o).acall(lambda: soon()))
            == "done"
        )
