"""Explore one scenario: from a first recording to a result.

The engine runs nothing itself. It asks an :class:`~chaoskit.explore.execute.Executor` for a second
recording, aligns the two, lets the sources list the cases, has them executed, judges, tries
again what could not be judged, and merges what broke.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from chaoskit.core.case import BROKEN, INCONCLUSIVE
from chaoskit.core.finding import Finding
from chaoskit.core.result import ALIKE, OVER_BUDGET, UNSTABLE, Budget, ScenarioResult, Shrinking, Timing
from chaoskit.core.schedule import Fault, Point, Schedule
from chaoskit.explore.align import Alignment, align, patterns_with, unaligned
from chaoskit.explore.assemble import (
    case_result,
    caveat_summaries,
    crash_states_of,
    grouped,
    in_brief,
    point_summaries,
    simplest_by_model,
    sizes_of,
    state_of,
    with_advice,
    worlds_of,
)
from chaoskit.explore.case import Case, Question
from chaoskit.explore.choose import choose
from chaoskit.explore.errors import NothingToExplore, WorkloadFailed
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Expected, Job, Planned, Recording, World
from chaoskit.explore.judge import judge
from chaoskit.explore.observation import Observation
from chaoskit.explore.replay import POWER_LOSS, loses_power_after, named, not_followed, planned_for
from chaoskit.explore.shrink import ALL, EACH, Shrinker, state_shown
from chaoskit.faults.power import LIES

ATTEMPTS = 3
"""How often a case is run at most when its fault leaves no receipt."""

INTERRUPTED = "interrupted"

Progress = Callable[[int, int], None]


class Explorer:
    """Explores one scenario, once."""

    def __init__(self, question: Question, executor: Executor, progress: Progress | None = None) -> None:
        self._question = question
        self._executor = executor
        self._progress = progress or (lambda done, total: None)
        self._left_out: Counter[str] = Counter()
        self._possible = 0
        self._worlds: list[World] = []
        self._shrinker: Shrinker | None = None
        self._done = 0
        self._total = 0
        self._recorded: tuple[Observation, Alignment, float] | None = None
        self._begun: list[Case] = []

    def explore(self, first: Observation) -> ScenarioResult:
        """The result, given the observation of the first recording.

        Raises:
            WorkloadFailed: when the second recording fails although the first did not.
            NothingToExplore: when there is no case at all.
            ScheduleError: when the schedule to replay names what this scenario does not have.
        """
        began = time.monotonic()
        alignment = self._second_recording(first)
        after_second = time.monotonic()
        self._recorded = (first, alignment, after_second)
        cases = self._plan(alignment.recording, first)
        if self._question.listing:
            return self._result(first, alignment, cases, [], Timing())
        self._execute(cases)
        followed = self._followed(cases, alignment.recording)
        if self._question.replay is not None and loses_power_after(self._question.replay):
            cases = followed or self._pairs(cases, alignment.recording, first)
            if not cases:
                raise not_followed(self._question.replay, self._question.faults.names)
        else:
            cases += followed
            cases += self._pairs(cases, alignment.recording, first)
            cases += self._shrink(cases)
        now = time.monotonic()
        timing = Timing(first.seconds, after_second - began, now - after_second, now - began + first.seconds)
        return self._result(first, alignment, cases, cases, timing)

    def so_far(self) -> ScenarioResult | None:
        """What the cases have shown that were over when :meth:`explore` was interrupted.

        Nothing is executed for it. None if there was no case yet.
        """
        if self._recorded is None or not self._begun:
            return None
        first, alignment, began = self._recorded
        # One that waits for another try has not been judged, unless it broke.
        over = [c for c in self._begun if c.attempts and (c.judgement.failure or not c.judgement.again)]
        self._left_out[INTERRUPTED] += len(self._begun) - len(over)
        spent = time.monotonic() - began
        timing = Timing(first.seconds, 0.0, spent, spent + first.seconds)
        return self._result(first, alignment, self._begun, over, timing, again=False)

    def _second_recording(self, first: Observation) -> Alignment:
        job = self._job(Planned(Schedule()), first, (), record=True)
        second = Observation()
        with contextlib.closing(self._executor.run([job])) as stream:
            for _, seen in stream:
                second = seen
        if second.failure is not None:
            raise WorkloadFailed(
                f"{self._question.words.unsteady}\n{second.failure.text or second.failure.message}"
            )
        return align(first.trace, second.trace)

    def _job(
        self, planned: Planned, first: Observation, patterns: tuple[str, ...], *, record: bool = False
    ) -> Job:
        return Job(
            schedule=planned.schedule,
            record=record,
            patterns=patterns,
            world=planned.world,
            # The second fault of a pair may have struck in the recovery.
            strike_recovery=self._question.strike_recovery or len(planned.schedule) > 1,
            expected=Expected(first.snapshot, first.leaks),
            timeout=self._question.options.timeout,
        )

    def _plan(self, recording: Recording, first: Observation) -> list[Case]:
        """The cases to run."""
        planned = [one for source in self._question.sources for one in source.cases(recording)]
        wanted, words = self._question.replay, self._question.words
        if wanted is not None:
            planned = [planned_for(wanted, planned, recording, self._question.sources, words)]
        index = {point: i for i, point in enumerate(recording.points)}
        stable = [one for one in planned if self._is_stable(one, recording, index)]
        self._count(planned)
        if len(planned) > len(stable):
            self._left_out[UNSTABLE] += len(planned) - len(stable)
        if not stable or not _works(recording):
            raise _nothing(self._question, recording, len(planned))
        cases = [self._case(one, recording, index, first) for one in stable]
        if self._question.listing:
            return cases
        return self._within_budget(cases, self._question.options.budget)

    def _count(self, planned: Sequence[Planned]) -> None:
        """Note what may be run; a state with another fault behind it is no new state."""
        self._possible += len(planned)
        self._worlds += [one.world for one in planned if one.world is not None]

    def _is_stable(self, one: Planned, recording: Recording, index: dict[Point, int]) -> bool:
        if self._question.replay is not None:
            return True
        known = (index.get(strike.point) for strike in one.schedule)
        return all(i is None or recording.stable[i] for i in known)

    def _case(self, one: Planned, recording: Recording, index: dict[Point, int], first: Observation) -> Case:
        points = tuple(index[s.point] for s in one.schedule if s.point in index)
        operations = tuple(recording.trace[i] for i in points)
        if one.world is not None:
            # Where the power went says little: what matters is which call was not followed by an fsync.
            operations = (*operations[:-1], one.world.blamed)
        job = self._job(one, first, patterns_with(recording.patterns, one.schedule))
        return Case(one, operations, points, job)

    def _within_budget(self, cases: list[Case], limit: int | None) -> list[Case]:
        struck = [case.operations[-1] if case.operations else None for case in cases]
        chosen = choose([case.planned for case in cases], struck, limit, self._question.seed)
        if len(chosen) < len(cases):
            self._left_out[OVER_BUDGET] += len(cases) - len(chosen)
        return [cases[i] for i in chosen]

    def _execute(self, cases: Sequence[Case]) -> None:
        """Run every case, and those that could not be judged again."""
        self._total += len(cases)
        self._begun += cases
        waiting = list(cases)
        for attempt in range(ATTEMPTS):
            # Closed by name: an interrupt here must end the workers now, not when a frame is collected.
            with contextlib.closing(self._executor.run([case.job for case in waiting])) as stream:
                for number, seen in stream:
                    self._judge(waiting[number], seen, attempt)
            waiting = [case for case in waiting if case.judgement.again]
            if not waiting:
                return

    def _judge(self, case: Case, seen: Observation, attempt: int) -> None:
        case.seen, case.judgement = seen, judge(case.job, seen)
        case.attempts += 1
        if attempt == 0:
            self._done += 1
            self._progress(self._done, self._total)

    def _followed(self, cases: Sequence[Case], recording: Recording) -> list[Case]:
        """Record the cases after which a power loss shows something new, and let the power go there."""
        if LIES not in self._question.faults.names:
            return []
        origins = [case for case in cases if _may_be_followed(case)]
        jobs = [replace(case.job, record=True, with_data=True) for case in origins]
        found: list[Case] = []
        with contextlib.closing(self._executor.run(jobs)) as stream:
            for number, seen in stream:
                again = unaligned(seen.trace, recording.patterns, seen.before)
                found += self._following(origins[number], again)
        self._count([case.planned for case in found])
        limit = self._question.options.budget
        chosen = self._within_budget(found, None if limit is None else max(0, limit - len(cases)))
        self._execute(chosen)
        return chosen

    def _following(self, origin: Case, again: Recording) -> list[Case]:
        """The power losses after one failed fsync; only that which is wanted, if one is."""
        before = origin.planned
        listed = [one for source in self._question.sources for one in source.follow(before, again)]
        return [_followed_by(origin, one) for one in self._wanted(listed, again, before)]

    def _wanted(self, listed: list[Planned], again: Recording, before: Planned) -> list[Planned]:
        """Of the cases behind a fault the one that is to be replayed, if one is: listed or known by name."""
        wanted = self._question.replay
        if wanted is None:
            return listed
        same = next((one for one in listed if str(one.schedule) == str(wanted)), None)
        same = same or named(wanted, again, self._question.sources, before)
        return [] if same is None else [same]

    def _pairs(self, cases: Sequence[Case], recording: Recording, first: Observation) -> list[Case]:
        """With depth 2: record what follows the first fault of each case, and strike there again."""
        wanted = self._question.replay
        if not (loses_power_after(wanted) if wanted is not None else self._question.options.depth >= 2):
            return []
        limit = self._question.options.budget
        room = None if limit is None else max(0, limit - len(cases))
        origins = [case for case in cases if case.judgement.verdict not in (*BROKEN, *INCONCLUSIVE)]
        if room == 0:
            return []
        # Only what loses power has a use for the data, and not once it was lost already.
        power = POWER_LOSS in self._question.faults.names
        jobs = [
            replace(
                case.job, record=True, strike_recovery=True, with_data=power and case.planned.world is None
            )
            for case in origins
        ]
        planned = {str(case.planned.schedule) for case in cases}
        pairs: list[list[Case]] = [[] for _ in origins]
        what_follows: list[object] = [None] * len(origins)
        with contextlib.closing(self._executor.run(jobs)) as stream:
            for number, seen in stream:
                found = self._follow(origins[number], jobs[number], seen, recording)
                pairs[number] = [one for one in found if str(one.planned.schedule) not in planned]
                what_follows[number] = _what_follows(origins[number], seen, recording.patterns)
        self._possible += sum(map(len, pairs))
        self._worlds += [w for several in pairs for one in several if (w := state_shown(one)) is not None]
        chosen = self._within_budget(self._pruned(pairs, what_follows), room)
        self._execute(chosen)
        return chosen

    def _pruned(self, pairs: Sequence[list[Case]], what_follows: Sequence[object]) -> list[Case]:
        """Of first faults that lead to the same, strike only behind the first one.

        Ten errors of one write that the program answers in the same way need no ten recoveries. Power
        losses are told apart by what they leave: of two kills that lead to the same, one may have come
        before an fsync and the other after it.
        """
        kept: list[Case] = []
        known: set[object] = set()
        for several, follows in zip(pairs, what_follows, strict=True):
            repeated = follows in known
            known.add(follows)
            for case in several:
                first, *_, last = case.planned.schedule
                alike = repeated
                if last.fault.name == POWER_LOSS and case.planned.world is not None:
                    key = (first.fault, case.planned.world.content)
                    alike = key in known
                    known.add(key)
                if alike:
                    self._left_out[ALIKE] += 1
                else:
                    kept.append(case)
        return kept

    def _follow(self, origin: Case, job: Job, seen: Observation, recording: Recording) -> list[Case]:
        judgement = judge(origin.job, seen)
        if judgement.verdict in (*BROKEN, *INCONCLUSIVE):
            # It passed before: what it does now counts, and nothing that follows can be relied on.
            origin.seen, origin.judgement = seen, judgement
            return []
        again = unaligned(seen.trace, recording.patterns, seen.before)
        after = _end_of(origin, again)
        index = {point: i for i, point in enumerate(again.points)}
        pairs = []
        listed = [p for s in self._question.sources for p in s.second(origin.planned, again, after)]
        for planned in self._wanted(listed, again, origin.planned):
            second = again.trace[index[planned.schedule.strikes[-1].point]]
            if planned.world is not None and planned.world is not origin.planned.world:
                second = planned.world.blamed
            new = replace(job, schedule=planned.schedule, world=planned.world, record=False, with_data=False)
            pairs.append(Case(planned, (*origin.operations, second), origin.points, new))
        return pairs

    def _shrink(self, cases: Sequence[Case]) -> list[Case]:
        """Make crash states that broke smaller, until each finding shows a smallest one for each model."""
        if self._question.replay is not None:
            return []
        self._shrinker = shrinker = Shrinker(cases, self._execute)
        while larger := self._not_smallest([*cases, *shrinker.added], shrinker):
            shrinker.shrink(larger)
        run_before = {world.content for world in worlds_of(cases).values()}
        listed = {world.content for world in self._worlds} - run_before
        for case in shrinker.added:
            assert case.planned.world is not None
            content = case.planned.world.content
            if content in listed and self._left_out[OVER_BUDGET]:
                # The budget had left it out, and now it was run all the same.
                listed.discard(content)
                self._left_out[OVER_BUDGET] -= 1
            else:
                self._count([case.planned])
        return shrinker.added

    def _not_smallest(self, cases: Sequence[Case], shrinker: Shrinker) -> list[Case]:
        """The cases by which findings would be shown, for each model one, and that may be too large."""
        briefly, findings = grouped([in_brief(i, case) for i, case in enumerate(cases)], cases)
        sizes = sizes_of(cases)
        shown = (simplest_by_model(finding, briefly, sizes).values() for finding in findings)
        indexes = dict.fromkeys(case.index for several in shown for case in several)
        return [cases[index] for index in indexes if shrinker.can_be(cases[index])]

    def _with_size(self, finding: Finding) -> Finding:
        if self._shrinker is None:
            return finding
        return replace(
            finding,
            shrunk_from=self._shrinker.origins.get(finding.schedule, ""),
            smallest=self._shrinker.complete.get(finding.schedule),
        )

    def _shrinking(self) -> Shrinking | None:
        if self._shrinker is None or not self._shrinker.complete:
            return None
        return Shrinking(len(self._shrinker.added), EACH, ALL)

    def _shown_again(self, findings: Sequence[Finding], run: Sequence[Case]) -> tuple[Finding, ...]:
        """Run one case of each finding once more: what does not show again comes from chance, not the fault.

        Hung ones are left alone, since each would cost its whole time again.
        """
        by_schedule = {str(case.planned.schedule): case.job for case in run}
        tried = [finding for finding in findings if finding.verdict == "violated"]
        shown: dict[int, bool] = {}
        jobs = [by_schedule[finding.schedule] for finding in tried]
        with contextlib.closing(self._executor.run(jobs)) as stream:
            for number, seen in stream:
                shown[tried[number].index] = judge(jobs[number], seen).verdict in BROKEN
        return tuple(replace(finding, reproduced=shown.get(finding.index)) for finding in findings)

    def _result(
        self,
        first: Observation,
        alignment: Alignment,
        planned: Sequence[Case],
        run: Sequence[Case],
        timing: Timing,
        *,
        again: bool = True,
    ) -> ScenarioResult:
        """The result of the cases ``run``; ``again``: run one case of each finding once more."""
        question = self._question
        cases = tuple(case_result(i, case, first, alignment.recording.patterns) for i, case in enumerate(run))
        cases, findings = grouped(cases, run)
        findings = self._shown_again(findings, run) if again else findings
        findings = tuple(self._with_size(with_advice(finding, run, cases)) for finding in findings)
        result = ScenarioResult(
            nodeid=question.nodeid,
            state=state_of(cases, question),
            file=question.file,
            line=question.line,
            seed=question.seed,
            backend=question.backend,
            options=question.options,
            points=tuple(point_summaries(alignment.recording, planned, cases)),
            cases=cases,
            findings=findings,
            variations=alignment.variations,
            caveats=caveat_summaries(first, run, question.sources),
            budget=Budget(
                question.options.budget,
                self._possible,
                len(cases),
                {why: n for why, n in self._left_out.items() if n},
            ),
            timing=timing,
            promises=sum(run.promised for run in first.runs),
            advice=tuple(one for source in question.sources for one in source.remarks()),
            crash_states=crash_states_of(self._worlds, run),
            shrinking=self._shrinking(),
        )
        return result.printable()


def _what_follows(origin: Case, seen: Observation, patterns: tuple[str, ...]) -> object:
    """What a recording shows behind its first fault: the calls with their results, and the disk at the end.

    Two first faults for which this is equal count as leading to the same. The contents of writes in
    between are not compared, only where they went and how much they were.
    """
    again = unaligned(seen.trace, patterns)
    after = _end_of(origin, again)
    calls = tuple(
        (str(point), o.result, o.file.offset, o.file.length, o.file.size_before)
        for point, o in zip(again.points, again.trace, strict=True)
        if o.index > after
    )
    left = tuple((name, entry.kind, entry.size, entry.digest) for name, entry in seen.snapshot.items())
    return (calls, left, tuple(run.how for run in seen.runs), sum(run.promised for run in seen.runs))


def _may_be_followed(case: Case) -> bool:
    """Whether the one fault of the case was a failed fsync, and the workload went on after it."""
    passed = case.judgement.verdict not in (*BROKEN, *INCONCLUSIVE)
    first = case.planned.schedule.strikes[0]
    failed = first.point.call in ("fsync", "fdatasync") and first.fault == Fault("EIO")
    return passed and failed and len(case.planned.schedule) == 1


def _followed_by(origin: Case, planned: Planned) -> Case:
    assert planned.world is not None
    job = replace(origin.job, schedule=planned.schedule, world=planned.world, record=False)
    return Case(planned, (planned.world.blamed,), origin.points, job)


def _works(recording: Recording) -> bool:
    """Whether the workload has done anything that can be seen."""
    return any(operation.call != "end" for operation in recording.trace)


def _nothing(question: Question, recording: Recording, planned: int) -> NothingToExplore:
    if not _works(recording):
        return NothingToExplore(question.words.idle)
    if planned:
        return NothingToExplore(
            f"all {planned} cases of this scenario strike at operations that are {UNSTABLE}; expected some "
            "that are. The workload must do the same each time: fix its seeds, its clock, its threads."
        )
    return NothingToExplore(
        f"none of the faults asked for can happen at the {len(recording.trace)} operations of this workload; "
        f"expected at least one case. Faults: {question.faults!r}. {question.words.listing} prints "
        "the operations."
    )


def _end_of(origin: Case, again: Recording) -> int:
    """The index, in a recording of ``origin``, of the last operation that is not behind its fault."""
    last = origin.planned.schedule.strikes[-1].point
    if origin.planned.world is None:
        for point, operation in zip(again.points, again.trace, strict=True):
            if point == last:
                return operation.index
    # A run that lost power was not executed, and a call before which the process was killed was never
    # made: neither is in the trace, and what follows begins with the next run.
    return max((o.index for o in again.trace if o.place.run <= last.place.run), default=-1)
