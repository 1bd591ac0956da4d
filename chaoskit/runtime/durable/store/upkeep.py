"""What keeps a store's files bounded: checkpoints, the age of the ledger, and the reserve for a full disk."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from chaoskit.runtime.durable.reserve import Reserve
from chaoskit.runtime.durable.store.commit import Write
from chaoskit.runtime.durable.store.files import StoreFiles

__all__ = ["LEDGER_DAYS", "Upkeep"]

logger = logging.getLogger("chaoskit")

PAGE = 4096
LEDGER_DAYS = 7
EVERY = 3600.0
"""Seconds between two looks at the age of the ledger."""
HARD = 4
"""At this many times the limit a checkpoint waits for readers, so that the WAL can begin again."""
SWEEP = 1000


class Upkeep:
    """Called by the leader of the writers, with the lock of the store held."""

    def __init__(self, files: StoreFiles, wal_limit: int, reserve: int) -> None:
        self._files, self._limit = files, wal_limit
        self.reserve = Reserve(files.reserve, reserve)
        self._written = 0
        self._pages = 3.0
        self._swept = 0.0
        self.checkpoints = 0
        self.last_error = ""

    @property
    def limit(self) -> int:
        """Bytes of the WAL at which a checkpoint is due."""
        return self._limit * PAGE

    def due(self, operations: Sequence[Write]) -> bool:
        """True about once per ``wal_limit`` pages of what was written since the last checkpoint."""
        for one in operations:
            self._written += 1 + one.size // PAGE
        return self._written * self._pages >= self._limit

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        if now - self._swept >= EVERY or now < self._swept:
            self._sweep(connection, now)
        # Passive waits for no reader. If one holds on for so long that the WAL grows, wait for it a little.
        self.checkpoint(connection, "restart" if self._files.wal_size() >= HARD * self.limit else "passive")
        self.reserve.lay_by()

    def checkpoint(self, connection: sqlite3.Connection, mode: str) -> bool:
        """Copy the WAL into the database; True if all of it could be."""
        busy, pages, copied = connection.execute(f"pragma wal_checkpoint({mode})").fetchall()[0]
        self.checkpoints += 1
        if self._written:
            # SQLite tells how long the WAL is only here. So a page of ours is taken to be as many in the WAL
            # as it was the last time: indexes and the writes of other processes count too.
            self._pages = min(max(pages / self._written, 1.0), 8.0)
        self._written = 0
        return not busy and pages == copied

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        # They stand in the order of time, but clocks step: what is old is looked for among the first only.
        gone = connection.execute(
            "delete from operation where n in (select n from operation order by n limit ?) and at < ?",
            (SWEEP, now - LEDGER_DAYS * 86400),
        ).rowcount
        if gone < SWEEP:
            self._swept = now

    def failed(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        logger.warning("upkeep of %s failed: %s", self._files.database, error)
