"""The rows for a whole program: our runtime holds them, and each catches what breaks it in one place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import Phase, settings

from chaoskit.contracts import examine, missing, row_test
from chaoskit.contracts.program import ROWS, ChaoskitProgram, StoppedWork
from chaoskit.runtime import HandoffQueue, JobBoard, JobState, QueueOptions, TaskSupervisor

PROFILE = settings(max_examples=3, deadline=None, database=None, derandomize=True)
# A caught bug needs no shortest example here.
THEIRS = settings(PROFILE, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)
BY_ID = {row.id: row for row in ROWS}
RELEASE = threading.Event()


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    """What is deaf to its signal ends with its test."""
    RELEASE.clear()
    yield
    RELEASE.set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_our_runtime_holds(row: Any) -> None:
    """Everything of ours that takes functions, waits or works keeps this promise."""
    ours = ChaoskitProgram()
    assert not missing(row, ours)
    row_test(row, ours, PROFILE)()


def test_what_is_missing_does_not_apply() -> None:
    """An adapter says what it has; what it has not is neither held nor failed."""

    class JobsOnly(ChaoskitProgram):
        features = frozenset({"works"})

    examined = examine(JobsOnly(), ROWS, examples=2)
    assert [one.outcome for one in examined.outcomes] == ["does not apply", "does not apply", "holds"]


def take_for_a_value(fn: Callable[..., Any]) -> bool:
    """As ``if on(error):`` does with a coroutine: it is true."""
    return bool(fn(ConnectionError()))


def never_ask(fn: Callable[..., Any]) -> None:
    """Accepts a function and does without it."""


def drop_the_result(fn: Callable[..., Any]) -> None:
    """As a thread does with the result of its target."""
    thread = threading.Thread(target=fn)
    thread.start()
    thread.join()


async def take_but_not_await(fn: Callable[..., Any]) -> Any:
    """In a loop, too, a coroutine that is returned has not been run."""
    return fn()


@pytest.mark.parametrize("take", [take_for_a_value, drop_the_result, take_but_not_await])
def test_a_place_that_does_not_run_what_it_takes_is_caught(take: Any) -> None:
    """One such place among all the others is enough, and is named."""
    broken = ChaoskitProgram()
    broken.takers = {**broken.takers, "their hook": take}
    with pytest.raises(AssertionError, match=r"as their hook a function .* was accepted, and never run"):
        row_test(BY_ID["A2"], broken, THEIRS)()


def test_a_place_that_runs_nothing_at_all_is_caught() -> None:
    """Nothing can be said about a place that does without what it is given, so that is a failure too."""
    broken = ChaoskitProgram()
    broken.takers = {"their hook": never_ask}
    with pytest.raises(AssertionError, match="their hook does not run a plain function either"):
        row_test(BY_ID["A2"], broken, THEIRS)()


def deaf_thread(stop: threading.Event, waiting: Callable[[], None], clock: Any) -> None:
    """A queue that was not given the signal."""
    queue = HandoffQueue[int]("deaf", QueueOptions(timeout=60.0), stop=RELEASE)
    waiting()
    with pytest.raises(Exception, match="closed"):
        queue.get()


async def deaf_task(stop: threading.Event, waiting: Callable[[], None], clock: Any) -> None:
    """A supervisor of tasks that was not given the signal."""
    async with TaskSupervisor(clock=clock) as supervisor:
        waiting()
        await supervisor.stop.wait_async(500.0)


async def slow_task(stop: threading.Event, waiting: Callable[[], None], clock: Any) -> None:
    """Looks at the signal once a second."""
    waiting()
    while not stop.is_set():
        await clock.asleep(1.0)


@pytest.mark.parametrize("wait", [deaf_thread, deaf_task, slow_task])
def test_a_wait_that_does_not_hear_the_signal_is_caught(wait: Any) -> None:
    """In a thread and in a task, and one that looks too seldom as well."""
    broken = ChaoskitProgram()
    broken.waits = {"theirs": wait}
    broken.patience = 0.05
    with pytest.raises(AssertionError, match="theirs: the wait"):
        row_test(BY_ID["A3"], broken, THEIRS)()


def returned_is_done(names: Sequence[str]) -> StoppedWork:
    """Takes every job that returned for one that did its work, whatever it was asked."""
    board = JobBoard()
    done = set()
    for name in names:
        board.submit(name)
        ticket = board.claim()
        assert ticket is not None
        ticket.cancelled.set()
        ticket.complete()
        board.finish(ticket)
        if board.state(name) is JobState.DONE:
            done.add(name)
    return StoppedWork(frozenset(done), frozenset(names))


def waiting_is_forgotten(names: Sequence[str]) -> StoppedWork:
    """Clears its queue when it is asked to stop."""
    return StoppedWork(frozenset(), frozenset())


@pytest.mark.parametrize("stop", [returned_is_done, waiting_is_forgotten])
def test_work_that_is_lost_or_taken_for_done_is_caught(stop: Any) -> None:
    """One way to stop work that loses it is enough, and is named."""
    broken = ChaoskitProgram()
    broken.works = {**broken.works, "their way": stop}
    with pytest.raises(AssertionError, match="their way: "):
        row_test(BY_ID["A5"], broken, THEIRS)()
