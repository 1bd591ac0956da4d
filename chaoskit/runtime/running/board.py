"""The bookkeeping of job control: limits on time, attempts and concurrency, and what becomes of hung jobs.

The board runs nothing: it decides what may begin, and is told the outcome.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import TransientError
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.running.jobs import (
    JobCancelled,
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
from chaoskit.runtime.running.shutdown_records import ShuttingDown

__all__ = ["JobBoard"]

# Most jobs raise their program's own errors, which no rule knows; giving up at once on those would make job
# control useless. Errors that a rule knows to be permanent are not retried.
CAUTIOUS = Classifier(unknown=TransientError)


@dataclass(slots=True)
class _Booking:
    state: JobState = JobState.QUEUED
    attempts: int = 0
    requeues: int = 0
    ticket: Ticket | None = None
    error: BaseException | None = None
    not_before: float = 0.0


class JobBoard(Lasting):
    """Keeps track of which jobs wait, run, or have ended. Threads may share an instance.

    The newest ``remember`` ended jobs are remembered, so that none of them is run twice; :meth:`forget` drops
    one earlier. Once listeners have been told of its end, a failed job keeps its error without tracebacks.

    ``classifier`` decides if a failure is worth another attempt; by default, a failure that no rule knows is.
    Ctrl-C and exit never are.
    """

    def __init__(
        self,
        options: JobOptions | None = None,
        *,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
        classifier: Classifier = CAUTIOUS,
    ) -> None:
        self.options = kinds.instance("options", options, JobOptions, optional=True) or JobOptions()
        self._classifier = kinds.instance("classifier", classifier, Classifier)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._lock = threading.RLock()
        self._jobs: dict[str, _Booking] = {}
        self._waiting: deque[str] = deque()
        self._active: dict[str, _Booking] = {}
        self._withdrawn = False
        self._left: list[str] = []
        self._over: deque[str] = deque()
        self._events: list[Event] = []
        self._telling: list[int] = []

    def submit(self, job: str) -> None:
        """Queue a job.

        Raises ``UsageError`` for a name that is known already, even of an ended job, and ``ShuttingDown``
        after :meth:`withdraw`.
        """
        with self._lock:
            if self._withdrawn:
                raise ShuttingDown(f"job {job!r} was not taken: the board has been withdrawn")
            if job in self._jobs:
                state = self._jobs[job].state.value
                raise wrong(
                    "job", job, "a name that is not known", f"It is {state}; forget() it to run it again."
                )
            self._jobs[job] = _Booking()
            self._waiting.append(job)

    def claim(self) -> Ticket | None:
        """Begin the next attempt; None if no job waits or the allowed number runs already."""
        with self._lock:
            now = self._clock.monotonic()
            # Not simply the first: it may be pausing before its next attempt, and would hold up the others.
            name = next((one for one in self._waiting if self._jobs[one].not_before <= now), None)
            if name is None or self.running >= self.options.concurrency:
                return None
            self._waiting.remove(name)
            job = self._jobs[name]
            job.attempts += 1
            job.state = JobState.RUNNING
            self._active[name] = job
            job.ticket = Ticket(
                name, job.attempts, now + self.options.timeout, _clock=self._clock, _beaten=now
            )
            return job.ticket

    def finish(self, ticket: Ticket) -> bool:
        """Record that the attempt has returned; return False and change nothing if it had been written off.

        It counts as a success, unless it had been asked to end: then the job is cancelled, or the attempt has
        failed.
        """
        with _Telling(self):
            job = self._current(ticket)
            if job is None:
                return False
            if not ticket.obeyed:
                self._end(ticket.job, job, JobState.DONE, None)
            elif self._withdrawn:
                self._cancel(ticket, job)
            else:
                self._failed(ticket, job, _late(ticket, "ended when asked to, at its time limit"))
            return True

    def fail(self, ticket: Ticket, error: BaseException) -> bool:
        """Record that the attempt failed; queue another one if one is left and the error may pass.

        Return False and change nothing if the attempt had been written off.
        """
        with _Telling(self):
            job = self._current(ticket)
            if job is None:
                return False
            if self._withdrawn and ticket.obeyed and _worth_another(error, self._classifier):
                self._cancel(ticket, job)
                return True
            if ticket._timed_out:
                late = _late(ticket, "failed after its time limit")
                late.__cause__ = error
                error = late
            self._failed(ticket, job, error)
            return True

    def _failed(self, ticket: Ticket, job: _Booking, error: BaseException) -> None:
        if job.attempts < self.options.attempts and _worth_another(error, self._classifier):
            pause = min(self.options.delay * 2.0 ** (job.attempts - 1), self.options.delay_cap)
            job.not_before = self._clock.monotonic() + pause
            self._requeue(ticket.job, job, stuck=False)
        else:
            self._end(ticket.job, job, JobState.FAILED, error)

    def _cancel(self, ticket: Ticket, job: _Booking) -> None:
        job.state, job.ticket = JobState.CANCELLED, None
        del self._active[ticket.job]
        self._left.append(ticket.job)
        self._tell(JobCancelled, job=ticket.job, attempt=ticket.attempt)

    def sweep(self) -> tuple[str, ...]:
        """Ask overdue attempts to end, write off the stuck ones, and return the names of their jobs."""
        stuck = []
        with _Telling(self):
            for name, job in tuple(self._active.items()):
                if job.ticket is not None:
                    if not job.ticket._timed_out and self._clock.monotonic() >= job.ticket.deadline:
                        job.ticket._timed_out = True
                        job.ticket.cancelled.set()
                        limit = self.options.timeout
                        self._tell(JobTimedOut, job=name, attempt=job.ticket.attempt, timeout=limit)
                    if self._is_stuck(name, job, job.ticket):
                        stuck.append(name)
        return tuple(stuck)

    @property
    def running(self) -> int:
        """How many attempts run; those that were written off do not count."""
        return len(self._active)

    @property
    def idle(self) -> bool:
        """True if no job waits or runs, and the listeners have been told of every job that ended.

        In a listener, the job that it is being told of counts as ended.
        """
        with self._lock:
            # A listener may record the job's outcome: until it has, the job is not over for others.
            telling = any(thread != threading.get_ident() for thread in self._telling)
            return not self._waiting and not self._active and not telling

    def withdraw(self) -> tuple[str, ...]:
        """Ask all running attempts to end, begin no more, and return the names of the jobs that waited.

        These jobs stay queued, so that they can be saved for the next start. Jobs whose attempts obey join
        them, and are then in :attr:`left` as well.
        """
        with self._lock:
            for job in self._active.values():
                if job.ticket is not None:
                    job.ticket.cancelled.set()
            left = tuple(self._waiting)
            self._left.extend(left)
            self._waiting.clear()
            self._withdrawn = True
            return left

    @property
    def left(self) -> tuple[str, ...]:
        """The jobs that were withdrawn before they ended, in the order of withdrawal, for the next start."""
        with self._lock:
            return tuple(self._left)

    @property
    def next_due(self) -> float | None:
        """Seconds until a waiting job may begin, at least zero; None if no job waits."""
        with self._lock:
            due = [self._jobs[name].not_before for name in self._waiting]
        return max(0.0, min(due) - self._clock.monotonic()) if due else None

    def pending(self, job: str) -> bool:
        """Return True if the job waits or runs."""
        with self._lock:
            found = self._jobs.get(job)
            return found is not None and found.state in (JobState.QUEUED, JobState.RUNNING)

    def state(self, job: str) -> JobState:
        """The state of a job. Raises ``UsageError`` for a job that was never submitted."""
        return self._get(job).state

    def error(self, job: str) -> BaseException | None:
        """Why a job failed; None if it did not."""
        return self._get(job).error

    def attempts(self, job: str) -> int:
        """How many attempts of a job have begun."""
        return self._get(job).attempts

    def forget(self, job: str) -> None:
        """Drop an ended job; its name may then be used again. Raises ``UsageError`` if it has not ended."""
        with self._lock:
            if not self._get(job).state.ended:
                raise wrong("job", job, "one that has ended", "Wait for its end first.")
            del self._jobs[job]
            self._over.remove(job)

    def stats(self) -> dict[str, int]:
        """The number of jobs in each state."""
        with self._lock:
            return {s.value: sum(j.state is s for j in self._jobs.values()) for s in JobState}

    def _get(self, job: str) -> _Booking:
        with self._lock:
            if job not in self._jobs:
                raise wrong("job", job, "a job that was submitted")
            return self._jobs[job]

    def _current(self, ticket: Ticket) -> _Booking | None:
        job = self._jobs.get(ticket.job)
        # By identity: the ticket of a written-off attempt names the same job, but is no longer valid.
        return job if job is not None and job.ticket is ticket else None

    def _is_stuck(self, name: str, job: _Booking, ticket: Ticket) -> bool:
        silent = self._clock.monotonic() - ticket._beaten
        if silent < self.options.stuck_after:
            return False
        self._tell(JobStuck, job=name, attempt=ticket.attempt, silent=silent)
        if job.requeues < self.options.requeues and job.attempts < self.options.attempts:
            job.requeues += 1
            self._requeue(name, job, stuck=True)
        else:
            text = f"{name} was silent for {silent:.1f} s in attempt {ticket.attempt}"
            self._end(name, job, JobState.FAILED, JobStuckError(text))
        return True

    def _requeue(self, name: str, job: _Booking, *, stuck: bool) -> None:
        job.state, job.ticket = JobState.QUEUED, None
        del self._active[name]
        # A withdrawn board begins nothing, so the job would wait forever.
        (self._left if self._withdrawn else self._waiting).append(name)
        self._tell(JobRequeued, job=name, attempt=job.attempts + 1, stuck=stuck)

    def _end(self, name: str, job: _Booking, state: JobState, error: BaseException | None) -> None:
        job.state, job.ticket, job.error = state, None, error
        self._active.pop(name, None)
        self._over.append(name)
        # Bounded, since a service submits jobs for as long as it runs.
        while len(self._over) > self.options.remember:
            self._jobs.pop(self._over.popleft(), None)
        self._tell(JobEnded, job=name, state=state.value, attempts=job.attempts, error=error)

    def _tell(self, kind: Callable[..., Event], **fields: Any) -> None:
        # Collected for later: a listener may call the board or take long, and the lock is held here.
        self._events.append(kind(at=self._clock.monotonic(), **fields))


class _Telling:
    """The board's lock; events that were collected under it are emitted after its release."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board

    def __enter__(self) -> None:
        self._board._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        events, self._board._events = self._board._events, []
        self._board._telling.append(threading.get_ident())
        self._board._lock.release()
        try:
            for event in events:
                emit(self._board._listeners, event)
                if isinstance(event, JobEnded) and event.error is not None:
                    _without_frames(event.error)
        finally:
            # No lock is needed: to every other thread, each change of the list is a single step.
            self._board._telling.remove(threading.get_ident())


def _worth_another(error: BaseException, classifier: Classifier) -> bool:
    return isinstance(error, Exception) and classifier.classify(error).retryable


def _late(ticket: Ticket, what: str) -> JobTimedOutError:
    return JobTimedOutError(f"attempt {ticket.attempt} of {ticket.job} {what}")


def _without_frames(error: BaseException) -> None:
    """Drop the frames of a kept error and of its causes: they hold the data of jobs."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
