"""The books of job control: limits on time, attempts and concurrency; a hung job is queued again once.

The board runs nothing: it says what may begin, and is told what came of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import NonRetryableError
from chaoskit.runtime.observing.events import Event, Listener, emit
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

__all__ = ["JobBoard"]


@dataclass(slots=True)
class _Booking:
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
        self._listeners = synchronous_all("listener", listeners)
        self._lock = threading.RLock()
        self._jobs: dict[str, _Booking] = {}
        self._waiting: deque[str] = deque()
        self._active: dict[str, _Booking] = {}
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
            self._jobs[job] = _Booking()
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

    def _get(self, job: str) -> _Booking:
        with self._lock:
            if job not in self._jobs:
                raise wrong("job", job, "a job that was submitted")
            return self._jobs[job]

    def _current(self, ticket: Ticket) -> _Booking | None:
        job = self._jobs.get(ticket.job)
        return job if job is not None and job.ticket is ticket else None

    def _check_time(self, ticket: Ticket) -> None:
        if not ticket._timed_out and self._clock.monotonic() >= ticket.deadline:
            ticket._timed_out = True
            ticket.cancelled.set()
            limit = self.options.timeout
            self._tell(JobTimedOut, job=ticket.job, attempt=ticket.attempt, timeout=limit)

    def _is_stuck(self, name: str, job: _Booking, ticket: Ticket) -> bool:
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

    def _requeue(self, name: str, job: _Booking, *, stuck: bool) -> None:
        job.state, job.ticket = JobState.QUEUED, None
        del self._active[name]
        if not self._withdrawn:
            self._waiting.append(name)
        self._tell(JobRequeued, job=name, attempt=job.attempts + 1, stuck=stuck)

    def _end(self, name: str, job: _Booking, state: JobState, error: BaseException | None) -> None:
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
