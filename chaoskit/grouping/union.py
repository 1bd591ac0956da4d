"""Joins the shards of one scenario into one result, with the findings that a run of all cases has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaoskit.core.case import BROKEN, INCONCLUSIVE, NO_JUDGEMENT, PASSING, CaseResult
from chaoskit.core.counted import counted
from chaoskit.core.errors import UsageError
from chaoskit.core.evidence import ALL, EACH, HANGS, PAIRED, SMALLER, BrokenCase, Part
from chaoskit.core.finding import Finding
from chaoskit.core.result import (
    ALIKE,
    ELSEWHERE,
    HANGS_THERE,
    Budget,
    Conclusion,
    ScenarioResult,
    Shrinking,
    StateCounts,
)
from chaoskit.grouping import adding
from chaoskit.grouping.groups import finding_of, groups
from chaoskit.grouping.trails import Retraced, retrace


@dataclass(frozen=True, slots=True)
class _Shared:
    """The result of one shard, and its :class:`Part`, which is known to exist."""

    result: ScenarioResult
    part: Part


def union(results: Sequence[ScenarioResult]) -> ScenarioResult:
    """Return the result that one run of all cases would have; above all, its findings are the same.

    Only the cost differs: times are added up, and so are cases in which second faults struck after first
    faults that two shards did not know to lead to the same state.

    Raises:
        UsageError: if the shards do not belong to one plan, or if one is missing.
    """
    shards = _checked(results)
    first = shards[0]
    left_out = _left_out(shards)
    complete = not any(number for why, number in left_out.items() if why not in (ALIKE, HANGS_THERE))
    broken = [one for shard in shards for one in shard.part.broken]
    planned, hung = _without_hangs([one for one in broken if one.evidence.order[0] != SMALLER])
    planned = _without_repetitions(planned, shards)
    left_out[HANGS_THERE] = left_out.get(HANGS_THERE, 0) + hung
    safe = sorted(moment for shard in shards for moment in shard.part.safe)
    found = retrace(
        planned,
        [one for one in broken if one.evidence.order[0] == SMALLER],
        {trail.origin: trail for shard in shards for trail in shard.part.trails},
        safe,
        complete=complete,
    )
    findings, numbers = _findings(found, safe, first.result, complete=complete)
    joined = replace(
        first.result,
        **_cases(shards, found, numbers),
        **_sums(shards, found),
        findings=findings,
        stale=tuple(sorted(first.result.known.keys() - {one.id for one in findings})) if complete else (),
        part=None,
    )
    joined = replace(joined, state=_state(joined), budget=_budget(shards, found, joined.tried, left_out))
    return joined.aggregated()


def _checked(results: Sequence[ScenarioResult]) -> Sequence[_Shared]:
    """The shards in their order.

    Raises:
        UsageError: if one is missing, or if they do not belong to one plan.
    """
    shards = [_Shared(one, one.part) for one in results if one.part is not None]
    shards.sort(key=lambda one: one.part.shard.number)
    name, of = results[0].nodeid, shards[0].part.shard.of
    plans = {f"{one.part.shard} has the plan {one.result.plan}" for one in shards}
    if len({one.result.plan for one in shards}) > 1 or len({one.part.shard.of for one in shards}) > 1:
        raise UsageError(
            f"the shards of {name} are not of one plan: {', '.join(sorted(plans))}; expected one digest. Run "
            "them with the same commit, options and versions: --chaoskit-list shows what is planned."
        )
    missing = sorted(set(range(1, of + 1)) - {one.part.shard.number for one in shards})
    if missing or len(shards) != of:
        names = ", ".join(f"{number}/{of}" for number in missing)
        raise UsageError(
            f"the shards {names} of {name} are missing; expected all {of}, since a case that was not run may "
            "break. Give merge the reports of these shards as well."
        )
    return shards


def _left_out(shards: Sequence[_Shared]) -> dict[str, int]:
    """The cases that no shard has run, by reason: those left out of the plan once, the others per shard."""
    plan = dict(shards[0].part.left_out)
    books = [one.result.budget.left_out for one in shards]
    own = [{why: book[why] - plan.get(why, 0) for why in book if why != ELSEWHERE} for book in books]
    return adding.numbers((plan, *own))


def _without_hangs(broken: Sequence[BrokenCase]) -> tuple[list[BrokenCase], int]:
    """Drop the cases that one run would have left out after too many hangs at their line; count them."""
    hung: Counter[int] = Counter()
    beyond = set()
    for one in sorted((one for one in broken if one.rank >= 0 and one.line), key=lambda one: one.rank):
        if hung[one.line] >= HANGS:
            beyond.add(one.rank)
        elif one.evidence.verdict == "hung":
            hung[one.line] += 1
    return [one for one in broken if one.rank not in beyond], len(beyond)


def _without_repetitions(broken: Sequence[BrokenCase], shards: Sequence[_Shared]) -> list[BrokenCase]:
    """Where several first faults lead to one state, keep only the second faults after the earliest one."""
    seen: set[object] = set()
    repeated = set()
    followed = sorted((one.order, one.what) for shard in shards for one in shard.part.followed)
    for order, what in followed:
        if what in seen:
            repeated.add(order)
        seen.add(what)
    kept = []
    for one in sorted(broken, key=lambda one: one.evidence.order):
        evidence = one.evidence
        if evidence.order[0] == PAIRED:
            alike = evidence.order[1:-1] in repeated
            if evidence.world is not None and evidence.world.shown:
                # The content of the disk decides, whichever faults led to it.
                alike = evidence.world.alike in seen
                seen.add(evidence.world.alike)
            if alike:
                continue
        kept.append(one)
    return kept


def _findings(
    found: Retraced, safe: Sequence[int], first: ScenarioResult, *, complete: bool
) -> tuple[tuple[Finding, ...], dict[str, int]]:
    """The findings, and the number of the finding to which each broken case belongs, by schedule."""
    broken = found.broken
    evidence = [one.evidence for one in broken]
    findings = []
    numbers: dict[str, int] = {}
    for number, group in enumerate(groups(evidence, safe, complete=complete)):
        shown, guilty = broken[group.shown], broken[group.guilty[group.shown]]
        classes = (broken[i].fault_class for i in group.members)
        one = finding_of(number, group, evidence, shown, guilty, classes)
        origin, smallest = found.origins.get(one.schedule, ""), found.complete.get(one.schedule)
        known = first.known.get(one.id, "")
        findings.append(replace(one, shrunk_from=origin, smallest=smallest, known=known))
        numbers |= {evidence[i].schedule: number for i in group.members}
    return tuple(findings), numbers


def _cases(shards: Sequence[_Shared], found: Retraced, numbers: dict[str, int]) -> dict[str, Any]:
    """The cases that keep a record, and those that are only counted."""
    others = [*(case for one in shards for case in one.result.cases), *_beyond(shards, found)]
    kept: list[CaseResult] = [
        replace(one.case, finding=numbers.get(one.evidence.schedule)) for one in found.broken
    ]
    kept += [case for case in others if case.verdict in NO_JUDGEMENT]
    before = [several for one in shards for several in one.result.counted if several.verdict not in BROKEN]
    return {
        "cases": tuple(replace(case, index=index) for index, case in enumerate(kept)),
        "counted": counted((case for case in others if case.verdict in PASSING), before),
    }


def _beyond(shards: Sequence[_Shared], found: Retraced) -> Sequence[CaseResult]:
    """The cases in which smaller states were tried, as the shards count them."""
    taken = {step.schedule for step in found.taken}
    cases = {case.schedule: case for one in shards for case in one.part.tried}
    return [cases[schedule] for schedule in sorted(taken & cases.keys())]


def _sums(shards: Sequence[_Shared], found: Retraced) -> dict[str, Any]:
    """The fields whose values are sums or unions over the shards, by name."""
    results = [one.result for one in shards]
    first = results[0]
    shrunk = any(value is not None for value in found.complete.values())
    return {
        "points": adding.points([one.points for one in results], _beyond(shards, found)),
        "variations": tuple(dict.fromkeys(one for result in results for one in result.variations)),
        "caveats": adding.caveats(one.caveats for one in results),
        "timing": adding.timings([one.timing for one in results]),
        "sometimes": adding.numbers(one.sometimes for one in results),
        "resumed": adding.numbers(one.resumed for one in results),
        "handlers": adding.handlers(one.handlers for one in results),
        "recovery": adding.recoveries(one.recovery for one in results),
        "oracle": next((one.oracle for one in results if one.oracle is not None), first.oracle),
        "crash_states": _crash_states(shards, found),
        "shrinking": Shrinking(len(found.taken), EACH, ALL) if shrunk else None,
    }


def _crash_states(shards: Sequence[_Shared], found: Retraced) -> StateCounts | None:
    """The counts of the plan once, plus what the shards found after faults and in making states smaller."""
    counts = [one.result.crash_states for one in shards if one.result.crash_states is not None]
    if not counts:
        return None
    plan = shards[0].part
    # A content that several sets of steps leave counts once as distinct, and each set as possible.
    taken = [step for step in found.taken if step.ways]
    possible = plan.possible + sum(one.possible - plan.possible for one in counts)
    distinct = plan.distinct + sum(one.distinct - plan.distinct for one in counts) + len(taken)
    checked = min(distinct, sum(one.checked for one in counts) + len(taken))
    return StateCounts(possible + sum(step.ways for step in taken), distinct, checked, distinct - checked)


def _budget(shards: Sequence[_Shared], found: Retraced, run: int, left_out: dict[str, int]) -> Budget:
    planned = shards[0].part.planned
    possible = planned + sum(one.result.budget.possible - planned for one in shards) + len(found.taken)
    rest = {why: number for why, number in left_out.items() if number}
    return Budget(shards[0].result.budget.limit, possible, run, rest)


def _state(joined: ScenarioResult) -> Conclusion:
    """The conclusion that follows from all cases together."""
    if joined.stale or joined.new_findings:
        return "failed"
    unjudged = sum(joined.verdicts[verdict] for verdict in INCONCLUSIVE)
    return "inconclusive" if unjudged > joined.options.allow_inconclusive * joined.tried else "passed"
