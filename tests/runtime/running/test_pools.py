"""Work that is handed to a thread or another process keeps the deadline and the context of its caller."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time

import pytest

from chaoskit.runtime import (
    ContextProcessPool,
    ContextThreadPool,
    DeadlineExceeded,
    VirtualClock,
    context,
    deadline,
    remaining,
    retry,
)


def seen() -> tuple[float | None, str | None]:
    """What is in force here, at module level so that a process can be told of it."""
    return remaining(), context.correlation_id()


def test_a_thread_of_the_pool_has_deadline_and_context() -> None:
    """By submit, map and run_in_executor; afterwards nothing is left behind in it."""
    clock = VirtualClock()

    async def main(pool: ContextThreadPool) -> tuple[float | None, str | None]:
        return await asyncio.get_running_loop().run_in_executor(pool, seen)

    with ContextThreadPool(1) as pool:
        with deadline(5.0, clock=clock), context.operation("export", correlation_id="run-7"):
            assert pool.submit(seen).result() == (5.0, "run-7")
            assert list(pool.map(lambda _: seen(), range(2))) == [(5.0, "run-7")] * 2
            assert asyncio.run(main(pool)) == (5.0, "run-7")
        assert pool.submit(seen).result() == (None, None)


def test_time_in_the_queue_counts() -> None:
    """Work that comes to a thread after the deadline finds it passed, and a retry there makes no attempt."""
    clock, calls = VirtualClock(), []
    go = threading.Event()
    with ContextThreadPool(1) as pool:
        pool.submit(go.wait, 60.0)
        with deadline(5.0, clock=clock):
            late = pool.submit(retry(on=OSError)(calls.append), 1)
            clock.advance(6.0)
            go.set()
            with pytest.raises(DeadlineExceeded):
                late.result()
    assert calls == []


def test_a_carried_function_keeps_the_deadline_in_a_bare_thread() -> None:
    """``context.carry`` is enough for a thread that a program starts itself."""
    found: list[float | None] = []
    with deadline(5.0, clock=VirtualClock()):
        thread = threading.Thread(target=context.carry(lambda: found.append(remaining())))
        thread.start()
        thread.join()
    assert found == [5.0]


def test_another_process_has_deadline_and_context() -> None:
    """What is left there is what was left here, less the time on the way; without one there is none."""
    # Not fork: the test process may have threads.
    spawn = multiprocessing.get_context("spawn")
    with ContextProcessPool(1, mp_context=spawn) as pool:
        assert pool.submit(seen).result() == (None, None)
        began = time.monotonic()
        with deadline(600.0), context.operation("export", correlation_id="run-7"):
            left, ident = pool.submit(seen).result()
        assert left is not None
        assert 600.0 - (time.monotonic() - began) - 1.0 <= left <= 600.0
        assert ident == "run-7"


def test_a_deadline_that_passed_in_the_queue_of_processes_has_passed_for_the_work():
    """Nothing is left of it, not even a second."""
    from chaoskit.runtime.running.pools import _resumed

    assert _resumed(time.monotonic() - 5.0, None, remaining, (), {}) == 0.0
