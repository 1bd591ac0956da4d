"""SQLite database files (sqlite.org/fileformat2.html): a header of 100 bytes and pages of one size."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from chaoskit.faults.corrupt.damage import Damages, flipped, flips, made, replaced

MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_FIELDS = (
    *(("magic", 0), ("page-size", 16), ("write-version", 18), ("read-version", 19), ("change-counter", 27)),
    *(("page-count", 31), ("freelist-head", 35), ("freelist-count", 39), ("schema-cookie", 43)),
    *(("schema-format", 47), ("encoding", 59), ("version-valid-for", 95)),
)
_SHOWN = 4
"""The most pages damaged one by one; the last page is always among them."""


def is_sound(data: bytes) -> bool:
    """Return True if SQLite reads every row of every table; there are no checksums."""
    if not data:
        return True  # An empty file is an empty database.
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.deserialize(_without_wal(data))
            for (name,) in connection.execute(
                "select name from sqlite_schema where type = 'table'"
            ).fetchall():
                quoted = str(name).replace('"', '""')
                for _ in connection.execute(f'select * from "{quoted}"'):
                    pass
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return False
    return True


def _without_wal(data: bytes) -> bytes:
    """The same database for SQLite in memory, which has no log beside the file and refuses to begin one."""
    # 2 for both versions says that there may be one (fileformat2.html, 1.3.3).
    return replaced(data, 18, b"\1\1") if data[18:20] == b"\2\2" else data


def damages(data: bytes) -> Damages:
    """Enumerate: fields of the header, then the first pages and the last."""
    size = int.from_bytes(data[16:18], "big")
    size = 65536 if size == 1 else size
    pages = len(data) // size
    for number in range(1, pages + 1):
        if number <= _SHOWN or number == pages:
            yield from _of_page(number, pages, size, data)
    yield from flips("header", data, *_FIELDS)
    yield made("header", "cut", data[:_HEADER])


def _of_page(number: int, pages: int, size: int, data: bytes) -> Damages:
    start = (number - 1) * size
    header = start + (_HEADER if number == 1 else 0)
    name = f"page{number}"
    if number > 1:
        yield made(name, "cut", data[:start])
        yield made(name, "cut.middle", data[: start + size // 2])
        yield made(name, "zeros", replaced(data, start, bytes(size)))
        yield made(name, "torn", data[: start + 512].ljust(start + size, b"\0") + data[start + size :])
        if pages > 2:
            # A misdirected write: the page holds what belongs to its neighbour.
            other = (1 + (number - 1) % (pages - 1)) * size
            yield made(name, "misdirected", replaced(data, start, data[other : other + size]))
    yield from flips(
        name,
        data,
        ("type", header),
        ("cells", header + 4),
        ("content-start", header + 5),
        ("end", start + size - 1),
    )
    if header + 8 < len(data):
        yield made(name, "flip.first-cell", flipped(data, header + 8, 6))
