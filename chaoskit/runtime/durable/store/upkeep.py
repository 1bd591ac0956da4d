"""Keeping a store's files small: checkpoints, the ledger's old entries, and the reserve for a full disk."""

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
"""Seconds between two removals of old ledger entries."""
HARD = 4
"""When the WAL has this many times its limit, a checkpoint waits for readers, so that the WAL can restart."""
SWEEP = 1000


class Upkeep:
    """Keeps the files small. Called by the thread that leads the writers, with the store's lock held."""

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
        """The size of the WAL, in bytes, at which a checkpoint is due."""
        return self._limit * PAGE

    def due(self, operations: Sequence[Write]) -> bool:
        """Count what was written, and return True about once per ``wal_limit`` pages in the WAL."""
        for one in operations:
            self._written += 1 + one.size // PAGE
        return self._written * self._pages >= self._limit

    def run(self, connection: sqlite3.Connection, now: float) -> None:
        if now - self._swept >= EVERY or now < self._swept:
            self._sweep(connection, now)
        # "passive" waits for no reader. If a reader stays so long that the WAL grows, "restart" waits for it,
        # but no longer than SQLite's busy timeout.
        self.checkpoint(connection, "restart" if self._files.wal_size() >= HARD * self.limit else "passive")
        self.reserve.lay_by()

    def checkpoint(self, connection: sqlite3.Connection, mode: str) -> bool:
        """Copy the WAL into the database; return True if all of it was copied."""
        busy, pages, copied = connection.execute(f"pragma wal_checkpoint({mode})").fetchall()[0]
        self.checkpoints += 1
        if self._written:
            # Only here does SQLite report the length of the WAL. That gives the ratio of its pages to the
            # pages that were counted, used until the next checkpoint. The WAL also holds indexes and the
            # writes of other processes, which were not counted.
            self._pages = min(max(pages / self._written, 1.0), 8.0)
        self._written = 0
        return not busy and pages == copied

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        # Only the first entries are searched: they are in the order of time, unless a clock was set back.
        gone = connection.execute(
            "delete from operation where n in (select n from operation order by n limit ?) and at < ?",
            (SWEEP, now - LEDGER_DAYS * 86400),
        ).rowcount
        if gone < SWEEP:
            self._swept = now

    def failed(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        logger.warning("upkeep of %s failed: %s", self._files.database, error)
