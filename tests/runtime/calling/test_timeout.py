"""Timeout and deadline: async calls are cut, sync ones left behind only if asked, errors say which it was."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Deadline, Timeout, VirtualClock
from chaoskit.runtime.calling.timeout import TimedOut
from chaoskit.runtime.deadlines import deadline, remaining
from chaoskit.runtime.failures.taxonomy import AttemptTimedOut, BulkheadFull, DeadlineExceeded


def test_an_async_call_is_cut_after_its_cleanup() -> None:
    """The error comes after the call's own ``finally``, and is a TimeoutError like any other."""
    cleaned: list[str] = []
    told: list[Any] = []

    @Timeout(0.01, listeners=[told.append])
    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append("cleaned")

    with pytest.raises(AttemptTimedOut, match=r"the call took longer than 0\.01 s") as caught:
        asyncio.run(hang())
    assert isinstance(caught.value, TimeoutError)
    assert cleaned == ["cleaned"]
    assert [(event.seconds, event.total, event.abandoned) for event in told] == [(0.01, False, False)]
    assert isinstance(told[0], TimedOut)


def test_a_call_in_time_is_left_alone() -> None:
    """Value and errors come through, a TimeoutError of the call's own included."""

    async def value() -> str:
        return "value"

    async def own() -> None:
        raise TimeoutError("the socket's")

    timeout = Timeout(60.0)
    assert asyncio.run(timeout(value)()) == "value"
    assert asyncio.run(_awaited(timeout.call(value))) == "value"
    with pytest.raises(TimeoutError, match="the socket's") as caught:
        asyncio.run(timeout(own)())
    assert not isinstance(caught.value, AttemptTimedOut)


async def _awaited(work: Any) -> Any:
    return await work


def test_cancellation_from_outside_stays_cancellation() -> None:
    """A cancelled task is cancelled at once, not timed out."""

    async def scenario() -> None:
        task = asyncio.create_task(Timeout(60.0)(asyncio.sleep)(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_the_total_is_told_apart() -> None:
    """When the deadline in force comes first, the error is that the total is over: no retry helps."""
    told: list[Any] = []

    async def scenario() -> None:
        with deadline(0.01):
            await Timeout(60.0, listeners=[told.append])(asyncio.sleep)(60)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(scenario())
    assert told[0].total is True
    assert told[0].seconds <= 0.01


def test_the_time_left_is_known_inside() -> None:
    """Within the call the deadline in force is the timeout's, sync and async; afterwards it is gone."""

    async def aleft() -> float | None:
        return remaining()

    left = asyncio.run(Timeout(60.0)(aleft)())
    assert left is not None
    assert 50 < left <= 60
    left = Timeout(60.0, abandon=1)(remaining)()
    assert left is not None
    assert 50 < left <= 60
    assert remaining() is None


def test_a_sync_function_is_refused_unless_it_may_be_left_behind() -> None:
    """Python cannot stop a thread: the error says what one can do instead."""
    with pytest.raises(UsageError, match="cannot be interrupted: give abandon=N"):
        Timeout(1.0)(time.sleep)
    with pytest.raises(UsageError, match="cannot be interrupted: give abandon=N"):
        Timeout(1.0).call(time.sleep, 0)


def test_a_sync_call_is_left_behind_and_comes_back() -> None:
    """The caller goes on with the error; the thread is counted until it is done, and the count is bounded."""
    told: list[Any] = []
    timeout = Timeout(0.01, abandon=1, listeners=[told.append])
    go, ended = threading.Event(), threading.Event()

    def hang() -> None:
        go.wait(10)
        ended.set()

    with pytest.raises(AttemptTimedOut):
        timeout.call(hang)
    assert timeout.abandoned == 1
    assert told[0].abandoned is True
    with pytest.raises(BulkheadFull, match="1 calls run, 1 of them left behind; 1 may"):
        timeout.call(lambda: None)
    go.set()
    assert ended.wait(10)
    for _ in range(1000):
        if timeout.abandoned == 0:
            break
        threading.Event().wait(0.001)
    assert timeout.abandoned == 0
    assert timeout.call(lambda: "value") == "value"


def test_a_sync_call_in_time_has_value_error_and_context() -> None:
    """In its thread the call sees the caller's context variables; value and error come back as they are."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    timeout = Timeout(60.0, abandon=1)
    assert timeout(variable.get)() == "mine"
    error = KeyError("own")

    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        timeout.call(fail)
    assert caught.value is error
    assert timeout.abandoned == 0


def test_a_deadline_covers_everything_inside() -> None:
    """A sync call sees the deadline; an async one is cut by it; the earlier of two is in force."""
    left = Deadline(60.0)(remaining)()
    assert left is not None
    assert left <= 60
    left = Deadline(60.0).call(Deadline(30.0)(remaining))
    assert left is not None
    assert left <= 30
    left = Deadline(30.0).call(Deadline(60.0)(remaining))
    assert left is not None
    assert left <= 30
    with pytest.raises(DeadlineExceeded, match=r"the deadline passed 0.01 s into the call"):
        asyncio.run(Deadline(0.01)(asyncio.sleep)(60))


def test_a_deadline_lets_an_inner_timeout_be() -> None:
    """An attempt that timed out inside is not taken for the end of the total."""
    with pytest.raises(AttemptTimedOut):
        asyncio.run(Deadline(60.0)(Timeout(0.01)(asyncio.sleep))(60))


def test_a_deadline_lets_an_own_timeout_error_be() -> None:
    """A TimeoutError of the call's own comes through a deadline too."""

    async def own() -> None:
        raise TimeoutError("the socket's")

    with pytest.raises(TimeoutError, match="the socket's"):
        asyncio.run(_awaited(Deadline(60.0).call(own)))


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), None, True, "1"], ids=str)
def test_wrong_seconds_are_refused(seconds: Any) -> None:
    """Zero and None are not timeouts."""
    for kind in (Timeout, Deadline):
        with pytest.raises(UsageError, match=r"seconds is .*expected finite seconds, more than zero"):
            kind(seconds)


@pytest.mark.parametrize("abandon", [-1, 1.5, True, None], ids=str)
def test_a_wrong_number_of_threads_is_refused(abandon: Any) -> None:
    """``abandon`` is a whole number."""
    with pytest.raises(UsageError, match="abandon is"):
        Timeout(1.0, abandon=abandon)


def test_what_is_printed_says_the_limit() -> None:
    """The short form of either is its class and its seconds."""
    assert repr(Timeout(1.5)) == "<Timeout 1.5 s>"
    assert repr(Deadline(60.0)) == "<Deadline 60 s>"


def test_a_virtual_limit_is_counted_from_the_beginning_of_the_call() -> None:
    """A clock that says itself when time is over is asked for the moment ``seconds`` from now."""

    class Noting(VirtualClock):
        def alarm(self, at: float, ring: Any) -> Any:
            noted.append(at)
            return super().alarm(at, ring)

    noted: list[float] = []
    clock = Noting()
    clock.advance(2.0)
    assert Timeout(5.0, abandon=1, clock=clock).call(lambda: "value") == "value"
    assert noted == [7.0]


def test_a_call_that_came_back_in_time_leaves_no_alarm_behind() -> None:
    """A virtual clock would keep one, and what it wakes, for every call until its time has come."""
    alarms: list[float] = []

    class Counting(VirtualClock):
        def alarm(self, at: float, ring: Any) -> Any:
            alarms.append(at)
            forget = super().alarm(at, ring)

            def forgotten() -> None:
                alarms.remove(at)
                forget()

            return forgotten

    assert Timeout(5, abandon=1, clock=Counting()).call(lambda: 3) == 3
    assert alarms == []
