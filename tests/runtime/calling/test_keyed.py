"""Limits for each key apart: made once, shared by threads, forgotten when they are many."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import warnings

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BreakerOpen,
    Bulkhead,
    CircuitBreaker,
    PerKey,
    RateLimiter,
    Throttled,
    VirtualClock,
)


def test_each_key_has_its_limit():
    """A key that is used up says nothing about another."""
    clock = VirtualClock()
    limits = PerKey(lambda user: RateLimiter(1, per=60, clock=clock), key=lambda user, *rest: user)

    @limits
    def ask(user: str, what: str) -> str:
        return user + what

    assert ask("a", "1") == "a1"
    with pytest.raises(Throttled):
        ask("a", "2")
    assert ask("b", "3") == "b3"
    assert len(limits) == 2


def test_coroutine_functions_are_limited_while_they_run():
    """The place of an async call is taken until it has been awaited to its end."""
    limits = PerKey(lambda user: Bulkhead(1), key=lambda user: user)

    @limits
    async def ask(user: str) -> int:
        await asyncio.sleep(0)
        return limits.of(user).in_use

    assert asyncio.run(ask("a")) == 1
    assert limits.of("a").in_use == 0


def test_a_breaker_for_each_host():
    """The function of a host that a transport takes is ``of``."""
    breakers = PerKey(lambda host: CircuitBreaker(failures=1, name=host))
    with pytest.raises(ValueError):
        breakers.of("a").call(int, "x")
    with pytest.raises(BreakerOpen):
        breakers.of("a").call(int, "1")
    assert breakers.of("b").call(int, "1") == 1


def test_threads_that_come_first_together_get_one_strategy():
    """No limit is doubled because two threads asked for it at the same moment."""
    made: list[str] = []
    gate = threading.Barrier(8)

    def make(key: str) -> RateLimiter:
        made.append(key)
        return RateLimiter(1)

    limits = PerKey(make)
    seen: list[RateLimiter] = []

    def run() -> None:
        gate.wait()
        seen.append(limits.of("a"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made) == {"a"}
    assert len({id(one) for one in seen}) == 1


def test_the_function_that_makes_may_ask_for_another_key():
    """A limit for all may be kept among those of each: no lock is held while the user's function runs."""

    def make(key: str) -> RateLimiter:
        return RateLimiter(1) if key == "all" else limits.of("all")

    limits: PerKey[RateLimiter] = PerKey(make)
    found: list[RateLimiter] = []
    thread = threading.Thread(target=lambda: found.append(limits.of("a")), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "the thread waits for its own lock"
    assert found == [limits.of("all")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_a_strategy_is_made_can_ask_for_its_own():
    """Nothing that a thread of the parent holds is held in the child."""
    inside, finish = threading.Event(), threading.Event()

    def make(key: str) -> RateLimiter:
        if key == "slow":
            inside.set()
            finish.wait(60)
        return RateLimiter(1)

    limits = PerKey(make)
    thread = threading.Thread(target=limits.of, args=("slow",))
    thread.start()
    inside.wait(60)
    with warnings.catch_warnings():
        # That threads run is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        limits.of("b")
        os._exit(0)
    finish.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_was_not_used_for_long_is_forgotten():
    """The number of strategies is bounded; the last used stay."""
    limits = PerKey(lambda key: RateLimiter(1), size=3)
    kept = limits.of("a")
    for key in "bcd":
        limits.of(key)
        limits.of("a")
    assert len(limits) == 3
    assert limits.of("a") is kept
    for number in range(1000):
        limits.of(number)
    assert len(limits) == 3


def test_a_bulkhead_with_calls_in_it_stays():
    """A strategy that counts what is in progress is not forgotten while it does."""
    limits = PerKey(lambda key: Bulkhead(1), size=1)
    busy = limits.of("a")

    def inside() -> int:
        limits.of("b")
        limits.of("c")
        return limits.of("a").in_use

    assert busy.call(inside) == 1
    assert limits.of("a") is busy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PerKey(RateLimiter, size=0), "size is 0"),
        (lambda: PerKey(3), "make is 3"),
        (lambda: PerKey(lambda key: RateLimiter(1))(print), "key is None"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    """When it is made or put around a function, not at the first call."""
    with pytest.raises(UsageError, match=message):
        make()
