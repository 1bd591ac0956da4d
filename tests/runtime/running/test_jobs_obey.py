"""Jobs that obey are not lost, jobs that fail wait before they are tried again, and ended ones are let go."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from chaoskit.runtime import (
    JobBoard,
    JobCancelled,
    JobEnded,
    JobOptions,
    JobRunner,
    JobState,
    JobTimedOutError,
    Shutdown,
    ShuttingDown,
    Ticket,
    UsageError,
    VirtualClock,
)


def books(**options: Any) -> tuple[JobBoard, VirtualClock, list[Any]]:
    told: list[Any] = []
    clock = VirtualClock()
    return JobBoard(JobOptions(**options), clock=clock, listeners=[told.append]), clock, told


def claimed(board: JobBoard) -> Ticket:
    ticket = board.claim()
    assert ticket is not None
    return ticket


def test_an_attempt_that_returns_when_asked_to_at_its_time_limit_has_failed() -> None:
    """It has not done its work: there is a next attempt, and after the last one the job has failed."""
    board, clock, _ = books(attempts=2, delay=0.0)
    board.submit("a")
    for _ in range(2):
        ticket = claimed(board)
        clock.advance(300)
        board.sweep()
        assert ticket.cancelled.is_set()
        assert board.finish(ticket)
    assert board.state("a") is JobState.FAILED
    assert isinstance(board.error("a"), JobTimedOutError)


def test_an_attempt_that_returns_when_the_board_is_withdrawn_is_cancelled() -> None:
    """The job comes back: it is among those that are left, and has not ended."""
    board, _, told = books(concurrency=1)
    board.submit("a")
    board.submit("b")
    ticket = claimed(board)
    assert board.withdraw() == ("b",)
    assert board.finish(ticket)
    assert board.state("a") is JobState.CANCELLED
    assert board.left == ("b", "a")
    assert [type(event) for event in told] == [JobCancelled]
    assert board.idle


def test_an_attempt_that_completed_when_the_board_is_withdrawn_is_done() -> None:
    """What says that its work was done is not done again at the next start."""
    board, _, _ = books()
    board.submit("a")
    ticket = claimed(board)
    board.withdraw()
    ticket.complete()
    board.finish(ticket)
    assert board.state("a") is JobState.DONE
    assert board.left == ()


def test_a_withdrawn_board_takes_no_job() -> None:
    """A job that is submitted after the withdrawal does not begin, and its caller knows."""
    board, _, _ = books()
    board.withdraw()
    with pytest.raises(ShuttingDown, match="has been withdrawn"):
        board.submit("late")
    assert board.claim() is None


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (RuntimeError(), 3),
        (ConnectionError(), 3),
        (TypeError(), 1),
        (ValueError(), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_will_not_pass_is_not_tried_again(error: BaseException, attempts: int) -> None:
    """A known mistake, Ctrl-C and exit end the job; what no rule knows is tried again."""
    board, clock, _ = books(attempts=3)
    board.submit("a")
    for _ in range(attempts):
        clock.advance(100)
        board.fail(claimed(board), error)
    assert board.state("a") is JobState.FAILED


def test_a_failed_job_waits_twice_as_long_each_time() -> None:
    """Other jobs go first meanwhile; the runner can ask when the next is due."""
    board, clock, _ = books(attempts=4, delay=1.0, delay_cap=3.0, concurrency=1)
    board.submit("a")
    waits = []
    for _ in range(3):
        board.fail(claimed(board), RuntimeError())
        assert board.claim() is None
        waits.append(board.next_due)
        clock.advance(board.next_due or 0.0)
    assert waits == [1.0, 2.0, 3.0]
    board.fail(claimed(board), RuntimeError())
    assert board.next_due is None


def test_a_waiting_retry_does_not_hold_up_other_jobs() -> None:
    """A job behind it begins in its pause."""
    board, _, _ = books(concurrency=1)
    board.submit("a")
    board.submit("b")
    board.fail(claimed(board), RuntimeError())
    assert claimed(board).job == "b"


def test_ended_jobs_are_forgotten_by_a_rule() -> None:
    """The newest ``remember`` are known; the names of older ones may be used again."""
    board, _, _ = books(remember=2)
    for name in "abc":
        board.submit(name)
        board.finish(claimed(board))
    assert board.stats()["done"] == 2
    board.submit("a")
    with pytest.raises(UsageError, match="a name that is not known"):
        board.submit("c")


def test_a_failed_job_keeps_its_error_and_none_of_its_frames() -> None:
    """Listeners see the error whole; on the books it has no traceback, nor have its causes."""
    told: list[Any] = []
    traces: list[bool] = []

    def listen(event: Any) -> None:
        told.append(event)
        if isinstance(event, JobEnded) and event.error is not None:
            traces.append(event.error.__traceback__ is not None)

    def fails(ticket: Ticket) -> None:
        try:
            raise OSError("below")
        except OSError as error:
            raise TypeError("above") from error

    with JobRunner(listeners=[listen]) as runner:
        runner.submit("a", fails)
    error = runner.board.error("a")
    assert isinstance(error, TypeError)
    assert error.__traceback__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None
    assert traces == [True]


def test_the_runner_lets_go_of_what_ended_jobs_worked_on() -> None:
    """The closure of a job lives as long as the job, and not as long as the runner."""

    class Payload:
        pass

    with JobRunner() as runner:
        payload = Payload()
        alive = weakref.ref(payload)
        runner.submit("a", lambda ticket, payload=payload: None)  # type: ignore[misc]
        del payload
        assert runner.wait(10)
        gc.collect()
        assert alive() is None
        assert runner._work == {}


def test_a_runner_is_used_once() -> None:
    """Entered again its sweeper would end at once, and stuck jobs never be found."""
    runner = JobRunner()
    with runner:
        pass
    with pytest.raises(UsageError, match="expected one block"):
        runner.__enter__()


def test_a_shutdown_withdraws_the_jobs() -> None:
    """Running ones are asked to end, waiting ones do not begin, and both are left for the next start."""
    begun = threading.Event()

    def obeys(ticket: Ticket) -> None:
        begun.set()
        assert ticket.cancelled.wait(30)

    with (
        Shutdown(grace=30, signals=()) as shutdown,
        JobRunner(JobOptions(concurrency=1), stop=shutdown.wake) as runner,
    ):
        runner.submit("running", obeys)
        runner.submit("waiting", obeys)
        assert begun.wait(10)
        shutdown.request()
        assert runner.wait(10)
    assert set(runner.board.left) == {"running", "waiting"}
    assert runner.board.state("running") is JobState.CANCELLED


def test_a_runner_retries_when_the_pause_is_over() -> None:
    """Not only when it next looks for stuck jobs."""
    attempts: list[int] = []

    def fails_once(ticket: Ticket) -> None:
        attempts.append(ticket.attempt)
        if ticket.attempt == 1:
            raise RuntimeError

    with JobRunner(JobOptions(delay=0.02, check_every=3600.0)) as runner:
        runner.submit("a", fails_once)
        assert runner.wait(10)
    assert attempts == [1, 2]


def test_the_block_is_left_when_the_end_of_the_last_job_has_been_told() -> None:
    """What a listener records of a job is recorded before what it records in is closed.

    A waiting thread once went on while the listener of the last end was at work: it then wrote to a store
    that was closed, and the job was lost.
    """
    begun, go = threading.Event(), threading.Event()
    recorded: list[bool] = []

    def record(event: object) -> None:
        if isinstance(event, JobEnded):
            begun.set()
            go.wait(60)
            # For the listener itself nothing is left to wait for.
            recorded.append(runner.board.idle)

    with JobRunner(JobOptions(attempts=1), listeners=[record]) as runner:
        runner.submit("a", lambda ticket: None)
        assert begun.wait(60)
        assert not runner.wait(0)
        go.set()
    assert recorded == [True]
