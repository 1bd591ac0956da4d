"""Putting the result together: cases, findings, points, caveats, and the conclusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.core.case import BROKEN, INCONCLUSIVE, CaseResult, Timeline
from chaoskit.core.finding import Finding
from chaoskit.core.operation import Caveat
from chaoskit.core.result import Conclusion, PointSummary, ScenarioResult, Shrinking, StateCounts, Timing
from chaoskit.explore import timeline
from chaoskit.explore.align import Alignment
from chaoskit.explore.blame import blamed
from chaoskit.explore.border import CaseSource, Recording, World
from chaoskit.explore.case import Case, Question
from chaoskit.explore.findings import how_broken, merge, simplicity
from chaoskit.explore.judge import without_numbers
from chaoskit.explore.observation import Observation
from chaoskit.explore.shrink import ALL, EACH, Shrinker, state_shown
from chaoskit.explore.snapshot import differences
from chaoskit.explore.sweep import Sweep
from chaoskit.faults.power import MODELS


@dataclass(frozen=True, slots=True)
class Material:
    """All that is known of a scenario when its cases are over.

    ``planned`` are the cases whose faults the points are said to have been offered, ``run`` those that were
    judged. ``shrinker`` is None where nothing was made smaller.
    """

    question: Question
    first: Observation
    alignment: Alignment
    planned: Sequence[Case]
    run: Sequence[Case]
    shrinker: Shrinker | None = None


def result_of(material: Material, sweep: Sweep, timing: Timing, *, again: bool = True) -> ScenarioResult:
    """The result; ``again``: one case of each finding is run once more for it, and recorded."""
    question, run = material.question, material.run
    recording = material.alignment.recording
    records = [case_result(i, case, material.first, recording.patterns) for i, case in enumerate(run)]
    cases, findings = grouped(records, run)
    # After an interrupt nothing more is run: the user wants an end.
    if again:
        cases, findings = _shown_again(cases, findings, material, sweep)
    findings = tuple(_with_size(with_advice(finding, run, cases), material.shrinker) for finding in findings)
    return ScenarioResult(
        nodeid=question.nodeid,
        state=state_of(cases, question),
        file=question.file,
        line=question.line,
        seed=question.seed,
        backend=question.backend,
        options=question.options,
        points=tuple(point_summaries(recording, material.planned, cases)),
        cases=cases,
        findings=findings,
        variations=material.alignment.variations,
        caveats=caveat_summaries(material.first, run, question.sources),
        budget=sweep.budget(len(cases)),
        timing=timing,
        promises=sum(run.promised for run in material.first.runs),
        advice=tuple(one for source in question.sources for one in source.remarks()),
        crash_states=crash_states_of(sweep.worlds, run),
        shrinking=_shrinking(material.shrinker),
    ).printable()


def _shown_again(
    cases: tuple[CaseResult, ...], findings: tuple[Finding, ...], material: Material, sweep: Sweep
) -> tuple[tuple[CaseResult, ...], tuple[Finding, ...]]:
    """Run the case of each finding once more: what does not show again comes from chance, not the fault.

    It is recorded by that, and gets its timeline. Hung ones are left alone, since each would cost its whole
    time again; of these the baseline tells how it went up to the fault.
    """
    # By the text, as records have it; each schedule is run as one case.
    index_of = {case.schedule: case.index for case in cases}
    timelines: dict[int, Timeline] = {}
    reproduced: dict[str, bool] = {}
    tried = [index_of[finding.schedule] for finding in findings if finding.verdict == "violated"]
    for number, (broke, seen) in sweep.again([material.run[index] for index in tried]).items():
        case = material.run[tried[number]]
        timelines[tried[number]] = timeline.recorded(case, seen)
        reproduced[str(case.planned.schedule)] = broke
    for index in (index_of[finding.schedule] for finding in findings if finding.verdict == "hung"):
        timelines[index] = timeline.unrecorded(material.run[index], material.alignment.recording)
    return (
        tuple(replace(case, timeline=timelines.get(case.index)) for case in cases),
        tuple(replace(finding, reproduced=reproduced.get(finding.schedule)) for finding in findings),
    )


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
    """The record of one judged case; what a broken one left is compared with the baseline."""
    seen, judgement = case.seen, case.judgement
    broken = judgement.failure is not None
    # Only for broken cases: of the others it is known that the test accepts what they left.
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


def grouped(
    cases: Sequence[CaseResult], run: Sequence[Case]
) -> tuple[tuple[CaseResult, ...], tuple[Finding, ...]]:
    """Merge what broke into findings, with the calls to blame worked out. Both have the same cases."""
    worlds = worlds_of(run)
    broken = {case.index: how_broken(case) for case in cases if case.verdict in BROKEN}
    struck = blamed(broken, worlds, {i: case.operations for i, case in enumerate(run)})
    return merge(cases, struck, sizes_of(run))


def worlds_of(run: Sequence[Case]) -> dict[int, World]:
    """The worlds of those cases that have one, by their index."""
    return {i: case.planned.world for i, case in enumerate(run) if case.planned.world is not None}


def sizes_of(run: Sequence[Case]) -> dict[int, int]:
    """How many parts are missing in each of the worlds."""
    return {i: len(world.missing) for i, world in worlds_of(run).items()}


def in_brief(index: int, case: Case) -> CaseResult:
    """As much of a case's record as it takes to merge findings."""
    models = case.planned.world.models if case.planned.world is not None else ()
    judgement = case.judgement
    return CaseResult(
        index, str(case.planned.schedule), judgement.verdict, failure=judgement.failure, models=models
    )


def simplest_by_model(
    finding: Finding, cases: Sequence[CaseResult], sizes: Mapping[int, int]
) -> dict[str, CaseResult]:
    """For each model the simplest case of a finding that it allows."""
    members = [case for case in cases if case.finding == finding.index]
    found: dict[str, CaseResult] = {}
    # The simplest first, so that setdefault keeps that one.
    for case in sorted(members, key=lambda case: simplicity(case, sizes)):
        for model in case.models:
            found.setdefault(model, case)
    return {model: found[model] for model in MODELS if model in found}


def with_advice(finding: Finding, run: Sequence[Case], cases: Sequence[CaseResult]) -> Finding:
    """The finding with the models under which it shows, and what to do about it."""
    by_model = simplest_by_model(finding, cases, sizes_of(run))
    members = [case for case in cases if case.finding == finding.index]
    shown = next((case for case in members if case.schedule == finding.schedule), None)
    world = run[shown.index].planned.world if shown is not None else None
    return replace(
        finding,
        models=tuple(by_model),
        by_model={model: case.schedule for model, case in by_model.items()},
        advice=world.told if world is not None else None,
    )


def crash_states_of(worlds: Sequence[World], run: Sequence[Case]) -> StateCounts | None:
    """The counts of crash states; ``worlds`` are all that were listed, whether or not they were run."""
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
        and case.judgement.verdict not in INCONCLUSIVE
    }
    return StateCounts(
        possible=sum(ways.values()), distinct=len(ways), checked=len(judged), left_out=len(ways) - len(judged)
    )


def state_of(cases: Sequence[CaseResult], question: Question) -> Conclusion:
    """What the cases come to, all together."""
    if question.listing:
        return "listed"
    if any(case.verdict in BROKEN for case in cases):
        return "failed"
    unjudged = sum(case.verdict in INCONCLUSIVE for case in cases)
    return "inconclusive" if unjudged > question.options.allow_inconclusive * len(cases) else "passed"


def point_summaries(
    recording: Recording, planned: Sequence[Case], cases: Sequence[CaseResult]
) -> Iterator[PointSummary]:
    """Every operation of the recording with the faults offered there and how many were run."""
    offered: dict[int, dict[str, None]] = {}
    for case in planned:
        # The last strike: those before it are how the case got there, and were offered by another.
        for struck in case.points[-1:]:
            offered.setdefault(struck, {})[str(case.planned.schedule.strikes[-1].fault)] = None
    explored = Counter(point for case in cases for point in case.points)
    for i, (operation, point) in enumerate(zip(recording.trace, recording.points, strict=True)):
        text = str(point)
        yield PointSummary(
            index=i,
            name=text,
            call=operation.call,
            target=point.target,
            second=point.second,
            place=text.partition("(")[0].rpartition(":")[0],
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
    """Each blind spot once, however many cases and processes it showed in."""
    all_of_them: dict[tuple[str, str], Caveat] = {}
    seen = [first.caveats, *(source.caveats() for source in sources), *(case.seen.caveats for case in run)]
    for caveats in seen:
        for caveat in caveats:
            # Without numbers: process ids and descriptors would make each one another blind spot.
            all_of_them.setdefault((caveat.kind, without_numbers(caveat.target)), caveat)
    return tuple(all_of_them.values())
