"""One part of a scenario's plan, and what is needed to join it with the others.

Conclusions from all cases are drawn when the shards are joined (:mod:`chaoskit.grouping.union`), and nothing
is run then. So a shard runs whatever a complete run might have run of its part: it makes smaller every broken
crash state that could illustrate a finding, and it runs every such case once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.core.case import BROKEN, CaseResult
from chaoskit.core.evidence import ALL, SMALLER, BrokenCase, Followed, Part, Shard, StateTried, Trail
from chaoskit.core.result import ELSEWHERE
from chaoskit.explore import timeline
from chaoskit.explore.assemble import Material, case_result, crash_states_of, shown_again, witness_of
from chaoskit.explore.case import Case, state_shown
from chaoskit.explore.choose import ranked
from chaoskit.explore.classes import Classes
from chaoskit.explore.evidence import Witness, broken_case, digest_of, safe_stops, shown_by
from chaoskit.explore.shrink import Shrinker
from chaoskit.explore.sweep import Sweep, struck

_AGAIN = 2
"""How many of the cases that look alike are run once more: the second in case the first belongs elsewhere."""


@dataclass(frozen=True, slots=True)
class WholePlan:
    """The planned cases of all shards; ``listed`` counts the possible cases, run or not."""

    cases: Sequence[Case]
    listed: int
    possible: int
    distinct: int
    left_out: Mapping[str, int]


def plan_for(cases: Sequence[Case], sweep: Sweep) -> WholePlan:
    """The plan, which is the same in every shard; each case gets its place in the running order."""
    order = ranked([case.planned for case in cases], struck(cases), sweep.question.seed)
    for rank, index in enumerate(order):
        cases[index].rank = rank
    states = crash_states_of(sweep.worlds, ())
    possible, distinct = (0, 0) if states is None else (states.possible, states.distinct)
    return WholePlan(cases, sweep.possible, possible, distinct, dict(sweep.left_out))


def share(plan: WholePlan, shard: Shard, sweep: Sweep) -> Sequence[Case]:
    """The cases of one shard: neighbours go to different ones, so that each gets some of every kind."""
    part = plan.cases[shard.number - 1 :: shard.of]
    sweep.elsewhere = len(plan.cases) - len(part)
    sweep.left_out[ELSEWHERE] += sweep.elsewhere
    return part


def shrink_all(cases: Sequence[Case], shrinker: Shrinker, witness: Witness) -> None:
    """Make all broken states smaller, the most telling first, within the usual bound."""
    while len(shrinker.added) < ALL:
        left = [case for case in (*cases, *shrinker.added) if _broke(case) and shrinker.can_be(case)]
        if not left:
            return
        kinds = _by_kind(left, witness)
        shrinker.shrink([several[0] for several in kinds.values()])


def _broke(case: Case) -> bool:
    return case.judgement.verdict in BROKEN


def _by_kind(cases: Sequence[Case], witness: Witness) -> dict[object, list[Case]]:
    """Broken cases grouped by their own evidence, the simplest of each group first."""
    kinds: dict[object, list[tuple[tuple[int, ...], int, Case]]] = {}
    for number, case in enumerate(cases):
        one = witness.of(case, case.order)
        models = one.world.models if one.world is not None else ()
        key = (one.cause, one.harm, one.left, models)
        kinds.setdefault(key, []).append((one.simplicity, number, case))
    ordered = {key: sorted(several, key=lambda one: one[:2]) for key, several in kinds.items()}
    return {key: [case for *_, case in several] for key, several in ordered.items()}


def part_of(
    material: Material, plan: WholePlan, sweep: Sweep, shrinker: Shrinker, followed: Sequence[Followed]
) -> Part:
    """What the shard adds to its result; ``material`` has the result's cases except the ``shrinker``'s."""
    question = material.question
    assert question.shard is not None
    for number, case in enumerate(shrinker.added):
        case.order = (SMALLER, number)
    broken = [case for case in (*material.run, *shrinker.added) if _broke(case)]
    return Part(
        shard=question.shard,
        planned=plan.listed,
        safe=tuple(safe_stops(material.run)),
        broken=tuple(_told(broken, material, shrinker, sweep)),
        tried=tuple(map(_brief, shrinker.added)),
        trails=tuple(_trails(shrinker, [*plan.cases, *material.run])),
        followed=tuple(followed),
        possible=plan.possible,
        distinct=plan.distinct,
        left_out=plan.left_out,
    )


def _brief(case: Case) -> CaseResult:
    """The parts of a case that are counted."""
    schedule = case.planned.schedule
    faults = tuple(str(strike.fault) for strike in schedule)
    return CaseResult(0, str(schedule), case.judgement.verdict, case.points, faults)


def _told(
    broken: Sequence[Case], material: Material, shrinker: Shrinker, sweep: Sweep
) -> Iterator[BrokenCase]:
    """The broken cases, each with everything that a finding says if this case illustrates it."""
    question, recording = material.question, material.alignment.recording
    witness, classes = witness_of(material), Classes(question.faults, recording)
    smallest = {str(last.planned.schedule) for _, last, _ in shrinker.trails.values()}
    kinds = _by_kind([case for case in broken if case.judgement.verdict == "violated"], witness)
    chosen = {id(case): case for several in kinds.values() for case in several[:_AGAIN]}
    chosen |= {id(case): case for case in broken if str(case.planned.schedule) in smallest}
    cases = [case for case in chosen.values() if case.judgement.verdict == "violated"]
    again = {id(cases[number]): found for number, found in sweep.again(cases).items()}
    for index, case in enumerate(broken):
        result = case_result(index, case, material.first, recording.patterns)
        reproduced = None
        if id(case) in again:
            reproduced, seen = again[id(case)]
            result = shown_again(result, reproduced, seen, timeline.recorded(case, seen))
        elif case.judgement.verdict == "hung":
            # Not run again, since each would cost its whole timeout again.
            result = replace(result, timeline=timeline.unrecorded(case, recording))
        told = broken_case(case, result, witness.of(case, case.order), classes.of(case))
        stack = case.operations[-1].stack if case.operations else ()
        yield replace(told, reproduced=reproduced, line=digest_of(stack) if stack else 0, rank=case.rank)


def _trails(shrinker: Shrinker, known: Sequence[Case]) -> Iterator[Trail]:
    """How states were made smaller; the cases in ``known`` are run anyway."""
    shown = {shown_by(case) for case in known if state_shown(case) is not None}
    left = {world.content for case in known if (world := case.planned.world) is not None}
    names = {str(case.planned.schedule) for case in known}
    for origin, (asked, last, ended) in shrinker.trails.items():
        steps = []
        for case in asked:
            content, world = shown_by(case), case.planned.world
            ways = 0 if world is None or world.content in left else world.ways
            steps.append(StateTried(str(case.planned.schedule), content, ways, content in shown))
        smallest = str(last.planned.schedule)
        yield Trail(origin, tuple(steps), smallest, ended, smallest in names)
