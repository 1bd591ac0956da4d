"""Runs jobs in threads, with a :class:`JobBoard` for the bookkeeping.

A thread cannot be killed: at its time limit an attempt is asked to end (``ticket.cancelled``); if it stays
silent until ``stuck_after`` it is written off, its slot is given to another job, and its result is ignored.
So a job ends only once, although a written-off attempt may still be running.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from chaoskit.core.errors import UsageError
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, finished, synchronous
from chaoskit.runtime.clock import Clock
from chaoskit.runtime.context import carry
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.observing.observers import Listener
from chaoskit.runtime.running.board import CAUTIOUS, JobBoard
from chaoskit.runtime.running.jobs import JobOptions, Ticket
from chaoskit.runtime.running.stacks import all_stacks
from chaoskit.runtime.stop import Stop, watched

__all__ = ["JobRunner"]

logger = logging.getLogger("chaoskit")


class JobRunner(Lasting):
    """Runs ``fn(ticket)`` for each job in a separate thread, as a :class:`JobBoard` directs.

    Leaving the block waits for all jobs to end; if an error leaves it, waiting jobs are withdrawn and running
    ones asked to end, without waiting for them. Long work should call ``ticket.beat()`` regularly and return
    soon after ``ticket.cancelled`` is set. Setting ``stop``, such as ``shutdown.wake``, withdraws the board;
    the jobs that have not ended by then are in ``board.left``.
    """

    def __init__(
        self,
        options: JobOptions | None = None,
        *,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
        classifier: Classifier = CAUTIOUS,
        stop: threading.Event | None = None,
    ) -> None:
        self.board = JobBoard(options, clock=clock, listeners=listeners, classifier=classifier)
        self._outer = kinds.event("stop", stop)
        self._stop = Stop()
        self._forget: Callable[[], None] | None = None
        self._work: dict[str, Callable[[Ticket], object]] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        # Set when a job waits for its next attempt: the sweeper may have to look earlier than planned.
        self._look = threading.Event()
        self._sweeper: threading.Thread | None = None

    def submit(self, job: str, fn: Callable[[Ticket], object]) -> None:
        """Queue ``fn`` under the name ``job``, in the caller's context, and begin it when a slot is free.

        Raises:
            UsageError: this is outside the block, ``fn`` is async, or the name is known already.
            ShuttingDown: the board has been withdrawn.
        """
        if self._sweeper is None:
            raise UsageError("The runner is not started; expected to be in its with block. Enter it first.")
        synchronous("job", fn, optional=False)
        carried = carry(fn)
        with self._changed:
            self.board.submit(job)
            self._work[job] = carried
        self._pump()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all jobs have ended, at most ``timeout`` seconds; return True if they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self.board.idle, timeout)

    def sweep(self) -> tuple[str, ...]:
        """Run :meth:`JobBoard.sweep`, and give freed slots to the next jobs. Also runs by itself."""
        # Log all stacks now: they show where a thread hangs only while it hangs.
        stuck = self.board.sweep()
        if stuck:
            logger.error("jobs are stuck: %s\n%s", ", ".join(stuck), all_stacks())
        self._pump()
        return stuck

    def __enter__(self) -> JobRunner:
        if self._sweeper is not None:
            raise UsageError(
                "This JobRunner is in use, or was; expected one block. Make a new one for another."
            )
        # First of all: the outer signal, which is linked next, may be set already.
        self._stop.tell(self._withdraw)
        if self._outer is not None:
            self._forget = watched(self._outer, self._stop)
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
            if self._forget is not None:
                self._forget()
            self._closing.set()
            self._look.set()

    def _withdraw(self) -> None:
        self.board.withdraw()
        self._pump()

    def _sweep_now_and_then(self) -> None:
        while not self._closing.is_set():
            self._look.wait(self._until_next_look())
            self._look.clear()
            try:
                self.sweep()
            except BaseException:
                logger.exception("a sweep failed; the next one follows as usual")

    def _until_next_look(self) -> float:
        due = self.board.next_due
        every = self.board.options.check_every
        # Not at once, even if a job is due: it may be waiting for a slot.
        return every if due is None else min(every, max(due, 0.01))

    def _pump(self) -> None:
        """Begin all jobs that may begin."""
        while (ticket := self.board.claim()) is not None:
            name = f"chaoskit-job-{ticket.job}-{ticket.attempt}"
            try:
                threading.Thread(target=self._run, args=(ticket,), name=name, daemon=True).start()
            except (RuntimeError, MemoryError) as error:
                # No thread is available: fail the attempt instead of leaving a job that seems to run.
                self.board.fail(ticket, error)
        with self._changed:
            # Release ended jobs: a closure may hold all data of its job.
            for job in [job for job in self._work if not self.board.pending(job)]:
                del self._work[job]
            self._changed.notify_all()

    def _run(self, ticket: Ticket) -> None:
        try:
            work = self._work[ticket.job]
            # A future is refused: the job would count as done while its work still goes on.
            finished("a job", work, called("job", work, ticket))
        except BaseException as error:
            # BaseException too: a job that calls sys.exit() has failed, and must not seem to run on.
            counts = self.board.fail(ticket, error)
            self._look.set()
        else:
            counts = self.board.finish(ticket)
        if not counts:
            logger.warning("attempt %d of %s ended after it was written off", ticket.attempt, ticket.job)
        self._pump()
