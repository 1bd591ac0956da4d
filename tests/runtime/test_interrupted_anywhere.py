"""What a signal handler raises may strike after any call: no place, deadline or lock stays behind.

Ctrl-C at a prompt, the soft time limit of a Celery task, and the alarm of a test runner arrive that way. They
are imitated after each call into C and at the entry of each function: there CPython looks for signals.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    CircuitBreaker,
    Constant,
    Deadline,
    Pipeline,
    RateLimiter,
    RetryBudget,
    VirtualClock,
    deadline,
    remaining,
    retry,
)

MOST = 2000


class Struck(BaseException):
    """As KeyboardInterrupt, and never taken for one of pytest's."""


def work() -> int:
    return 7


def nested(fn: Any) -> Any:
    policy = retry(on=OSError, deadline=50.0)(fn)

    def call() -> int:
        with deadline(60.0):
            return int(policy())

    return call


def fails_once(fn: Any) -> Any:
    failures: list[OSError] = []

    @retry(on=OSError, wait=Constant(0), deadline=9.0, clock=VirtualClock())
    def attempt() -> int:
        if failures:
            raise failures.pop()
        return int(fn())

    def call() -> int:
        failures[:] = [OSError()]
        return attempt()

    return call


BULKHEAD = Bulkhead(1, queue=2, max_wait=0.0)
STRATEGIES: dict[str, Callable[[], Any]] = {
    "bulkhead": lambda: BULKHEAD,
    "bulkhead as a call": lambda: lambda fn: lambda: BULKHEAD.call(fn),
    "deadline": lambda: Deadline(50.0),
    "deadline as a block": lambda: deadline(50.0),
    "retry": lambda: retry(on=OSError, deadline=50.0, budget=RetryBudget()),
    "retry in a deadline": lambda: nested,
    "retry after a failure": lambda: fails_once,
    "limiter": lambda: RateLimiter(1e6, burst=100_000),
    "breaker": lambda: CircuitBreaker(failures=None, failure_rate=1.0, window_calls=10),
    "pipeline": lambda: Pipeline(
        retry=retry(on=OSError, deadline=50.0),
        rate_limiter=RateLimiter(1e6, burst=100_000),
        bulkhead=BULKHEAD,
        breaker=CircuitBreaker(),
    ),
}


def struck(call: Callable[[], Any], at: int) -> bool:
    """Call ``call`` and raise :class:`Struck` at the moment number ``at``; False if it has fewer."""
    left = at

    def strike(frame: Any, event: str, value: Any) -> None:
        nonlocal left
        # The end of the profiling itself is a call as well. So is the entry of a with statement, from CPython
        # 3.14 on: a lock taken by one would stay taken.
        if event in ("call", "c_return") and value is not sys.setprofile:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise Struck

    try:
        sys.setprofile(strike)
        call()
        sys.setprofile(None)
    except Struck:
        return True
    finally:
        sys.setprofile(None)
    return False


def in_another_thread(call: Callable[[], int]) -> list[int]:
    """The value of ``call``, or nothing if it raises or does not come back."""
    values: list[int] = []
    other = threading.Thread(target=lambda: values.append(call()), daemon=True)
    other.start()
    other.join(10)
    return values


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_call_that_is_struck_anywhere_leaves_nothing_behind(name: str) -> None:
    """No place is taken, no deadline in force, no lock held, and the next call goes through."""
    call = STRATEGIES[name]()(work)
    moments = 0
    while moments < MOST and struck(call, moments + 1):
        moments += 1
        assert BULKHEAD.in_use == 0, f"a place is lost at moment {moments}"
        assert BULKHEAD.waiting == 0, f"a caller is left in the queue at moment {moments}"
        assert remaining() is None, f"a deadline is left in force at moment {moments}"
        # In another thread, since a lock that this one holds would let it in again.
        assert in_another_thread(call) == [7], f"the next call does not go through after moment {moments}"
    assert 2 < moments < MOST


class Granting(VirtualClock):
    """Hands the place over to the caller that waits for it; what does so is not struck."""

    bulkhead: Bulkhead
    is_held = False

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        profile = sys.getprofile()
        sys.setprofile(None)
        self.is_held = False
        self.bulkhead.__exit__()
        sys.setprofile(profile)
        return True


def test_a_wait_that_is_struck_anywhere_loses_no_place() -> None:
    """Neither in the queue nor with the place that has just come."""
    clock = Granting()
    bulkhead = clock.bulkhead = Bulkhead(1, queue=1, clock=clock)
    moments = 0
    is_struck = True
    while is_struck and moments < MOST:
        bulkhead.__enter__()
        clock.is_held = True
        moments += 1
        is_struck = struck(lambda: bulkhead.call(work), moments)
        if clock.is_held:
            bulkhead.__exit__()
        assert (bulkhead.in_use, bulkhead.waiting) == (0, 0), f"after moment {moments}"
        assert in_another_thread(lambda: bulkhead.call(work)) == [7], f"after moment {moments}"
    assert 10 < moments < MOST
