"""Code that can fail: the project's lines that made a recorded call, and what came of failures there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaoskit.core.case import BROKEN, NO_JUDGEMENT
from chaoskit.core.operation import Frame
from chaoskit.core.result import PointSummary
from chaoskit.core.source import of_a_library
from chaoskit.report.document import Entry
from chaoskit.report.kinds import BROKE, HELD, NOT_TRIED, struck

PARTLY = "partly tried"

ORDER = (BROKE, NOT_TRIED, PARTLY, HELD)
"""The words for a line, the worst first."""


@dataclass(slots=True)
class FallibleLine:
    """One line: the calls that it made, the ways in which they can fail, and the ways in which they did.

    A way is a call with a fault, without its argument. ``cases`` counts the cases by verdict.
    """

    site: Frame
    calls: set[str] = field(default_factory=set)
    ways: set[tuple[str, str]] = field(default_factory=set)
    tried: set[tuple[str, str]] = field(default_factory=set)
    cases: Counter[str] = field(default_factory=Counter)

    @property
    def word(self) -> str:
        """One of :data:`ORDER`."""
        if any(self.cases[verdict] for verdict in BROKEN):
            return BROKE
        if not self.tried:
            return NOT_TRIED
        return HELD if self.tried >= self.ways else PARTLY


def lines(entries: Iterable[Entry]) -> list[FallibleLine]:
    """Every line of the project at which a recorded call can fail, the worst first, then by place."""
    found: dict[tuple[str, int], FallibleLine] = {}
    for entry in entries:
        result = entry.result
        for point in result.points:
            if point.faults and (line := _line(point, found)) is not None:
                line.calls.add(point.call)
                line.ways.update((point.call, fault) for fault in point.faults)
        for several in struck(result):
            if not several.points or several.verdict in NO_JUDGEMENT:
                continue
            # Of several faults in one case the last one: the earlier ones only lead there.
            point = result.points[several.points[-1]]
            if (line := _line(point, found)) is not None:
                line.cases[several.verdict] += several.count
                ways = {(point.call, fault) for fault in several.faults}
                line.tried |= ways & line.ways
    able = [line for line in found.values() if line.ways]
    return sorted(able, key=lambda line: (ORDER.index(line.word), line.site.file, line.site.line))


def _line(point: PointSummary, found: dict[tuple[str, int], FallibleLine]) -> FallibleLine | None:
    site = next((frame for frame in point.stack if not of_a_library(frame.file)), None)
    if site is None:
        return None
    return found.setdefault((site.file, site.line), FallibleLine(site))
