"""A job ends once, whatever its attempts do; never more run at once than may; stuck jobs are found."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chaoskit.core.errors import UsageError
from chaoskit.runtime import context
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.failures.taxonomy import ValidationError
from chaoskit.runtime.running.board import JobBoard
from chaoskit.runtime.running.jobs import (
    JobEnded,
    JobOptions,
    JobRequeued,
    JobState,
    JobStuck,
    JobStuckError,
    JobTimedOut,
    JobTimedOutError,
    Ticket,
)
from chaoskit.runtime.running.runner import JobRunner


def board(**options: Any) -> tuple[JobBoard, VirtualClock, list[Any]]:
    told: list[Any] = []
    clock = VirtualClock()
    return (
        JobBoard(JobOptions(**{"delay": 0.0, **options}), clock=clock, listeners=[told.append]),
        clock,
        told,
    )


def claimed(books: JobBoard) -> Ticket:
    ticket = books.claim()
    assert ticket is not None
    return ticket


def test_a_job_that_succeeds_is_done_once() -> None:
    """Finishing ends the job; finishing again changes nothing."""
    books, _, told = board()
    books.submit("a")
    ticket = claimed(books)
    assert books.finish(ticket)
    assert not books.finish(ticket)
    assert not books.fail(ticket, OSError())
    assert books.state("a") is JobState.DONE
    assert [type(e) for e in told] == [JobEnded]


def test_no_more_run_than_may() -> None:
    """With three slots the fourth job waits until one is free, in order."""
    books, _, _ = board(concurrency=3)
    for name in "abcd":
        books.submit(name)
    tickets = [claimed(books) for _ in range(3)]
    assert books.claim() is None
    books.finish(tickets[1])
    assert claimed(books).job == "d"


def test_attempts_are_limited() -> None:
    """A job that keeps failing has as many attempts as it may, and keeps its last error."""
    books, _, told = board(attempts=3)
    books.submit("a")
    errors = [OSError(n) for n in range(3)]
    for error in errors:
        assert books.fail(claimed(books), error)
    assert books.claim() is None
    assert (books.state("a"), books.error("a"), books.attempts("a")) == (JobState.FAILED, errors[2], 3)
    assert [type(e) for e in told] == [JobRequeued, JobRequeued, JobEnded]


def test_an_error_that_will_not_pass_ends_the_job_at_once() -> None:
    """Of an error that the taxonomy calls non-retryable there is no second attempt."""
    books, _, _ = board(attempts=3)
    books.submit("a")
    books.fail(claimed(books), ValidationError("wrong"))
    assert (books.state("a"), books.attempts("a")) == (JobState.FAILED, 1)


def test_the_time_limit_asks_once_and_explains_the_error() -> None:
    """At 300 s the attempt is asked to end; its error then is a time-out with the error as its cause."""
    books, clock, told = board(attempts=1)
    books.submit("a")
    ticket = claimed(books)
    clock.advance(299.9)
    assert books.sweep() == ()
    assert not ticket.cancelled.is_set()
    assert ticket.remaining == pytest.approx(0.1)
    clock.advance(0.1)
    books.sweep()
    books.sweep()
    assert ticket.cancelled.is_set()
    cause = KeyError("x")
    books.fail(ticket, cause)
    error = books.error("a")
    assert isinstance(error, JobTimedOutError)
    assert error.__cause__ is cause
    assert [type(e) for e in told] == [JobTimedOut, JobEnded]


def test_work_that_was_completed_after_the_time_limit_still_counts() -> None:
    """What says that it was done, though late, is not done again."""
    books, clock, _ = board()
    books.submit("a")
    ticket = claimed(books)
    clock.advance(400)
    books.sweep()
    ticket.complete()
    assert books.finish(ticket)
    assert books.state("a") is JobState.DONE


def test_a_stuck_job_is_queued_again_once() -> None:
    """After 600 silent seconds the attempt is written off; the job gets one more, then it has failed."""
    books, clock, told = board(attempts=5)
    books.submit("a")
    first = claimed(books)
    clock.advance(600)
    assert books.sweep() == ("a",)
    assert books.state("a") is JobState.QUEUED
    assert not books.finish(first)
    second = claimed(books)
    assert second.attempt == 2
    clock.advance(600)
    assert books.sweep() == ("a",)
    assert books.state("a") is JobState.FAILED
    assert isinstance(books.error("a"), JobStuckError)
    assert not books.finish(second)
    assert [type(e) for e in told] == [JobTimedOut, JobStuck, JobRequeued, JobTimedOut, JobStuck, JobEnded]


def test_a_job_that_gives_signs_of_life_is_not_stuck() -> None:
    """beat() puts the stuck limit off; the time limit stays."""
    books, clock, _ = board()
    books.submit("a")
    ticket = claimed(books)
    for _ in range(5):
        clock.advance(500)
        ticket.beat()
        assert books.sweep() == ()
    assert ticket.cancelled.is_set()


def test_a_stuck_job_frees_its_slot() -> None:
    """A written-off attempt does not keep the next job waiting."""
    books, clock, _ = board(concurrency=1)
    books.submit("a")
    books.submit("b")
    claimed(books)
    clock.advance(600)
    books.sweep()
    assert claimed(books).job == "b"


def test_withdrawn_jobs_stay_on_the_books() -> None:
    """withdraw() asks the running ones to end, begins no more, and names what waited."""
    books, _, _ = board(concurrency=1)
    for name in "abc":
        books.submit(name)
    ticket = claimed(books)
    assert books.withdraw() == ("b", "c")
    assert ticket.cancelled.is_set()
    books.fail(ticket, OSError())
    assert books.claim() is None
    assert books.state("a") is JobState.CANCELLED
    assert books.left == ("b", "c", "a")


def test_names_are_used_once() -> None:
    """A known name is refused until it is forgotten, and only an ended job can be."""
    books, _, _ = board()
    books.submit("a")
    with pytest.raises(UsageError, match="It is queued"):
        books.submit("a")
    with pytest.raises(UsageError, match="one that has ended"):
        books.forget("a")
    books.finish(claimed(books))
    books.forget("a")
    books.submit("a")
    with pytest.raises(UsageError, match="was submitted"):
        books.state("nope")


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"attempts": 0},
        {"concurrency": 0},
        {"requeues": -1},
        {"stuck_after": 100},
        {"check_every": 0},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    """Zero attempts, no slots, or writing off before asking are errors that name the option."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        JobOptions(**wrong)  # type: ignore[arg-type]


class Books(RuleBasedStateMachine):
    """Any order of claims, results, failures, silence and late answers."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, int] = {}
        self.clock = VirtualClock()
        self.books = JobBoard(JobOptions(), clock=self.clock, listeners=[self.told])
        self.tickets: list[Ticket] = []
        self.count = 0

    def told(self, event: Any) -> None:
        if isinstance(event, JobEnded):
            self.ends[event.job] = self.ends.get(event.job, 0) + 1

    @rule()
    def submit(self) -> None:
        self.count += 1
        self.books.submit(f"job{self.count}")

    @rule()
    def claim(self) -> None:
        ticket = self.books.claim()
        if ticket is not None:
            self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), ok=st.booleans())
    def answer(self, data: st.DataObject, ok: bool) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        if ok:
            self.books.finish(ticket)
        else:
            self.books.fail(ticket, OSError())

    @rule(seconds=st.sampled_from([1, 299, 301, 600]))
    def silence(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.books.sweep()

    @invariant()
    def holds(self) -> None:
        stats = self.books.stats()
        assert stats["running"] == self.books.running <= 3
        assert sum(stats.values()) == self.count
        assert all(times == 1 for times in self.ends.values())
        assert len(self.ends) == stats["done"] + stats["failed"]
        assert all(t.attempt <= 3 for t in self.tickets)
        assert len({(t.job, t.attempt) for t in self.tickets}) == len(self.tickets)
        assert self.books.idle == (stats["queued"] + stats["running"] == 0)


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase


def test_the_runner_runs_all_within_the_limit() -> None:
    """Ten jobs on three slots are all done, with never more than three at once, in the caller's context."""
    running, most, ids, lock = 0, 0, set(), threading.Lock()

    def work(ticket: Ticket) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            ids.add(context.correlation_id())
        ticket.cancelled.wait(0.01)
        with lock:
            running -= 1

    with JobRunner() as runner, context.operation("batch", correlation_id="mine"):
        for number in range(10):
            runner.submit(f"job{number}", work)
        assert runner.wait(60)
    assert most <= 3
    assert runner.board.stats() == {"queued": 0, "running": 0, "cancelled": 0, "done": 10, "failed": 0}
    assert ids == {"mine"}


def test_the_runner_tries_again() -> None:
    """A job that fails twice is done at its third attempt."""
    attempts: list[int] = []

    def work(ticket: Ticket) -> None:
        attempts.append(ticket.attempt)
        if ticket.attempt < 3:
            raise OSError

    with JobRunner() as runner:
        runner.submit("a", work)
        assert runner.wait(60)
    assert attempts == [1, 2, 3]
    assert runner.board.state("a") is JobState.DONE


def test_a_hanging_attempt_is_replaced_and_its_late_answer_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """The first attempt hangs forever, as it seems; the second one ends the job, and only that counts."""
    clock, inside, release, late = VirtualClock(), threading.Event(), threading.Event(), threading.Event()
    results: list[int] = []

    def work(ticket: Ticket) -> None:
        if ticket.attempt == 1:
            inside.set()
            release.wait(60)
            late.set()
        else:
            results.append(ticket.attempt)

    with JobRunner(JobOptions(check_every=3600.0), clock=clock) as runner:
        runner.submit("a", work)
        assert inside.wait(60)
        clock.advance(600)
        assert runner.sweep() == ("a",)
        assert runner.wait(60)
        assert (results, runner.board.attempts("a"), runner.board.state("a")) == ([2], 2, JobState.DONE)
        release.set()
        assert late.wait(60)
    assert "jobs are stuck: a" in caplog.text
    assert "release.wait" in caplog.text  # where it hangs


def test_an_error_in_the_block_does_not_wait() -> None:
    """When the program fails, running jobs are asked to end and waiting ones are not begun."""
    inside, asked = threading.Event(), threading.Event()
    begun: list[str] = []

    def work(ticket: Ticket) -> None:
        begun.append(ticket.job)
        inside.set()
        assert ticket.cancelled.wait(60)
        asked.set()

    def program() -> None:
        with JobRunner(JobOptions(concurrency=1)) as runner:
            runner.submit("a", work)
            runner.submit("b", work)
            assert inside.wait(60)
            raise KeyError

    with pytest.raises(KeyError):
        program()
    assert asked.wait(60)
    assert begun == ["a"]


def test_a_job_without_a_thread_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine has no thread left, the job's attempts fail at once instead of seeming to run."""
    with JobRunner(JobOptions(delay=0.0)) as runner:

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            runner.submit("a", lambda ticket: None)
    assert runner.board.state("a") is JobState.FAILED
    assert "can't start" in str(runner.board.error("a"))


def test_a_runner_that_is_not_started_says_so() -> None:
    """Submitting outside the block is wrong use, with the next step."""
    with pytest.raises(UsageError, match="Enter it first"):
        JobRunner().submit("a", print)


def test_a_job_whose_error_is_its_own_cause_ends() -> None:
    """Chains of causes may be circles; what is kept of the error has no frames all the same."""
    books, _, _ = board(attempts=1)
    first, second = ValidationError("first"), ValidationError("second")
    first.__cause__, second.__cause__ = second, first
    books.submit("a")
    assert books.fail(claimed(books), first)
    assert books.error("a") is first
    assert first.__traceback__ is second.__traceback__ is None


def test_a_name_that_is_used_again_is_not_dropped_as_an_old_one() -> None:
    """A key that was forgotten makes a new job, which is not pushed out by jobs that end meanwhile."""
    books, _, _ = board(remember=1)
    books.submit("a")
    books.finish(claimed(books))
    books.forget("a")
    books.submit("a")
    books.submit("b")
    books.finish(next(one for one in (claimed(books), claimed(books)) if one.job == "b"))
    assert books.state("a") is JobState.RUNNING
    assert books.state("b") is JobState.DONE


def test_what_is_told_of_an_attempt_is_true_or_false() -> None:
    """Both ends of an attempt say whether it still counted."""
    books, _, _ = board()
    books.submit("a")
    first = claimed(books)
    books.withdraw()
    assert books.fail(first, ConnectionError()) is True
    assert books.finish(first) is False
    assert books.fail(first, ConnectionError()) is False


def test_a_stuck_job_without_attempts_left_has_failed() -> None:
    """However often it might be queued again: attempts are attempts."""
    books, clock, _ = board(attempts=1, requeues=5)
    books.submit("a")
    claimed(books)
    clock.advance(600)
    books.sweep()
    assert books.state("a") is JobState.FAILED


def test_a_stuck_job_is_queued_again_as_often_as_it_may() -> None:
    """Twice, and its events say which attempt comes next and that it hung; a failed one did not hang."""
    books, clock, told = board(attempts=9, requeues=2)
    books.submit("a")
    for _ in range(2):
        claimed(books)
        clock.advance(600)
        books.sweep()
        assert books.state("a") is JobState.QUEUED
    books.fail(claimed(books), ConnectionError())
    claimed(books)
    clock.advance(600)
    books.sweep()
    assert books.state("a") is JobState.FAILED
    requeued = [(one.attempt, one.stuck) for one in told if isinstance(one, JobRequeued)]
    assert requeued == [(2, True), (3, True), (4, False)]


def test_a_job_that_may_begin_is_due_now() -> None:
    """And one that pauses, when its pause is over; none waits, none is due."""
    books, clock, _ = board(delay=4.0, attempts=3)
    assert books.next_due is None
    books.submit("a")
    assert books.next_due == 0.0
    books.fail(claimed(books), ConnectionError())
    clock.advance(3.0)
    assert books.next_due == 1.0


def test_an_attempt_may_be_stuck_as_soon_as_its_time_is_up() -> None:
    """The two limits may be the same."""
    assert JobOptions(timeout=5.0, stuck_after=5.0).stuck_after == 5.0


def test_a_group_of_errors_is_kept_without_frames() -> None:
    """The errors within, and their causes, let go of what the job worked on as well."""
    books, _, _ = board(attempts=1)
    books.submit("a")
    inner, cause, other = ValidationError("inner"), ValidationError("cause"), ValidationError("other")
    inner.__cause__ = cause
    for one in (inner, cause, other):
        try:
            raise one
        except ValidationError:
            pass
    books.fail(claimed(books), ExceptionGroup("several", [other, inner, inner, cause]))
    assert inner.__traceback__ is cause.__traceback__ is other.__traceback__ is None
