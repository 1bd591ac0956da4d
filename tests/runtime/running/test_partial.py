"""Partial failures: one bad item costs only itself, nothing is lost, all causes come at the end."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import PartialFailureCollector
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import PartialFailure
from chaoskit.runtime.running.batches import BatchProgress, ItemFailed, ItemFailure, ItemSuccess

BAD = {3, 5}


class Bad(ValueError):
    """This item is wrong."""


def double(n: int) -> int:
    """Twice ``n``, unless it is bad."""
    if n in BAD:
        raise Bad(n)
    return 2 * n


async def adouble(n: int) -> int:
    """The same, after a turn of the event loop."""
    await asyncio.sleep(0)
    return double(n)


def run_sync(collector: PartialFailureCollector[int, int], items: list[int]) -> Any:
    """The batch one by one."""
    return collector.run(double, items)


def run_async(collector: PartialFailureCollector[int, int], items: list[int]) -> Any:
    """The batch as tasks, three at a time."""
    return asyncio.run(collector.arun(adouble, items, concurrency=3))


def run_pool(collector: PartialFailureCollector[int, int], items: list[int]) -> Any:
    """The batch in a pool of threads."""
    with ThreadPoolExecutor(3) as pool:
        return collector.run_in(pool, double, items)


WAYS = pytest.mark.parametrize("way", [run_sync, run_async, run_pool])


@WAYS
def test_one_bad_item_costs_only_itself(way: Any) -> None:
    """All good items are done, all bad ones recorded with their errors, and the end raises them together."""
    collector: PartialFailureCollector[int, int] = PartialFailureCollector("ingest")
    done = way(collector, [1, 2, 3, 4, 5, 6])
    assert sorted((s.item, s.value) for s in done) == [(1, 2), (2, 4), (4, 8), (6, 12)]
    assert sorted(f.item for f in collector.failures) == [3, 5]
    assert not collector.skipped
    summary = collector.summary()
    assert (summary.succeeded, summary.failed, summary.skipped, summary.total) == (4, 2, 0, 6)
    assert str(summary) == "4 of 6 succeeded, 2 failed (2 Bad)"
    with pytest.raises(PartialFailure) as caught:
        collector.raise_if_failed()
    assert caught.value.message == "ingest: 4 of 6 succeeded, 2 failed (2 Bad)"
    assert {type(error) for error in caught.value.exceptions} == {Bad}
    assert caught.value.exceptions[0].__notes__ == [f"item: {collector.failures[0].item}"]
    assert caught.value.context["failed"] == 2
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


@WAYS
def test_a_batch_without_failures_raises_nothing(way: Any) -> None:
    """The end of a good batch, or of an empty one, is silent."""
    for items in ([1, 2], []):
        collector: PartialFailureCollector[int, int] = PartialFailureCollector()
        way(collector, items)
        collector.raise_if_failed()
        assert collector.summary().total == len(items)


@WAYS
def test_a_batch_is_given_up_above_a_share_of_failures(way: Any) -> None:
    """Above the share it stops there and then; every item is done, failed or skipped, none twice."""
    # So many bad ones first that they are the greater share however the threads of a pool are scheduled.
    items = [3, 5] * 12 + [*range(10, 20)]
    collector: PartialFailureCollector[int, int] = PartialFailureCollector(abort_above=0.5, abort_after=2)
    with pytest.raises(PartialFailure, match="given up"):
        way(collector, items)
    summary = collector.summary()
    assert summary.aborted
    assert summary.total == len(items)
    assert summary.failed >= 2
    counted = [s.item for s in collector.successes] + [f.item for f in collector.failures] + collector.skipped
    assert sorted(counted) == sorted(items)


def test_giving_up_needs_enough_items_and_more_than_the_share() -> None:
    """Before ``abort_after`` items nothing is given up, and a share that is just reached is not above."""
    collector: PartialFailureCollector[int, int] = PartialFailureCollector(abort_above=0.5, abort_after=4)
    collector.run(double, [3, 5, 1, 2])
    assert not collector.aborted
    collector.run(double, [1, 3])
    with pytest.raises(PartialFailure) as caught:
        collector.run(double, [3, 1, 1])
    assert collector.skipped == [1, 1]
    assert str(collector.summary()) == "3 of 9 succeeded, 4 failed (4 Bad), 2 not begun: given up"
    assert caught.value.context["aborted"] is True


@WAYS
def test_other_errors_end_the_batch(way: Any) -> None:
    """An error that must not be collected comes through, and what was not finished counts as skipped."""
    items = [1, 3, 2, 4]
    collector: PartialFailureCollector[int, int] = PartialFailureCollector(on=KeyError)
    with pytest.raises(Bad):
        way(collector, items)
    assert collector.summary().total == len(items)
    assert 3 in collector.skipped
    assert not collector.failures


def test_ctrl_c_ends_the_batch() -> None:
    """Ctrl-C is never collected."""
    collector: PartialFailureCollector[int, int] = PartialFailureCollector()

    def interrupted(n: int) -> int:
        if n == 2:
            raise KeyboardInterrupt
        return n

    with pytest.raises(KeyboardInterrupt):
        collector.run(interrupted, [1, 2, 3])
    assert (len(collector.successes), collector.skipped) == (1, [2, 3])


def test_cancelling_an_async_batch_waits_for_its_items() -> None:
    """Cancellation cancels the items in progress, waits for their cleanup, and counts the rest as skipped."""
    collector: PartialFailureCollector[int, None] = PartialFailureCollector()
    cleaned: list[int] = []

    async def hang(n: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(n)

    async def scenario() -> None:
        task = asyncio.create_task(collector.arun(hang, range(5), concurrency=2))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert sorted(cleaned) == [0, 1]
    assert sorted(collector.skipped) == [0, 1, 2, 3, 4]


def test_concurrency_is_bounded() -> None:
    """Never more than ``concurrency`` items are in progress."""
    inside = most = 0

    async def work(n: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    collector: PartialFailureCollector[int, None] = PartialFailureCollector()
    asyncio.run(collector.arun(work, range(20), concurrency=4))
    assert most == 4
    with pytest.raises(UsageError, match="concurrency is 0"):
        asyncio.run(collector.arun(work, [], concurrency=0))


def test_items_may_be_guarded_one_by_one() -> None:
    """In a loop of one's own, ``item`` collects, ``succeed`` keeps a value, and leaving raises at the end."""
    collector: PartialFailureCollector[int, Any] = PartialFailureCollector("files")

    def batch() -> None:
        with collector:
            for n in (1, 3, 4):
                with collector.item(n):
                    value = double(n)
                    if n == 4:
                        collector.succeed(n, value)

    with pytest.raises(PartialFailure) as caught:
        batch()
    assert collector.successes == [ItemSuccess(1, None), ItemSuccess(4, 8)]
    assert collector.failures == [ItemFailure(3, caught.value.exceptions[0])]


def test_leaving_with_an_error_keeps_that_error() -> None:
    """An error on its way out of the block is not replaced by the collected ones."""

    def batch() -> None:
        with PartialFailureCollector() as collector:
            with collector.item(1):
                raise Bad(1)
            raise KeyError

    with pytest.raises(KeyError):
        batch()


def test_progress_and_failures_are_told() -> None:
    """``progress`` hears of every item, listeners of failures too; what they raise hurts nothing."""
    clock, told, progress = VirtualClock(start=7.0), list[Any](), list[Any]()

    def bad_progress(event: Any) -> None:
        progress.append(event)
        raise RuntimeError("the display is gone")

    collector: PartialFailureCollector[int, int] = PartialFailureCollector(
        "b", progress=bad_progress, listeners=[told.append], clock=clock
    )
    collector.run(double, [1, 3])
    assert progress == [
        BatchProgress(at=7.0, batch="b", done=1, failed=0, total=2),
        BatchProgress(at=7.0, batch="b", done=2, failed=1, total=2),
    ]
    error = collector.failures[0].error
    assert told == [progress[0], ItemFailed(at=7.0, batch="b", item=3, error=error), progress[1]]


@given(st.lists(st.integers(0, 9)))
def test_everything_is_accounted_for(items: list[int]) -> None:
    """Whatever the items, done, failed and skipped add up, in order."""
    collector: PartialFailureCollector[int, int] = PartialFailureCollector(abort_above=0.3, abort_after=3)
    try:
        collector.run(double, items)
    except PartialFailure:
        assert collector.aborted
    merged = [s.item for s in collector.successes] + [f.item for f in collector.failures] + collector.skipped
    assert sorted(merged) == sorted(items)
    done = len(items) - len(collector.skipped)
    assert sorted(merged[: len(merged) - len(collector.skipped)]) == sorted(items[:done])


def test_threads_may_share_a_collector() -> None:
    """Outcomes recorded by many threads at once are all there."""
    collector: PartialFailureCollector[int, int] = PartialFailureCollector()

    def work() -> None:
        for n in range(100):
            with collector.item(n):
                double(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(collector.successes), len(collector.failures)) == (392, 8)


def test_a_large_item_is_named_briefly() -> None:
    """The note on an error shows two hundred characters of its item at most."""
    collector: PartialFailureCollector[str, None] = PartialFailureCollector()
    with collector.item("x" * 10_000):
        raise Bad
    (note,) = collector.failures[0].error.__notes__
    assert len(note) == len("item: ") + 200
    assert note.endswith("...")


@pytest.mark.parametrize(
    "settings",
    [{"abort_above": -0.1}, {"abort_above": 1}, {"abort_after": 0}, {"abort_after": None}],
    ids=str,
)
def test_what_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    """Wrong limits are errors that name the setting."""
    with pytest.raises(UsageError, match=f"{next(iter(settings))} is"):
        PartialFailureCollector(**settings)


def test_kinds_that_are_equally_frequent_come_by_name() -> None:
    """The most frequent first, then the alphabet: a summary reads the same in each run."""
    batch: PartialFailureCollector[int, Any] = PartialFailureCollector()
    errors = [ValueError(), KeyError(), OSError(), OSError()]
    for n, error in enumerate(errors):
        batch.fail(n, error)
    assert str(batch.summary()) == "0 of 4 succeeded, 4 failed (2 OSError, 1 KeyError, 1 ValueError)"
