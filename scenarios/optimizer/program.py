"""Takes jobs from the drop folder and brings each to one end: a result, or a dead letter with its report."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path

from chaoskit.runtime import (
    Checkpoints,
    Checksum,
    Claim,
    DeadLetters,
    ErrorDetails,
    Event,
    JobEnded,
    JobRunner,
    JobTimedOutError,
    LetterWatch,
    Severity,
    Shutdown,
    Snapshots,
    Store,
    Ticket,
    classify,
    clean_leftovers,
    context,
    make_directories,
    subscribe,
    write_file,
)
from scenarios.optimizer.fitting import Fit, Job
from scenarios.optimizer.settings import Settings

log = logging.getLogger("optimizer")
Report = Callable[[str, int], object]


class Optimizer:
    """One processor; leave the block to close everything. ``saved`` hears of every snapshot."""

    def __init__(
        self, settings: Settings, shutdown: Shutdown, saved: Report = lambda job, number: None
    ) -> None:
        self.settings, self._shutdown, self._saved = settings, shutdown, saved
        self._claims: dict[str, Claim] = {}
        self._results, self._jobs = settings.state / "results", settings.state / "jobs"
        for directory in (self._results, self._jobs):
            make_directories(directory)
            clean_leftovers(directory)
        self.details = ErrorDetails(settings.state / "errors", keep=100)
        # Whatever fails to open, what was opened before it is closed.
        with ExitStack() as opened:
            store = opened.enter_context(Store.open(settings.state / "optimizer.db"))
            self.jobs = opened.enter_context(
                Checkpoints(store, pipeline="jobs", attempts=settings.attempts, base=settings.state)
            )
            self.letters = DeadLetters(store)
            self.notifier = opened.enter_context(settings.runtime.notifications.notifier())
            opened.enter_context(LetterWatch(store, self.notifier))
            opened.enter_context(subscribe(self.notifier.on_event))
            self._closing = opened.pop_all()

    def __enter__(self) -> Optimizer:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._closing.close()
        except MemoryError:
            # The stack needs memory before it closes the first. What it has closed it does not close again.
            self._closing.close()
            raise

    def run(self, *, once: bool = False) -> None:
        """Work until a shutdown is requested; with ``once`` until all jobs that are there have ended."""
        stop, listeners = self._shutdown.wake, [self._ended]
        with JobRunner(self.settings.runtime.jobs, stop=stop, listeners=listeners) as runner:
            while not self._shutdown.requested:
                for path in self._dropped():
                    self._begin(runner, path)
                if once:
                    runner.wait()
                    break
                self._shutdown.wait(self.settings.poll)

    def _dropped(self) -> list[Path]:
        """The files of the drop folder; none while it cannot be read, which is told."""
        try:
            # Not with a glob: to that a folder which cannot be read is an empty one.
            return sorted(path for path in self.settings.drop.iterdir() if path.suffix == ".json")
        except OSError as error:
            log.warning("the drop folder cannot be read (%s): %s", classify(error).rule, error)
            return []

    def _begin(self, runner: JobRunner, path: Path) -> None:
        """Queue a job, unless it has ended, or another process has it."""
        try:
            text = path.read_bytes()
        except OSError as error:
            # The folder may be on a share: this file may be readable next time, the others now.
            log.warning("job %s cannot be read (%s): %s", path.stem, classify(error).rule, error)
            return
        # Claimed by the bytes that were read: the file may have been replaced before the job runs.
        claim = self.jobs.claim(path.stem, source=Checksum(f"sha256:{sha256(text).hexdigest()}"))
        if claim is not None:
            name = f"{path.stem}#{claim.attempt}"
            self._claims[name] = claim
            runner.submit(name, partial(self._work, claim, text))

    def _ended(self, event: Event) -> None:
        """Give up a job that the runner has given up: one that hangs has no attempt left to say so."""
        if isinstance(event, JobEnded):
            claim = self._claims.pop(event.job)
            if claim.open and event.error is not None:
                self._give_up(claim, event.error)

    def _work(self, claim: Claim, text: bytes, ticket: Ticket) -> None:
        with context.operation("job", job=claim.key, attempt=claim.attempt), self._shutdown.operation("job"):
            try:
                with self.details.capture():
                    self._bring_to_an_end(claim, Job.parse(claim.key, text), ticket)
            except Exception as error:
                if claim.open:
                    self._failed(claim, ticket, error)
                # Else an attempt that had been written off has ended the job after all.
                ticket.complete()

    def _bring_to_an_end(self, claim: Claim, job: Job, ticket: Ticket) -> None:
        settings = self.settings
        snapshots = Snapshots(self._jobs / job.name, keep=settings.keep)
        saved = partial(self._saved, job.name)
        fit = Fit(job, snapshots, batch=settings.batch, every=settings.save_every, saved=saved)
        centre = fit.run(ticket)
        if centre is None and self._shutdown.requested:
            claim.release()
            return
        if centre is None:
            raise JobTimedOutError(f"{job.name} was not done in time; it is at step {fit.state['step']}")
        result = self._results / f"{job.name}.json"
        write_file(result, json.dumps({"job": job.name, "centre": centre, "steps": job.steps}))
        claim.complete({"centre": centre}, artefacts=[result.relative_to(settings.state)])
        ticket.complete()

    def _failed(self, claim: Claim, ticket: Ticket, error: Exception) -> None:
        """Record a failure. One that may pass is left to the runner's next attempt, if there is one."""
        decision = classify(error)
        log.error("job %s failed (%s)", claim.key, decision.rule, exc_info=error)
        if decision.retryable and ticket.attempt < self.settings.runtime.jobs.attempts:
            raise error
        self._give_up(claim, error)

    def _give_up(self, claim: Claim, error: BaseException) -> None:
        # The report first: killed in between, the job is done again; after the letter it never is.
        self._report(claim, error)
        claim.fail(error, final=True)

    def _report(self, claim: Claim, error: BaseException) -> None:
        """Write what a person needs to know beside the results."""
        decision = classify(error)
        report = {
            "job": claim.key,
            "error": f"{type(error).__name__}: {error}",
            "category": decision.category,
            "rule": decision.rule,
            "attempts": claim.attempt,
            "details": list(getattr(error, "__notes__", ())),
        }
        write_file(self._results / f"{claim.key}.failed.json", json.dumps(report, indent=1))
        self.notifier.notify(f"job {claim.key} failed", severity=Severity.ERROR, job=claim.key)


def main(settings: Settings, *, once: bool = False, saved: Report = lambda job, number: None) -> int:
    """Run a processor until it is told to stop, and return the exit status."""
    with Shutdown(settings.runtime.shutdown) as shutdown, Optimizer(settings, shutdown, saved) as optimizer:
        optimizer.run(once=once)
    return 0
