"""Job control: limits on time, attempts and concurrency; jobs that hang are found and queued again once.

:class:`JobBoard` keeps the books and does nothing else; :class:`JobRunner` runs callables in threads
by it. A thread cannot be killed: at its time limit an attempt is asked to end (``ticket.cancelled``);
if it stays silent until ``stuck_after`` it is written off, its slot is given away, and what it still
returns counts for nothing. So a job ends once, though a written-off attempt may still be running.
"""

from __future__ import annotations

import enum
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.context import carry
from chaoskit.runtime.failures.taxonomy import NonRetryableError, PermanentError, TransientError
from chaoskit.runtime.observing.events import Event, Listener, emit
from chaoskit.runtime.running.stacks import all_stacks

__all__ = [
    "JobBoard",
    "JobEnded",
    "JobOptions",
    "JobRequeued",
    "JobRunner",
    "JobState",
    "JobStuck",
    "JobStuckError",
    "JobTimedOut",
    "JobTimedOutError",
    "Ticket",
]

logger = logging.getLogger("chaoskit")


class JobState(enum.Enum):
    """A job waits, runs, and ends as done or failed; it never leaves these two."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The defaults are the optimizer's: 300 s, 3 attempts, stuck after 600 s, 3 at once, requeued once."""

    timeout: float = option(default=300.0, above=0, unit="s", help="seconds an attempt may take")
    attempts: int = option(default=3, minimum=1, help="attempts of a job, requeued ones included")
    stuck_after: float = option(default=600.0, above=0, unit="s", help="seconds without a sign of life")
    concurrency: int = option(default=3, minimum=1, help="attempts that run at once")
    requeues: int = option(default=1, minimum=0, help="times that a stuck job is queued again")
    check_every: float = option(default=1.0, above=0, unit="s", help="seconds between two sweeps")

    def __post_init__(self) -> None:
        for name in ("timeout", "stuck_after", "check_every"):
            if not 0 < getattr(self, name) < math.inf:
                raise wrong(name, getattr(self, name), "seconds, more than 0 and finite")
        for name in ("attempts", "concurrency"):
            if getattr(self, name) < 1:
                raise wrong(name, getattr(self, name), "at least 1")
        if self.requeues < 0:
            raise wrong("requeues", self.requeues, "zero or more")
        if self.stuck_after < self.timeout:
            raise wrong(
                "stuck_after",
                self.stuck_after,
                f"at least timeout, {self.timeout:g}",
                "An attempt is asked to end before it is written off.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimedOut(Event):
    """An attempt has used up its time, and was asked to end."""

    name: ClassVar[str] = "job.timed_out"
    job: str
    attempt: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStuck(Event):
    """An attempt gave no sign of life for ``silent`` seconds, and was written off."""

    name: ClassVar[str] = "job.stuck"
    job: str
    attempt: int
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequeued(Event):
    """A job waits for its next attempt; ``stuck`` says whether the last one hung or failed."""

    name: ClassVar[str] = "job.requeued"
    job: str
    attempt: int
    stuck: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded(Event):
    """A job has ended, for good; ``state`` is ``done`` or ``failed``."""

    name: ClassVar[str] = "job.ended"
    job: str
    state: str
    attempts: int
    error: BaseException | None


class JobTimedOutError(TransientError, TimeoutError):
    """An attempt failed after it had been asked to end; its own error is the cause."""

    default_hint = "Give the job more time, or less to do."


class JobStuckError(PermanentError):
    """A job hung, and may not be tried again."""

    default_hint = "Look at the stacks of its thread; a wait without a time limit is the usual cause."


@dataclass(eq=False, slots=True)
class Ticket:
    """One attempt of one job. ``cancelled`` is set when the attempt should end."""

    job: str
    attempt: int
    deadline: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    _clock: Clock = field(default_factory=SystemClock)
    _beaten: float = 0.0
    _timed_out: bool = False

    def beat(self) -> None:
        """A sign of life: an attempt that gives none is stuck after the limit."""
        self._beaten = self._clock.monotonic()

    @property
    def remaining(self) -> float:
        """Seconds until the attempt's time is used up; not below zero."""
        return max(0.0, self.deadline - self._clock.monotonic())


@dataclass(slots=True)
class _Job:
    state: JobState = JobState.QUEUED
    attempts: int = 0
    requeues: int = 0
    ticket: Ticket | None = None
    error: BaseException | None = None


class JobBoard:
    """The books: which job waits, runs, or has ended. Threads may share an instance.

    Ended jobs are remembered, so that none is run twice; :meth:`forget` drops one.
    """

    def __init__(
        self,
        options: JobOptions | None = None,
        *,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.options = options or JobOptions()
        self._clock = clock or SystemClock()
        self._listeners = tuple(listeners)
        self._lock = threading.RLock()
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[str] = deque()
        self._active: dict[str, _Job] = {}
        self._withdrawn = False
        self._events: list[Event] = []

    def submit(self, job: str) -> None:
        """Queue a job. Raises ``UsageError`` for a name that is known already, ended ones included."""
        with self._lock:
            if job in self._jobs:
                state = self._jobs[job].state.value
                raise wrong(
                    "job", job, "a name that is not known", f"It is {state}; forget() it to run it again."
                )
            self._jobs[job] = _Job()
            self._waiting.append(job)

    def claim(self) -> Ticket | None:
        """Begin the next attempt; None if nothing waits or as many run as may."""
        with self._lock:
            if not self._waiting or self.running >= self.options.concurrency:
                return None
            name = self._waiting.popleft()
            job, now = self._jobs[name], self._clock.monotonic()
            job.attempts += 1
            job.state = JobState.RUNNING
            self._active[name] = job
            job.ticket = Ticket(
                name, job.attempts, now + self.options.timeout, _clock=self._clock, _beaten=now
            )
            return job.ticket

    def finish(self, ticket: Ticket) -> bool:
        """The attempt succeeded; False, and nothing changes, if it had been written off."""
        with self._telling():
            job = self._current(ticket)
            if job is None:
                return False
            self._end(ticket.job, job, JobState.DONE, None)
            return True

    def fail(self, ticket: Ticket, error: BaseException) -> bool:
        """The attempt failed: another one is queued if there may be one, unless the error will not pass.

        False, and nothing changes, if it had been written off.
        """
        with self._telling():
            job = self._current(ticket)
            if job is None:
                return False
            if ticket._timed_out:
                late = JobTimedOutError(
                    f"attempt {ticket.attempt} of {ticket.job} failed after its time limit"
                )
                late.__cause__ = error
                error = late
            if job.attempts < self.options.attempts and not isinstance(error, NonRetryableError):
                self._requeue(ticket.job, job, stuck=False)
            else:
                self._end(ticket.job, job, JobState.FAILED, error)
            return True

    def sweep(self) -> tuple[str, ...]:
        """Ask attempts whose time is used up to end, write off the stuck ones; return these jobs' names."""
        stuck = []
        with self._telling():
            for name, job in tuple(self._active.items()):
                if job.ticket is not None:
                    self._check_time(job.ticket)
                    if self._is_stuck(name, job, job.ticket):
                        stuck.append(name)
        return tuple(stuck)

    @property
    def running(self) -> int:
        """How many attempts run; those that were written off do not count."""
        return len(self._active)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self._lock:
            return not self._waiting and not self._active

    def withdraw(self) -> tuple[str, ...]:
        """Ask all running attempts to end, begin no more, and return the names of the jobs that waited.

        These stay queued on the books, to be saved for the next start.
        """
        with self._lock:
            for job in self._active.values():
                if job.ticket is not None:
                    job.ticket.cancelled.set()
            left = tuple(self._waiting)
            self._waiting.clear()
            self._withdrawn = True
            return left

    def state(self, job: str) -> JobState:
        """Where a job is. Raises ``UsageError`` for one that was never submitted."""
        return self._get(job).state

    def error(self, job: str) -> BaseException | None:
        """Why a job failed; None if it did not."""
        return self._get(job).error

    def attempts(self, job: str) -> int:
        """How many attempts of a job have begun."""
        return self._get(job).attempts

    def forget(self, job: str) -> None:
        """Drop an ended job, whose name may then be used again."""
        with self._lock:
            if not self._get(job).state.ended:
                raise wrong("job", job, "one that has ended", "Wait for its end first.")
            del self._jobs[job]

    def stats(self) -> dict[str, int]:
        """The number of jobs in each state."""
        with self._lock:
            return {s.value: sum(j.state is s for j in self._jobs.values()) for s in JobState}

    def _get(self, job: str) -> _Job:
        with self._lock:
            if job not in self._jobs:
                raise wrong("job", job, "a job that was submitted")
            return self._jobs[job]

    def _current(self, ticket: Ticket) -> _Job | None:
        job = self._jobs.get(ticket.job)
        return job if job is not None and job.ticket is ticket else None

    def _check_time(self, ticket: Ticket) -> None:
        if not ticket._timed_out and self._clock.monotonic() >= ticket.deadline:
            ticket._timed_out = True
            ticket.cancelled.set()
            limit = self.options.timeout
            self._tell(JobTimedOut, job=ticket.job, attempt=ticket.attempt, timeout=limit)

    def _is_stuck(self, name: str, job: _Job, ticket: Ticket) -> bool:
        silent = self._clock.monotonic() - ticket._beaten
        if silent < self.options.stuck_after:
            return False
        ticket.cancelled.set()
        self._tell(JobStuck, job=name, attempt=ticket.attempt, silent=silent)
        if job.requeues < self.options.requeues and job.attempts < self.options.attempts:
            job.requeues += 1
            self._requeue(name, job, stuck=True)
        else:
            text = f"{name} was silent for {silent:.1f} s in attempt {ticket.attempt}"
            self._end(name, job, JobState.FAILED, JobStuckError(text))
        return True

    def _requeue(self, name: str, job: _Job, *, stuck: bool) -> None:
        job.state, job.ticket = JobState.QUEUED, None
        del self._active[name]
        if not self._withdrawn:
            self._waiting.append(name)
        self._tell(JobRequeued, job=name, attempt=job.attempts + 1, stuck=stuck)

    def _end(self, name: str, job: _Job, state: JobState, error: BaseException | None) -> None:
        job.state, job.ticket, job.error = state, None, error
        self._active.pop(name, None)
        self._tell(JobEnded, job=name, state=state.value, attempts=job.attempts, error=error)

    def _tell(self, kind: Callable[..., Event], **fields: Any) -> None:
        self._events.append(kind(at=self._clock.monotonic(), **fields))

    def _telling(self) -> _Telling:
        return _Telling(self)


class _Telling:
    """The board's lock; the events that came up under it are told after it is released."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board

    def __enter__(self) -> None:
        self._board._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        events, self._board._events = self._board._events, []
        self._board._lock.release()
        for event in events:
            emit(self._board._listeners, event)


class JobRunner:
    """Runs ``fn(ticket)`` for each job in a thread of its own, by a :class:`JobBoard`.

    Leaving the block waits for all jobs to end; if an error leaves it, waiting jobs are withdrawn and
    running ones asked to end, and nobody waits. Long work should call ``ticket.beat()`` as it goes on
    and return soon after ``ticket.cancelled`` is set.
    """

    def __init__(
        self,
        options: JobOptions | None = None,
        *,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.board = JobBoard(options, clock=clock, listeners=listeners)
        self._work: dict[str, Callable[[Ticket], object]] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._sweeper: threading.Thread | None = None

    def submit(self, job: str, fn: Callable[[Ticket], object]) -> None:
        """Queue ``fn`` under the name ``job``, in the caller's context, and begin it when a slot is free."""
        if self._sweeper is None:
            raise UsageError("The runner is not started; expected to be in its with block. Enter it first.")
        carried = carry(fn)
        with self._changed:
            self.board.submit(job)
            self._work[job] = carried
        self._pump()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all jobs have ended, or for ``timeout`` seconds; return whether they have."""
        with self._changed:
            return self._changed.wait_for(self._all_ended, timeout)

    def sweep(self) -> tuple[str, ...]:
        """:meth:`JobBoard.sweep`, and give the freed slots to the next jobs. Done by itself, too."""
        stuck = self.board.sweep()
        if stuck:
            logger.error("jobs are stuck: %s\n%s", ", ".join(stuck), all_stacks())
        self._pump()
        return stuck

    def __enter__(self) -> JobRunner:
        self._sweeper = threading.Thread(target=self._sweep_now_and_then, name="chaoskit-jobs", daemon=True)
        self._sweeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None:
                self.wait()
            else:
                self.board.withdraw()
        finally:
            self._closing.set()

    def _sweep_now_and_then(self) -> None:
        while not self._closing.wait(self.board.options.check_every):
            try:
                self.sweep()
            except BaseException:
                logger.exception("a sweep failed; the next one comes")

    def _pump(self) -> None:
        """Begin whatever may begin."""
        while (ticket := self.board.claim()) is not None:
            name = f"chaoskit-job-{ticket.job}-{ticket.attempt}"
            try:
                threading.Thread(target=self._run, args=(ticket,), name=name, daemon=True).start()
            except (RuntimeError, MemoryError) as error:
                # No thread to be had: an attempt that failed, rather than a job that seems to run.
                self.board.fail(ticket, error)
        with self._changed:
            self._changed.notify_all()

    def _run(self, ticket: Ticket) -> None:
        try:
            self._work[ticket.job](ticket)
        except BaseException as error:
            counts = self.board.fail(ticket, error)
        else:
            counts = self.board.finish(ticket)
        if not counts:
            logger.warning("attempt %d of %s ended after it was written off", ticket.attempt, ticket.job)
        self._pump()

    def _all_ended(self) -> bool:
        return self.board.idle
