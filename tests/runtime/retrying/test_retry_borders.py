"""The borders of the retry: each test here was missed once by a small bug that was planted on purpose."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import logging
import math
import threading
from contextlib import nullcontext
from typing import Any

import pytest

from chaoskit.contracts.virtual import RecordingClock, run
from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    FULL,
    AdaptiveThrottle,
    Constant,
    Exponential,
    RetriesExhausted,
    RetryBudget,
    RetryContext,
    hedge,
    ready_policies,
    retries_without_waits,
    retry,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.deadlines import deadline, remaining
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.retrying.backoff import LONGEST_WAIT, band, draw

STEADY = Constant(1.0)

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


class NeverAsked:
    """Chance that nobody should need."""

    def random(self) -> float:
        raise AssertionError("there was nothing to draw")


class Fixed:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Failing:
    """Fails ``failures`` times, then returns its arguments; notes what is left of the deadline each time."""

    def __init__(self, failures: int, error: type[BaseException] = ConnectionError) -> None:
        self.failures = failures
        self.error = error
        self.left: list[float | None] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left.append(remaining())
        if len(self.left) <= self.failures:
            raise self.error("down")
        return args, kwargs

    async def later(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return self(*args, **kwargs)

    async def at_once(self, *args: Any, **kwargs: Any) -> Any:
        return self(*args, **kwargs)


class Awaitable:
    """Can be awaited and is not a coroutine; ``work`` is called when it is."""

    def __init__(self, work: Any) -> None:
        self.work = work

    def __await__(self) -> Any:
        return self.work()
        yield


@pytest.fixture
def clock() -> RecordingClock:
    return RecordingClock()


def alone(work: Any) -> Any:
    """``work`` in a context in which nobody has ever set a deadline."""
    return contextvars.Context().run(work)


def called(policy: Any, work: Failing, kind: str, clock: RecordingClock, *args: Any, **kwargs: Any) -> Any:
    if kind == "sync":
        return policy(work)(*args, **kwargs)
    how = work.at_once if kind == "at once" else work.later
    return run(clock, lambda: policy(how)(*args, **kwargs))


@pytest.mark.parametrize("kind", ["sync", "async", "at once"])
@pytest.mark.parametrize("outer", [None, 50.0])
@pytest.mark.parametrize("failures", [0, 1])
@pytest.mark.parametrize("limits", ["none", "deadline", "deadline and budget"])
def test_arguments_and_deadline_reach_every_attempt(limits, failures, outer, kind, clock):
    """Whatever surrounds the call, and nothing of the deadline stays behind."""
    work = Failing(failures)
    ends = 9.0 if "deadline" in limits else None
    budget = RetryBudget(clock=clock) if "budget" in limits else None
    policy = retry(on=ConnectionError, wait=STEADY, clock=clock, deadline=ends, budget=budget)

    def main() -> Any:
        if outer is None:
            result = called(policy, work, kind, clock, 1, k=2)
        else:
            with deadline(outer, clock=clock):
                result = called(policy, work, kind, clock, 1, k=2)
        assert remaining() is None
        return result

    assert alone(main) == ((1,), {"k": 2})
    ends = outer if ends is None else ends
    assert work.left == [None if ends is None else ends - n for n in range(failures + 1)]


@pytest.mark.parametrize("failures", [0, 1])
@pytest.mark.parametrize("how", ["later", "at_once", "awaitable"])
def test_no_deadline_stays_behind_an_awaited_call(how, failures, clock):
    """In the caller's own context, where the call has set it."""
    work = Failing(failures)
    fn = (lambda: Awaitable(work)) if how == "awaitable" else getattr(work, how)

    async def main() -> None:
        await retry(on=ConnectionError, wait=STEADY, deadline=9.0, clock=clock).acall(fn)
        assert remaining() is None

    alone(lambda: run(clock, main))
    assert work.left == [9.0, 8.0][: failures + 1]


def test_where_no_deadline_was_ever_set_there_is_none():
    """Not even a closed one."""
    assert alone(remaining) is None


@pytest.mark.parametrize(
    "options", [{"deadline": 9.0}, {"attempt_timeout": 9.0}], ids=lambda o: next(iter(o))
)
@pytest.mark.parametrize("failures", [0, 1])
def test_work_that_need_not_wait_gives_the_loop_no_turn(options, failures, clock):
    """Neither timer nor event loop is needed: the call ends in its first step."""
    policy = retry(on=ConnectionError, wait=Constant(0.0), clock=clock, **options)
    for make in (lambda work: work.at_once, lambda work: lambda: Awaitable(work)):
        with pytest.raises(StopIteration) as done:
            alone(lambda make=make: policy.acall(make(Failing(failures))).send(None))
        assert done.value.value == ((), {})


def test_an_awaitable_that_is_no_coroutine_is_cut_too(clock):
    """A future that nobody ever sets ends with the deadline, and says so."""
    events: list[Any] = []
    policy = retry(on=ConnectionError, deadline=3.0, clock=clock, listeners=(events.append,))

    async def never() -> None:
        await asyncio.sleep(99)

    for fn in (lambda: asyncio.get_running_loop().create_future(), never):
        before = clock.monotonic()
        with pytest.raises(t.DeadlineExceeded):
            run(clock, lambda fn=fn: policy.acall(fn))
        assert clock.monotonic() == before + 3.0
        assert events[-1].reason == "deadline"


@KINDS
def test_a_plain_policy_does_not_look_at_the_clock(kind):
    """A success without limits costs a try and nothing else."""

    class Unread(RecordingClock):
        def monotonic(self) -> float:
            raise AssertionError("nobody needs to know the time")

    policy = retry(on=ConnectionError, clock=Unread())
    work = Failing(0)
    if kind == "sync":
        assert policy(work)(1) == ((1,), {})
    else:
        with pytest.raises(StopIteration):
            policy(work.at_once)(1).send(None)


@pytest.mark.parametrize("kind", ["sync", "async", "loop"])
def test_no_wait_is_no_sleep(kind, clock):
    """The sleeper is not called for zero seconds."""
    policy = retry(on=ConnectionError, wait=Constant(0.0), clock=clock)
    work = Failing(2)
    if kind == "loop":
        for attempt in policy:
            with attempt:
                work()
    else:
        called(policy, work, kind, clock)
    assert len(work.left) == 3
    assert clock.calls == []


@pytest.mark.parametrize("kind", ["sync", "loop"])
def test_an_interrupt_is_retried_where_it_is_named(kind, clock):
    """By name only, and in every form."""
    policy = retry(on=KeyboardInterrupt, wait=STEADY, clock=clock)
    work = Failing(1, KeyboardInterrupt)
    if kind == "sync":
        policy(work)()
    else:
        for attempt in policy:
            with attempt:
                work()
    assert len(work.left) == 2


def test_a_cancellation_that_nobody_asked_for_is_an_error_like_others(clock):
    """Retried by the loops where it is named, with an event loop and without."""
    policy = retry(on=asyncio.CancelledError, wait=STEADY, clock=clock)
    work = Failing(1, asyncio.CancelledError)

    def loop() -> None:
        for attempt in policy:
            with attempt:
                work()

    async def main() -> None:
        async for attempt in policy:
            with attempt:
                work()

    loop()
    assert len(work.left) == 2
    work.left.clear()
    run(clock, main)
    assert len(work.left) == 2


@KINDS
def test_events_name_the_function_and_the_error(kind, clock):
    """Also when it was a shutdown that ended the call, before any time went by."""
    events: list[Any] = []
    wake = threading.Event()
    policy = retry(on=ConnectionError, wait=STEADY, wake=wake, clock=clock, listeners=(events.append,))

    def work() -> None:
        raise ConnectionError("down")

    async def awork() -> None:
        work()

    wake.set()
    with pytest.raises(ConnectionError):
        policy(work)() if kind == "sync" else run(clock, lambda: policy(awork)())
    assert (events[-1].reason, events[-1].error_type, events[-1].error) == (
        "shutdown",
        "ConnectionError",
        "down",
    )
    assert {event.function.rsplit(".", 1)[-1] for event in events} == {"work" if kind == "sync" else "awork"}
    assert clock.monotonic() == 0.0
    wake.clear()
    called(policy, Failing(1), kind, clock)
    assert clock.monotonic() == pytest.approx(1.0)


def test_a_loop_has_no_function_and_no_end_before_its_end(clock):
    """Its events name none, and its first attempt is not the last."""
    events: list[Any] = []
    for attempt in retry(on=ConnectionError, wait=STEADY, clock=clock, listeners=(events.append,)):
        assert not attempt.context.exhausted
        with attempt:
            if attempt.number == 1:
                raise ConnectionError
    assert [event.function for event in events] == ["", ""]


def test_a_hook_without_listeners_hears_of_the_wait(clock):
    """It gets the event that there is one."""
    heard: list[Any] = []
    retry(on=ConnectionError, wait=STEADY, clock=clock, hooks=(heard.append,))(Failing(1))()
    assert [(event.name, event.wait) for event in heard] == [("retry.scheduled", 1.0)]


def test_a_hook_that_fails_is_logged_with_its_traceback(caplog, clock):
    """To the logger of the package."""

    def hook(event: Any) -> None:
        raise ValueError("hook")

    retry(on=ConnectionError, wait=STEADY, clock=clock, hooks=(hook,))(Failing(1))()
    (record,) = caplog.records
    assert record.name == "chaoskit"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "hook"


@pytest.mark.parametrize("guard", [{}, {"deadline": 5.0}], ids=["plain", "guarded"])
@pytest.mark.parametrize("outer", [False, True])
def test_a_refusal_names_what_returned_the_lazy_thing(guard, outer, clock):
    """By its name, or as it is where it has none."""

    def lazy() -> Any:
        return (n for n in range(3))

    policy = retry(on=ConnectionError, clock=clock, **guard)
    for fn, name in ((lazy, r"<locals>\.lazy returned"), (functools.partial(lazy), r"^functools\.partial\(")):
        with deadline(9.0, clock=clock) if outer else nullcontext(), pytest.raises(UsageError, match=name):
            policy(fn)()


def test_an_async_generator_is_refused_by_name():
    """The message says which function it is about."""

    async def produce() -> Any:
        yield 1

    with pytest.raises(UsageError, match="produce"):
        retry(on=ConnectionError)(produce)


def test_a_coroutine_function_around_a_plain_one_is_a_coroutine_function(clock):
    """What it wraps is its own affair."""

    def plain() -> str:
        return "done"

    @functools.wraps(plain)
    async def work() -> str:
        return plain()

    assert run(clock, lambda: retry(on=ConnectionError, clock=clock).acall(work)) == "done"


# -- budget, throttle, backoff, hedge


@pytest.mark.parametrize("kind", ["sync", "async", "loop"])
def test_a_request_on_the_border_of_two_slots_belongs_to_the_later(kind):
    """It buys retries for the whole of its window."""
    clock = RecordingClock()
    budget = RetryBudget(floor=0, ratio=1.0, window=20.0, clock=clock)
    policy = retry(on=ConnectionError, budget=budget, clock=clock)
    clock.advance(1.0)
    if kind == "loop":
        for attempt in policy:
            with attempt:
                pass
    else:
        called(policy, Failing(0), kind, clock)
    clock.advance(20.0)
    assert budget.balance() == 1
    clock.advance(0.5)
    assert budget.balance() == 0


def test_a_retry_counts_for_a_window_and_a_slot_at_most():
    """Retries are never forgotten early, in slots that are not one second wide."""
    clock = VirtualClock()
    budget = RetryBudget(floor=1, ratio=0.0, window=40.0, clock=clock)
    assert budget.take(0.0) is not None
    clock.advance(41.9)
    assert budget.balance() == 0
    clock.advance(0.1)
    assert budget.balance() == 1


def test_a_copied_budget_keeps_its_clock():
    """Its limits and its time are the original's, its balance is its own."""
    clock = VirtualClock()
    copied = copy.copy(RetryBudget(floor=1, clock=clock))
    assert copied.take(0.0) is not None
    assert copied.balance() == 0
    clock.advance(100.0)
    assert copied.balance() == 1


def test_the_borders_of_a_budget_and_a_throttle():
    """Any window but none and an endless one; a floor as high as the cap."""
    assert RetryBudget(floor=5, cap=5).floor == 5
    assert RetryBudget(window=0.5).window == AdaptiveThrottle(window=0.5).window == 0.5
    for make in (RetryBudget, AdaptiveThrottle):
        with pytest.raises(UsageError, match="window"):
            make(window=math.inf)


def test_a_throttle_draws_only_where_it_may_refuse():
    """No chance is spent on a healthy service, and the border belongs to the admitted."""
    throttle = AdaptiveThrottle()
    assert throttle.admits(0.0, NeverAsked())
    for _ in range(20):
        throttle.rejected(0.0)
        throttle.admits(0.0, Fixed(0.999))
    assert throttle.admits(0.0, Fixed(throttle.refusal(0.0)))


def test_a_throttle_forgets_and_does_not_grow():
    """However many requests there were, after a window they are gone; one moment takes one slot."""
    throttle = AdaptiveThrottle()
    for _ in range(200):
        throttle.admits(0.0, Fixed(0.999))
        throttle.rejected(0.0)
    assert len(throttle._slots) == 1
    assert throttle.refusal(0.0) > 0.9
    assert throttle.refusal(130.0) == 0.0


def test_what_a_throttle_refuses_with():
    """The error says why."""
    throttle = AdaptiveThrottle()
    for _ in range(20):
        throttle.admits(0.0, Fixed(0.999))
        throttle.rejected(0.0)
    policy = retry(on=ConnectionError, throttle=throttle, random=Fixed(0.0), clock=VirtualClock())
    with pytest.raises(t.Throttled, match=r"^held back: the service rejects most of what it is sent$"):
        policy(Failing(0))()


def test_no_chance_is_drawn_for_a_wait_without_a_choice():
    """A seeded source yields the same waits whether fixed ones lie between or not."""
    assert draw((1.0, 1.0), NeverAsked()) == 1.0


def test_the_borders_of_a_backoff():
    """A band of nothing; and where the power overflows, the cap."""
    assert band(0.0) == band(0)
    assert Constant(2.0, jitter=band(0.0)).band(1, 0.0) == (2.0, 2.0)
    assert Exponential(1.0, cap=9.0, factor=2.0).band(100_000, 0.0)[1] == 9.0
    assert Exponential(0.0, cap=9.0, factor=2.0).band(100_000, 0.0) == (0.0, 0.0)


def hedged(clock: RecordingClock, fn: Any, **options: Any) -> Any:
    async def main() -> Any:
        return await hedge(clock=clock, **options)(fn)()

    return run(clock, main)


def test_one_more_call_unless_told_otherwise(clock):
    """A service that is slow for good is asked twice, not more."""
    started: list[float] = []

    async def slow() -> int:
        started.append(clock.monotonic())
        await asyncio.sleep(20)
        return len(started)

    assert hedged(clock, slow, after=1.0) == 2
    assert started == [0.0, 1.0]
    assert hedge(after=LONGEST_WAIT)(slow).__name__ == "slow"


def test_a_refused_extra_call_is_not_asked_for_again(clock):
    """The budget has the last word once."""
    started: list[float] = []
    budget = RetryBudget(floor=0, ratio=1.0, window=20.0, clock=clock)

    async def slow() -> str:
        started.append(clock.monotonic())
        await asyncio.sleep(9.5)
        return "done"

    class Poor:
        asked = 0

        def request(self, now: float) -> None:
            budget.request(now)

        def take(self, now: float) -> None:
            self.asked += 1

    poor = Poor()
    assert hedged(clock, slow, after=1.0, budget=poor) == "done"
    assert (poor.asked, started) == (1, [0.0])


def test_the_losers_have_ended_before_the_caller_goes_on(clock):
    """Their clean-up included, however long it takes."""
    log: list[str] = []

    async def ask() -> None:
        first = not log
        log.append("begun")
        try:
            await asyncio.sleep(50 if first else 0.5)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            log.append("cleaned up")
            raise

    hedged(clock, ask, after=1.0)
    assert log == ["begun", "begun", "cleaned up"]
    assert clock.monotonic() == 4.5


@pytest.mark.parametrize(
    ("reason", "attempts", "level"),
    [("not-retryable", 1, None), ("not-retryable", 2, logging.WARNING), ("attempts", 1, logging.WARNING)],
)
def test_only_an_error_that_was_never_to_be_retried_is_left_to_the_caller(
    reason: str, attempts: int, level: int | None
) -> None:
    """A call that may be made once ends as an exhausted one does: with a warning."""
    context = RetryContext(attempts=attempts, failures=(), exhausted=True)
    event = RetriesExhausted(
        at=0.0, policy="p", function="f", attempts=attempts, reason=reason, error_type="E", error="e",
        context=context,
    )  # fmt: skip
    assert event.log_level == level


def test_an_async_loop_that_is_cancelled_in_a_wait_gives_back_what_the_wait_was_charged() -> None:
    """The attempt behind it never began, as in the sync loop."""
    budget = RetryBudget(floor=1, ratio=0)

    async def main() -> None:
        async for attempt in retry(on=OSError, budget=budget, wait=Constant(60)):
            with attempt:
                asyncio.get_running_loop().call_soon(task.cancel)
                raise OSError

    async def around() -> None:
        nonlocal task
        task = asyncio.ensure_future(main())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert budget.balance() == 1

    task: asyncio.Future[None]
    asyncio.run(around())


def test_a_mode_may_allow_one_attempt() -> None:
    """One is a number of attempts, the same as no retries at all."""
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise OSError

    with retries_without_waits(1), pytest.raises(OSError):
        retry(on=OSError).call(fails)
    assert calls == [1]
    with pytest.raises(UsageError, match="attempts is 0"), retries_without_waits(0):
        pass


def test_the_ready_policies_wait_as_their_comments_say() -> None:
    """A restart takes long, a conflict does not, and a resource is not freed within a second."""
    policies = ready_policies()
    waits = {name: policies[name].wait for name in ("network", "resource")}
    assert waits == {
        "network": Exponential(0.5, cap=30.0, jitter=FULL),
        "resource": Exponential(5.0, cap=300.0),
    }
    long = Exponential(0.5, cap=30.0)
    assert policies["database"].waits == {t.Unreachable: long, t.Overloaded: long}


def test_a_backoff_that_raises_ends_the_call_and_says_so() -> None:
    """Its reason is the backoff, and the error of the call is what the caller gets."""
    told: list[Any] = []

    class Broken:
        cap = 1.0

        def band(self, failures: int, previous: float) -> tuple[float, float]:
            raise ZeroDivisionError

    policy = retry(on=OSError, wait=Broken(), attempts=3, listeners=[told.append])
    with pytest.raises(OSError, match="down"):
        policy.call(Failing(9))
    assert [event.reason for event in told if isinstance(event, RetriesExhausted)] == ["backoff"]
