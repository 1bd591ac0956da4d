"""Lost answers of writes: ask the store whether the write was committed before the caller sees an error."""

from __future__ import annotations

from collections.abc import Callable

from chaoskit.runtime.durable.checkpoints.records import CheckpointContent
from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord
from chaoskit.runtime.durable.store.asking import was_committed
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Storage, Tx
from chaoskit.runtime.failures.stored import OutcomeUnknown

__all__ = ["claimed_by", "settle"]


def settle(store: Storage, work: Callable[[Tx], bool], *, urgent: bool = False) -> bool:
    """Write, and return the result of ``work``; True if the answer was lost but the write was committed.

    Raises:
        ResilienceError: the store's. After ``OutcomeUnknown`` the write either was not committed, or the
            store could not be asked.
    """
    try:
        return store.write(work, urgent=urgent)
    except OutcomeUnknown as unknown:
        if not was_committed(store, unknown):
            raise
        return True


def claimed_by(store: Storage, kind: Kind, operation_id: str) -> list[ClaimedRecord]:
    """The claims that one committed write made.

    The lost answer would have named them. A claim that this process does not know of stays held until the
    process ends.
    """
    held: list[ClaimedRecord] = []
    after = None
    while True:
        page = store.find(kind, status=RUNNING, after=after, limit=1000)
        held += [
            ClaimedRecord(one, CheckpointContent.of(one))
            for one in page.records
            if one.operation_id == operation_id
        ]
        after = page.next
        if after is None:
            return held
