"""The few drawings of the page, as SVG: shapes and colours say the same, so that either alone is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from chaoskit.core.case import BROKEN, NO_JUDGEMENT
from chaoskit.core.result import ScenarioResult
from chaoskit.report.kinds import kind_of, struck

ROWS = ("error", "kill", "power")
"""The rows of a strip; the first has every kind of fault but kills and power losses."""

SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "msync", "sync_file_range"})

_CELL, _ROW = 4, 12
_HEIGHT = {"b": 10, "d": 6, "h": 3}
"""The height of a cell, by its state: what broke is tallest, so that it is found without its colour."""


def strip(result: ScenarioResult) -> Markup:
    """One cell for each operation in order, three rows, and a bar at each sync; empty without operations."""
    number = len(result.points)
    if not number:
        return Markup()
    worst = _worst(result)
    width, height = number * _CELL, len(ROWS) * _ROW
    bars = "".join(
        f"M{point.index * _CELL + 1.5:g} 0V{height}" for point in result.points if point.call in SYNCS
    )
    paths = [f'<path class="y" d="{bars}"/>'] if bars else []
    for row, name in enumerate(ROWS):
        base = (row + 1) * _ROW - 1
        for state, tall in _HEIGHT.items():
            runs = _runs([worst.get((i, name)) == state for i in range(number)])
            if drawn := _boxes(runs, base, tall) if state == "b" else _line(runs, base - tall / 2):
                paths.append(f'<path class="{state}" d="{drawn}"/>')
    return Markup(
        f'<svg class="strip" viewBox="0 0 {width} {height}" style="width:{width}px" '
        f'preserveAspectRatio="none" role="img" aria-label="{number} operations">{"".join(paths)}</svg>'
    )


def _worst(result: ScenarioResult) -> dict[tuple[int, str], str]:
    """The worst state, by operation and row."""
    found: dict[tuple[int, str], str] = {}
    for several in struck(result):
        if not several.points or several.verdict in NO_JUDGEMENT:
            continue
        point = several.points[-1]
        broke = several.verdict in BROKEN
        state = "b" if broke else "h" if several.verdict == "tolerated" else "d"
        for fault in several.faults:
            kind = kind_of(fault, result.points[point].call)
            key = (point, kind if kind in ROWS else ROWS[0])
            found[key] = min(found.get(key, state), state)
    return found


def _runs(cells: Sequence[bool]) -> list[tuple[int, int]]:
    """The start of each unbroken run of cells, and its drawn length."""
    runs, start = [], None
    for i, is_in in enumerate((*cells, False)):
        if is_in and start is None:
            start = i
        elif not is_in and start is not None:
            runs.append((start * _CELL, (i - start) * _CELL - 1))
            start = None
    return runs


def _boxes(runs: Sequence[tuple[int, int]], base: int, tall: int) -> str:
    """A rectangle for each run, with an edge that is visible however narrow it becomes."""
    return "".join(f"M{start} {base}v-{tall}h{length}v{tall}z" for start, length in runs)


def _line(runs: Sequence[tuple[int, int]], middle: float) -> str:
    """One line with gaps, as thick as the style says: thousands of cells must stay small."""
    drawn, at = "", 0
    for start, length in runs:
        drawn += f"m{start - at} 0h{length}" if drawn else f"M{start} {middle:g}h{length}"
        at = start + length
    return drawn


def sparkline(values: Sequence[int | None]) -> Markup:
    """The course of a number: a line, with a gap where there is none, and a dot at its end."""
    most = max((value for value in values if value), default=1)
    points = [
        None if value is None else (i * 8 + 3, round(15 - 12 * value / most, 1))
        for i, value in enumerate(values)
    ]
    line, pen = "", "M"
    for point in points:
        line += f"{pen}{point[0]} {point[1]:g}" if point else ""
        pen = "L" if point else "M"
    end = points[-1] if points else None
    dot = f'<circle cx="{end[0]}" cy="{end[1]:g}" r="2"/>' if end else ""
    said = ", ".join("-" if value is None else str(value) for value in values)
    width = len(values) * 8 + 2
    return Markup(
        f'<svg class="spark" viewBox="0 0 {width} 18" width="{width}" height="18" role="img" '
        f'aria-label="findings: {said}"><path d="{line}"/>{dot}</svg>'
    )


def bars(numbers: Mapping[str, int]) -> Markup:
    """A distribution: one bar for each class, with its number above and its name below."""
    most = max(numbers.values(), default=1)
    step, high = 52, 70
    parts = []
    for i, (name, number) in enumerate(numbers.items()):
        tall = max(1, round(high * number / most))
        x = i * step
        parts.append(
            f'<rect x="{x + 4}" y="{high + 14 - tall}" width="{step - 8}" height="{tall}"/>'
            f'<text x="{x + step // 2}" y="{high + 10 - tall}">{number:,}</text>'
            f'<text x="{x + step // 2}" y="{high + 28}">{name}</text>'
        )
    width = max(1, len(numbers)) * step
    return Markup(
        f'<svg class="bars" viewBox="0 0 {width} {high + 34}" style="max-width:{width}px" role="img" '
        f'aria-label="distribution">{"".join(parts)}</svg>'
    )
