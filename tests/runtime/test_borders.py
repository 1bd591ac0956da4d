"""What happens at the borders: many callers at once, times too long to count, copies, errors that repeat."""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from chaoskit.runtime import (
    AdaptiveThrottle,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Constant,
    ErrorMetrics,
    Exponential,
    FallbackChain,
    HandoffQueue,
    JobBoard,
    JobRunner,
    Linear,
    PartialFailureCollector,
    PerKey,
    QueueOptions,
    RateLimiter,
    Shutdown,
    Stop,
    Supervisor,
    SystemClock,
    Throttled,
    Timeout,
    UsageError,
    VirtualClock,
    hedge,
    reference_policies,
    retry,
)


def test_the_number_of_abandoned_threads_is_a_bound_for_callers_of_the_same_moment() -> None:
    """Twenty callers at once leave three threads behind and no more: the others are rejected."""
    timeout = Timeout(0.05, abandon=3)
    together, release = threading.Barrier(20), threading.Event()
    outcomes: list[type[BaseException]] = []
    hung = timeout(lambda: release.wait(30))

    def call() -> None:
        together.wait(10)
        try:
            hung()
        except Exception as error:
            outcomes.append(type(error))

    callers = [threading.Thread(target=call) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    try:
        assert timeout.abandoned == 3
        assert outcomes.count(BulkheadFull) == 17
    finally:
        release.set()


def test_calls_that_come_back_in_time_leave_their_places_free() -> None:
    """One place serves any number of calls one after the other, and after an error as well."""
    timeout = Timeout(30, abandon=1)
    for _ in range(50):
        assert timeout.call(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            timeout.call(lambda: 1 / 0)
    assert timeout.abandoned == 0


def test_a_wait_that_no_system_can_count_is_no_raw_error() -> None:
    """It is cut to what can be waited for; the signal that ends it comes long before."""
    wake = threading.Event()
    wake.set()
    assert SystemClock().sleep(1e300, wake)

    async def cancelled() -> None:
        task = asyncio.create_task(SystemClock().asleep(1e300))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(cancelled())
    limiter = RateLimiter(1e-300, max_wait=1e305, clock=VirtualClock())
    limiter.acquire()
    limiter.acquire()


@pytest.mark.parametrize(
    "make",
    [
        lambda wrong: Constant(wrong),
        lambda wrong: Linear(wrong, 1, 5),
        lambda wrong: Exponential(wrong, 5),
        lambda wrong: Exponential(1, wrong),
    ],
)
def test_a_wait_that_is_no_number_is_refused_by_name(make: Callable[[Any], object]) -> None:
    """A ``timedelta`` or a text gets the answer that a number of seconds is expected."""
    for wrong in (timedelta(seconds=1), "1"):
        with pytest.raises(UsageError, match="seconds"):
            make(wrong)


@pytest.mark.parametrize(
    "lasting",
    [
        CircuitBreaker(),
        RateLimiter(1),
        Bulkhead(1),
        Timeout(1),
        FallbackChain(),
        PartialFailureCollector(),
        PerKey(lambda key: Bulkhead(1)),
        Stop(),
        VirtualClock(),
        ErrorMetrics(),
        JobBoard(),
        HandoffQueue("copied", QueueOptions()),
        Shutdown(signals=()),
        Supervisor(),
        JobRunner(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_copy_of_what_holds_a_strategy_shares_it(lasting: Any) -> None:
    """It stands for the one service that it protects, however its holder is copied."""
    settings = {"service": [lasting]}
    assert copy.deepcopy(settings)["service"][0] is lasting
    assert copy.copy(lasting) is lasting


def test_an_error_that_fails_many_items_gets_one_note() -> None:
    """A breaker that raises the same object a thousand times does not grow it."""
    error = OSError()

    def fails(item: int) -> None:
        raise error

    collector: PartialFailureCollector[int, None] = PartialFailureCollector()
    collector.run(fails, range(1000))
    assert error.__notes__ == ["item: 0"]
    assert [failure.item for failure in collector.failures] == list(range(1000))


def test_a_generator_of_items_is_taken_one_at_a_time() -> None:
    """The first item is worked on before the second is made: a batch may have no end."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    def work(item: int) -> None:
        assert taken[-1] == item
        if item == 3:
            raise KeyboardInterrupt

    collector: PartialFailureCollector[int, None] = PartialFailureCollector()
    with pytest.raises(KeyboardInterrupt):
        collector.run(work, items())
    assert taken == [0, 1, 2, 3]
    assert collector.skipped == [3]


def test_a_throttle_does_not_hide_why_calls_fail() -> None:
    """Every call that made an attempt shows the service's own error, itself or as the cause."""
    clock = VirtualClock()
    throttle = AdaptiveThrottle()
    policy = retry(on=OSError, attempts=3, throttle=throttle, wait=Constant(0), clock=clock)
    mine = OSError("refused by the service")

    def fails() -> None:
        raise mine

    seen: list[BaseException] = []
    for _ in range(60):
        try:
            policy.call(fails)
        except (OSError, Throttled) as error:
            seen.append(error)
    attempted = [error for error in seen if error is mine or error.__cause__ is mine]
    assert seen[:3] == [mine, mine, mine]
    assert [error for error in seen if type(error) is Throttled and error.__cause__ is not mine] == [
        error for error in seen if error not in attempted
    ]


def test_one_failure_is_no_trend() -> None:
    """A throttle refuses nothing before it has seen a minimum of attempts."""
    throttle = AdaptiveThrottle(minimum=10)
    for number in range(9):
        throttle.admits(0.0, VirtualChance())
        throttle.rejected(0.0)
        assert throttle.refusal(0.0) == 0.0, number
    throttle.admits(0.0, VirtualChance())
    throttle.rejected(0.0)
    assert throttle.refusal(0.0) > 0.5


class VirtualChance:
    """Never refuses by chance."""

    def random(self) -> float:
        return 1.0


def test_a_printed_policy_says_what_was_chosen_and_no_more() -> None:
    """No defaults, no addresses: twenty options would tell no two policies apart."""
    assert repr(retry(on=OSError)) == "RetryPolicy(on=<class 'OSError'>)"
    assert repr(retry(on=OSError, attempts=5, clock=VirtualClock())) == (
        "RetryPolicy(on=<class 'OSError'>, attempts=5)"
    )
    for policy in reference_policies().values():
        assert " at 0x" not in repr(policy.wait)


@pytest.mark.parametrize(("error", "calls"), [(TypeError, 1), (ValueError, 1), (ConnectionError, 3)])
def test_a_hedge_repeats_only_what_may_pass(error: type[Exception], calls: int) -> None:
    """A mistake in the program is raised at once, not three times."""
    made: list[int] = []

    @hedge(after=60, extra=2)
    async def call() -> None:
        made.append(1)
        raise error

    with pytest.raises(error):
        asyncio.run(call())
    assert len(made) == calls


def test_a_hedge_repeats_what_it_is_told_to() -> None:
    """``on`` is what it is for a retry: classes, categories, a classifier or a predicate."""
    made: list[int] = []

    @hedge(after=60, extra=1, on=KeyError)
    async def call() -> int:
        made.append(1)
        if len(made) == 1:
            raise KeyError
        return 7

    assert asyncio.run(call()) == 7
    with pytest.raises(UsageError, match="on is"):
        hedge(after=1, on=())
