"""The evidence of a broken case, which decides what it is grouped with."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaoskit.core.case import BROKEN, PASSING, CaseResult
from chaoskit.core.evidence import BrokenCase, CaseEvidence, Guilt, WorldEvidence
from chaoskit.core.finding import FaultClass
from chaoskit.core.source import excerpt
from chaoskit.explore.border import World
from chaoskit.explore.case import Case, state_shown
from chaoskit.explore.causes import cause_of, harm_of, id_if_answered, id_of, moment_of
from chaoskit.explore.snapshot import Snapshot
from chaoskit.explore.spots import Spots
from chaoskit.faults.plainness import plainness
from chaoskit.grouping.blame import simpler_of
from chaoskit.grouping.groups import Group, groups


@dataclass(frozen=True, slots=True)
class Grouped:
    """Broken cases in groups, numbered like ``evidence``; ``at`` has the indices in the run."""

    groups: Sequence[Group]
    evidence: Sequence[CaseEvidence]
    at: Sequence[int]


class Witness:
    """Makes the evidence for the cases of one scenario, whose operations belong to ``spots``."""

    def __init__(self, spots: Spots, scenario: str) -> None:
        self._spots = spots
        self._scenario = scenario

    def grouped(self, run: Sequence[Case], *, complete: bool) -> Grouped:
        """The broken cases of ``run``, grouped by their cause."""
        at = [i for i, case in enumerate(run) if case.judgement.verdict in BROKEN]
        worlds = {i: world for i in at if (world := state_shown(run[i])) is not None}
        # Finding out why a world came about is slow, so it is done only for worlds that explain the others.
        simpler = simpler_of({i: harm_of(run[i].judgement) for i in at}, worlds)
        evidence = [self.of(run[i], (i,), worlds.get(simpler.get(i, i))) for i in at]
        return Grouped(groups(evidence, safe_stops(run), complete=complete), evidence, at)

    def of(self, case: Case, order: tuple[int, ...], simpler: World | None = None) -> CaseEvidence:
        """The evidence of a broken case, which has position ``order`` among all.

        ``simpler`` is the world that explains it, if that is not its own.
        """
        blamed = simpler or state_shown(case)
        told, guilty = (None, None) if blamed is None else (blamed.told, blamed.guilty)
        cause = cause_of(case, self._spots, told, guilty)
        return CaseEvidence(
            order=order,
            schedule=str(case.planned.schedule),
            verdict=case.judgement.verdict,
            harm=tuple(map(str, harm_of(case.judgement))),
            cause=cause,
            id=id_of(cause, self._scenario),
            answered=id_if_answered(cause, self._scenario),
            simplicity=_simplicity(case),
            left=_left(case.seen.snapshot) if cause.kind == "stopped" else None,
            world=None if case.planned.world is None else _world(case, case.planned.world, told is not None),
        )


def broken_case(
    case: Case, result: CaseResult, evidence: CaseEvidence, fault_class: FaultClass
) -> BrokenCase:
    """A broken case, as a finding shows it; ``result`` is its record."""
    world = state_shown(case)
    operation = world.guilty if world is not None else next(reversed(case.operations), None)
    stack = operation.stack if operation is not None else ()
    guilt = Guilt(
        call=operation.call if operation is not None else "",
        stack=stack,
        source=tuple(linecache.getline(frame.file, frame.line).strip() for frame in stack),
        excerpt=excerpt(stack),
    )
    told = case.planned.world.told if case.planned.world is not None else None
    return BrokenCase(evidence, result, guilt, told, fault_class=fault_class)


def safe_stops(run: Iterable[Case]) -> Iterator[int]:
    """The moments at which the program was killed and the test passed."""
    for case in run:
        alone = len(case.planned.schedule) == 1 and case.planned.world is None and case.points
        if alone and case.judgement.verdict in PASSING and any(one.how == "died" for one in case.seen.runs):
            yield case.points[-1]


def digest_of(value: object) -> int:
    """A digest of ``repr(value)``: the same in every process, and exact in every JSON reader."""
    text = repr(value).encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


def shown_by(case: Case) -> int:
    """A digest of what the test sees in a case with a world: the strikes before it, and its content."""
    world = case.planned.world
    assert world is not None
    return digest_of((list(map(str, case.planned.schedule.strikes[:-1])), world.content))


def _simplicity(case: Case) -> tuple[int, ...]:
    schedule, world = case.planned.schedule, case.planned.world
    missing = len(world.missing) if world is not None else 0
    plain = max((plainness(s.fault) for s in schedule), default=0)
    return (len(schedule), plain, missing, len(str(schedule)))


def _left(snapshot: Snapshot) -> int | None:
    if not snapshot:
        return None
    return digest_of([(name, e.kind, e.mode, e.size, e.digest, e.head) for name, e in snapshot.items()])


def _world(case: Case, world: World, told: bool) -> WorldEvidence:
    return WorldEvidence(
        run=world.run,
        operation=world.operation.index,
        # Each recording numbers its steps separately.
        lineage="; ".join(map(str, case.planned.schedule.strikes[:-1])),
        steps=world.steps,
        at=moment_of(case),
        shown=state_shown(case) is not None,
        told=told,
        content=shown_by(case),
        alike=digest_of((str(case.planned.schedule.strikes[0].fault), world.content)),
        models=world.models,
    )
