"""The processes that claim. Each has a row that says which process it is, on which machine and boot.

No lock is visible to every process on every machine. So a claim ends with its lease, by the server's clock.
Only for a process of this machine can it be seen earlier that it has ended.
"""

from __future__ import annotations

import os
import uuid

from chaoskit.runtime.durable.owners import Owner, lives, this_owner
from chaoskit.runtime.durable.store.changing import RowTx
from chaoskit.runtime.durable.store.reading import RowReader

__all__ = ["ServerOwners"]


class ServerOwners:
    """The owners of one store, as this process sees them."""

    def __init__(self) -> None:
        self.mine = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.recorded = False
        """True once a transaction that wrote the row was committed. The transaction's owner sets it."""

    def claimant(self, tx: RowTx) -> str:
        """The owner id of this process, which has a row once ``tx`` is committed."""
        if not self.recorded:
            tx.execute(
                "insert into owner(id, process, at) values(?, ?, ?) on conflict do nothing",
                (self.mine, str(this_owner()), tx.now),
            )
        return self.mine

    def dead(self, reader: RowReader) -> list[str]:
        """The owners that were processes of this machine and have ended."""
        # The first ten digits identify machine, boot and container. Not by "like", whose patterns would need
        # escapes.
        prefix = str(this_owner())[:10]
        rows = reader.rows("select id, process from owner where left(process, 10) = ?", (prefix,))
        return [id for id, process in rows if id != self.mine and _lives(process) is False]

    def lives(self, reader: RowReader, owner: str) -> bool | None:
        """True if this owner is alive; None if it is on another machine."""
        rows = reader.rows("select process from owner where id = ?", (owner,))
        return _lives(rows[0][0]) if rows else False


def _lives(process: str) -> bool | None:
    owner = Owner.parse(process)
    return None if owner is None else lives(owner)
