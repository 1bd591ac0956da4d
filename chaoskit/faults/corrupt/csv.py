"""CSV (RFC 4180): ragged rows, quotes, encodings, and what spreadsheets do to a table.

Also with tabs or semicolons between the fields, as Excel writes it where the comma is the decimal mark.
"""

from __future__ import annotations

import csv
import io

from chaoskit.faults.corrupt.damage import Damages, made

_HUGE = 200_000
"""Characters of a field, more than Python's csv module accepts (131,072)."""


def is_csv(data: bytes, separator: str = ",") -> bool:
    """Return True for a text of several rows with equally many columns, at least two."""
    # One row or one column would make every text a table.
    return data.count(b"\n") + data.count(b"\r") > 1 and is_sound(data, separator)


def is_sound(data: bytes, separator: str = ",") -> bool:
    """Return True if every row has as many fields as the header, in UTF-8 and with quotes in pairs."""
    if b"\0" in data:
        return False
    width = 0
    try:
        # Row by row: most damage shows early, and a table may be large.
        for row in csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator, strict=True):
            width = width or len(row)
            if row and len(row) != width:
                return False
    except (UnicodeDecodeError, csv.Error):
        return False
    return width > 1


def damages(data: bytes, separator: str = ",") -> Damages:
    """Enumerate: the header, the first and the last row are damaged, then the table as a whole."""
    text = data.decode()
    rows = text.splitlines(keepends=True)
    for name, number in (("header", 0), ("row1", 1), ("last-row", len(rows) - 1)):
        if number < len(rows) and not (name == "last-row" and number <= 1):
            yield from _of_row(name, rows, number, separator)
    # By separators alone: quoted headers are rare, and a wrong split is only another damage.
    fields = rows[0].rstrip("\r\n").split(separator)
    yield made("header", "missing", "".join(rows[1:]).encode())
    yield made("header", "alone", rows[0].encode())
    yield made("header", "reordered", (separator.join(reversed(fields)) + "\n" + "".join(rows[1:])).encode())
    yield made("header", "twice", (rows[0] + text).encode())
    yield made("", "byte-order-mark", b"\xef\xbb\xbf" + data)
    yield made("", "utf16", text.encode("utf-16"))
    row = "\u00e9" + separator * (len(fields) - 1) + "\n"
    yield made("", "latin1", (text + row).encode("latin-1", "replace"))
    other, name = (",", "commas") if separator == ";" else (";", "semicolons")
    yield made("", name, text.replace(separator, other).encode())
    yield made("", "line-ends.cr", text.replace("\r\n", "\n").replace("\n", "\r").encode())
    yield made("", "line-ends.crlf", text.replace("\r\n", "\n").replace("\n", "\r\n").encode())


def _of_row(name: str, rows: list[str], number: int, separator: str) -> Damages:
    row = rows[number]
    fields = row.rstrip("\r\n").split(separator)
    end = row[len(row.rstrip("\r\n")) :]

    def instead(new: str) -> bytes:
        return "".join([*rows[:number], new, *rows[number + 1 :]]).encode()

    def first(value: str) -> bytes:
        return instead(separator.join([value, *fields[1:]]) + end)

    yield made(name, "cut", "".join([*rows[:number], row[: len(row) // 2]]).encode())
    yield made(name, "field.missing", instead(separator.join(fields[:-1]) + end))
    yield made(name, "field.added", instead(separator.join([*fields, "x"]) + end))
    yield made(name, "quote.open", instead('"' + row))
    yield made(name, "quote.line-end", first('"a\nb"'))
    yield made(name, "nul", instead("\0" + row))
    yield made(name, "not-utf8", "".join(rows[:number]).encode() + b"\xff" + "".join(rows[number:]).encode())
    yield made(name, "blank", instead(end or "\n"))
    yield made(name, "fields.empty", instead(separator * (len(fields) - 1) + end))
    # A spreadsheet would compute it (CSV injection).
    yield made(name, "formula", first("=1+1"))
    yield made(name, "field.huge", first("x" * _HUGE))
    yield made(name, "twice", instead(row.rstrip("\r\n") + (end or "\n") + row))
