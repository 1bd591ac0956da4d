"""The reading half of both dialects: rows become records, or are found to be damaged.

Statements that only read are the same for all databases: they compare values, and never take a lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.store.codec import check_name, checksum, decode, in_utf8
from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, Page, Record
from chaoskit.runtime.failures.stored import RecordCorrupt, StoreTooNew

__all__ = ["COLUMNS", "MOST", "Row", "RowReader", "Where", "check_limit", "damage_of", "record_of"]

Row = tuple[Any, ...]

COLUMNS = (
    "kind, scope, key, status, payload, format, version, attempts, fence, owner, due, created, updated,"
    " operation_id, crc"
)


_WHOLE = [int, int, int]
MOST = 1 << 53
"""No record has more writes, attempts or claims than this; only a flipped bit makes more.

Such a record counts as damaged and is never counted up: beyond 63 bits SQLite continues with a floating-point
number, with which Python can no longer ask for the record.
"""
_TIMES = frozenset({float, int})


class Where:
    """The condition of a statement, extended by one term for each argument. Values are always bound."""

    def __init__(self, kind: Kind) -> None:
        self._terms, self.values = ["kind = ?"], [kind.name]

    def add(self, term: str, *values: object) -> None:
        self._terms.append(term)
        self.values += values  # type: ignore[arg-type]

    def scope(self, scope: str | None) -> None:
        if scope is not None:
            self.add("scope = ?", check_name("scope", scope))

    def status(self, status: str | Sequence[str] | None) -> None:
        if status is not None:
            several = (status,) if isinstance(status, str) else tuple(status)
            self.add(f"status in ({', '.join('?' * len(several))})", *several)

    def updated_before(self, moment: float | None) -> None:
        if moment is not None:
            self.add("updated < ?", float(moment))

    def __str__(self) -> str:
        return " and ".join(self._terms)


class RowReader:
    """Reads with ``rows``, which each dialect implements. Statements mark their values by ``?`` in all."""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement. Raises the database's errors as classes of the taxonomy."""
        raise NotImplementedError

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        rows = self.rows(
            f"select {COLUMNS} from record where kind = ? and scope = ? and key = ?",
            (kind.name, check_name("scope", scope), check_name("key", key)),
        )
        return record_of(rows[0], kind) if rows else None

    def find(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        live: bool = False,
        updated_before: float | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Page:
        where = Where(kind)
        where.scope(scope)
        where.status(status)
        where.updated_before(updated_before)
        if live:
            where.add("due is not null")
        if after is not None:
            # Not by offset, which would skip or repeat rows while others write.
            where.add(*behind(("scope", "key"), after))
        rows = self.rows(
            f"select {COLUMNS} from record where {where} order by scope, key limit ?",
            (*where.values, check_limit(limit)),
        )
        read = [_read(row, kind) for row in rows]
        return Page(
            tuple(one for one in read if isinstance(one, Record)),
            tuple(one for one in read if isinstance(one, DamagedRecord)),
            # The last row, even if it is damaged: otherwise a page of damaged rows would end the list.
            (rows[-1][1], rows[-1][2]) if len(rows) == limit else None,
        )

    def count(self, kind: Kind, *, scope: str | None = None) -> Mapping[str, int]:
        where = Where(kind)
        where.scope(scope)
        rows = self.rows(f"select status, count(*) from record where {where} group by status", where.values)
        return {as_text(status): count for status, count in rows}

    def oldest(self, kind: Kind, *, status: str) -> float | None:
        where = Where(kind)
        where.status(status)
        # The database visits every row with that status, but no payload. The question is asked when a queue
        # is stuck; an index for it would have to be written with every record.
        found = self.rows(f"select min(updated) from record where {where}", where.values)[0][0]
        return found if type(found) in _TIMES else None


def behind(columns: Sequence[str], place: Sequence[Any]) -> tuple[str, *tuple[Any, ...]]:
    """The condition for rows after ``place`` in the order of ``columns``, and its values.

    The place of a damaged record may not be valid UTF-8. It is then passed as bytes, and compared as text.
    """
    marks, values = list[str](), list[Any]()
    for value in place:
        odd = isinstance(value, str) and not in_utf8(value)
        marks.append("cast(? as text)" if odd else "?")
        values.append(value.encode("utf-8", "surrogateescape") if odd else value)
    return (f"({', '.join(columns)}) > ({', '.join(marks)})", *values)


def as_text(value: object) -> str:
    """A name as text. In a damaged record it may be of any type."""
    return value if isinstance(value, str) else repr(value)


def check_limit(limit: int) -> int:
    """Return ``limit``. Raises ``UsageError`` if it is less than 1, or more than a database can count."""
    if not 1 <= limit <= MOST:
        raise wrong("limit", limit, "at least 1, and at most 2**53")
    return limit


def damage_of(row: Row, kind: Kind) -> DamagedRecord | None:
    """The reason why a row cannot be read, or None."""
    read = _read(row, kind)
    return read if isinstance(read, DamagedRecord) else None


def record_of(row: Row, kind: Kind) -> Record:
    """The record in a row that was asked for by name.

    Raises:
        RecordCorrupt: it is not what was written.
        StoreTooNew: its format is newer than the kind's.
    """
    name, scope, key, _, payload, form, *_ = row
    read = _read(row, kind)
    if isinstance(read, Record):
        return read
    place = f"record {key!r} of {name!r}" + (f" in scope {scope!r}" if scope else "")
    if read.reason == "newer format":
        raise StoreTooNew(
            f"{place} has format {form}; expected at most {kind.format}, which is what this program knows."
            " Use the version that wrote it, or a later one."
        )
    raise RecordCorrupt(
        f"{place} does not match its checksum; expected the {len(str(payload)):,} characters that were"
        " written. Its neighbours are unaffected: write it again, or restore it from a backup."
    )


def _read(row: Row, kind: Kind) -> Record | DamagedRecord:
    name, scope, key, status, payload, form, version, attempts, fence, owner, due, *times, id, crc = row
    try:
        sound = type(payload) is str and checksum(name, scope, key, status, form, payload) == crc
    except (TypeError, ValueError):
        sound = False
    # The numbers that claims change are not in the checksum, and a flipped bit can even turn one into text.
    if (
        not sound
        or [*map(type, (version, attempts, fence))] != _WHOLE
        or not 0 <= min(version, attempts, fence) <= max(version, attempts, fence) <= MOST
        or not _TIMES.issuperset(map(type, times))
    ):
        return DamagedRecord(as_text(name), as_text(scope), as_text(key), "corrupt")
    # Checked after the checksum, which proves that this number is the one that was written.
    if form > kind.format:
        return DamagedRecord(name, scope, key, "newer format")
    try:
        value = decode(payload)
    except ValueError:
        return DamagedRecord(name, scope, key, "corrupt")
    created, updated = times
    return Record(
        *(name, scope, key, status, value, form, version, attempts, fence, owner, due, created, updated, id)
    )
