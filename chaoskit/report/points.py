"""Points as columns: a recording has thousands of them, and as records they would be most of a file.

Each distinct name, outcome and stack is written once, and a point is an index into each of these lists. A
name that ends with ``#`` is numbered: the first point that refers to it is its ``#1``, the next its ``#2``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Frame
from chaoskit.core.result import PointSummary
from chaoskit.core.schedule import Point, place_text

SAID = ("index", "call", "target", "second", "place", "run")
"""The keys that may follow from a point's name and from its position in the list."""

_COLUMNS = ("name", "outcome", "stack")


@dataclass(frozen=True, slots=True)
class PointTable:
    """The points of a recording, in its order: indices into ``names``, ``outcomes`` and ``stacks``.

    A name that ends with ``#`` gets the number of the points so far that refer to it. ``more`` has, by
    position, values that are not in the columns, do not follow from the name, and are not the default.
    """

    names: tuple[str, ...]
    outcomes: tuple[str, ...]
    stacks: tuple[tuple[Frame, ...], ...]
    name: tuple[int, ...]
    outcome: tuple[int, ...]
    stack: tuple[int, ...]
    more: Mapping[str, PointSummary] = field(default_factory=dict)


def packed(points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The points as a :class:`PointTable` of plain values; their stacks are indices of frames."""
    names: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    stacks: dict[tuple[int, ...], int] = {}
    numbers: Counter[str] = Counter()
    rows: list[tuple[int, int, int]] = []
    more = {}
    for index, point in enumerate(points):
        name = point["name"]
        kind = f"{name.rpartition('#')[0]}#"
        if name == f"{kind}{numbers[kind] + 1}":
            numbers[kind] += 1
            name = kind
        rows.append(
            (
                names.setdefault(name, len(names)),
                outcomes.setdefault(point["outcome"], len(outcomes)),
                stacks.setdefault(tuple(point["stack"]), len(stacks)),
            )
        )
        said = {"index": index, **_said(name)}
        others = {key: value for key, value in point.items() if key not in _COLUMNS}
        if kept := {key: value for key, value in others.items() if key not in said or said[key] != value}:
            more[str(index)] = kept
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    tables = {"names": list(names), "outcomes": list(outcomes), "stacks": [list(stack) for stack in stacks]}
    return {**tables, **dict(zip(_COLUMNS, columns, strict=True)), "more": more}


def unpacked(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inverse of :func:`packed`. A key in ``more`` overrides what the name says.

    Raises:
        ValueError: if an index does not exist, or the columns differ in length. KeyError: if a column is
        missing.
    """
    numbers: Counter[str] = Counter()
    said: dict[str, dict[str, Any]] = {}
    points: list[dict[str, Any]] = []
    for index, row in enumerate(zip(*(table[column] for column in _COLUMNS), strict=True)):
        name, outcome, stack = (
            _at(table, f"{column}s", at) for column, at in zip(_COLUMNS, row, strict=True)
        )
        if name not in said:
            said[name] = _said(name)
        point = {"index": index, **said[name], "outcome": outcome, "stack": stack}
        if name.endswith("#"):
            numbers[name] += 1
            name = f"{name}{numbers[name]}"
        points.append({**point, "name": name, **table["more"].get(str(index), {})})
    return points


def completed(points: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of a version 2 file, which omits what names say, and a stack equal to the previous one.

    Raises:
        KeyError: if the first point has no stack, or a point has no name.
    """
    whole: list[dict[str, Any]] = []
    for index, point in enumerate(points):
        stack = point["stack"] if "stack" in point or not whole else whole[-1]["stack"]
        whole.append({"index": index, **_said(point["name"]), **point, "stack": stack})
    return whole


def _at(table: Mapping[str, Any], key: str, index: Any) -> Any:
    # A negative index would count from the end, and show another point.
    if type(index) is not int or not 0 <= index < len(table[key]):
        raise ValueError(f"a point refers to {index!r} of {len(table[key])} {key}")
    return table[key][index]


def _said(name: str) -> dict[str, Any]:
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
