"""In a forked child each strategy that threads share has a free lock, and no callers of the parent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.runtime import (
    AdaptiveThrottle,
    Bulkhead,
    Candidate,
    CircuitBreaker,
    ErrorMetrics,
    FallbackChain,
    RateLimiter,
    RecoveryManager,
    RetryBudget,
    Timeout,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

MADE: dict[str, Callable[[], Any]] = {
    "throttle": AdaptiveThrottle,
    "bulkhead": lambda: Bulkhead(1),
    "breaker": CircuitBreaker,
    "metrics": ErrorMetrics,
    "fallback": lambda: FallbackChain(Candidate("a", len)),
    "limiter": lambda: RateLimiter(1),
    "recovery": lambda: RecoveryManager({}),
    "budget": RetryBudget,
    "timeout": lambda: Timeout(1),
}


def in_a_child(check: Callable[[], bool]) -> int:
    """0 if ``check`` holds in a forked child, 3 if it does not, 4 if it raises."""
    child = os.fork()
    if not child:
        code = 4
        try:
            code = 0 if check() else 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_each_lock_is_new_in_a_child() -> None:
    """The thread that held the parent's lock is not there to release it."""
    owners = {name: make() for name, make in MADE.items()}
    # A breaker's lock is that of its machinery.
    inherited = {name: getattr(one, "_driver", one)._lock for name, one in owners.items()}

    def is_new() -> bool:
        return all(getattr(one, "_driver", one)._lock is not inherited[name] for name, one in owners.items())

    assert not is_new()
    assert in_a_child(is_new) == 0


def test_a_child_finds_neither_callers_nor_a_queue() -> None:
    """Places held and waits under way in the parent do not exist in the child."""
    bulkhead, inside, out = Bulkhead(1, queue=1), threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        out.wait(30)

    threads = [threading.Thread(target=bulkhead.call, args=(hold,))]
    threads[0].start()
    assert inside.wait(30)
    threads.append(threading.Thread(target=bulkhead.call, args=(lambda: None,)))
    threads[1].start()
    try:
        for _ in range(30_000):
            if bulkhead.waiting:
                break
            out.wait(0.001)
        assert bulkhead.waiting == 1
        assert in_a_child(lambda: (bulkhead.in_use, bulkhead.waiting) == (0, 0)) == 0
    finally:
        out.set()
        for thread in threads:
            thread.join(30)
