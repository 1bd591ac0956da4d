"""The record that a dead letter is about, and how it comes back to life."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.runtime.durable.store.protocol import Kind, Tx

__all__ = ["FAILED", "FORGIVEN", "Origin", "revive"]

FAILED = ("failed", "dead")
"""The statuses of a record that failed: it may be tried again, or its attempts are used up."""

FORGIVEN = "forgiven"
"""In a record's value: how many of its attempts do not count any more.

The store's own count never falls, since it tells one failure from the next.
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands. A letter with an origin is redriven by reviving that record."""

    kind: str
    scope: str
    key: str
    format: int = 1


def revive(tx: Tx, origin: Origin) -> bool:
    """Let the record be claimed again, now, with all of its attempts; False if it has not failed.

    Raises:
        RecordCorrupt, StoreTooNew: it cannot be read.
    """
    kind = Kind(origin.kind, origin.format)
    record = tx.get(kind, origin.key, scope=origin.scope)
    # One that runs, or was completed by other means, is no longer what the letter tells of.
    if record is None or record.status not in FAILED:
        return False
    # ``put`` would count from 0 again, and the next failure would look like one that was reported before.
    value = {**record.value, FORGIVEN: record.attempts}
    return tx.change(kind, origin.key, scope=origin.scope, status="pending", value=value, due=tx.now)
