"""How a checkpoint goes from one status to the next, within a transaction.

::

    pending ─claim→ running ─complete→ completed ─(source changed)→ pending
                      │ fail, with attempts left → failed, or pending again after a while
                      │ fail, or found dead, at the last attempt → dead, with its dead letter
                      └ release → pending

Every function here may run more than once and in another thread: it uses nothing but what it is given.
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

# A worker that is killed cannot say so. What is known is that it was started and left nothing, and a letter
# with that sentence is worth more at night than one with the error of an attempt before it.
LOST = {
    "type": "WorkerLost",
    "message": "the worker ended without a result: it was killed, or its machine went down",
    "chain": [],
    "traceback": "",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all checkpoints of one pipeline. ``attempts`` None means no limit; seconds of lease."""

    store: Storage
    kind: Kind
    pipeline: str
    attempts: int | None
    lease: float
    outputs: Outputs
    letters: DeadLetters


@dataclass(frozen=True, slots=True)
class ClaimedRecord:
    """A record that is claimed, and what it holds."""

    record: Record
    content: CheckpointContent

    @property
    def attempt(self) -> int:
        """The attempt that this is, of those that count."""
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
    """Claim one checkpoint by name, and make it if there is none; return None if it cannot be claimed now.

    ``text`` is ``new``, encoded. One that is completed is done again if the source of ``new`` differs from
    its own, or with ``again``.
    """
    made = tx.claim_new(terms.kind, [key], text, scope=scope, lease=terms.lease)
    return ClaimedRecord(made[0], new) if made else _start_known(tx, terms, key, scope, new, text, again)


def start_each(
    tx: Tx, terms: Terms, keys: Sequence[str], scope: str, new: CheckpointContent, text: Encoded
) -> list[ClaimedRecord]:
    """Claim those of several checkpoints that are to be had, in the order of ``keys``: see :func:`start`."""
    # Most are new. Made as claims, many take one statement, where each took four: look, add, find and claim.
    records = tx.claim_new(terms.kind, keys, text, scope=scope, lease=terms.lease)
    made = {record.key: ClaimedRecord(record, new) for record in records}
    held = (made.get(key) or _start_known(tx, terms, key, scope, new, text, False) for key in keys)
    return [one for one in held if one is not None]


def _start_known(
    tx: Tx, terms: Terms, key: str, scope: str, new: CheckpointContent, text: Encoded, again: bool
) -> ClaimedRecord | None:
    # Read and claimed in one transaction: between the two no other worker can have it, or complete it.
    record = tx.get(terms.kind, key, scope=scope)
    if record is None:
        tx.add(terms.kind, key, text, scope=scope, status="pending", due=tx.now)
    elif record.status not in ("pending", RUNNING):
        before = CheckpointContent.of(record)
        changed = _differs(new.source, before.source)
        # Dead stays dead until a person, or another input, gives it new attempts: else a step that brings
        # its worker down would take one worker after the other with it.
        if record.status != "failed" and not (again or changed):
            return None
        if record.status != "failed" or changed:
            # Another input, or the same once more: the attempts begin at one again.
            before = replace(before, forgiven=record.attempts, progress=None)
        value = replace(before, artefacts=()).recorded()
        tx.change(terms.kind, key, scope=scope, status="pending", value=value, due=tx.now)
    # Also one that runs: the claim itself knows whether its worker lives, by the kernel's lock.
    found = tx.claim(terms.kind, key=key, scope=scope, lease=terms.lease)
    return admit(tx, terms, found[0], new.source) if found else None


def admit(tx: Tx, terms: Terms, record: Record, source: Fingerprint | None = None) -> ClaimedRecord | None:
    """What was claimed, if an attempt was left for it; if not it is dead-lettered, and None."""
    content = CheckpointContent.of(record)
    if source is not None and content.source is not None and _differs(source, content.source):
        # The worker before had another input: neither its attempts nor its progress are those of this one.
        content = replace(content, forgiven=record.attempts - 1, progress=None)
    held = ClaimedRecord(record, content)
    # The claim has counted the attempt already. One too many is never worked on: it is buried here, in the
    # transaction that counted it, so that a crash leaves it either to be claimed or with its letter.
    if terms.attempts is not None and held.attempt > terms.attempts:
        _bury(tx, terms, held, record.attempts - 1)
        return None
    if source is None or source == content.source:
        return held
    # The source was read before the claim, so it can be older than what the work reads, never newer: a change
    # in between is seen the next time, and costs one run too many, not one too few.
    content = replace(content, source=source)
    tx.change(terms.kind, record.key, scope=record.scope, value=content.recorded(), fence=record.fence)
    return ClaimedRecord(record, content)


def complete(tx: Tx, terms: Terms, held: ClaimedRecord, content: Encoded) -> bool:
    """Record the result; False if the claim is not valid any more."""
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
    # It was revived from a letter. Resolved in the same commit, it cannot be redriven again by a person that
    # has not heard of the success.
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
    """Record a failure; False if the claim is not valid any more. A final one leaves a dead letter."""
    record = held.record
    # Asked first: a letter that was added for a claim of long ago could not be taken back by ``change``
    # returning False.
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
    """Give it back, unworked: the attempt does not count. False if the claim is not valid any more."""
    # The store's count never falls, because letters tell failures apart by it. So what is given back is
    # counted beside it instead.
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
    """Dead-letter a claimed record. ``attempts`` is the number of the last one, of all that there were."""
    record, content = held.record, held.content
    # The last error on record may be of an earlier attempt than the last one, which then was killed.
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
