"""Points as rows of one table: as records, the thousands in each recording would be most of a file.

Programs repeat themselves, and scenarios run the same ones, so each distinct operation of the whole report is
one row. Rows are numbered as they first occur: what repeats an earlier stretch is a run of consecutive rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import ScheduleError
from chaoskit.core.result import PointSummary
from chaoskit.core.schedule import Point, place_text
from chaoskit.report.frames import Stacks, listed, stacks_of

_COLUMNS = ("call", "operand", "outcome")
_IN_ROWS = ("outcome", "stack")


@dataclass(frozen=True, slots=True)
class PointTable:
    """The distinct operations of the report, one for each row: indices into ``calls``, ``operands`` and
    ``outcomes``, and the number of a stack.

    The name of a point is its call followed by its operand. A name that ends with ``#`` gets the number of
    the points of its recording so far that have it: the first is its ``#1``. ``more`` has what recordings
    refer to.
    """

    calls: tuple[str, ...]
    operands: tuple[str, ...]
    outcomes: tuple[str, ...]
    call: tuple[int, ...]
    operand: tuple[int, ...]
    outcome: tuple[int, ...]
    stack: tuple[int, ...]
    more: tuple[PointSummary, ...]


@dataclass(frozen=True, slots=True)
class PointRuns:
    """The points of a scenario, in their order, as runs of consecutive rows of the table: ``count`` rows from
    ``first`` on, and then those of the next run.

    The points at the positions ``at`` have, in addition, the values with the numbers ``more`` in the table's
    ``more``: those that are not in the row, do not follow from the name, and are not the default.
    """

    first: tuple[int, ...]
    count: tuple[int, ...]
    at: tuple[int, ...]
    more: tuple[int, ...]


class Recordings:
    """The points of all recordings, packed one recording after the other; the tables are complete at the end.

    A point is a mapping whose stack is a list of the numbers of frames.
    """

    def __init__(self) -> None:
        self._stacks = Stacks()
        self._texts: tuple[dict[str, int], ...] = ({}, {}, {})
        self._rows: dict[tuple[int, ...], int] = {}
        self._more: dict[str, int] = {}
        self._said: dict[str, dict[str, Any]] = {}

    def packed(self, points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """One recording as a :class:`PointRuns` of plain values."""
        numbers: Counter[str] = Counter()
        rows, at, more = [], [], []
        for index, point in enumerate(points):
            name = _unnumbered(point["name"], numbers)
            rows.append(self._row(name, point))
            said = {"index": index, "name": _numbered(name, numbers), **self._following(name)}
            others = {key: value for key, value in point.items() if key not in said or said[key] != value}
            if kept := {key: value for key, value in others.items() if key not in _IN_ROWS}:
                at.append(index)
                more.append(self._more.setdefault(json.dumps(kept), len(self._more)))
        first, count = _runs(rows)
        return {"first": first, "count": count, "at": at, "more": more}

    def tables(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stacks and the points to which the recordings refer, for :class:`SharedTables`."""
        columns = [list(column) for column in zip(*self._rows, strict=True)] or [[], [], [], []]
        table: dict[str, Any] = {}
        for key, texts in zip(_COLUMNS, self._texts, strict=True):
            table[f"{key}s"] = list(texts)
        table |= zip((*_COLUMNS, "stack"), columns, strict=True)
        return self._stacks.to_dict(), {**table, "more": [json.loads(one) for one in self._more]}

    def _row(self, name: str, point: Mapping[str, Any]) -> int:
        call, bracket, operand = name.partition("(")
        words = (call, f"{bracket}{operand}", point["outcome"])
        numbers = (texts.setdefault(word, len(texts)) for texts, word in zip(self._texts, words, strict=True))
        row = (*numbers, self._stacks.number(point["stack"]))
        return self._rows.setdefault(row, len(self._rows))

    def _following(self, name: str) -> dict[str, Any]:
        if name not in self._said:
            self._said[name] = said_by(name)
        return self._said[name]


class PointRows:
    """The rows of a :class:`PointTable`, for :meth:`unpacked`.

    Raises:
        ValueError: if an index does not exist, or the columns differ in length. KeyError: if a column is
        missing.
    """

    def __init__(self, table: Mapping[str, Any], stacks: Mapping[str, Any]) -> None:
        whole = stacks_of(stacks)
        rows = zip(*(table[column] for column in (*_COLUMNS, "stack")), strict=True)
        self._rows = [_point(table, whole, row) for row in rows]
        self._more: Sequence[Mapping[str, Any]] = table["more"]

    def unpacked(self, recording: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The inverse of :meth:`Recordings.packed`. What ``more`` has overrides what the name says.

        Raises:
            ValueError: if a row or a position does not exist, or the columns differ in length. KeyError: if a
            column is missing.
        """
        numbers: Counter[str] = Counter()
        points: list[dict[str, Any]] = []
        for first, count in zip(recording["first"], recording["count"], strict=True):
            for row in self._run(first, count):
                points.append({**row, "index": len(points), "name": _numbered(row["name"], numbers)})
        for at, more in zip(recording["at"], recording["more"], strict=True):
            point = listed(points, at, "more about a point", "points")
            point |= listed(self._more, more, "a point", "more")
        return points

    def _run(self, first: Any, count: Any) -> list[dict[str, Any]]:
        if type(first) is not int or type(count) is not int or first < 0 or count < 1:
            raise ValueError(f"a recording has {count!r} rows from row {first!r} on; expected at least one")
        if first + count > len(self._rows):
            raise ValueError(f"a point refers to {first + count - 1} of {len(self._rows)} rows")
        return self._rows[first : first + count]


def _point(table: Mapping[str, Any], stacks: list[list[Any]], row: tuple[Any, ...]) -> dict[str, Any]:
    call, operand, outcome = (
        listed(table[f"{key}s"], index, "a point", f"{key}s")
        for key, index in zip(_COLUMNS, row[:-1], strict=True)
    )
    name = call + operand
    return {
        "index": 0,
        "name": name,
        **said_by(name),
        "outcome": outcome,
        "stack": listed(stacks, row[-1], "a point", "stacks"),
    }


def _unnumbered(name: str, numbers: Counter[str]) -> str:
    """The name without its number, if that is the next one of its kind."""
    kind = f"{name.rpartition('#')[0]}#"
    return kind if name == f"{kind}{numbers[kind] + 1}" else name


def _numbered(name: str, numbers: Counter[str]) -> str:
    """The name as a reader completes it: with the next number, which is counted, if it ends with ``#``."""
    if not name.endswith("#"):
        return name
    numbers[name] += 1
    return f"{name}{numbers[name]}"


def _runs(rows: Iterable[int]) -> tuple[list[int], list[int]]:
    """The first row of each run of consecutive rows, and the number of its rows."""
    first: list[int] = []
    count: list[int] = []
    for row in rows:
        if first and row == first[-1] + count[-1]:
            count[-1] += 1
        else:
            first.append(row)
            count.append(1)
    return first, count


def said_by(name: str) -> dict[str, Any]:
    """What follows from a name, with or without its number; empty if it does not name a point."""
    try:
        point = Point.parse(f"{name}1" if name.endswith("#") else name)
    except ScheduleError:
        return {}
    return {
        "call": point.call,
        "target": point.target,
        "second": point.second,
        "place": place_text(point.place),
        "run": point.place.run,
    }
