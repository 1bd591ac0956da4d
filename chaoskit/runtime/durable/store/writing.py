"""The writing half of SQLite's dialect: a transaction, and the single statement of a plain write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaoskit.runtime.durable.store.changing import INSERT, Put, RowTx
from chaoskit.runtime.durable.store.owners import Owners
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind
from chaoskit.runtime.durable.store.reading import Row
from chaoskit.runtime.durable.store.sqlite import SqliteReader, failure

__all__ = ["SqliteTx", "write_put"]

# If status and due stay as they are, no index is written: one page instead of three.
OVERWRITE = (
    "update record set payload = ?, format = ?, crc = ?, operation_id = ?, updated = ?,"
    " version = version + 1, attempts = 0, owner = null"
    " where kind = ? and scope = ? and key = ? and status = ? and due is ?"
)
# The fence is kept: if it ever fell, an old claim could become valid again.
PUT = (
    f"{INSERT} on conflict(kind, scope, key) do update set status = excluded.status,"
    " payload = excluded.payload, format = excluded.format, crc = excluded.crc,"
    " operation_id = excluded.operation_id, due = excluded.due, updated = excluded.updated,"
    " version = record.version + 1, attempts = 0, owner = null"
)


def write_put(connection: sqlite3.Connection, put: Put) -> None:
    """Write one record. Needs no transaction around it, since only one of the two statements writes."""
    if not connection.execute(OVERWRITE, put.overwrite).rowcount:
        connection.execute(PUT, put.values)


class SqliteTx(SqliteReader, RowTx):
    """One transaction, after ``begin immediate``."""

    # The index is named, since SQLite has no statistics here to choose by. For claims in all scopes it chose
    # the index of statuses, and read every settled record of the kind.
    live = " indexed by record_live"

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        operation_id: str,
        now: float,
        owners: Owners,
        *,
        repeated: bool,
    ) -> None:
        super().__init__(connection, path)
        self.operation_id, self.now, self.repeated = operation_id, now, repeated
        self._owners = owners
        self._mine: str | None = None
        self._living: tuple[list[str], list[str]] | None = None
        self.size = 0

    def put(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> None:
        put = self._put(kind, key, value, scope, status, due)
        self.size += put.size
        try:
            write_put(self.connection, put)
        except sqlite3.Error as error:
            raise failure(error, self._path, size=put.size) from error

    def claimable(self, kind: Kind, scope: str, key: str | None) -> tuple[str, Sequence[Any]]:
        # Once per transaction, however many claims it makes: this is two of a claim's five statements.
        if self._living is None:
            self._living = self._owners.alive(self)
        here, elsewhere = self._living
        return (
            f"case when status <> '{RUNNING}' then due <= ?"
            " when owner in (select value from json_each(?)) then due <= ?"
            " else owner not in (select value from json_each(?)) end",
            (self.now, json.dumps(elsewhere), self.now, json.dumps(here)),
        )

    @property
    def is_claimant(self) -> bool:
        return self._owners.known

    def claimant(self) -> str:
        if self._mine is not None:
            return self._mine
        row = self._owners.claimant()
        # The earlier owner of the byte is dead, since the byte was free. Replacing its row removes its name
        # from the living owners, and so frees its claims.
        self.execute(
            "insert into owner(machine, byte, id, boot, pid, started) values(?, ?, ?, ?, ?, ?)"
            " on conflict(machine, byte) do update set id = excluded.id, boot = excluded.boot,"
            " pid = excluded.pid, started = excluded.started where owner.id <> excluded.id",
            row,
        )
        self._mine = str(row[2])
        return self._mine

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._sized(statement, values).rowcount

    def inserted(self, statement: str, values: Sequence[Any]) -> list[Row]:
        return self._sized(statement, values).fetchall()

    def _sized(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        size = sum([len(value) for value in values if isinstance(value, str)])
        self.size += size
        try:
            return self.connection.execute(statement, values)
        except sqlite3.Error as error:
            raise failure(error, self._path, size=size) from error
