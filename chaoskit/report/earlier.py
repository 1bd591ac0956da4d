"""Read the recordings of earlier versions of the file: committed reports stay readable.

Version 2 has a record for each point. Version 3 has points as columns, and separate tables in each
scenario. Both list frames and counted cases as records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from chaoskit.report.frames import listed
from chaoskit.report.points import said_by

_COLUMNS = ("name", "outcome", "stack")


def earlier(plain: Mapping[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The frames and the scenarios of a file of version 2 or 3, as :func:`chaoskit.report.packing.unpacked`
    gives them.

    Raises:
        ValueError: if an index does not exist, or columns differ in length. KeyError, TypeError or
        AttributeError: if something else is not as those versions have it.
    """
    return plain["frames"], [{**one, "points": _points(one["points"])} for one in plain["scenarios"]]


def _points(plain: Any) -> list[dict[str, Any]]:
    return _completed(plain) if isinstance(plain, list) else _from_columns(plain)


def _completed(points: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of version 2, which omits what names say, and a stack equal to the previous one."""
    whole: list[dict[str, Any]] = []
    for index, point in enumerate(points):
        stack = point["stack"] if "stack" in point or not whole else whole[-1]["stack"]
        whole.append({"index": index, **said_by(point["name"]), **point, "stack": stack})
    return whole


def _from_columns(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points of version 3. A key in ``more``, by position, overrides what the name says."""
    numbers: Counter[str] = Counter()
    said: dict[str, dict[str, Any]] = {}
    points: list[dict[str, Any]] = []
    for index, row in enumerate(zip(*(table[column] for column in _COLUMNS), strict=True)):
        name, outcome, stack = (
            listed(table[f"{column}s"], at, "a point", f"{column}s")
            for column, at in zip(_COLUMNS, row, strict=True)
        )
        if name not in said:
            said[name] = said_by(name)
        point = {"index": index, **said[name], "outcome": outcome, "stack": stack}
        if name.endswith("#"):
            numbers[name] += 1
            name = f"{name}{numbers[name]}"
        points.append({**point, "name": name, **table["more"].get(str(index), {})})
    return points
