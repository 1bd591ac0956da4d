"""What a case did, in order, and the faults that struck: for a page that shows how a finding came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaoskit.core.case import Timeline, TimelineEntry
from chaoskit.core.operation import Operation
from chaoskit.core.schedule import Point
from chaoskit.explore.align import Naming
from chaoskit.explore.border import Recording
from chaoskit.explore.case import Case
from chaoskit.explore.observation import Observation

LONGEST = 200
"""The most entries of one timeline: a page shows a few dozen, and a result may have many findings."""


def recorded(case: Case, seen: Observation) -> Timeline:
    """The timeline of a case that was recorded as ``seen``."""
    operations = list(seen.trace)
    world = case.planned.world
    if world is not None:
        # The run that the world replaces was not executed: its operations are known from the baseline.
        before = [o for o in operations if o.place.run < world.run]
        operations = [*before, *world.past, *(o for o in operations if o.place.run > world.run)]
    points = Naming(case.job.patterns).points(operations)
    return _bounded(_with_strikes(points, operations, case, seen), True)


def unrecorded(case: Case, baseline: Recording) -> Timeline:
    """The timeline of a case that cannot be recorded: the baseline's, up to the first strike."""
    world = case.planned.world
    if world is not None:
        earlier = [o for o in baseline.trace if o.place.run < world.run]
        operations: Sequence[Operation] = [*earlier, *world.past]
        points: Sequence[Point] = Naming(case.job.patterns).points(operations)
    else:
        # Up to the first fault: after it, this case may have taken another path than the baseline.
        end = min(case.points, default=-1) + 1
        operations, points = baseline.trace.operations[:end], baseline.points[:end]
    # The receipts of the case itself: the baseline has none.
    return _bounded(_with_strikes(points, operations, case, case.seen), False)


def _with_strikes(
    points: Sequence[Point], operations: Sequence[Operation], case: Case, seen: Observation
) -> list[TimelineEntry]:
    # By the strike's text: receipts have crossed processes, and schedules name each point once.
    proven = {receipt.strike: receipt.effect for run in seen.runs for receipt in run.receipts}
    # By point, since a case may strike the same call in two runs.
    effects = {s.point: proven.get(str(s), "") for s in case.planned.schedule}
    entries = [
        TimelineEntry(o.place.run, str(point), outcome(o), effects.pop(point, ""), o.site)
        for point, o in zip(points, operations, strict=True)
    ]
    for promise in seen.outside:
        end = next((i for i, e in enumerate(entries) if e.run > promise.after), len(entries))
        entries.insert(end, TimelineEntry(promise.after, f"promise({promise.value}) by the test"))
    # A call before which the process was killed was never made, so no recording has it.
    for point, effect in effects.items():
        if effect:
            end = next((i for i, e in enumerate(entries) if e.run > point.place.run), len(entries))
            site = case.operations[-1].site if case.operations else None
            entries.insert(end, TimelineEntry(point.place.run, str(point), "", effect, site))
    return entries


def outcome(operation: Operation) -> str:
    """What a call returned, for people: ``0``, ``-ENOENT``; empty if unknown."""
    return str(operation).rpartition(" = ")[2] if operation.result is not None else ""


def _bounded(entries: Sequence[TimelineEntry], whole: bool) -> Timeline:
    kept = sorted(_nearest(entries))
    return Timeline(tuple(entries[i] for i in kept), whole, len(entries) - len(kept))


def _nearest(entries: Sequence[TimelineEntry]) -> Iterator[int]:
    """The indices of the entries nearest to a strike, or to the end if nothing struck."""
    struck = [i for i, entry in enumerate(entries) if entry.struck] or [len(entries)]
    # Of two at the same distance keep the one before the fault: it says how things came about.
    ranked = sorted(range(len(entries)), key=lambda i: (min(abs(i - s) for s in struck), i))
    yield from ranked[:LONGEST]
