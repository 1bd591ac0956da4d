"""The record that a dead letter is about, and how to revive it."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.runtime.durable.store.protocol import Kind, Tx

__all__ = ["FAILED", "FORGIVEN", "Origin", "revive"]

FAILED = ("failed", "dead")
"""The statuses of a record that failed: ``failed`` may be tried again, ``dead`` has no attempts left."""

FORGIVEN = "forgiven"
"""The key in a record's value that says how many of its attempts no longer count.

The store's own count never falls, since it distinguishes one failure from the next.
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a record. A letter with an origin is redriven by reviving that record."""

    kind: str
    scope: str
    key: str
    format: int = 1


def revive(tx: Tx, origin: Origin) -> bool:
    """Let the record be claimed again, now, with all its attempts; return False if it is not a failed one.

    Raises:
        RecordCorrupt, StoreTooNew: the record cannot be read.
    """
    kind = Kind(origin.kind, origin.format)
    record = tx.get(kind, origin.key, scope=origin.scope)
    # If the record is running, or was completed by other means, the letter is out of date.
    if record is None or record.status not in FAILED:
        return False
    # Not ``put``, which restarts the count of attempts: the next failure would pass for one reported before.
    value = {**record.value, FORGIVEN: record.attempts}
    return tx.change(kind, origin.key, scope=origin.scope, status="pending", value=value, due=tx.now)
