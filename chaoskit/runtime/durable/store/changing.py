"""The part of a transaction that is the same in every dialect: change with a fence, claim, remove.

The dialects differ in how they read a row that is about to be changed (SQLite has one writer; a server locks
the row), how they insert a record, and which records a claim may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.store.codec import check_name, checksum, decode, encode
from chaoskit.runtime.durable.store.protocol import KEEP, RUNNING, Keep, Kind, Record
from chaoskit.runtime.durable.store.reading import (
    COLUMNS,
    MOST,
    Row,
    RowReader,
    Where,
    check_limit,
    damage_of,
    record_of,
)

__all__ = ["INSERT", "Put", "RowTx", "check_lease"]

INSERT = (
    "insert into record(kind, scope, key, status, payload, format, crc, operation_id, due, created, updated)"
    " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

CLAIM_NEW = (
    "insert into record(kind, scope, key, status, payload, format, crc, operation_id, due, created, updated,"
    " owner, attempts, fence) values {rows} on conflict do nothing returning key"
)
THERE = "select 1 from record where kind = ? and scope = ? and key = ?"
FAR = float(1 << 63)
CLAIMED_AT_ONCE = 32
"""Records that one statement creates: half a window of a batch. SQLite's limit allows their 384 values."""

# When a claim ends and the value is replaced, the record need not be read first: only the validity of the
# claim matters. The format is compared too, so that a record of a later version takes the slow path, which
# refuses it.
END = (
    "update record set status = ?, payload = ?, format = ?, crc = ?, operation_id = ?, due = ?,"
    " owner = null, updated = ?, version = version + 1"
    f" where kind = ? and scope = ? and key = ? and status = '{RUNNING}' and fence = ? and format <= ?"
)


def check_lease(lease: float) -> None:
    """Check that ``lease`` is a positive number of seconds.

    Raises:
        UsageError: it is not.
    """
    if not lease > 0:
        raise wrong("lease", lease, "seconds, more than zero")


def check_due(due: float | None) -> float | None:
    """Return ``due`` if a database can hold it.

    A record whose due time is NaN would count as live for its writer, and would never be claimed: SQLite
    stores NaN as null, which means settled.

    Raises:
        UsageError: ``due`` is NaN, infinite, or an integer that is too large.
    """
    if due is not None and not -FAR < due < FAR:
        raise wrong("due", due, "a time in seconds, below 2**63, or None for a record that is settled")
    return due


class Put:
    """One record to be written, encoded and checked before any lock is taken.

    Raises:
        CheckpointError: the store cannot hold the value.
        UsageError: the store cannot hold the scope, the key, the status or the due time.
    """

    __slots__ = ("overwrite", "size", "values")

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
        payload = encode(value)
        check_name("scope", scope)
        check_name("key", key)
        check_name("status", status)
        check_due(due)
        if status == RUNNING:
            raise wrong("status", status, "another status", "Only claim() makes a record run.")
        name, form = kind.name, kind.format
        crc = checksum(name, scope, key, status, form, payload)
        self.values = (name, scope, key, status, payload, form, crc, operation_id, due, now, now)
        self.overwrite = (payload, form, crc, operation_id, now, name, scope, key, status, due)
        self.size = len(payload)


class RowTx(RowReader):
    """One transaction over one connection. Beginning and ending it is left to the caller."""

    operation_id: str
    now: float
    repeated: bool
    lock = ""
    """What follows a ``select`` whose rows are to be claimed, to lock them; empty with a single writer."""
    live = ""
    """What follows the table's name where only live records are wanted, to name the index of them."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it changed. Raises errors as classes of the taxonomy."""
        raise NotImplementedError

    def row_to_change(self, kind: Kind, scope: str, key: str) -> Row | None:
        """The row, which no other transaction can change until this one ends; None if there is none."""
        rows = self.rows(
            f"select {COLUMNS} from record where kind = ? and scope = ? and key = ?",
            (kind.name, check_name("scope", scope), check_name("key", key)),
        )
        return rows[0] if rows else None

    def inserted(self, statement: str, values: Sequence[Any]) -> list[Row]:
        """The rows that an insert returns."""
        return self.rows(statement, values)

    def _put(self, kind: Kind, key: str, value: Any, scope: str, status: str, due: float | None) -> Put:
        return Put(kind, scope, key, status, value, due=due, operation_id=self.operation_id, now=self.now)

    def add(
        self, kind: Kind, key: str, value: Any, *, scope: str = "", status: str, due: float | None = None
    ) -> bool:
        return self._insert(self._put(kind, key, value, scope, status, due))

    def _insert(self, put: Put) -> bool:
        """Write a record; return False, and change nothing, if there is one already."""
        return self.execute(f"{INSERT} on conflict do nothing", put.values) == 1

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
        if not isinstance(due, Keep):
            check_due(due)
        # SQLite cannot bind a fence above MOST, which no record has: the comparison further down refuses it.
        plain = fence is not None and fence <= MOST and value is not KEEP and was is None and version is None
        if plain and status not in (None, RUNNING) and self._end(kind, scope, key, status, value, due, fence):
            return True
        row = self.row_to_change(kind, scope, key)
        if row is None:
            return False
        # Before the value is read: the conditions decide even if it is damaged.
        if fence is not None and (row[3] != RUNNING or row[8] != fence):
            return False
        if (was is not None and row[3] != was) or (version is not None and row[6] != version):
            return False
        record = record_of(row, kind)
        new = status if status is not None else record.status
        # Such a record would be running without an owner, and nothing would ever free it.
        if new == RUNNING != record.status:
            raise wrong("status", new, "another status", "Only claim() makes a record run.")
        if isinstance(due, Keep):
            due = record.due if status is None else None
        owner = record.owner if new == RUNNING else None
        if value is KEEP:
            self._update(record, row[4], record.format, new, due, owner)
        else:
            self._update(record, encode(value), kind.format, new, due, owner)
        return True

    def sound(self, kind: Kind, where: Where, limit: int, *, named: bool = False) -> list[Row]:
        """The first rows that can be read: damaged ones do not block the rows after them.

        ``named`` is True if a single record is wanted, by its key.
        """
        table = "record" if named else f"record{self.live}"
        statement = f"select {COLUMNS} from {table} where {where} order by due limit ? offset ?{self.lock}"
        # A second statement is needed only if some of the first rows were damaged.
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

    def claimant(self) -> str:
        """The owner id of this process, which is entered into the store if necessary."""
        raise NotImplementedError

    @property
    def is_claimant(self) -> bool:
        """True if this process is entered as an owner already."""
        raise NotImplementedError

    def claimable(self, kind: Kind, scope: str, key: str | None) -> tuple[str, Sequence[Any]]:
        """The condition under which a live record is free to claim, with its values.

        Called after ``claimant``.
        """
        raise NotImplementedError

    def claim(
        self,
        kind: Kind,
        *,
        lease: float,
        scope: str | None = None,
        key: str | None = None,
        limit: int = 1,
    ) -> list[Record]:
        check_lease(lease)
        if key is not None and scope is None:
            raise wrong("scope", scope, "the scope of the key", "Pass scope='' if it has none.")
        mine = self.claimant()
        term, values = self.claimable(kind, scope or "", key)
        where = Where(kind)
        where.scope(scope)
        if key is not None:
            where.add("key = ?", check_name("key", key))
        # Most records are settled, and settled ones are never claimed.
        where.add("due is not null")
        where.add(term, *values)
        return [
            self.claimed(row, kind, mine, lease)
            for row in self.sound(kind, where, limit, named=key is not None)
        ]

    def claim_new(
        self, kind: Kind, keys: Sequence[str], value: Any, *, lease: float, scope: str = ""
    ) -> list[Record]:
        check_lease(lease)
        place = (kind.name, check_name("scope", scope))
        for key in keys:
            check_name("key", key)
        # A refused claim must leave the store as it was, without an owner that owns nothing.
        if not self.is_claimant and all(self.rows(THERE, (*place, key)) for key in keys):
            return []
        mine, due, now = self.claimant(), self.now + lease, self.now
        payload = encode(value)
        made: set[str] = set()
        for first in range(0, len(keys), CLAIMED_AT_ONCE):
            values: list[Any] = []
            for key in keys[first : first + CLAIMED_AT_ONCE]:
                crc = checksum(*place, key, RUNNING, kind.format, payload)
                values += (*place, key, RUNNING, payload, kind.format, crc, self.operation_id, due, now, now)
                values.append(mine)
            rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1)"] * (len(values) // 12))
            made.update(row[0] for row in self.inserted(CLAIM_NEW.format(rows=rows), values))
        value, id = decode(payload), self.operation_id
        return [
            Record(*place, key, RUNNING, value, kind.format, 1, 1, 1, mine, due, now, now, id)
            for key in dict.fromkeys(keys)
            if key in made
        ]

    def claimed(self, row: Row, kind: Kind, mine: str, lease: float) -> Record:
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
            # With a subselect, since SQLite has "delete … limit" only as a build option.
            f" (select kind, scope, key from record where {where} limit ?)",
            (*where.values, check_limit(limit)),
        )

    def _end(
        self,
        kind: Kind,
        scope: str,
        key: str,
        status: str | None,
        value: Any,
        due: float | Keep | None,
        fence: int | None,
    ) -> bool:
        """End a claim without reading the record first, which halves the statements of the usual case."""
        if isinstance(due, Keep):
            due = None
        place = (kind.name, check_name("scope", scope), check_name("key", key))
        payload = encode(value)
        crc = checksum(*place, check_name("status", status or ""), kind.format, payload)
        written = (status, payload, kind.format, crc, self.operation_id, due, self.now)
        return self.execute(END, (*written, *place, fence, kind.format)) == 1

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
