"""What the scenarios of a report have in common, written once: frames, stacks, points and counts.

Without this a file of some hundred scenarios would be ten times as large, and most of it the same few
thousand texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.core.case import Verdict
from chaoskit.report.frames import FrameTable, StackTable, frames_of, listed, table_of
from chaoskit.report.points import PointRows, PointTable, Recordings


@dataclass(frozen=True, slots=True)
class CaseCount:
    """A number of cases with the same verdict; ``faults`` as in :class:`CountedCases`."""

    verdict: Verdict
    count: int
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CountedTable:
    """The cases without a record, as columns: the ``points`` that they struck, and the index in ``counts`` of
    their verdict and number."""

    points: tuple[tuple[int, ...], ...]
    what: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedTables:
    """The keys of the report to which its scenarios refer."""

    frames: FrameTable
    stacks: StackTable
    points: PointTable
    counts: tuple[CaseCount, ...]


def packed(frames: Iterable[Mapping[str, Any]], scenarios: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys of :class:`SharedTables`, as plain values, and ``scenarios``.

    Each scenario has a :class:`PointRuns` as its ``points`` and a :class:`CountedTable` as ``counted``.
    """
    recordings = Recordings()
    counts: dict[str, int] = {}
    brief = [
        {
            **one,
            "points": recordings.packed(one["points"]),
            "counted": _packed_counts(one["counted"], counts),
        }
        for one in scenarios
    ]
    stacks, points = recordings.tables()
    return {
        "frames": table_of(frames),
        "stacks": stacks,
        "points": points,
        "counts": list(map(json.loads, counts)),
        "scenarios": brief,
    }


def unpacked(plain: Mapping[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The inverse of :func:`packed`: the frames, and the scenarios.

    Raises:
        ValueError: if an index does not exist, or columns differ in length. KeyError, TypeError or
        AttributeError: if something else does not follow the schema.
    """
    rows = PointRows(plain["points"], plain["stacks"])
    scenarios = [
        {
            **one,
            "points": rows.unpacked(one["points"]),
            "counted": _unpacked_counts(one["counted"], plain["counts"]),
        }
        for one in plain["scenarios"]
    ]
    return frames_of(plain["frames"]), scenarios


def _packed_counts(counted: Iterable[Mapping[str, Any]], counts: dict[str, int]) -> dict[str, Any]:
    points, what = [], []
    for several in counted:
        count = {key: value for key, value in several.items() if key != "points"}
        points.append(several["points"])
        what.append(counts.setdefault(json.dumps(count), len(counts)))
    return {"points": points, "what": what}


def _unpacked_counts(counted: Mapping[str, Any], counts: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"points": points, **listed(counts, what, "counted", "counts")}
        for points, what in zip(counted["points"], counted["what"], strict=True)
    ]
