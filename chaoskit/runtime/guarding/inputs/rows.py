"""Read a table of comma-separated values, row by row, each value with its place.

The module ``csv`` tells the line of an error at best, accepts a lot (a quote in the middle of a field, NUL),
and its limit on the size of a field is one for the whole process. So records are split here: by
``str.split`` where a line has no quote, which is nearly always, and by RFC 4180 where it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaoskit.core.errors import wrong
from chaoskit.runtime.failures.taxonomy import MalformedData
from chaoskit.runtime.guarding.inputs.decoding import Position, named, pieces

__all__ = ["Row", "read_rows"]

_QUOTE = '"'


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its ``values`` by position, ``row["name"]`` by column.

    ``line`` is where it begins, from 1. :meth:`error` makes an error at one of its values, for what only the
    program can know to be wrong.
    """

    file: str
    line: int
    columns: tuple[str, ...]
    values: tuple[str, ...]
    _at: tuple[tuple[int, int], ...] = field(repr=False, compare=False)

    def __getitem__(self, column: str) -> str:
        return self.values[self._index(column)]

    def as_dict(self) -> dict[str, str]:
        """Values by column."""
        return dict(zip(self.columns, self.values, strict=True))

    def error(self, column: str, message: str) -> MalformedData:
        """Return (not raise) the error that the value of ``column`` is wrong."""
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
    """The rows of a CSV file (RFC 4180) below its header, read as they are asked for.

    Every row has as many values as the header has columns; empty lines are passed over. A quoted field may
    hold delimiters and line ends. Memory is bounded by one record.

    Args:
        columns: the names that the header must have, in this order; None takes what it has.
        max_field: characters of the longest field.

    Raises:
        MalformedData: another header, a ragged row, a stray or an open quote, a field that is too long, a
            NUL, or bytes that are no text; with ``file``, ``line`` and ``column``, counted from 1.
        OSError: it cannot be read.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise wrong("delimiter", delimiter, "one character, neither a quote nor a line end")
    if max_field < 1:
        raise wrong("max_field", max_field, "a number of characters, at least 1")
    wanted = None if columns is None else tuple(columns)
    # The generator is another function, so that wrong arguments raise here and not at the first row.
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
        for record in records:
            if len(record.values) != len(names):
                raise _ragged(record, names, file)
            yield Row(file, record.at[0][0], names, tuple(record.values), tuple(record.at))


@dataclass(slots=True)
class _Split:
    values: list[str]
    at: list[tuple[int, int]]
    """Line and column of each value."""


def _header(found: _Split | None, wanted: tuple[str, ...] | None, file: str) -> tuple[str, ...]:
    place = Position(file)
    if found is None:
        raise place.error("no header: the file is empty")
    for index, name in enumerate(found.values):
        place.line, place.column = found.at[index]
        if wanted is not None and (index >= len(wanted) or name != wanted[index]):
            expected = repr(wanted[index]) if index < len(wanted) else "no more columns"
            raise place.error(f"the column {name[:80]!r}; expected {expected}")
        if not name or name in found.values[:index]:
            raise place.error(f"the column {name[:80]!r} has no name, or is there twice")
    if wanted is not None and len(found.values) < len(wanted):
        raise place.error(f"the column {wanted[len(found.values)]!r} is missing")
    return tuple(found.values)


def _ragged(record: _Split, names: tuple[str, ...], file: str) -> MalformedData:
    place = Position(file)
    index = min(len(names), len(record.values) - 1)
    place.line, place.column = record.at[index]
    # At the first value too many, or the last one that there is.
    return place.error(f"{len(record.values)} values for {len(names)} columns")


def _lines(found: Iterator[str], file: str, max_field: int) -> Iterator[tuple[int, str]]:
    """Lines with their numbers and without their ends; one without an end is refused in time."""
    number, rest = 1, ""
    for piece in found:
        rest += piece
        # A CR at the end of a piece may be half of a line end.
        kept = "\r" if rest.endswith("\r") else ""
        lines = rest.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest = lines.pop() + kept
        for line in lines:
            yield number, line
            number += 1
        # 64 fields of the longest kind: a file without line ends must not fill the memory.
        if len(rest) > 64 * max_field + (1 << 16):
            place = Position(file)
            place.line = number
            raise place.error(
                f"a line of more than {len(rest):,} characters", "Raise max_field, if it is right."
            )
    if rest.removesuffix("\r"):
        yield number, rest.removesuffix("\r")


class _Records:
    """Splits lines into records."""

    def __init__(self, lines: Iterator[tuple[int, str]], file: str, delimiter: str, max_field: int) -> None:
        self._lines = lines
        self._file = file
        self._delimiter = delimiter
        self._max_field = max_field

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> _Split:
        for number, line in self._lines:
            # RFC 4180 has no empty records; editors leave such lines at the end.
            if not line:
                continue
            record = self._quoted(number, line) if _QUOTE in line else self._plain(number, line)
            for value, at in zip(record.values, record.at, strict=True):
                if len(value) > self._max_field:
                    raise self._error(
                        *at, f"a field of {len(value):,} characters; {self._max_field:,} may be"
                    )
            return record
        raise StopIteration

    def _plain(self, number: int, line: str) -> _Split:
        values, at, column = line.split(self._delimiter), [], 1
        for value in values:
            at.append((number, column))
            column += len(value) + 1
        return _Split(values, at)

    def _quoted(self, number: int, line: str) -> _Split:
        """A record with a quote somewhere: it may go on over several lines."""
        record, position = _Split([], []), 0
        while True:
            record.at.append((number, position + 1))
            if line.startswith(_QUOTE, position):
                value, number, line, position = self._field(number, line, position + 1)
            else:
                end = line.find(self._delimiter, position)
                end = len(line) if end < 0 else end
                value, position = line[position:end], end
                if _QUOTE in value:
                    column = end - len(value) + value.index(_QUOTE) + 1
                    raise self._error(number, column, "a quote in a field that does not begin with one")
            record.values.append(value)
            if position == len(line):
                return record
            if line[position] != self._delimiter:
                raise self._error(number, position + 1, f"{line[position]!r} after a closing quote")
            position += 1

    def _field(self, number: int, line: str, position: int) -> tuple[str, int, str, int]:
        """The rest of a quoted field; where it ends: line number, line, position behind the quote."""
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
            elif line.startswith(_QUOTE, end + 1):  # A doubled quote stands for one.
                parts.append(_QUOTE)
                position = end + 2
            else:
                return "".join(parts), number, line, end + 1

    def _error(self, line: int, column: int, message: str) -> MalformedData:
        place = Position(self._file)
        place.line, place.column = line, column
        return place.error(message)
