"""Adds up what the shards of one scenario have counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from chaoskit.core.case import CaseResult
from chaoskit.core.counted import RECOVERY_BOUNDS, RecoveryTimes
from chaoskit.core.handling import HandlerResult
from chaoskit.core.operation import Caveat
from chaoskit.core.result import PointSummary, Timing


def numbers(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, in the order in which the names first appear; zeroes are kept."""
    found: dict[str, int] = {}
    for one in several:
        for name, number in one.items():
            found[name] = found.get(name, 0) + number
    return found


def points(
    several: Sequence[Sequence[PointSummary]], beyond: Iterable[CaseResult]
) -> tuple[PointSummary, ...]:
    """The points of one recording, with the cases of all shards there and the cases ``beyond`` the plan."""
    more = Counter(point for case in beyond for point in case.points)
    return tuple(
        replace(
            same[0],
            stable=all(one.stable for one in same),
            faults=tuple(dict.fromkeys(fault for one in same for fault in one.faults)),
            explored=sum(one.explored for one in same) + more[same[0].index],
        )
        for same in zip(*several, strict=True)
    )


def timings(several: Sequence[Timing]) -> Timing:
    """The time spent in all shards together, on whichever machine."""
    return Timing(
        sum(one.baseline for one in several),
        sum(one.second_baseline for one in several),
        sum(one.cases for one in several),
        sum(one.total for one in several),
        sum(one.not_waited for one in several),
    )


def recoveries(several: Iterable[RecoveryTimes | None]) -> RecoveryTimes | None:
    """The times of the named recoveries of all shards; None if no shard has any."""
    known = [one for one in several if one is not None]
    if not known:
        return None
    within = Counter(numbers(one.within for one in known))
    order = [*map(str, RECOVERY_BOUNDS), "more"]
    return RecoveryTimes(
        sum(one.count for one in known),
        max(one.slowest for one in known),
        {name: within[name] for name in order if within[name]},
    )


def handlers(several: Iterable[tuple[HandlerResult, ...] | None]) -> tuple[HandlerResult, ...] | None:
    """Each handler once, with the cases of all shards in which it ran; None if no shard watched handlers."""
    found: dict[object, HandlerResult] = {}
    noted = [one for one in several if one is not None]
    for one in (handler for each in noted for handler in each):
        before = found.setdefault((one.site, one.kind), one)
        if before is not one:
            found[one.site, one.kind] = replace(
                before,
                called=before.called or one.called,
                baseline=before.baseline or one.baseline,
                cases=numbers((before.cases, one.cases)),
                schedule=before.schedule or one.schedule,
            )
    return tuple(found.values()) if noted else None


def caveats(several: Iterable[Iterable[Caveat]]) -> tuple[Caveat, ...]:
    """Each blind spot once."""
    found: dict[tuple[str, str], Caveat] = {}
    for one in (caveat for each in several for caveat in each):
        found.setdefault((one.kind, one.target), one)
    return tuple(found.values())
