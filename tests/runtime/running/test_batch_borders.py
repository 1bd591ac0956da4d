"""The borders of batches, queues and supervised threads: what is taken, what is refused, what is counted."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    BatchProgress,
    JobOptions,
    JobRunner,
    PartialFailure,
    PartialFailureCollector,
    QueueOptions,
    Supervisor,
)
from chaoskit.runtime.running.stacks import all_stacks


async def asynchronous(*_: Any) -> None:
    """An async function, where a synchronous one belongs."""


@pytest.mark.parametrize("above", [0, 0.0, 0.5])
def test_a_batch_may_be_given_up_at_the_first_failure(above: float) -> None:
    """A share of nothing is a share: with ``abort_after=1`` the first failure ends it."""
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b", abort_above=above, abort_after=1)
    with pytest.raises(PartialFailure):
        batch.run(lambda n: 1 // n, [0, 1])
    assert batch.aborted
    assert batch.summary().skipped == 1


def test_a_batch_is_given_up_at_the_very_item_that_makes_enough() -> None:
    """With ``abort_after=3`` the third item is the one that may end it, and not the fourth."""
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b", abort_above=0.5, abort_after=3)
    with pytest.raises(PartialFailure):
        batch.run(lambda n: 1 // n, [0, 0, 0, 1, 1])
    assert (batch.summary().failed, batch.summary().skipped) == (3, 2)


@pytest.mark.parametrize("way", ["run", "run_in"])
def test_a_batch_refuses_an_async_function(way: str) -> None:
    """Its coroutines would be kept as results, and never run."""
    batch: PartialFailureCollector[int, Any] = PartialFailureCollector("b")
    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="the function of a batch"):
        batch.run(asynchronous, [1]) if way == "run" else batch.run_in(pool, asynchronous, [1])
    assert batch.summary().succeeded == 0


@pytest.mark.parametrize("way", ["run", "run_in"])
def test_a_batch_refuses_a_coroutine_that_a_function_returns(way: str) -> None:
    """A plain function around an async one shows what it is only when it was called."""
    batch: PartialFailureCollector[int, Any] = PartialFailureCollector("b")

    def around(n: int) -> object:
        return asynchronous(n)

    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="since it returns a coroutine"):
        batch.run(around, [1]) if way == "run" else batch.run_in(pool, around, [1])
    assert batch.summary().succeeded == 0


def test_an_async_batch_refuses_a_plain_function_and_takes_what_may_give_an_awaitable() -> None:
    """A function around a coroutine function, a lambda and an object are awaited; a plain function is not."""

    def plain(n: int) -> int:
        return n

    @functools.wraps(asynchronous)
    def around(n: int) -> Any:
        return asynchronous(n)

    for fn in (asynchronous, around, lambda n: asynchronous(n), functools.partial(asynchronous)):
        batch: PartialFailureCollector[int, Any] = PartialFailureCollector("b")
        assert len(asyncio.run(batch.arun(fn, [1, 2]))) == 2
    refused: PartialFailureCollector[int, Any] = PartialFailureCollector("b")
    with pytest.raises(UsageError, match=r"Use run\(\) for a synchronous one"):
        asyncio.run(refused.arun(plain, [1]))  # type: ignore[arg-type]


def test_the_items_of_an_async_batch_that_ends_early_are_cancelled_and_awaited() -> None:
    """An item in progress has ended when the batch has: its ``finally`` is over, and it counts as skipped."""
    seen: list[str] = []

    async def work(n: int) -> int:
        if n == 0:
            await asyncio.sleep(0)
            raise OSError
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("ended")
        return n

    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b", on=ValueError)
    with pytest.raises(OSError):
        asyncio.run(_and_look(batch.arun(work, [1, 0], concurrency=2), seen))
    assert seen == ["ended", "the batch"]
    assert batch.summary().skipped == 2


async def _and_look(batch: Any, seen: list[str]) -> None:
    try:
        await batch
    finally:
        seen.append("the batch")


class _Never(ThreadPoolExecutor):
    """Begins the first call alone, at once; the others wait forever."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.__dict__.setdefault("begun", []):
            self.__dict__["begun"].append(future)
            future.set_exception(OSError())
        return future


def test_calls_that_an_executor_has_not_begun_are_skipped() -> None:
    """When the batch ends early they are cancelled, and counted."""
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b", on=ValueError)
    with pytest.raises(OSError):
        batch.run_in(_Never(1), int, [1, 2, 3])
    assert batch.summary().skipped == 3


def test_the_total_of_two_batches_is_the_sum() -> None:
    """One collector may take several batches; progress is told of all of them."""
    told: list[BatchProgress] = []
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b", progress=told.append)
    batch.run(int, [1, 2])
    batch.run(int, [3])
    assert [(one.done, one.total) for one in told] == [(1, 2), (2, 2), (3, 3)]


@pytest.mark.parametrize(("size", "whole"), [(198, True), (199, False)])
def test_a_note_of_200_characters_is_whole(size: int, whole: bool) -> None:
    """One more is cut: the two quotes of its repr count."""
    batch: PartialFailureCollector[str, int] = PartialFailureCollector("b")
    batch.run(int, ["x" * size])
    (note,) = batch.failures[0].error.__notes__
    assert note == (f"item: {'x' * size!r}" if whole else f"item: '{'x' * 196}...")


def test_an_error_that_fails_many_items_has_one_note_and_another_its_own() -> None:
    """The first item is note enough for an error that comes again; a new error is named with its item."""
    same = OSError()
    batch: PartialFailureCollector[str, int] = PartialFailureCollector("b")
    for item in ("a", "b"):
        batch.fail(item, same)
    other = OSError()
    batch.fail("c", other)
    assert (same.__notes__, other.__notes__) == (["item: 'a'"], ["item: 'c'"])


def test_a_queue_may_wait_for_no_time_at_all() -> None:
    """A timeout of zero is one: what cannot be handed over at once is refused at once."""
    assert QueueOptions(timeout=0).timeout == 0


def test_supervisor_and_runner_refuse_async_functions() -> None:
    """Neither a thread nor a job could await them."""
    with pytest.raises(UsageError, match="on_give_up"):
        Supervisor(on_give_up=asynchronous)
    with Supervisor() as supervisor, pytest.raises(UsageError, match="target"):
        supervisor.spawn("w", asynchronous)
    with JobRunner(JobOptions()) as runner, pytest.raises(UsageError, match="job"):
        runner.submit("j", asynchronous)


def test_stacks_are_printed_outermost_call_first_with_the_kind_of_each_thread() -> None:
    """A report reads as a traceback does, and a daemon is told from a thread that is waited for."""
    ready, over = threading.Event(), threading.Event()

    def inner() -> None:
        ready.set()
        over.wait()

    def outer() -> None:
        inner()

    thread = threading.Thread(target=outer, name="told", daemon=True)
    thread.start()
    ready.wait()
    try:
        text = all_stacks()
    finally:
        over.set()
        thread.join()
    (mine,) = [one for one in text.split("Thread ") if one.startswith("told")]
    assert mine.startswith("told daemon (")
    assert mine.index("in outer") < mine.index("in inner")
    assert f"Thread {threading.current_thread().name} (" in text


def test_a_batch_needs_a_function_to_call() -> None:
    """None is refused before the first item, in each of the ways."""
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b")
    with pytest.raises(UsageError, match="the function of a batch is None"):
        batch.run(None, [])  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="the function of a batch is None"):
        batch.run_in(pool, None, [])  # type: ignore[arg-type]


def test_each_item_of_a_generator_is_given_to_the_function() -> None:
    """As each one of a list is."""
    batch: PartialFailureCollector[int, int] = PartialFailureCollector("b")
    assert [one.value for one in batch.run(lambda n: n * n, iter([1, 2, 3]))] == [1, 4, 9]


def test_a_batch_that_was_given_up_has_no_worker_left() -> None:
    """Their clean-up is waited for, and an error of it does not replace the one that ended the batch."""
    cleaned: list[int] = []

    async def main() -> None:
        batch: PartialFailureCollector[int, int] = PartialFailureCollector(
            "b", on=OSError, abort_above=0, abort_after=1
        )
        begun = asyncio.Event()

        async def work(n: int) -> int:
            if n == 0:
                await begun.wait()
                raise OSError
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                cleaned.append(n)
                raise KeyError("clean-up")

        with pytest.raises(PartialFailure):
            await batch.arun(work, [0, 1], concurrency=2)
        assert cleaned == [1]

    asyncio.run(main())
