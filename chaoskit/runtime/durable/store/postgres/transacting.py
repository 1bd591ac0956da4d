"""The dialect of PostgreSQL: a transaction, and the one statement that a plain write is.

Many transactions run at once here, each seeing what the others have committed. So what is read to be
changed is locked as it is read, and what was found missing is written as something new: if another
transaction has written it meanwhile the whole work is run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import psycopg

from chaoskit.runtime.durable.store.changing import Put, RowTx
from chaoskit.runtime.durable.store.codec import check_name
from chaoskit.runtime.durable.store.postgres.failures import failure
from chaoskit.runtime.durable.store.postgres.owners import ServerOwners
from chaoskit.runtime.durable.store.protocol import RUNNING, Kind, Record
from chaoskit.runtime.durable.store.reading import COLUMNS, Row, RowReader, record_of

__all__ = ["NOW", "Overtaken", "PostgresReader", "PostgresTx", "write_put"]

NOW = "extract(epoch from clock_timestamp())::float8"
"""The time of the server, as it passes within a transaction too; ``now()`` stands still there."""

# If status and due stay as they are no index is written, and the new row can stand on the page of the old.
OVERWRITE = (
    "update record set payload = ?, format = ?, crc = ?, operation_id = ?, updated = {now},"
    " version = version + 1, attempts = 0, owner = null"
    " where kind = ? and scope = ? and key = ? and status = ? and due is not distinct from ?::float8"
)
# Every name is qualified: "version = version + 1" would be ambiguous here, and is not in SQLite.
UPSERT = (
    "insert into record(kind, scope, key, status, payload, format, crc, operation_id, due, created, updated)"
    " select ?, ?, ?, ?, ?, ?, ?, ?, ?::float8, clock.now, clock.now from (select {now} as now) as clock"
    " on conflict(kind, scope, key) do update set status = excluded.status,"
    " payload = excluded.payload, format = excluded.format, crc = excluded.crc,"
    " operation_id = excluded.operation_id, due = excluded.due, updated = excluded.updated,"
    " version = record.version + 1, attempts = 0, owner = null"
)

Connection = psycopg.Connection[tuple[Any, ...]]


class Overtaken(Exception):
    """Another transaction has written what this one had found missing: the work has to be run again."""


@lru_cache(maxsize=512)
def dialect(statement: str) -> bytes:
    """A statement whose values are marked by ``?``, as psycopg marks them. None of ours has a % in it."""
    return statement.replace("?", "%s").encode()


def write_put(connection: Connection, put: Put, now: float | None) -> None:
    """Write one record. Outside of a transaction each statement is one; only one of the two writes.

    ``now`` None: the server's. Raises psycopg's errors as they are.
    """
    clock = NOW if now is None else "?::float8"
    times = () if now is None else (now,)
    payload, form, crc, id, _, *place = put.overwrite
    update = dialect(OVERWRITE.format(now=clock))
    if not connection.execute(update, (payload, form, crc, id, *times, *place)).rowcount:
        connection.execute(dialect(UPSERT.format(now=clock)), (*put.values[:-2], *times))


class PostgresReader(RowReader):
    """Reads over one connection. Raises the store's error for each of the server's."""

    def __init__(self, connection: Connection, where: str) -> None:
        self.connection, self._where = connection, where

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(dialect(statement), values).fetchall()
        except psycopg.Error as error:
            raise failure(error, self._where) from error


class PostgresTx(PostgresReader, RowTx):
    """One transaction, after ``begin``. ``broken`` is the error of the server after which it is dead."""

    lock = " for update skip locked"

    def __init__(
        self,
        connection: Connection,
        where: str,
        operation_id: str,
        now: float,
        owners: ServerOwners,
        *,
        repeated: bool,
    ) -> None:
        super().__init__(connection, where)
        self.operation_id, self.now, self.repeated = operation_id, now, repeated
        self.broken: Exception | None = None
        self.claimed_as: str | None = None
        self._owners = owners
        self._missing: set[tuple[str, str, str]] = set()

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        # Locked: what was read is still so when the transaction ends.
        row = self.row_to_change(kind, scope, key)
        return None if row is None else record_of(row, kind)

    def row_to_change(self, kind: Kind, scope: str, key: str) -> Row | None:
        rows = self.rows(
            f"select {COLUMNS} from record where kind = ? and scope = ? and key = ? for update",
            (kind.name, check_name("scope", scope), check_name("key", key)),
        )
        if not rows:
            self._missing.add((kind.name, scope, key))
            return None
        return rows[0]

    def put(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> None:
        put = self._put(kind, key, value, scope, status, due)
        if (kind.name, scope, key) in self._missing:
            self._insert(put)
            return
        try:
            write_put(self.connection, put, self.now)
        except psycopg.Error as error:
            raise self._noted(error) from error

    def _insert(self, put: Put) -> bool:
        name = put.values[:3]
        new = super()._insert(put)
        if not new and name in self._missing:
            self.broken = Overtaken()
            raise self.broken
        self._missing.discard(name)
        return new

    def claimable(self, kind: Kind, scope: str, key: str | None) -> tuple[str, Sequence[Any]]:
        dead = self._owners.dead(self)
        if key is not None:
            # One that is asked for by name is waited for: passed over, it would look as if it were held.
            # Nothing that is waited for is decided before it is locked.
            self.row_to_change(kind, scope, key)
        if not dead:
            return "due <= ?", (self.now,)
        return f"(due <= ? or (status = '{RUNNING}' and owner = any(?)))", (self.now, dead)

    @property
    def is_claimant(self) -> bool:
        return self._owners.recorded

    def claimant(self) -> str:
        self.claimed_as = self._owners.claimant(self)
        return self.claimed_as

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(dialect(statement), values).fetchall()
        except psycopg.Error as error:
            raise self._noted(error) from error

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        try:
            return self.connection.execute(dialect(statement), values).rowcount
        except psycopg.Error as error:
            raise self._noted(error) from error

    def _noted(self, error: psycopg.Error) -> Exception:
        # The first of them: those that follow only say that the transaction is dead.
        if self.broken is None:
            self.broken = error
        return failure(error, self._where)
