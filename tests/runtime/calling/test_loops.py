"""On other event loops a strategy works, or is refused by name before the first call; uvloop is asyncio's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    CircuitBreaker,
    Constant,
    Deadline,
    FallbackChain,
    PartialFailureCollector,
    RateLimiter,
    Shutdown,
    SystemClock,
    Timeout,
    UsageError,
    deadline,
    hedge,
    retry,
)
from chaoskit.runtime.calling import loops


class Called:
    """A coroutine function that counts its calls and fails at the first one."""

    def __init__(self, fails: bool = False) -> None:
        self.calls = 0
        self.fails = fails

    async def __call__(self) -> int:
        self.calls += 1
        if self.fails and self.calls == 1:
            raise OSError
        return self.calls


async def in_deadline(call: Called) -> Any:
    with deadline(5):
        return await retry(on=OSError)(call)()


async def in_shutdown(call: Called) -> Any:
    async with Shutdown(signals=()):
        return await call()


NEED_ASYNCIO: dict[str, Callable[[Called], Coroutine[Any, Any, Any]]] = {
    "retry, deadline": lambda call: retry(on=OSError, deadline=5)(call)(),
    "retry, attempt_timeout": lambda call: retry(on=OSError, attempt_timeout=5)(call)(),
    "retry in a deadline": in_deadline,
    "timeout": lambda call: Timeout(5)(call)(),
    "deadline": lambda call: Deadline(5)(call)(),
    "bulkhead with a queue": lambda call: Bulkhead(1, queue=1)(call)(),
    "hedge": lambda call: hedge(after=5)(call)(),
    "batch": lambda call: PartialFailureCollector().arun(lambda item: call(), [1]),
    "shutdown": in_shutdown,
}

WORK: dict[str, Callable[[Called], Coroutine[Any, Any, Any]]] = {
    "retry": lambda call: retry(on=OSError, wait=Constant(0.001))(call)(),
    "retry, nothing to do": lambda call: retry(on=OSError)(call)(),
    "breaker": lambda call: CircuitBreaker()(call)(),
    "bulkhead": lambda call: Bulkhead(1)(call)(),
    "limiter": lambda call: RateLimiter(1000)(call)(),
    "fallback": lambda call: FallbackChain(Candidate("a", call)).achoose(),
    "clock": lambda call: SystemClock().asleep(0.001),
}


def stepped(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Drive ``coroutine`` by hand, without a loop."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


@pytest.mark.parametrize("name", [name for name in NEED_ASYNCIO if not name.startswith("retry")])
def test_what_asyncio_is_needed_for_is_refused_on_another_loop(name: str) -> None:
    """By the strategy's name, and before the function is called, not at its first wait."""
    call = Called()
    with pytest.raises(UsageError, match=r"the event loop under a .* is 'none that is known'"):
        stepped(NEED_ASYNCIO[name](call))
    assert call.calls == 0


@pytest.mark.parametrize("name", sorted(set(WORK) - {"retry", "clock"}))
def test_what_needs_no_loop_works_on_any(name: str) -> None:
    """As long as nothing has to wait, nothing is asked of the loop."""
    call = Called()
    stepped(WORK[name](call))
    assert call.calls == 1


@pytest.mark.parametrize("name", WORK)
def test_on_trio_a_retry_waits_and_the_rest_works(name: str) -> None:
    """A failed attempt waits with trio's own sleep, and the second one succeeds."""
    trio = pytest.importorskip("trio")
    call = Called(fails=name == "retry")
    trio.run(WORK[name], call)
    assert call.calls == (0 if name == "clock" else 2 if name == "retry" else 1)


@pytest.mark.parametrize("name", NEED_ASYNCIO)
def test_on_trio_the_rest_is_refused_by_name(name: str) -> None:
    """The error says trio, and what to use there."""
    trio = pytest.importorskip("trio")
    call = Called()
    with pytest.raises(UsageError, match=r"is 'trio'.*expected asyncio's.*trio.fail_after"):
        trio.run(NEED_ASYNCIO[name], call)
    assert call.calls == 0


@pytest.mark.parametrize("name", {**WORK, **NEED_ASYNCIO})
def test_all_works_on_uvloop(name: str) -> None:
    """It stands in for asyncio's own loop."""
    uvloop = pytest.importorskip("uvloop")
    call = Called(fails=name == "retry")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run({**WORK, **NEED_ASYNCIO}[name](call))
    assert call.calls or name == "clock"


def test_the_loops_are_told_apart() -> None:
    """Outside every loop none runs; within asyncio's it does, and trio's does not."""
    assert not loops.runs_asyncio()
    assert loops.trio() is None

    async def inside() -> tuple[bool, Any]:
        return loops.runs_asyncio(), loops.trio()

    assert asyncio.run(inside()) == (True, None)


def test_here_is_the_task_and_without_one_the_thread() -> None:
    """Two tasks of a loop are two places; a callback of the loop is in none, and so in its thread."""

    async def main() -> None:
        assert loops.here() is asyncio.current_task()
        called: list[object] = []
        asyncio.get_running_loop().call_soon(lambda: called.append(loops.here()))
        await asyncio.sleep(0)
        assert called == [threading.get_ident()]

    asyncio.run(main())
    assert loops.here() == threading.get_ident()


def test_a_policy_that_limits_no_time_works_on_another_loop() -> None:
    """It may count or judge there: only what sets a time limit needs asyncio."""
    trio = pytest.importorskip("trio")
    call = Called()
    assert trio.run(retry(on=OSError, on_result=lambda n: n == 1, wait=Constant(0), attempts=2)(call)) == 2
