"""Reads a table of comma-separated values row by row, and knows the place of each value.

The module ``csv`` reports at best the line of an error, accepts malformed input (a quote in the middle of a
field, NUL), and has one limit on the size of a field for the whole process. So records are split here: with
``str.split`` if the line has no quote, as nearly all have none, and otherwise by RFC 4180.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.failures.taxonomy import MalformedData
from chaoskit.runtime.guarding.inputs.decoding import Position, named, pieces
from chaoskit.runtime.numbers import whole

__all__ = ["Row", "read_rows"]

_QUOTE, _MARK = '"', "\ufeff"
_MOST = 1 << 20
"""The most columns that a header may have."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: ``values`` by position, ``row["name"]`` by column.

    ``line`` is the number of its first line, from 1. :meth:`error` makes an error at one of its values, for
    mistakes that only the calling program can recognise.
    """

    file: str
    line: int
    columns: tuple[str, ...]
    values: tuple[str, ...]
    _at: tuple[tuple[int, int], ...] = field(repr=False, compare=False)

    def __getitem__(self, column: str) -> str:
        return self.values[self._index(column)]

    def as_dict(self) -> dict[str, str]:
        """The values by column."""
        return dict(zip(self.columns, self.values, strict=True))

    def error(self, column: str, message: str) -> MalformedData:
        """Return, but do not raise, an error that says that the value of ``column`` is wrong."""
        index = self._index(column)
        place = Position(self.file)
        place.line, place.column = self._at[index]
        return place.error(f"{column} is {self.values[index][:80]!r}: {message}")

    def _index(self, column: str) -> int:
        try:
            return self.columns.index(column)
        except ValueError:
            raise wrong("column", column, f"one of {', '.join(self.columns)}") from None


def read_rows(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    max_field: int = 1 << 20,
) -> Iterator[Row]:
    """Iterate over the rows of a CSV file (RFC 4180) below its header; they are read on demand.

    Every row must have as many values as the header has columns; empty lines are skipped. A quoted field may
    contain delimiters and line ends. Memory is bounded by one record.

    Args:
        columns: the names that the header must have, in this order; None accepts any header.
        max_field: the most characters of a field.

    Raises:
        MalformedData: the file has a wrong header, a ragged row, a stray or unclosed quote, a field that is
            too long, a NUL, a byte order mark before a row, or bytes that do not decode. The error has
            ``file``, ``line`` and ``column``, counted from 1.
        OSError: the file cannot be read.
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise wrong("delimiter", delimiter, "one character, neither a quote nor a line end")
    whole("max_field", max_field, 1)
    # ``listed`` refuses a string, which is a sequence too: each character would be the name of a column.
    wanted = None if columns is None else kinds.listed("columns", columns, str)
    # The generator is a separate function, so that wrong arguments raise here and not at the first row.
    return _rows(path, wanted, encoding, delimiter, max_field)


def _rows(
    path: str | os.PathLike[str],
    wanted: tuple[str, ...] | None,
    encoding: str,
    delimiter: str,
    max_field: int,
) -> Iterator[Row]:
    file = named(path)
    with open(path, "rb") as source:
        records = _Records(
            _lines(pieces(source, file, encoding), file, max_field), file, delimiter, max_field
        )
        header = next(records, None)
        names = _header(header, wanted, file)
        records.columns = len(names)
        for record in records:
            if record.count < len(names):
                raise _ragged(record, len(names), file)
            yield Row(file, record.at[0][0], names, tuple(record.values), tuple(record.at))


@dataclass(slots=True)
class _Split:
    values: list[str]
    at: list[tuple[int, int]]
    """The line and column of each value."""
    count: int
    """The number of values; of the surplus ones only the first is kept."""


def _header(found: _Split | None, wanted: tuple[str, ...] | None, file: str) -> tuple[str, ...]:
    place = Position(file)
    if found is None:
        raise place.error("no header: the file is empty")
    names = set[str]()
    for index, name in enumerate(found.values):
        place.line, place.column = found.at[index]
        if wanted is not None and (index >= len(wanted) or name != wanted[index]):
            expected = repr(wanted[index]) if index < len(wanted) else "no more columns"
            raise place.error(f"the column {name[:80]!r}; expected {expected}")
        if not name or name in names:
            raise place.error(f"the column {name[:80]!r} has no name, or is there twice")
        names.add(name)
    if wanted is not None and len(found.values) < len(wanted):
        raise place.error(f"the column {wanted[len(found.values)]!r} is missing")
    return tuple(found.values)


def _ragged(record: _Split, columns: int, file: str) -> MalformedData:
    place = Position(file)
    # The error is at the first surplus value or, if there is none, at the last value.
    place.line, place.column = record.at[-1]
    return place.error(f"{record.count} values for {columns} columns")


def _longest(max_field: int) -> int:
    """The most characters of a record, 64 of the longest fields: an endless record must not fill memory."""
    return 64 * max_field + (1 << 16)


def _lines(found: Iterator[str], file: str, max_field: int) -> Iterator[tuple[int, str]]:
    """Number the lines, without their line ends. A line that never ends is refused before memory is full."""
    number, begun, size, half = 1, list[str](), 0, ""
    for piece in found:
        piece = half + piece
        # A CR at the end of a piece may be the first half of a line end.
        half = "\r" if piece.endswith("\r") else ""
        lines = piece.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        # Pieces are joined only once. If each new piece were searched together with all before it, a line of
        # 60 MB would take a minute.
        if len(lines) > 1:
            lines[0] = "".join((*begun, lines[0]))
            begun, size = [], 0
        for line in lines[:-1]:
            yield number, line
            number += 1
        begun.append(lines[-1])
        size += len(lines[-1])
        if size > _longest(max_field):
            place = Position(file)
            place.line = number
            raise place.error(f"a line of more than {size:,} characters", "Raise max_field, if it is right.")
    if any(begun):
        yield number, "".join(begun)


class _Records:
    """Splits lines into the values of records."""

    def __init__(self, lines: Iterator[tuple[int, str]], file: str, delimiter: str, max_field: int) -> None:
        self._lines = lines
        self._file = file
        self._delimiter = delimiter
        self._max_field = max_field
        self._size = 0
        self.columns = _MOST
        """The most values of a record. Further ones, millions in a hostile file, are not even split."""

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> _Split:
        for number, line in self._lines:
            # RFC 4180 has no empty lines, but editors leave some at the end.
            if not line:
                continue
            # The mark would become part of the first value, and no editor would show it.
            if line.startswith(_MARK):
                raise self._error(
                    number, 1, "a byte order mark: files were joined here, or one was marked twice"
                )
            record = self._quoted(number, line) if _QUOTE in line else self._plain(number, line)
            if record.count > self.columns:
                raise _ragged(record, self.columns, self._file)
            for value, at in zip(record.values, record.at, strict=True):
                if len(value) > self._max_field:
                    raise self._error(
                        *at, f"a field of {len(value):,} characters; the limit is {self._max_field:,}"
                    )
            return record
        raise StopIteration

    def _plain(self, number: int, line: str) -> _Split:
        values, at, column = line.split(self._delimiter, self.columns), [], 1
        for value in values:
            at.append((number, column))
            column += len(value) + 1
        count = len(values)
        if count > self.columns:
            count = line.count(self._delimiter) + 1
        return _Split(values, at, count)

    def _quoted(self, number: int, line: str) -> _Split:
        """Split a record with a quote, which may span several lines."""
        record, position, self._size = _Split([], [], 0), 0, len(line)
        while True:
            at = (number, position + 1)
            if line.startswith(_QUOTE, position):
                value, number, line, position = self._field(number, line, position + 1)
            else:
                end = line.find(self._delimiter, position)
                end = len(line) if end < 0 else end
                value, position = line[position:end], end
                if _QUOTE in value:
                    column = end - len(value) + value.index(_QUOTE) + 1
                    raise self._error(number, column, "a quote in a field that does not begin with one")
            record.count += 1
            if record.count <= self.columns + 1:
                record.values.append(value)
                record.at.append(at)
            if position == len(line):
                return record
            if line[position] != self._delimiter:
                raise self._error(number, position + 1, f"{line[position]!r} after a closing quote")
            position += 1

    def _field(self, number: int, line: str, position: int) -> tuple[str, int, str, int]:
        """Read the rest of a quoted field; return it and where it ends: line number, line, position."""
        begun, parts, size = (number, position), [], 0
        while True:
            end = line.find(_QUOTE, position)
            part = line[position : len(line) if end < 0 else end]
            parts.append(part)
            size += len(part) + 1
            if size > self._max_field + 1:
                raise self._error(*begun, f"a field of more than {self._max_field:,} characters")
            if end < 0:
                parts.append("\n")
                number, line = next(self._lines, (0, ""))
                position = 0
                if not number:
                    raise self._error(*begun, "a quote that is never closed")
                self._size += len(line) + 1
                if self._size > _longest(self._max_field):
                    raise self._error(*begun, f"a record of more than {self._size:,} characters")
            elif line.startswith(_QUOTE, end + 1):  # A doubled quote stands for one.
                parts.append(_QUOTE)
                position = end + 2
            else:
                return "".join(parts), number, line, end + 1

    def _error(self, line: int, column: int, message: str) -> MalformedData:
        place = Position(self._file)
        place.line, place.column = line, column
        return place.error(message)
