"""The writing half of SQLite's dialect: a transaction, and the one statement that a plain write is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.store.codec import Encoded, check_name, checksum, encode
from chaoskit.runtime.durable.store.owners import Owners
from chaoskit.runtime.durable.store.protocol import KEEP, RUNNING, Keep, Kind, Record
from chaoskit.runtime.durable.store.reading import (
    COLUMNS,
    Row,
    SqliteReader,
    Where,
    check_limit,
    damage_of,
    record_of,
)
from chaoskit.runtime.durable.store.sqlite import failure

__all__ = ["Put", "SqliteTx"]

_INSERT = (
    "insert into record(kind, scope, key, status, payload, format, crc, operation_id, due, created, updated)"
    " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# If status and due stay as they are, nothing of an index is written: one page instead of three.
OVERWRITE = (
    "update record set payload = ?, format = ?, crc = ?, operation_id = ?, updated = ?,"
    " version = version + 1, attempts = 0, owner = null"
    " where kind = ? and scope = ? and key = ? and status = ? and due is ?"
)
# The fence is kept: it must never fall, or a claim of long ago would fit again.
PUT = (
    f"{_INSERT} on conflict(kind, scope, key) do update set status = excluded.status,"
    " payload = excluded.payload, format = excluded.format, crc = excluded.crc,"
    " operation_id = excluded.operation_id, due = excluded.due, updated = excluded.updated,"
    " version = record.version + 1, attempts = 0, owner = null"
)


class Put:
    """One record to be written, encoded and checked before any lock is taken.

    Raises:
        CheckpointError: the value cannot be kept.
        UsageError: scope, key or status cannot be.
    """

    __slots__ = ("_overwrite", "size", "values")

    def __init__(
        self,
        kind: Kind,
        scope: str,
        key: str,
        status: str,
        value: Any,
        *,
        due: float | None,
        operation_id: str,
        now: float,
    ) -> None:
        payload = value if isinstance(value, Encoded) else encode(value)
        check_name("scope", scope)
        check_name("key", key)
        check_name("status", status)
        if status == RUNNING:
            raise wrong("status", status, "another status", "Only claim() makes a record run.")
        name, form = kind.name, kind.format
        crc = checksum(name, scope, key, status, form, payload)
        self.values = (name, scope, key, status, payload, form, crc, operation_id, due, now, now)
        self._overwrite = (payload, form, crc, operation_id, now, name, scope, key, status, due)
        self.size = len(payload)

    def run(self, connection: sqlite3.Connection) -> None:
        """Write it. Outside of a transaction each statement is one; only one of the two writes."""
        if not connection.execute(OVERWRITE, self._overwrite).rowcount:
            connection.execute(PUT, self.values)


class SqliteTx(SqliteReader):
    """One transaction, within ``begin immediate``."""

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
        self._living: tuple[str, list[str], list[str]] | None = None
        self.size = 0

    def put(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> None:
        put = self._put(kind, key, value, scope, status, due)
        self.size += put.size
        with self._typed(put.size):
            put.run(self.connection)

    def add(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> bool:
        put = self._put(kind, key, value, scope, status, due)
        return self.execute(f"{_INSERT} on conflict do nothing", put.values) == 1

    def _put(self, kind: Kind, key: str, value: Any, scope: str, status: str, due: float | None) -> Put:
        return Put(kind, scope, key, status, value, due=due, operation_id=self.operation_id, now=self.now)

    def change(
        self,
        kind: Kind,
        key: str,
        *,
        scope: str = "",
        status: str | None = None,
        value: Any = KEEP,
        due: float | Keep | None = KEEP,
        fence: int | None = None,
        was: str | None = None,
        version: int | None = None,
    ) -> bool:
        row = self._row(kind, scope, key)
        if row is None:
            return False
        # What claims go by is looked at before the value, which may be damaged.
        if fence is not None and (row[3] != RUNNING or row[8] != fence):
            return False
        if (was is not None and row[3] != was) or (version is not None and row[6] != version):
            return False
        record = record_of(row, kind)
        new = status if status is not None else record.status
        # A record would run without an owner, and nothing would ever free it.
        if new == RUNNING != record.status:
            raise wrong("status", new, "another status", "Only claim() makes a record run.")
        if isinstance(due, Keep):
            due = record.due if status is None else None
        owner = record.owner if new == RUNNING else None
        if value is KEEP:
            self._update(record, row[4], record.format, new, due, owner)
        else:
            payload = value if isinstance(value, Encoded) else encode(value)
            self._update(record, payload, kind.format, new, due, owner)
        return True

    def claim(
        self,
        kind: Kind,
        *,
        lease: float,
        scope: str | None = None,
        key: str | None = None,
        limit: int = 1,
    ) -> list[Record]:
        if not lease > 0:
            raise wrong("lease", lease, "seconds, more than zero")
        if key is not None and scope is None:
            raise wrong("scope", scope, "the scope of the key", "Pass scope='' if it has none.")
        # Once in a transaction, however many it claims: that is two of the five statements of a claim.
        if self._living is None:
            self._living = (self._claimant(), *self._owners.alive(self))
        mine, here, elsewhere = self._living
        where = Where(kind)
        where.scope(scope)
        if key is not None:
            where.add("key = ?", check_name("key", key))
        # Settled records are most of them, and never claimed.
        where.add("due is not null")
        where.add(
            f"case when status <> '{RUNNING}' then due <= ?"
            " when owner in (select value from json_each(?)) then due <= ?"
            " else owner not in (select value from json_each(?)) end",
            *(self.now, json.dumps(elsewhere), self.now, json.dumps(here)),
        )
        return [self._claimed(row, kind, mine, lease) for row in self._sound(kind, where, limit)]

    def _claimant(self) -> str:
        row = self._owners.claimant()
        # The one that had the byte before is dead: nothing else frees it. With the row goes its name,
        # and with the name its claims become free.
        self.execute(
            "insert into owner(machine, byte, id, boot, pid, started) values(?, ?, ?, ?, ?, ?)"
            " on conflict(machine, byte) do update set id = excluded.id, boot = excluded.boot,"
            " pid = excluded.pid, started = excluded.started where owner.id <> excluded.id",
            row,
        )
        return str(row[2])

    def _sound(self, kind: Kind, where: Where, limit: int) -> list[Row]:
        """The first rows that can be read: damaged ones never stand in the way of those behind them."""
        statement = f"select {COLUMNS} from record where {where} order by due limit ? offset ?"
        # One statement more only if damaged rows were among the first.
        found: list[Row] = []
        passed = 0
        while len(found) < limit:
            values = (*where.values, check_limit(limit), passed)
            rows = self.rows(statement, values)
            found += [row for row in rows if damage_of(row, kind) is None]
            passed += len(rows)
            if len(rows) < limit:
                break
        return found[:limit]

    def _claimed(self, row: Row, kind: Kind, mine: str, lease: float) -> Record:
        before = record_of(row, kind)
        due = self.now + lease
        self._update(
            before, row[4], before.format, RUNNING, due, mine, ", attempts = attempts + 1, fence = fence + 1"
        )
        return replace(
            before,
            status=RUNNING,
            owner=mine,
            due=due,
            version=before.version + 1,
            attempts=before.attempts + 1,
            fence=before.fence + 1,
            updated=self.now,
            operation_id=self.operation_id,
        )

    def delete(self, kind: Kind, key: str, *, scope: str = "", version: int | None = None) -> bool:
        where = Where(kind)
        where.scope(scope)
        where.add("key = ?", check_name("key", key))
        if version is not None:
            where.add("version = ?", version)
        return self.execute(f"delete from record where {where}", where.values) == 1

    def purge(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        updated_before: float | None = None,
        limit: int = 1000,
    ) -> int:
        where = Where(kind)
        where.scope(scope)
        where.status(status)
        where.updated_before(updated_before)
        return self.execute(
            "delete from record where (kind, scope, key) in"
            # By a subselect: SQLite has "delete … limit" only as an option of its build.
            f" (select kind, scope, key from record where {where} limit ?)",
            (*where.values, check_limit(limit)),
        )

    def _row(self, kind: Kind, scope: str, key: str) -> Row | None:
        rows = self.rows(
            f"select {COLUMNS} from record where kind = ? and scope = ? and key = ?",
            (kind.name, check_name("scope", scope), check_name("key", key)),
        )
        return rows[0] if rows else None

    def _update(
        self,
        record: Record,
        payload: str,
        form: int,
        status: str,
        due: float | None,
        owner: str | None,
        counting: str = "",
    ) -> None:
        check_name("status", status)
        place = (record.kind, record.scope, record.key)
        self.execute(
            "update record set status = ?, payload = ?, format = ?, crc = ?, operation_id = ?, due = ?,"
            f" owner = ?, updated = ?, version = version + 1{counting}"
            " where kind = ? and scope = ? and key = ?",
            (
                *(status, payload, form, checksum(*place, status, form, payload), self.operation_id, due),
                *(owner, self.now, *place),
            ),
        )

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        size = sum(len(value) for value in values if isinstance(value, str))
        self.size += size
        with self._typed(size):
            return self.connection.execute(statement, values).rowcount

    @contextmanager
    def _typed(self, size: int) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise failure(error, self._path, size=size) from error
