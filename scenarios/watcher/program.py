"""Finds samples, has them processed, uploads the results: a loop and two threads, joined by queues."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from chaoskit.runtime import (
    Checkpoints,
    Claim,
    CorruptArchive,
    ErrorMetrics,
    Event,
    HandoffQueue,
    HandoffTimeout,
    LeaseLost,
    OutcomeUnknown,
    QueueClosed,
    ResilienceError,
    ResourceMonitor,
    RetryScheduled,
    Shutdown,
    Store,
    StoreBusy,
    Supervisor,
    Worker,
    classify,
    clean_leftovers,
    context,
    extract,
    make_directories,
    read_rows,
    subscribe,
)
from chaoskit.runtime.config import ConfigurationProblems, Live
from scenarios.watcher.remote import Client, Database, Pipeline, RunFailed
from scenarios.watcher.settings import Settings
from scenarios.watcher.share import Sample, Share

log = logging.getLogger("watcher")
SUMMARY = "summary.csv"
DAY = 86400.0


class Watcher:
    """One watcher; leave the block to close everything.

    What is set for waits and archives may change while it runs; the rest is that of its start.
    """

    def __init__(self, live: Live[Settings], shutdown: Shutdown) -> None:
        self._live, self._shutdown = live, shutdown
        settings, wake = live.value, shutdown.wake
        runtime = settings.runtime
        self._results, self._spool = settings.state / "results", settings.state / "spool"
        for directory in (self._results, self._spool):
            make_directories(directory)
        # What died while it was unpacked lies beside the results of its run, one level down.
        for directory in (self._spool, *self._results.iterdir()):
            clean_leftovers(directory)
        self._share = Share(settings.share, runtime.policies(wake=wake)["share"])
        self.metrics = ErrorMetrics(runtime.metrics)
        queue, limits = runtime.queues["default"], settings.limits
        self._found: HandoffQueue[Sample] = HandoffQueue("found", queue, stop=wake)
        self._done: HandoffQueue[Claim] = HandoffQueue("done", queue, stop=wake)
        # Whatever fails to open, what was opened before it is closed.
        with ExitStack() as opened:
            opened.enter_context(subscribe(_tell_of_the_share))
            store = opened.enter_context(Store.open(settings.state / "watcher.db"))
            self.samples = opened.enter_context(
                Checkpoints(store, pipeline="samples", attempts=settings.attempts, base=settings.state)
            )
            self._pipeline = Pipeline(
                opened.enter_context(Client("pipeline", settings.pipeline, runtime, wake))
            )
            self._database = Database(
                opened.enter_context(Client("database", settings.database, runtime, wake))
            )
            self.resources = opened.enter_context(
                ResourceMonitor(limits.thresholds(settings.state), every=limits.every)
            )
            self._closing = opened.pop_all()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._closing.close()
        except MemoryError:
            # The stack needs memory before it closes the first. What it has closed it does not close again.
            self._closing.close()
            raise

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._live.value

    def run(self, *, once: bool = False) -> None:
        """Work until a shutdown is requested; with ``once`` until all that can be done now is done."""
        self._clean_up()
        options = self.settings.runtime.supervision
        with Supervisor(options, stop=self._shutdown.wake, on_give_up=self._give_up) as supervisor:
            supervisor.spawn("finder", self._find, once)
            supervisor.spawn("uploader", self._upload_all)
            try:
                self._process_all()
            finally:
                self._done.close()

    def _give_up(self, worker: Worker) -> None:
        self._shutdown.request(f"the {worker.name} was given up", exit_code=1)

    # The finder.

    def _find(self, worker: Worker, once: bool) -> None:
        while not worker.stop.is_set():
            for run in self._share.runs():
                worker.beat()
                for sample in self._sheet(run):
                    found = self.samples.record(sample.name, scope=sample.run)
                    if found is None or found.status not in ("completed", "dead"):
                        self._found.put(sample)
            if once:
                break
            worker.stop.wait(self.settings.poll)
            self.refresh()
        self._found.close()

    def refresh(self) -> None:
        """Put the present configuration in force. One that is wrong changes nothing, and is told."""
        try:
            drift = self._live.reload()
        except ConfigurationProblems as problems:
            log.error("the configuration stays as it is: %s", problems)
        else:
            if drift:
                log.warning("the configuration has changed:\n%s", drift)

    def _sheet(self, run: str) -> list[Sample]:
        """The samples of a run, or none: then the run is flagged, unless it may be read later."""
        try:
            with self.metrics.measure("read sheet"):
                return self._share.samples(run)
        except Exception as error:
            self._note("read sheet", error)
            if not classify(error).retryable:
                try:
                    self._share.give_up(run, error)
                except OSError as unwritten:
                    self._note("flag run", unwritten)
            return []

    # The main loop.

    def _process_all(self) -> None:
        underway: dict[str, tuple[Sample, Claim]] = {}
        more = True
        while not self._shutdown.requested and (more or underway):
            more = more and self._take(underway)
            for key, (sample, claim) in list(underway.items()):
                with self._attempt("process", claim):
                    if not self._is_done(sample, claim):
                        continue
                    self._done.put(claim)
                del underway[key]
            if underway:
                self._shutdown.wait(self.settings.ask)

    def _take(self, underway: dict[str, tuple[Sample, Claim]]) -> bool:
        """Claim what the finder has found; False once there will be no more."""
        if self.resources.raised:
            # What is underway may free something; nothing is added to it.
            self._shutdown.wait(self.settings.ask)
            return True
        try:
            while True:
                sample = self._found.get(timeout=0.0 if underway else self.settings.ask)
                claim = self.samples.claim(sample.name, scope=sample.run)
                if claim is not None:
                    underway[sample.key] = (sample, claim)
        except QueueClosed:
            return False
        except HandoffTimeout:
            return True

    def _is_done(self, sample: Sample, claim: Claim) -> bool:
        """Bring the run of a sample forward; True when its result can be had."""
        launch, remote = claim.reached or [0, None]
        if remote is not None:
            state, reason = self._pipeline.state(remote)
            if state == "failed":
                raise RunFailed(reason)
            if state not in ("cancelled", "unknown"):
                return state == "done"
            # Under another number, since what is known under this one is cancelled for good.
            launch += 1
        checksum = self._share.checksum(sample.reads)
        claim.progress([launch, self._pipeline.submit(sample.key, checksum, launch)])
        return False

    # The uploader.

    def _upload_all(self, worker: Worker) -> None:
        for claim in self._done:
            worker.beat()
            with self._attempt("upload", claim), self._shutdown.operation("upload"):
                self._upload(claim)

    def _upload(self, claim: Claim) -> None:
        key = f"{claim.scope}/{claim.key}"
        archive, target = self._spool / f"{claim.scope}.{claim.key}.tar.gz", self._results / key
        self._pipeline.result(claim.reached[1], archive)
        make_directories(target.parent)
        try:
            extract(archive, target, limits=self.settings.archives.limits(), replace=True)
        finally:
            archive.unlink()
        with closing(read_rows(target / SUMMARY)) as read:
            rows = [row.as_dict() for row in read]
        # The last moment: what is uploaded cannot be taken back.
        claim.check()
        self._database.upload(key, rows)
        claim.complete({"rows": len(rows)}, artefacts=[target.relative_to(self.settings.state)])

    # What all do.

    @contextmanager
    def _attempt(self, operation: str, claim: Claim) -> Iterator[None]:
        """Work on one sample: its trouble is recorded, and costs no other sample anything."""
        with context.operation(operation, run=claim.scope, sample=claim.key, attempt=claim.attempt):
            try:
                with self.metrics.measure(operation):
                    yield
            except Exception as error:
                self._note(operation, error)
                if self._shutdown.requested or isinstance(error, StoreBusy | OutcomeUnknown | LeaseLost):
                    # It was cut short, or the store was in trouble: nothing is known against the sample.
                    claim.release()
                    return
                # A damaged archive may come whole the next time; what the rules call permanent stays so.
                again = classify(error).retryable or isinstance(error, CorruptArchive)
                # No power beyond this one: that of the thousandth attempt would be no float any more.
                wait = min(self.settings.again * 2.0 ** min(claim.attempt - 1, 64), DAY)
                claim.fail(error, retry_in=wait if again else None, final=not again)

    def _note(self, operation: str, error: Exception) -> None:
        decision = classify(error)
        log.error(
            "%s failed (%s): %s",
            operation,
            decision.rule,
            error,
            exc_info=error,
            # For errors that have no hint themselves, such as those of the operating system.
            extra={"suggested_action": decision.verdict.default_hint},
        )

    def _clean_up(self) -> None:
        """Remove what an earlier life has left: spooled archives, remote runs that no sample waits for."""
        try:
            for left in self._spool.iterdir():
                left.unlink()
            walks = (self.samples.pending, self.samples.in_progress, self.samples.failed)
            ours = {record.progress[1] for walk in walks for record in walk() if record.progress}
            for id in self._pipeline.runs():
                if id not in ours:
                    self._pipeline.remove(id)
        except (OSError, ResilienceError) as error:
            # It can wait until the next start; the samples cannot.
            self._note("clean up", error)


def _tell_of_the_share(event: Event) -> None:
    """Say that the share is away: while it is waited for without end, no call fails that would be told."""
    if isinstance(event, RetryScheduled) and event.policy == "share" and not event.quiet:
        log.warning(
            "%s failed (%s) and is tried again in %g s: %s",
            event.function,
            event.rule,
            event.wait,
            event.error,
        )


def main(live: Live[Settings], *, once: bool = False) -> int:
    """Run a watcher until it is told to stop; the exit status."""
    with Shutdown(live.value.runtime.shutdown) as shutdown, Watcher(live, shutdown) as watcher:
        watcher.run(once=once)
    return 0
