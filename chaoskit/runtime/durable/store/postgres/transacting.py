"""PostgreSQL's dialect: a transaction, and the single statement of a plain write.

Many transactions run at once here, and each sees what the others have committed. So a row that is read in
order to be changed is locked by that read. A record that was missing is inserted; if another transaction has
inserted it first, the whole work is run again.
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
"""The server's time, which advances within a transaction; that of ``now()`` does not."""

# If status and due stay as they are, no index is written, and the new row can share the old one's page.
OVERWRITE = (
    "update record set payload = ?, format = ?, crc = ?, operation_id = ?, updated = {now},"
    " version = version + 1, attempts = 0, owner = null"
    " where kind = ? and scope = ? and key = ? and status = ? and due is not distinct from ?::float8"
)
# Every name is qualified: unlike in SQLite, "version = version + 1" is ambiguous here.
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
    """Another transaction has inserted a record that was missing here: the work has to be run again."""


@lru_cache(maxsize=512)
def dialect(statement: str) -> bytes:
    """A statement with psycopg's marks for values instead of ``?``. The statement must not contain a %."""
    return statement.replace("?", "%s").encode()


def write_put(connection: Connection, put: Put, now: float | None) -> None:
    """Write one record. Needs no transaction around it, since only one of the two statements writes.

    With ``now`` None the time is the server's. Raises psycopg's errors unchanged.
    """
    clock = NOW if now is None else "?::float8"
    times = () if now is None else (now,)
    payload, form, crc, id, _, *place = put.overwrite
    update = dialect(OVERWRITE.format(now=clock))
    if not connection.execute(update, (payload, form, crc, id, *times, *place)).rowcount:
        connection.execute(dialect(UPSERT.format(now=clock)), (*put.values[:-2], *times))


class PostgresReader(RowReader):
    """Reads over one connection. Raises the server's errors as classes of the taxonomy."""

    def __init__(self, connection: Connection, where: str) -> None:
        self.connection, self._where = connection, where

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(dialect(statement), values).fetchall()
        except psycopg.Error as error:
            raise failure(error, self._where) from error


class PostgresTx(PostgresReader, RowTx):
    """One transaction, after ``begin``. ``broken`` is the error after which the server refuses all further
    statements."""

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
        # Locked, so that the record does not change until the transaction ends.
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
            # Wait for the lock of a record that is claimed by name: if it were skipped while another
            # transaction has it locked, it would look as if it were claimed.
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
        # Keep the first error only: later ones just say that the transaction is broken.
        if self.broken is None:
            self.broken = error
        return failure(error, self._where)
