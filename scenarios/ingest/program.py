"""Brings each file of the inbox into the target, once for each content that it has."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from chaoskit.runtime import (
    BreakerLink,
    BreakerOpen,
    Category,
    CheckpointRecord,
    Checkpoints,
    CircuitBreaker,
    Claim,
    Classifier,
    FileMissing,
    LeaseLost,
    MalformedData,
    OutcomeUnknown,
    PartialFailure,
    PartialFailureCollector,
    Pipeline,
    Shutdown,
    Store,
    StoreBusy,
    StoredBreakers,
    Summary,
    TransactionFiles,
    TransactionReader,
    TransactionValidationError,
    TransientError,
    context,
    make_directories,
    recover_transactions,
)
from scenarios.ingest.convert import convert
from scenarios.ingest.settings import Settings
from scenarios.ingest.targets import target

log = logging.getLogger("ingest")
CLASSIFIER = Classifier(unknown=TransientError)
"""What is unknown may pass: three attempts of an idempotent transaction do no harm."""

Batch: TypeAlias = PartialFailureCollector[Path, None]
FAULT_OF_THE_FILE = (MalformedData, TransactionValidationError)
TROUBLE_OF_THE_STORES = (BreakerOpen, StoreBusy, OutcomeUnknown, LeaseLost)


class Ingest:
    """One process of the ingest; several may run at once. Leave the block to close everything."""

    def __init__(self, settings: Settings, shutdown: Shutdown) -> None:
        self.settings, self._shutdown = settings, shutdown
        self._staging = settings.state / "staging"
        make_directories(self._staging)
        self.target = target(settings)
        # Whatever fails to open, what was opened before it is closed.
        with ExitStack() as opened:
            self.store = opened.enter_context(Store.open(settings.store or settings.state / "ingest.db"))
            self.files = opened.enter_context(
                Checkpoints(self.store, pipeline="ingest", attempts=settings.attempts, base=settings.inbox)
            )
            self._link = BreakerLink(StoredBreakers(self.store), every=5.0)
            opened.callback(self._link.close)
            self._closing = opened.pop_all()
        self.breaker = CircuitBreaker(
            settings.runtime.breakers["s3"], name="s3", on=_is_outage, shared=self._link
        )
        policy = settings.runtime.strategies(wake=shutdown.wake).policy("s3", classifier=CLASSIFIER)
        self._protected = Pipeline(retry=policy, breaker=self.breaker)(self._publish)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def inputs(self, batch: Batch) -> Iterator[Path]:
        """The files of the inbox, by model; a directory that cannot be read fails in ``batch``."""
        # Not with a glob: to that a directory which cannot be read is an empty one.
        for model in _listed(self.settings.inbox, batch):
            if model.is_dir():
                yield from (path for path in _listed(model, batch) if path.suffix == ".csv")

    def run(self, *, verify: bool = False) -> Summary:
        """Ingest what is new or changed; with ``verify`` every file is read to tell, not only looked at.

        Raises:
            PartialFailure: with the errors of the files that failed; the others are done.
        """
        batch: Batch = PartialFailureCollector("ingest")
        for path in self.inputs(batch):
            if self._shutdown.requested:
                break
            with batch.item(path):
                scope, key = path.parent.name, path.stem
                if not self.files.is_completed(key, scope=scope, source=path, verify_checksum=verify):
                    self._ingest(path, self.files.claim(key, scope=scope, source=path))
        self._clean()
        batch.raise_if_failed()
        return batch.summary()

    def disagreements(self, record: CheckpointRecord) -> list[str]:
        """What is wrong with the table of a completed file: a sentence for each part."""
        table = f"{record.scope}/{record.key}"
        try:
            reader = TransactionReader(self.target.place(table))
        except FileMissing:
            return [f"{table} is not there"]
        wrongs = [f"{table}: {wrong}" for wrong in reader.verify()]
        if reader.receipt.id != record.value["id"]:
            wrongs.append(f"{table} is {reader.receipt.id}; expected {record.value['id']}")
        return wrongs

    def retry(self, path: Path) -> None:
        """Ingest one file now, whatever is known of it. Raises the error of the file."""
        scope, key = path.parent.name, path.stem
        claim = self.files.claim(key, scope=scope, source=path) or self.files.reclaim(key, scope=scope)
        self._ingest(path, claim)

    def reset(self) -> None:
        """Close the breaker by hand, in all processes that share the store."""
        self._link.sync()
        self.breaker.reset()
        self._link.sync()

    def _ingest(self, path: Path, claim: Claim | None) -> None:
        """Bring one file to its end; None if another process has it, or it is given up until it changes."""
        if claim is None:
            return
        staging = self._staged(claim)
        with context.operation("ingest", model=claim.scope, file=claim.key, attempt=claim.attempt), claim:
            try:
                make_directories(staging)
                parts = dict(convert(path, staging))
                self._protected(claim, path, parts)
            except Exception as error:
                self._note(claim, error)
                raise
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def _publish(self, claim: Claim, path: Path, parts: dict[Path, int]) -> None:
        """Replace the table by the parts. Again, after whatever went wrong: it is committed once."""
        table = f"{claim.scope}/{claim.key}"
        checksum = claim.source.checksum if claim.source else ""
        first = claim.fence == 1 and claim.reached is None
        if claim.reached is None:
            # The checksum says of what, the fence which time: a content that comes back after another one is
            # another transaction. Recorded before it begins, for all attempts to come.
            claim.progress(f"{checksum.removeprefix('sha256:')}-{claim.fence}")
        if not first:
            # Under the claim no other process works on the table: what is staged there is of an attempt that
            # died, or could not roll back.
            recover_transactions(self.target.place(table), abandoned=0.0)

        def complete(files: TransactionFiles) -> None:
            if set(files.members) != {part.name for part in parts}:
                raise TransactionValidationError(f"{table} has {sorted(files.members)}")
            if _checksum(path) != checksum:
                raise TransientError(f"{path} was changed while it was converted; the next round takes it")

        with self.target.transaction(table, claim.reached) as transaction:
            for part in parts:
                transaction.add(part.name, part)
            transaction.check(complete)
            transaction.commit(complete=claim)

    def _staged(self, one: Claim | CheckpointRecord) -> Path:
        """Where the parts of a file wait. By the fence, which no claim has twice."""
        return self._staging / f"{one.scope}.{one.key}.{one.fence}"

    def _clean(self) -> None:
        """Remove parts that no claim waits for: those of processes that died."""
        # Listed first: what is there by now and is not claimed afterwards belongs to no one any more.
        there = list(self._staging.iterdir())
        claimed = {self._staged(record) for record in self.files.in_progress()}
        for left in there:
            if left not in claimed:
                shutil.rmtree(left, ignore_errors=True)

    def _note(self, claim: Claim, error: Exception) -> None:
        """Record a failure against the file, if it is one."""
        decision = CLASSIFIER.classify(error)
        log.error("%s/%s failed (%s)", claim.scope, claim.key, decision.rule, exc_info=error)
        if not claim.open:
            return
        if isinstance(error, FAULT_OF_THE_FILE):
            claim.fail(error, final=True)
        elif isinstance(error, TROUBLE_OF_THE_STORES) or decision.category in (
            Category.CONFIGURATION,
            Category.PERMANENT,
        ):
            # Wrong credentials, a read-only disk: nothing is known against the file.
            claim.release()
        else:
            claim.fail(error)


def _listed(directory: Path, batch: Batch) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        batch.fail(directory, error)
        return []


def _is_outage(error: BaseException) -> bool:
    """True for what the object store is to blame for, and what may pass."""
    return CLASSIFIER.classify(error).retryable


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def main(settings: Settings, *, once: bool = False) -> int:
    """Run until told to stop, or one round with ``once``; 1 if a file of the last round failed, else 0."""
    status = 0
    with Shutdown(settings.runtime.shutdown) as shutdown, Ingest(settings, shutdown) as ingest:
        while not shutdown.requested:
            try:
                log.info("%s", ingest.run())
                status = 0
            except PartialFailure as failure:
                log.error("%s", failure)
                status = 1
            if once:
                break
            shutdown.wait(settings.poll)
    return status
