"""The rate limiter: never more than it allows, never later than it must be, nothing lost by an interrupt."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import RateLimit, RateLimiter, ShuttingDown, Stop
from chaoskit.runtime.calling.ratelimit import Bucket, RateWaited
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.deadlines import deadline
from chaoskit.runtime.failures.taxonomy import Throttled


@given(st.integers(1, 5), st.lists(st.floats(0, 3).map(lambda gap: round(gap, 2)), max_size=40))
def test_no_period_has_more_calls_than_allowed(burst: int, gaps: list[float]) -> None:
    """Between any two calls that go, ``burst + seconds / interval`` calls go at most."""
    bucket, now, went = Bucket(1.0, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        bucket.reserve(now + wait)
        went.append(now + wait)
    for i, first in enumerate(went):
        for j in range(i, len(went)):
            assert j - i + 1 <= burst + (went[j] - first) + 1e-6


@given(st.integers(1, 5), st.lists(st.floats(0, 3).map(lambda gap: round(gap, 2)), max_size=40))
def test_no_call_waits_longer_than_it_must(burst: int, gaps: list[float]) -> None:
    """A call that waits does so since it would have been one too many an instant earlier."""
    bucket, now, went = Bucket(1.0, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        bucket.reserve(now + wait)
        if wait > 1e-6:
            # Somewhere back there is a period that is full right up to this call.
            assert any(len(went) - i + 1 > burst + (now + wait - 1e-6 - at) for i, at in enumerate(went))
        went.append(now + wait)


def test_a_rejected_call_costs_nothing() -> None:
    """A call whose wait is over its patience leaves the limiter as it was."""
    clock = VirtualClock()
    limiter = RateLimiter(1, max_wait=0.75, clock=clock)
    limiter.acquire()
    clock.advance(0.125)
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            limiter.acquire()
        assert caught.value.retry_after == 0.875
    clock.advance(0.125)
    limiter.acquire()
    assert clock.sleeps == [0.75]


def test_only_the_newest_turn_can_be_given_back() -> None:
    """A turn given back is there for the next; one with turns behind it stays taken."""
    bucket = Bucket(1.0, 1)
    tickets = [bucket.reserve(bucket.wait(0.0)) for _ in range(3)]
    bucket.give_back(tickets[1])
    assert bucket.wait(0.0) == 3.0
    bucket.give_back(tickets[2])
    assert bucket.wait(0.0) == 2.0


def test_a_burst_goes_at_once_and_the_rest_evenly() -> None:
    """Ten per second with a burst of three: three at once, then one each tenth."""
    clock = VirtualClock()
    limited = RateLimiter(10, burst=3, max_wait=math.inf, clock=clock)(clock.monotonic)
    assert [round(limited(), 6) for _ in range(6)] == [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]


def test_without_max_wait_it_rejects_and_says_when() -> None:
    """By default nothing waits: the error has the seconds until the next turn."""
    clock = VirtualClock()
    told: list[Any] = []
    limiter = RateLimiter(2, per=60.0, name="archive", clock=clock, listeners=[told.append])
    assert limiter.call(lambda: "value") == "value"
    clock.advance(10.0)
    with pytest.raises(Throttled) as caught:
        limiter.call(lambda: "value")
    assert caught.value.retry_after == 20.0
    assert str(caught.value) == (
        "archive: 2 calls per 60 s, burst 1; the next turn is in 20 s, "
        "more than the 0 s that this call may wait"
    )
    assert told == [RateWaited(at=10.0, limiter="archive", wait=20.0, rejected=True)]
    assert not clock.sleeps
    clock.advance(20.0)
    assert limiter.call(lambda: "value") == "value"


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    """With a deadline in force that comes before the turn, the call is rejected at once."""
    clock = VirtualClock()
    limiter = RateLimiter(1, max_wait=60.0, clock=clock)
    limiter.acquire()
    with deadline(0.5, clock=clock), pytest.raises(Throttled):
        limiter.acquire()
    assert clock.sleeps == []
    with deadline(1.0, clock=clock):
        limiter.acquire()
    assert clock.sleeps == [1.0]


def test_async_functions_wait_without_blocking_the_loop() -> None:
    """Tasks wait for their turns in the order in which they came."""
    clock = VirtualClock()
    limiter = RateLimiter(1, max_wait=60.0, clock=clock)
    order: list[int] = []

    @limiter
    async def work(n: int) -> None:
        order.append(n)

    async def scenario() -> None:
        await asyncio.gather(*(work(n) for n in range(4)))
        assert await limiter.call(asyncio.sleep, 0, "value") == "value"

    asyncio.run(scenario())
    assert order == [0, 1, 2, 3]
    assert len(clock.sleeps) == 4


class Interrupting(VirtualClock):
    """A clock whose waits are interrupted."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        if seconds > 0:
            raise KeyboardInterrupt
        return False

    async def asleep(self, seconds: float) -> None:
        raise asyncio.CancelledError


def test_an_interrupted_wait_gives_its_turn_back() -> None:
    """Ctrl-C and cancellation while waiting cost the next caller nothing."""
    clock = Interrupting()
    limiter = RateLimiter(1, max_wait=60.0, clock=clock)
    limiter.acquire()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            limiter.acquire()
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(limiter.aacquire())
    clock.advance(1.0)
    limiter.acquire()


def test_threads_share_one_limit() -> None:
    """Many threads at once get just the burst."""
    limiter = RateLimiter(1, per=3600.0, burst=5)
    got: list[bool] = []

    def caller() -> None:
        for _ in range(10):
            try:
                limiter.acquire()
                got.append(True)
            except Throttled:
                got.append(False)

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (got.count(True), len(got)) == (5, 40)


def test_a_function_that_returns_a_coroutine_is_refused() -> None:
    """A sync function whose work is done later, by a coroutine, would not be limited: it is an error."""

    async def work() -> None:
        return None

    with pytest.raises(UsageError, match="Write it with async def"):
        RateLimiter(1).call(lambda: work())
    with pytest.raises(UsageError, match="Write it with async def"):
        RateLimiter(1)(lambda: work())()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"calls": 0}, "calls"),
        ({"calls": math.inf}, "calls"),
        ({"calls": True}, "calls"),
        ({"calls": 1, "per": 0}, "per"),
        ({"calls": 1, "burst": 0}, "burst"),
        ({"calls": 1, "burst": 1.5}, "burst"),
        ({"calls": 1, "max_wait": -1}, "max_wait"),
        ({"calls": 1, "max_wait": math.nan}, "max_wait"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], name: str) -> None:
    """Zero, negative and infinite settings are errors that name the setting."""
    with pytest.raises(UsageError, match=f"{name} is"):
        RateLimiter(**settings)


def test_it_shows_what_it_allows() -> None:
    """The repr is fit for a log."""
    assert (
        repr(RateLimiter(10, per=60, burst=3, name="api")) == "<RateLimiter 'api' 10 calls per 60 s, burst 3>"
    )


RATES = st.lists(
    st.builds(RateLimit, st.integers(1, 5), st.sampled_from([1.0, 4.0, 10.0]), st.integers(1, 3)),
    min_size=1,
    max_size=3,
)


@given(RATES, st.lists(st.floats(0, 3).map(lambda gap: round(gap, 2)), max_size=30))
def test_several_rates_hold_at_once(rates: list[RateLimit], gaps: list[float]) -> None:
    """In no period are there more calls than each of the rates allows, and calls go in their order."""
    clock, went = VirtualClock(), list[float]()
    first, *also = rates
    limiter = RateLimiter(first.calls, per=first.per, burst=first.burst, also=also, max_wait=1e9, clock=clock)
    for gap in gaps:
        clock.advance(gap)
        limiter.acquire()
        went.append(clock.monotonic())
    assert went == sorted(went)
    for rate in rates:
        for i, begin in enumerate(went):
            for j in range(i, len(went)):
                assert j - i + 1 <= rate.burst + (went[j] - begin) * rate.calls / rate.per + 1e-6


def test_a_call_that_one_rate_rejects_uses_up_none() -> None:
    """A rejection by the hour's rate leaves the second's turn, and so does a wait that is given up."""
    clock = VirtualClock()
    limiter = RateLimiter(1, per=10.0, also=[RateLimit(1, per=3600.0)], clock=clock)
    limiter.acquire()
    clock.advance(20.0)
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            limiter.acquire()
        assert caught.value.retry_after == 3580.0
    waiting = RateLimiter(
        1, per=10.0, also=[RateLimit(1, per=3600.0)], max_wait=9e9, clock=clock, wake=Stop()
    )
    waiting.acquire()
    waiting._wake.set()  # type: ignore[union-attr]
    with pytest.raises(ShuttingDown):
        waiting.acquire()
    waiting._wake.clear()  # type: ignore[union-attr]
    waiting.acquire()
    assert clock.sleeps == [3600.0]
    assert "1 calls per 10 s, burst 1; 1 calls per 3600 s, burst 1" in repr(limiter)


def test_a_rate_that_is_none_is_refused() -> None:
    """What stands in ``also`` has to be a rate."""
    with pytest.raises(UsageError, match=r"one of also is 5 \(int\); expected a RateLimit"):
        RateLimiter(1, also=[5])  # type: ignore[list-item]


def test_a_call_that_need_not_wait_does_not_sleep() -> None:
    """A sleep of no seconds would give its turn to other threads, and costs as much as the limiter."""

    class Noting(VirtualClock):
        def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
            slept.append(seconds)
            return super().sleep(seconds, wake)

    slept: list[float] = []
    limiter = RateLimiter(10.0, burst=2, max_wait=60.0, clock=Noting())
    limiter.acquire()
    asyncio.run(limiter.aacquire())
    assert slept == []
    limiter.acquire()
    assert len(slept) == 1


def test_a_task_that_need_not_wait_goes_on_at_once() -> None:
    """It does not give its turn to other tasks: the first step of the coroutine is its end."""
    with pytest.raises(StopIteration):
        RateLimiter(10.0).aacquire().send(None)


def test_a_call_that_need_not_wait_goes_although_the_signal_is_set() -> None:
    """The signal ends waits; a task whose turn has come has none, as a thread has none."""
    stop = Stop()
    stop.set()
    limiter = RateLimiter(1, burst=2, wake=stop, clock=VirtualClock())
    limiter.acquire()
    asyncio.run(limiter.aacquire())


def test_a_signal_while_a_turn_is_given_back_leaves_the_lock_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C: the others still get their turns."""
    limiter = RateLimiter(1, max_wait=60, clock=VirtualClock())
    limiter.acquire()

    def struck(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(limiter._clock, "sleep", struck)
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "give_back", struck)
        with pytest.raises(KeyboardInterrupt):
            limiter.acquire()
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(limiter._lock.acquire(timeout=10)))
    thread.start()
    thread.join(20)
    assert taken == [True]
