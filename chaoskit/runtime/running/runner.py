"""Runs jobs in threads, by the books of a :class:`JobBoard`.

A thread cannot be killed: at its time limit an attempt is asked to end (``ticket.cancelled``); if it
stays silent until ``stuck_after`` it is written off, its slot is given away, and what it still returns
counts for nothing. So a job ends once, though a written-off attempt may still be running.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from chaoskit.core.errors import UsageError
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.clock import Clock
from chaoskit.runtime.context import carry
from chaoskit.runtime.observing.events import Listener
from chaoskit.runtime.running.board import JobBoard
from chaoskit.runtime.running.jobs import JobOptions, Ticket
from chaoskit.runtime.running.stacks import all_stacks

__all__ = ["JobRunner"]

logger = logging.getLogger("chaoskit")


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
        synchronous("job", fn, optional=False)
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
            called("job", self._work[ticket.job], ticket)
        except BaseException as error:
            counts = self.board.fail(ticket, error)
        else:
            counts = self.board.finish(ticket)
        if not counts:
            logger.warning("attempt %d of %s ended after it was written off", ticket.attempt, ticket.job)
        self._pump()

    def _all_ended(self) -> bool:
        return self.board.idle
