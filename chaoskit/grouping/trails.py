"""Repeats the search for smaller crash states, with every answer known, as a run of all cases would do it.

Each shard has made its own states smaller, and more of them than the whole run would have. Only the steps
that lead to the findings of the whole are taken here, so that joined shards have the same findings as a run
that was never divided. The search follows :mod:`chaoskit.explore.shrink` step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chaoskit.core.evidence import SMALLER, BrokenCase, CaseEvidence, StateTried, Trail
from chaoskit.grouping.groups import groups


@dataclass(slots=True)
class Retraced:
    """The part of the shards' searches that counts.

    ``broken`` are all cases that broke, including those taken, and ``taken`` the states beyond the plan in
    the order in which they were tried. ``complete`` and ``origins`` are as in
    :class:`chaoskit.explore.shrink.Shrinker`.
    """

    broken: list[BrokenCase]
    taken: list[StateTried] = field(default_factory=list)
    complete: dict[str, bool | None] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def retrace(
    broken: Iterable[BrokenCase],
    smaller: Iterable[BrokenCase],
    trails: Mapping[str, Trail],
    safe: Sequence[int],
    *,
    complete: bool,
) -> Retraced:
    """Follow the trails, and take those of the cases ``smaller`` that a run of all cases would have tried."""
    found = Retraced(sorted(broken, key=lambda one: one.evidence.order))
    pool = {one.evidence.schedule: one for one in smaller}
    while larger := [one for one in _shown(found.broken, safe, complete=complete) if _can_be(one, found)]:
        walked = [trail for one in larger if (trail := trails.get(one.schedule)) is not None]
        for one in larger:
            # Its shard had no room left for a trail: the state stays as large as it is.
            found.complete.setdefault(one.schedule, None)
        for step in _beyond_the_plan(walked, {step.content for step in found.taken}):
            _take(step, pool, found)
        for trail in walked:
            known = {step.schedule for step in found.taken}
            if not trail.planned and trail.smallest not in known:
                _take(StateTried(trail.smallest, -1, 0), pool, found)
        for trail in walked:
            _note(trail, found)
    return found


def _shown(broken: Sequence[BrokenCase], safe: Sequence[int], *, complete: bool) -> Sequence[CaseEvidence]:
    """The cases that illustrate the findings: one for each model."""
    evidence = [one.evidence for one in broken]
    found = (
        group.simplest_by_model(evidence).values() for group in groups(evidence, safe, complete=complete)
    )
    return [evidence[i] for i in dict.fromkeys(index for several in found for index in several)]


def _can_be(one: CaseEvidence, found: Retraced) -> bool:
    shown = one.world is not None and one.world.shown
    return shown and one.verdict == "violated" and one.schedule not in found.complete


def _beyond_the_plan(trails: Sequence[Trail], known: set[int]) -> Iterator[StateTried]:
    """The steps of all trails beyond the plan, each content once; every trail gives one in each round."""
    paths = [iter(trail.steps) for trail in trails]
    while True:
        batch: dict[int, StateTried] = {}
        for path in paths:
            step = next((one for one in path if not one.planned and one.content not in known), None)
            if step is not None:
                batch.setdefault(step.content, step)
        if not batch:
            return
        known |= batch.keys()
        yield from batch.values()


def _take(step: StateTried, pool: Mapping[str, BrokenCase], found: Retraced) -> None:
    order = (SMALLER, len(found.taken))
    found.taken.append(step)
    if step.schedule in pool:
        one = pool[step.schedule]
        found.broken.append(replace(one, evidence=replace(one.evidence, order=order)))


def _note(trail: Trail, found: Retraced) -> None:
    """Record whether the search for a smaller state ended, and where it led."""
    by_name = {one.evidence.schedule: one.evidence for one in found.broken}
    smallest = by_name.get(trail.smallest)
    alike = smallest is not None and smallest.harm == by_name[trail.origin].harm
    found.complete[trail.origin] = trail.ended and alike
    if trail.smallest != trail.origin and alike:
        found.complete[trail.smallest] = trail.ended
        found.origins.setdefault(trail.smallest, trail.origin)
