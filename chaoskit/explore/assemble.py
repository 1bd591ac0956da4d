"""Put the result together: cases, findings, points, caveats, and the conclusion."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaoskit.core.case import INCONCLUSIVE, NO_JUDGEMENT, CaseResult, Timeline
from chaoskit.core.evidence import ALL, EACH, BrokenCase
from chaoskit.core.finding import Finding
from chaoskit.core.operation import Caveat
from chaoskit.core.result import Conclusion, PointSummary, ScenarioResult, Shrinking, StateCounts, Timing
from chaoskit.core.schedule import place_text
from chaoskit.explore import interpreters, timeline
from chaoskit.explore.align import Alignment
from chaoskit.explore.border import CaseSource, Recording, World
from chaoskit.explore.case import Case, Question, state_shown
from chaoskit.explore.classes import Classes
from chaoskit.explore.evidence import Witness, broken_case
from chaoskit.explore.handled import handler_results
from chaoskit.explore.judge import forgotten, without_numbers
from chaoskit.explore.observation import Observation
from chaoskit.explore.shrink import Shrinker
from chaoskit.explore.snapshot import differences
from chaoskit.explore.spots import Spots
from chaoskit.explore.sweep import Sweep
from chaoskit.grouping.groups import finding_of


@dataclass(frozen=True, slots=True)
class Material:
    """Everything known about a scenario when its cases are over.

    ``planned`` are the cases whose faults count as offered at the points, ``run`` those that were judged.
    ``shrinker`` is None if nothing was made smaller. ``plan`` is the digest of the plan.
    """

    question: Question
    first: Observation
    alignment: Alignment
    planned: Sequence[Case]
    run: Sequence[Case]
    shrinker: Shrinker | None = None
    plan: str = ""


def result_of(material: Material, sweep: Sweep, timing: Timing, *, again: bool = True) -> ScenarioResult:
    """Build the result; with ``again``, run one case of each finding once more and record it."""
    question, run = material.question, material.run
    recording = material.alignment.recording
    cases, findings = _told(material, sweep)
    known = question.known
    findings = tuple(replace(one, known=known.get(one.id, "")) for one in findings)
    # If some cases were not run, a known finding that did not show may still exist.
    whole = again and sweep.complete and not question.listing and question.options.replay is None
    stale = tuple(sorted(known.keys() - {one.id for one in findings})) if whole else ()
    # After an interrupt run nothing more: the user wants to stop.
    if again:
        cases, findings = _shown_again(cases, findings, material, sweep)
    not_waited = sum(seen.not_waited for seen in (material.first, *(case.seen for case in run)))
    result = ScenarioResult(
        nodeid=question.nodeid,
        state=state_of(cases, findings, stale, question),
        file=question.file,
        line=question.line,
        seed=question.seed,
        backend=question.backend,
        options=question.options,
        plan=material.plan,
        points=tuple(point_summaries(recording, material.planned, cases)),
        cases=cases,
        findings=findings,
        variations=material.alignment.variations,
        caveats=caveat_summaries(material.first, run, question.sources),
        budget=sweep.budget(len(cases)),
        timing=replace(timing, not_waited=not_waited),
        promises=sum(run.promised for run in material.first.runs) + len(material.first.outside),
        outside=material.first.outside,
        advice=tuple(one for source in question.sources for one in source.remarks()),
        crash_states=crash_states_of(sweep.worlds, run),
        shrinking=_shrinking(material.shrinker),
        known=question.known,
        stale=stale,
    )
    return replace(result, **_noted(material))


def _noted(material: Material) -> dict[str, Any]:
    """What the runs recorded beside their verdicts, by field of the result."""
    question, first, run = material.question, material.first, material.run
    return {
        "promise": question.promise,
        "sometimes": states_reached(first, run),
        "resumed": dict(Counter(one.word for case in run for one in case.seen.resumed)),
        "handlers": handler_results(question.handlers, first, run),
    }


def states_reached(first: Observation, run: Iterable[Case]) -> dict[str, int]:
    """For each state that some case must reach, how many cases reached it; the baseline does not count."""
    seen = [case.seen.sometimes for case in run]
    names = dict.fromkeys(name for states in (first.sometimes, *seen) for name in states)
    return {name: sum(states.get(name, False) for states in seen) for name in names}


def plan_of(planned: Iterable[Case]) -> str:
    """A digest of the planned cases, in order."""
    texts = "\n".join(str(case.planned.schedule) for case in planned)
    return hashlib.sha256(texts.encode("ascii")).hexdigest()[:16]


def witness_of(material: Material) -> Witness:
    """The witness that turns each broken case into evidence."""
    return Witness(Spots(material.alignment.recording, material.question.file), material.question.nodeid)


def _told(material: Material, sweep: Sweep) -> tuple[tuple[CaseResult, ...], tuple[Finding, ...]]:
    """The records of the cases, each with the number of its finding, and the findings."""
    question, run = material.question, material.run
    recording = material.alignment.recording
    witness, classes = witness_of(material), Classes(question.faults, recording)
    found = witness.grouped(run, complete=sweep.complete)
    numbers = {found.at[i]: number for number, group in enumerate(found.groups) for i in group.members}
    records = [case_result(i, case, material.first, recording.patterns) for i, case in enumerate(run)]
    cases = tuple(replace(record, finding=numbers.get(record.index)) for record in records)

    def shown(i: int) -> BrokenCase:
        at = found.at[i]
        return broken_case(run[at], cases[at], found.evidence[i], classes.of(run[at]))

    findings = []
    for number, group in enumerate(found.groups):
        members = (classes.of(run[found.at[i]]) for i in group.members)
        guilty = shown(group.guilty[group.shown])
        one = finding_of(number, group, found.evidence, shown(group.shown), guilty, members)
        findings.append(_with_size(one, material.shrinker))
    return cases, tuple(findings)


def _shown_again(
    cases: tuple[CaseResult, ...], findings: tuple[Finding, ...], material: Material, sweep: Sweep
) -> tuple[tuple[CaseResult, ...], tuple[Finding, ...]]:
    """Run the case of each finding once more: if it does not break again, it broke by chance.

    That run is recorded and yields the case's timeline. A case that was recorded when it ran, as that of a
    replay is, has one already. Hung cases are not run again, since each would cost its whole timeout; their
    timeline is the baseline's up to the fault.
    """
    # By the text of the schedule, as in the records; each schedule is one case.
    index_of = {case.schedule: case.index for case in cases}
    timelines: dict[int, Timeline] = {}
    reproduced: dict[str, bool] = {}
    texts: dict[str, str] = {}
    violated = [index_of[finding.schedule] for finding in findings if finding.verdict == "violated"]
    tried = []
    for index in violated:
        case = material.run[index]
        if case.job.record:
            timelines[index] = timeline.recorded(case, case.seen)
        else:
            tried.append(index)
    for number, (broke, seen) in sweep.again([material.run[index] for index in tried]).items():
        index = tried[number]
        timelines[index] = recorded = timeline.recorded(material.run[index], seen)
        failure = shown_again(cases[index], broke, seen, recorded).failure
        reproduced[cases[index].schedule] = broke
        texts[cases[index].schedule] = failure.text if failure is not None else ""
    for index in (index_of[finding.schedule] for finding in findings if finding.verdict == "hung"):
        timelines[index] = timeline.unrecorded(material.run[index], material.alignment.recording)
    shown = []
    for finding in findings:
        failure = replace(finding.failure, text=finding.failure.text or texts.get(finding.schedule, ""))
        shown.append(replace(finding, reproduced=reproduced.get(finding.schedule), failure=failure))
    return tuple(replace(case, timeline=timelines.get(case.index)) for case in cases), tuple(shown)


def shown_again(case: CaseResult, broke: bool, seen: Observation, recorded: Timeline) -> CaseResult:
    """The record of a case that was run once more, with that run's timeline and the text of its failure."""
    failure = case.failure
    # Most cases run without recording the text of their failure; only this one is shown.
    if failure is not None and not failure.text and broke and seen.failure is not None:
        failure = replace(failure, text=seen.failure.text)
    return replace(case, failure=failure, timeline=recorded)


def _with_size(finding: Finding, shrinker: Shrinker | None) -> Finding:
    if shrinker is None:
        return finding
    return replace(
        finding,
        shrunk_from=shrinker.origins.get(finding.schedule, ""),
        smallest=shrinker.complete.get(finding.schedule),
    )


def _shrinking(shrinker: Shrinker | None) -> Shrinking | None:
    if shrinker is None or not shrinker.complete:
        return None
    return Shrinking(len(shrinker.added), EACH, ALL)


def case_result(index: int, case: Case, first: Observation, patterns: tuple[str, ...]) -> CaseResult:
    """The record of one judged case; for a broken one, what it left is compared with the baseline."""
    seen, judgement = case.seen, case.judgement
    broken = judgement.failure is not None
    # Only for broken cases: what the others left was accepted by the test.
    found = differences(first.snapshot, seen.snapshot, patterns) if broken and seen.snapshot else ()
    return CaseResult(
        index=index,
        schedule=str(case.planned.schedule),
        verdict=judgement.verdict,
        points=case.points,
        faults=tuple(str(strike.fault) for strike in case.planned.schedule),
        runs=seen.runs,
        failure=judgement.failure,
        differences=found,
        attempts=case.attempts,
        seconds=seen.seconds,
        output=seen.output,
        caveats=tuple(caveat.text for caveat in seen.caveats),
        note=judgement.note,
        models=case.planned.world.models if case.planned.world is not None else (),
    )


def worlds_of(run: Sequence[Case]) -> dict[int, World]:
    """The worlds of the cases that have one, by the index of the case."""
    return {i: case.planned.world for i, case in enumerate(run) if case.planned.world is not None}


def crash_states_of(worlds: Sequence[World], run: Sequence[Case]) -> StateCounts | None:
    """The counts of crash states; ``worlds`` are all listed ones, whether or not they were run."""
    ways: dict[Hashable, int] = {}
    for world in worlds:
        # Equal content is one state, which several worlds may list.
        ways.setdefault(world.content, world.ways)
    if not ways:
        return None
    judged = {
        case.planned.world.content
        for case in run
        if case.planned.world is not None
        and state_shown(case) is not None
        and case.judgement.verdict not in NO_JUDGEMENT
    }
    return StateCounts(
        possible=sum(ways.values()), distinct=len(ways), checked=len(judged), left_out=len(ways) - len(judged)
    )


def state_of(
    cases: Sequence[CaseResult], findings: Iterable[Finding], stale: Sequence[str], question: Question
) -> Conclusion:
    """The conclusion from all cases."""
    if question.listing:
        return "listed"
    # A shard cannot tell whether a case belongs to a known finding: that is decided when shards are joined.
    undecided = question.shard is not None and bool(question.known)
    if not undecided and (stale or not all(finding.known for finding in findings)):
        return "failed"
    unjudged = sum(case.verdict in INCONCLUSIVE for case in cases)
    return "inconclusive" if unjudged > question.options.allow_inconclusive * len(cases) else "passed"


def point_summaries(
    recording: Recording, planned: Sequence[Case], cases: Sequence[CaseResult]
) -> Iterator[PointSummary]:
    """Every operation of the recording with the faults offered there and how many were run."""
    offered: dict[int, dict[str, None]] = {}
    for case in planned:
        # Only the last strike: the ones before it lead there, and another case offers them.
        for struck in case.points[-1:]:
            offered.setdefault(struck, {})[str(case.planned.schedule.strikes[-1].fault)] = None
    explored = Counter(point for case in cases for point in case.points)
    for i, (operation, point) in enumerate(zip(recording.trace, recording.points, strict=True)):
        yield PointSummary(
            index=i,
            name=str(point),
            call=operation.call,
            target=point.target,
            second=point.second,
            place=place_text(point.place),
            run=operation.place.run,
            outcome=timeline.outcome(operation),
            stack=operation.stack,
            stable=recording.stable[i],
            faults=tuple(offered.get(i, ())),
            explored=explored[i],
        )


def caveat_summaries(
    first: Observation, run: Sequence[Case], sources: Iterable[CaseSource]
) -> tuple[Caveat, ...]:
    """Each blind spot once, however many cases and processes it appeared in."""
    all_of_them: dict[tuple[str, str], Caveat] = {}
    seen: list[Iterable[Caveat]] = [first.caveats, *(source.caveats() for source in sources)]
    for case in run:
        seen += [case.seen.caveats, forgotten(case.job, case.seen), interpreters.caveats(case.job, case.seen)]
    for caveats in seen:
        for caveat in caveats:
            # Without numbers: process ids and descriptors would make each occurrence a different blind spot.
            all_of_them.setdefault((caveat.kind, without_numbers(caveat.target)), caveat)
    return tuple(all_of_them.values())
