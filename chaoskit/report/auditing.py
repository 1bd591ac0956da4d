"""The sync audit as rows: what each sync of a scenario protects, by call site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaoskit.core.auditing import SYNC_WORDS, SyncResult
from chaoskit.core.result import ScenarioResult
from chaoskit.core.source import of_a_library
from chaoskit.report.document import Entry


@dataclass(frozen=True, slots=True)
class AuditRow:
    """The syncs of one call site and name that have the same result.

    ``states`` and ``checked`` are sums; ``harm`` is that of the first of them.
    """

    word: str
    call: str
    place: str
    syncs: int
    states: int
    checked: int
    harm: str
    models: tuple[str, ...]


def audit_rows(result: ScenarioResult) -> tuple[AuditRow, ...]:
    """The rows of one scenario, needed syncs first, then in the order of the recording."""
    groups: dict[tuple[str, str, str], list[SyncResult]] = {}
    for one in result.syncs or ():
        point = result.points[one.point]
        site = next((frame for frame in point.stack if not of_a_library(frame.file)), None)
        # If no frame belongs to the project the call is the library's own.
        site = site or next(iter(point.stack), None)
        place = f"{site.file}:{site.line}" if site is not None else ""
        groups.setdefault((one.word, f"{point.call}({point.target})", place), []).append(one)
    rows = [
        AuditRow(
            word,
            call,
            place,
            len(several),
            sum(one.states for one in several),
            sum(one.checked for one in several),
            several[0].harm,
            several[0].models,
        )
        for (word, call, place), several in groups.items()
    ]
    order: dict[str, int] = {word: rank for rank, word in enumerate(SYNC_WORDS)}
    return tuple(sorted(rows, key=lambda row: order.get(row.word, len(order))))


def audit_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """The audit as lines of text; empty if none was asked for."""
    for entry in entries:
        if entry.result.syncs is None:
            continue
        yield f"sync audit of {entry.result.nodeid}:"
        rows = audit_rows(entry.result)
        if not rows:
            yield "    no sync was recorded while the power might go"
        for row in rows:
            often = f"{row.syncs}x " if row.syncs > 1 else ""
            tried = f"{row.checked:,} of {row.states:,} states"
            models = f" ({', '.join(row.models)})" if row.models else ""
            yield f"    {row.word:<12} {often}{row.call}  {row.place}  {tried}  {row.harm}{models}".rstrip()
