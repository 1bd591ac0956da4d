"""Groups the broken cases with one cause, which become one finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.core.evidence import BrokenCase, CaseEvidence, Cause
from chaoskit.core.finding import FaultClass, Finding
from chaoskit.faults.errnos import FAULT_CLASSES
from chaoskit.faults.power import MODELS
from chaoskit.grouping.blame import simpler_of
from chaoskit.grouping.stops import Named, Stops


@dataclass(frozen=True, slots=True)
class Group:
    """The broken cases with one cause, as indices in ascending order; ``shown`` is the plainest of them.

    ``name`` is the id of the finding. ``guilty`` maps each member to the case whose operation is to blame,
    which is mostly the member itself.
    """

    name: str
    cause: Cause
    members: tuple[int, ...]
    shown: int
    guilty: Mapping[int, int]

    def simplest_by_model(self, evidence: Sequence[CaseEvidence]) -> dict[str, int]:
        """For each model, in the order of :data:`MODELS`, the simplest case whose crash state it allows."""
        found: dict[str, int] = {}
        # The simplest first, so that setdefault keeps that one.
        for i in sorted(self.members, key=lambda i: (evidence[i].simplicity, i)):
            world = evidence[i].world
            for model in world.models if world is not None else ():
                found.setdefault(model, i)
        return {model: found[model] for model in MODELS if model in found}


def groups(evidence: Sequence[CaseEvidence], safe: Iterable[int], *, complete: bool = True) -> list[Group]:
    """Group broken cases, given in the order of the plan; the groups are in the order of their first members.

    ``safe`` are the moments at which a kill was harmless. ``complete`` is False if some cases were left out:
    what happens between two stops is then unknown.
    """
    worlds = {i: one.world for i, one in enumerate(evidence) if one.world is not None and one.world.shown}
    harms = {i: one.harm for i, one in enumerate(evidence)}
    # If some of the missing parts break the test by themselves, the others are not to blame.
    simpler = simpler_of(harms, worlds)
    causes: dict[int, Named] = {}
    guilty: dict[int, int] = {}
    for i, one in enumerate(evidence):
        guilty[i] = simpler.get(i, i)
        causes[i] = _cause(one, evidence[guilty[i]])
    found: dict[Cause, list[int]] = {}
    ids: dict[Cause, str] = {}
    for i, named in Stops(evidence, causes, safe, complete=complete).settled().items():
        cause = replace(named.cause, at=None, killed=False)
        found.setdefault(cause, []).append(i)
        ids[cause] = named.id
    ordered = sorted((sorted(members), cause) for cause, members in found.items())
    return [
        Group(
            ids[cause],
            cause,
            tuple(members),
            min(members, key=lambda i: (evidence[i].simplicity, i)),
            guilty,
        )
        for members, cause in ordered
    ]


def _cause(one: CaseEvidence, blamed: CaseEvidence) -> Named:
    """The cause of a case that the world of ``blamed`` explains."""
    if one is blamed or blamed.world is None or not blamed.world.told:
        return Named(one.cause, one.id, one.answered)
    # A world explains only cases that broke in the same way, so its words for the harm fit this one too.
    at = one.world.at if one.world is not None and blamed.cause.killed else None
    return Named(replace(blamed.cause, at=at), blamed.id, blamed.answered)


def finding_of(
    number: int,
    group: Group,
    evidence: Sequence[CaseEvidence],
    shown: BrokenCase,
    guilty: BrokenCase,
    classes: Iterable[FaultClass],
) -> Finding:
    """The record of one group, shown by its plainest case.

    ``guilty`` is the case whose operation is to blame; ``classes`` are those of the faults of all members.
    """
    case, guilt = shown.case, guilty.guilt
    by_model = {model: evidence[i].schedule for model, i in group.simplest_by_model(evidence).items()}
    assert case.failure is not None
    return Finding(
        index=number,
        id=group.name,
        cause=group.cause.kind,
        verdict=case.verdict,
        schedule=case.schedule,
        schedules=tuple(evidence[i].schedule for i in group.members),
        call=guilt.call,
        site=guilt.stack[0] if guilt.stack else None,
        stack=guilt.stack,
        source=guilt.source,
        failure=case.failure,
        differences=case.differences,
        excerpt=guilt.excerpt,
        models=tuple(by_model),
        by_model=by_model,
        advice=shown.advice,
        reproduced=shown.reproduced,
        # The most ordinary class: a finding that the local disk shows by itself needs no share.
        fault_class=min(classes, key=FAULT_CLASSES.index, default="local"),
    )
