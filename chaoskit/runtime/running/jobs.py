"""The records of a job: its limits, its state, the ticket of an attempt, and its events."""

from __future__ import annotations

import enum
import math
import threading
from dataclasses import dataclass, field
from typing import ClassVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.taxonomy import PermanentError, TransientError
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.events import Event

__all__ = [
    "JobCancelled",
    "JobEnded",
    "JobOptions",
    "JobRequeued",
    "JobState",
    "JobStuck",
    "JobStuckError",
    "JobTimedOut",
    "JobTimedOutError",
    "Ticket",
]


class JobState(enum.Enum):
    """A job waits, runs, and ends as done or failed; those two are final.

    A cancelled job obeyed when a withdrawn board asked it to end. It has not ended, and should be submitted
    again at the next start.
    """

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """True if the job's work is over, successful or not."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The defaults are the optimizer's: 300 s, 3 attempts, stuck after 600 s, 3 at once, requeued once.

    Raises:
        UsageError: a number is out of its bounds, or ``stuck_after`` is below ``timeout``.
    """

    timeout: float = option(default=300.0, above=0, unit="s", help="seconds an attempt may take")
    attempts: int = option(default=3, minimum=1, help="attempts of a job, requeued ones included")
    stuck_after: float = option(default=600.0, above=0, unit="s", help="seconds without a sign of life")
    concurrency: int = option(default=3, minimum=1, help="attempts that run at once")
    requeues: int = option(default=1, minimum=0, help="times that a stuck job is queued again")
    check_every: float = option(default=1.0, above=0, unit="s", help="seconds between two sweeps")
    delay: float = option(default=1.0, minimum=0, unit="s", help="before a second attempt; it doubles")
    delay_cap: float = option(default=60.0, minimum=0, unit="s", help="the longest delay")
    remember: int = option(default=10_000, minimum=0, help="ended jobs that are remembered, the newest")

    def __post_init__(self) -> None:
        for name in ("timeout", "stuck_after", "check_every"):
            if not (is_number(value := getattr(self, name)) and 0 < value < math.inf):
                raise wrong(name, value, "seconds, more than 0 and finite")
        for name, least in (("attempts", 1), ("concurrency", 1), ("requeues", 0), ("remember", 0)):
            whole(name, getattr(self, name), least)
        for name in ("delay", "delay_cap"):
            if not (is_number(value := getattr(self, name)) and 0 <= value < math.inf):
                raise wrong(name, value, "seconds, zero or more")
        # Otherwise an attempt would be written off without having been asked to end.
        if self.stuck_after < self.timeout:
            raise wrong(
                "stuck_after",
                self.stuck_after,
                f"at least timeout, {self.timeout:g}",
                "An attempt is asked to end before it is written off.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimedOut(Event):
    """An attempt used up its time, and was asked to end."""

    name: ClassVar[str] = "job.timed_out"
    job: str
    attempt: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStuck(Event):
    """An attempt was silent for ``silent`` seconds, and was written off."""

    name: ClassVar[str] = "job.stuck"
    job: str
    attempt: int
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequeued(Event):
    """A job waits for its next attempt; ``stuck`` is True if the last one hung, False if it failed."""

    name: ClassVar[str] = "job.requeued"
    job: str
    attempt: int
    stuck: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded(Event):
    """A job has ended; ``state`` is ``done`` or ``failed``."""

    name: ClassVar[str] = "job.ended"
    job: str
    state: str
    attempts: int
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(Event):
    """An attempt ended because the board was withdrawn; the job should be submitted again."""

    name: ClassVar[str] = "job.cancelled"
    job: str
    attempt: int


class JobTimedOutError(TransientError, TimeoutError):
    """An attempt failed after it had been asked to end; its own error is the cause."""

    default_hint = "Give the job more time, or less to do."


class JobStuckError(PermanentError):
    """A job hung, and has no attempts left."""

    default_hint = "Look at the stacks of its thread; a wait without a time limit is the usual cause."


@dataclass(eq=False, slots=True)
class Ticket:
    """One attempt of a job. ``cancelled`` is set when the attempt should end.

    An attempt that returns after that is taken to have obeyed without finishing its work: it counts as
    cancelled, or as failed at its time limit. If it has finished all the same, it says so with
    :meth:`complete`.
    """

    job: str
    attempt: int
    deadline: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    _clock: Clock = field(default_factory=SystemClock)
    _beaten: float = 0.0
    _timed_out: bool = False
    _completed: bool = False

    def beat(self) -> None:
        """Show that the attempt is alive; without this for ``stuck_after`` seconds it counts as stuck."""
        self._beaten = self._clock.monotonic()

    def complete(self) -> None:
        """Declare the work done, so that a request to end no longer has any effect."""
        self._completed = True

    @property
    def obeyed(self) -> bool:
        """True if the attempt was asked to end and has not called :meth:`complete`."""
        return self.cancelled.is_set() and not self._completed

    @property
    def remaining(self) -> float:
        """Seconds until the attempt's time is used up, at least zero."""
        return max(0.0, self.deadline - self._clock.monotonic())
