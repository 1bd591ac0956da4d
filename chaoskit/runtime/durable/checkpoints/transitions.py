"""The transitions of a checkpoint from one status to the next, within a transaction.

::

    pending ─claim→ running ─complete→ completed ─(source changed)→ pending
                      │ fail, with attempts left → failed, or pending again after a while
                      │ fail, or found dead, at the last attempt → dead, with its dead letter
                      └ release → pending

Every function here may run more than once and in another thread, so it uses only its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaoskit.runtime.durable.checkpoints.records import CheckpointContent
from chaoskit.runtime.durable.checkpoints.sources import Fingerprint, Outputs
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.dead_letters.origins import Origin
from chaoskit.runtime.durable.store.codec import Encoded
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Record, Storage, Tx

__all__ = ["ClaimedRecord", "Terms", "admit", "complete", "fail", "release", "start", "start_each"]

# A killed worker cannot report anything: the record shows only that an attempt was started and left no
# result. A letter that says so helps the operator more than one with the error of an earlier attempt.
LOST = {
    "type": "WorkerLost",
    "message": "the worker ended without a result: it was killed, or its machine went down",
    "chain": [],
    "traceback": "",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What all checkpoints of a pipeline share. ``attempts`` None: no limit. ``lease`` is in seconds."""

    store: Storage
    kind: Kind
    pipeline: str
    attempts: int | None
    lease: float
    outputs: Outputs
    letters: DeadLetters


@dataclass(frozen=True, slots=True)
class ClaimedRecord:
    """A claimed record, and its content."""

    record: Record
    content: CheckpointContent

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1, among those that count."""
        return self.record.attempts - self.content.forgiven


def start(
    tx: Tx,
    terms: Terms,
    key: str,
    scope: str,
    new: CheckpointContent,
    text: Encoded,
    *,
    again: bool = False,
) -> ClaimedRecord | None:
    """Claim one checkpoint by name, creating it if necessary; return None if it cannot be claimed now.

    ``text`` is ``new``, encoded. A completed step is done again if the source of ``new`` differs from its
    own, or with ``again``.
    """
    made = tx.claim_new(terms.kind, [key], text, scope=scope, lease=terms.lease)
    return ClaimedRecord(made[0], new) if made else _start_known(tx, terms, key, scope, new, text, again)


def start_each(
    tx: Tx, terms: Terms, keys: Sequence[str], scope: str, new: CheckpointContent, text: Encoded
) -> list[ClaimedRecord]:
    """Claim several checkpoints as :func:`start` does, and return those that succeeded, in that order."""
    # Most keys are new. To create them as claims takes one statement for many keys, not four for each.
    records = tx.claim_new(terms.kind, keys, text, scope=scope, lease=terms.lease)
    made = {record.key: ClaimedRecord(record, new) for record in records}
    held = (made.get(key) or _start_known(tx, terms, key, scope, new, text, False) for key in keys)
    return [one for one in held if one is not None]


def _start_known(
    tx: Tx, terms: Terms, key: str, scope: str, new: CheckpointContent, text: Encoded, again: bool
) -> ClaimedRecord | None:
    # In one transaction, so that no other worker can claim or complete it in between.
    record = tx.get(terms.kind, key, scope=scope)
    if record is None:
        tx.add(terms.kind, key, text, scope=scope, status="pending", due=tx.now)
    elif record.status not in ("pending", RUNNING):
        before = CheckpointContent.of(record)
        changed = _differs(new.source, before.source)
        # A dead step stays dead until a person, or a changed input, gives it new attempts. Otherwise a step
        # that kills its worker would kill one worker after another.
        if record.status != "failed" and not (again or changed):
            return None
        if record.status != "failed" or changed:
            # With a changed input, or on request, the attempts start at one again.
            before = replace(before, forgiven=record.attempts, progress=None)
        value = replace(before, artefacts=()).recorded()
        tx.change(terms.kind, key, scope=scope, status="pending", value=value, due=tx.now)
    # Tried even if the step is running: ``tx.claim`` asks the kernel's lock whether its worker lives.
    found = tx.claim(terms.kind, key=key, scope=scope, lease=terms.lease)
    return admit(tx, terms, found[0], new.source) if found else None


def admit(tx: Tx, terms: Terms, record: Record, source: Fingerprint | None = None) -> ClaimedRecord | None:
    """Return the claimed record if it has an attempt left; otherwise make it a dead letter, return None."""
    content = CheckpointContent.of(record)
    if source is not None and content.source is not None and _differs(source, content.source):
        # The earlier worker had a different input, so neither its attempts nor its progress count.
        content = replace(content, forgiven=record.attempts - 1, progress=None)
    held = ClaimedRecord(record, content)
    # The claim has already counted this attempt. If it is one too many, the step becomes a dead letter in the
    # same transaction, so a crash leaves it either still to be claimed, or with its letter.
    if terms.attempts is not None and held.attempt > terms.attempts:
        _bury(tx, terms, held, record.attempts - 1)
        return None
    if source is None or source == content.source:
        return held
    # The source was read before the claim, so its checksum may be older than what the work reads, but not
    # newer. A change in between is noticed at the next start: the step runs once too often, never once too
    # rarely.
    content = replace(content, source=source)
    tx.change(terms.kind, record.key, scope=record.scope, value=content.recorded(), fence=record.fence)
    return ClaimedRecord(record, content)


def complete(tx: Tx, terms: Terms, held: ClaimedRecord, content: Encoded) -> bool:
    """Record the result; return False if the claim is no longer valid."""
    record = held.record
    if not tx.change(
        terms.kind,
        record.key,
        scope=record.scope,
        status="completed",
        value=content,
        fence=record.fence,
    ):
        return False
    # If the step was revived from a letter, that is resolved in the same commit. Otherwise an operator who
    # does not know of the success could redrive it.
    if held.content.letter is not None and terms.letters.get(held.content.letter, tx=tx) is not None:
        by = f"attempt {record.attempts} of {record.key!r}"
        terms.letters.resolve(held.content.letter, by=by, notes="It was completed.", tx=tx)
    return True


def fail(
    tx: Tx,
    terms: Terms,
    held: ClaimedRecord,
    error: Mapping[str, Any],
    retry_in: float | None,
    final: bool = False,
) -> bool:
    """Record a failure; return False if the claim is no longer valid. A final one becomes a dead letter."""
    record = held.record
    # Checked first: ``change`` would refuse an outdated claim only after its letter had been written.
    if not _valid(tx, terms, record):
        return False
    content = held.content.failed(held.attempt, error, tx.now)
    if final or (terms.attempts is not None and held.attempt >= terms.attempts):
        _bury(tx, terms, ClaimedRecord(record, content), record.attempts)
        return True
    due = None if retry_in is None else tx.now + retry_in
    return tx.change(
        terms.kind,
        record.key,
        scope=record.scope,
        status="failed" if retry_in is None else "pending",
        value=content.recorded(),
        due=due,
        fence=record.fence,
    )


def release(tx: Tx, terms: Terms, held: ClaimedRecord) -> bool:
    """Give the claim back without counting the attempt; return False if it is no longer valid."""
    # The store's own count never falls, since letters distinguish failures by it. So the attempt is taken off
    # by counting it as forgiven.
    content = replace(held.content, forgiven=held.content.forgiven + 1)
    record = held.record
    return tx.change(
        terms.kind,
        record.key,
        scope=record.scope,
        status="pending",
        value=content.recorded(),
        due=tx.now,
        fence=record.fence,
    )


def _bury(tx: Tx, terms: Terms, held: ClaimedRecord, attempts: int) -> None:
    """Turn a claimed record into a dead letter. ``attempts`` is the store's number of its last attempt."""
    record, content = held.record, held.content
    # If the last attempt was killed, the newest recorded error is that of an earlier one.
    told = content.history[-1]["attempt"] if content.history else 0
    if told != attempts - content.forgiven or content.error is None:
        content = content.failed(attempts - content.forgiven, LOST, tx.now)
    id = terms.letters.add(
        pipeline=terms.pipeline,
        run_id=record.key,
        error=content.error or LOST,
        payload=content.value,
        attempts=attempts,
        history=content.history,
        session=str(content.metadata.get("session", record.scope)),
        subject=str(content.metadata.get("subject", record.key)),
        correlation_id=content.correlation_id,
        origin=Origin(terms.kind.name, record.scope, record.key, terms.kind.format),
        tx=tx,
    )
    value = replace(content, letter=id).recorded()
    tx.change(terms.kind, record.key, scope=record.scope, status="dead", value=value, fence=record.fence)


def _valid(tx: Tx, terms: Terms, record: Record) -> bool:
    now = tx.get(terms.kind, record.key, scope=record.scope)
    return now is not None and now.status == RUNNING and now.fence == record.fence


def _differs(new: Fingerprint | None, old: Fingerprint | None) -> bool:
    return new is not None and (old is None or old.checksum != new.checksum)
