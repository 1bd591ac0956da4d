"""Explore one scenario: from a first recording to a result.

The engine runs nothing itself. It asks an :class:`~chaoskit.explore.execute.Executor` for a second recording,
aligns the two, lets the sources list the cases, has them executed, judges them, tries again those that could
not be judged, and merges those that broke. Only the sources know what can go wrong
(:mod:`chaoskit.explore.border`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from chaoskit.core.auditing import SyncResult
from chaoskit.core.case import BROKEN
from chaoskit.core.errors import UsageError
from chaoskit.core.evidence import BASELINE, PLANNED, Followed
from chaoskit.core.result import OVER_BUDGET, UNSTABLE, OracleTrial, ScenarioResult, Timing
from chaoskit.core.schedule import Point, Schedule
from chaoskit.explore import oracle, sharding
from chaoskit.explore.align import Alignment, align, only_threads_differ, patterns_with
from chaoskit.explore.assemble import Material, plan_of, result_of, worlds_of
from chaoskit.explore.audit import SyncAudit
from chaoskit.explore.border import Planned, Recording
from chaoskit.explore.case import Case, Question
from chaoskit.explore.errors import NothingToExplore, WorkloadFailed
from chaoskit.explore.evidence import Witness
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Expected, Job
from chaoskit.explore.judge import judge
from chaoskit.explore.observation import Observation
from chaoskit.explore.replay import planned_for, refused
from chaoskit.explore.sequel import Sequel
from chaoskit.explore.shrink import Shrinker
from chaoskit.explore.spots import Spots
from chaoskit.explore.sweep import INTERRUPTED_ATTEMPTS, Progress, Sweep

_THREADS_ATTEMPTS = 3
"""How often the baseline is recorded again while its threads share the work differently."""


class Explorer:
    """Explores one scenario, once."""

    def __init__(
        self,
        question: Question,
        executor: Executor,
        progress: Progress | None = None,
        on_plan: Callable[[str], None] = lambda plan: None,
    ) -> None:
        self._question = question
        self._on_plan = on_plan
        self._wanted = question.options.replay
        self._sweep = Sweep(question, executor, progress)
        self._shrinker: Shrinker | None = None
        self._oracle: OracleTrial | None = None
        self._digest = ""
        self._whole: sharding.WholePlan | None = None
        self._followed: Sequence[Followed] = ()
        self._baseline: tuple[Observation, Alignment, float] | None = None
        self.ran: Sequence[Case] = ()
        """The cases that the result was made from."""

    def explore(self, first: Observation) -> ScenarioResult:
        """Return the result, given the observation of the first recording.

        Raises:
            WorkloadFailed: if the second recording fails although the first did not. UsageError: if a run of
            the second recording is refused. NothingToExplore: if there is no case at all. ScheduleError: if
            the schedule to replay names something that this scenario does not have.
        """
        began = time.monotonic()
        alignment = self._second_recording(first)
        after_second = time.monotonic()
        # Kept for so_far(): from here on an interrupted exploration has something to report.
        self._baseline = (first, alignment, after_second)
        cases = self._plan(alignment.recording, first)
        if self._question.listing:
            return self._result(cases, [], Timing())
        exit_first = self._question.exit_first
        # A check that noticed a case needs no trial. If one broken case is enough, the trial comes only when
        # none broke.
        self._oracle = None if exit_first else self._try_the_check(first, alignment.recording)
        cases = self._sweep.execute(cases)
        if exit_first and not _broke(cases):
            self._oracle = self._try_the_check(first, alignment.recording)
        run = [*self._of_the_baseline(first), *self._beyond(cases, alignment.recording)]
        now = time.monotonic()
        timing = Timing(first.seconds, after_second - began, now - after_second, now - began + first.seconds)
        audited = self._audited(run, alignment.recording, first)
        result = self._result(run, run, timing)
        return result if audited is None else replace(result, syncs=audited).printable()

    def _audited(
        self, run: Sequence[Case], recording: Recording, first: Observation
    ) -> tuple[SyncResult, ...] | None:
        """What each sync protects; None if the question does not ask for that."""
        if not self._question.audit or self._wanted is not None:
            return None
        broken = [world for i, world in worlds_of(run).items() if run[i].judgement.verdict in BROKEN]
        spared = [one for source in self._question.sources for one in source.spared(broken)]
        audit = SyncAudit(self._sweep, recording, lambda one: self._job(one, first, recording.patterns))
        return tuple(audit.results(spared))

    def so_far(self) -> ScenarioResult | None:
        """The result of the cases that were over when :meth:`explore` was interrupted.

        It executes nothing. None if there was no case yet.
        """
        if self._baseline is None or not self._sweep.begun:
            return None
        first, _, began = self._baseline
        over = [*self._of_the_baseline(first), *self._sweep.interrupt()]
        spent = time.monotonic() - began
        timing = Timing(first.seconds, 0.0, spent, spent + first.seconds)
        return self._result(self._sweep.begun, over, timing, again=False)

    def _second_recording(self, first: Observation) -> Alignment:
        best: Alignment | None = None
        for _ in range(_THREADS_ATTEMPTS):
            second = self._recorded_again(first)
            alignment = align(first.trace, second.trace)
            if best is None or sum(alignment.recording.stable) > sum(best.recording.stable):
                best = alignment
            # A pool of threads gives a task to whichever is free, mostly to the same one. What another one
            # has done would be left out, so it is worth a look at what usually happens.
            if not only_threads_differ(alignment, second.trace):
                break
        assert best is not None
        return best

    def _recorded_again(self, first: Observation) -> Observation:
        job = self._job(Planned(Schedule()), first, (), record=True)
        # Recorded where cases run: a difference there shows as a variation, and is not blamed on a case.
        second = Observation()
        for _ in range(INTERRUPTED_ATTEMPTS):
            with contextlib.closing(self._sweep.observe([job])) as stream:
                for _, seen in stream:
                    second = seen
            # Calls were interrupted while they waited for the supervisor: a failure may then be our own
            # doing.
            if second.failure is None or not second.interrupted:
                break
        if second.refused:
            raise UsageError(f"when the baseline was recorded again chaos.run was refused: {second.refused}")
        if second.failure is not None:
            raise WorkloadFailed(
                f"{self._question.words.unsteady}\n{second.failure.text or second.failure.message}"
            )
        return second

    def _try_the_check(self, first: Observation, recording: Recording) -> OracleTrial | None:
        """Run the test's own check on spoiled files, and report those that it accepts."""
        if self._question.onlooker is None:
            return None
        promised = any(run.promised for run in first.runs)
        spoilings = self._question.onlooker.spoilings(recording.patterns, promised)
        plain = self._job(Planned(Schedule()), first, recording.patterns)
        jobs = [replace(plain, spoiling=spoiling) for spoiling in spoilings]
        return oracle.verdict(spoilings, dict(self._sweep.observe(jobs)))

    def _of_the_baseline(self, first: Observation) -> Sequence[Case]:
        """What was wrong without any fault, as a case without a strike that was run already."""
        shard = self._question.shard
        if first.unrepeatable is None or self._wanted is not None or (shard is not None and shard.number > 1):
            return []
        planned = Planned(Schedule())
        job = self._job(planned, first, ())
        self._sweep.list([planned])
        judged = judge(job, first)
        return [Case(planned, (), (), job, seen=first, judgement=judged, attempts=1, order=(BASELINE,))]

    def _beyond(self, cases: Sequence[Case], recording: Recording) -> Sequence[Case]:
        """The cases and those that follow from them; in a replay only the one asked for."""
        sequel = Sequel(self._sweep, recording.patterns)
        if self._wanted is None:
            if self._question.exit_first and _broke(cases):
                return [*cases, *self._shrink(cases)]
            cases = [*cases, *sequel.brought_to_light(cases)]
            if self._question.options.depth >= 2 and not (self._question.exit_first and _broke(cases)):
                cases = [*cases, *sequel.pairs(cases)]
                self._followed = sequel.followed
            return [*cases, *self._shrink(cases)]
        # The whole schedule could be planned, so there is nothing to find behind it.
        if len(cases[0].planned.schedule) == len(self._wanted):
            return cases
        # Only its beginning could be planned: the rest strikes after that, in one of two ways.
        found = sequel.brought_to_light(cases) or sequel.pairs(cases)
        if not found:
            raise refused(self._wanted, self._question.sources)
        return found

    def _job(
        self, planned: Planned, first: Observation, patterns: tuple[str, ...], *, record: bool = False
    ) -> Job:
        return Job(
            schedule=planned.schedule,
            record=record,
            patterns=patterns,
            world=planned.world,
            # The point of a pair's second fault may lie in the recovery.
            strike_recovery=self._question.strike_recovery or len(planned.schedule) > 1,
            expected=Expected(first.snapshot, first.leaks, first.promised, first.unrepeatable is None),
            timeout=self._question.options.timeout,
            inside=self._question.inside,
            time=self._question.time,
            handlers=self._question.handlers,
        )

    def _plan(self, recording: Recording, first: Observation) -> Sequence[Case]:
        """The cases of the first round."""
        planned = [one for source in self._question.sources for one in source.cases(recording)]
        if self._wanted is not None:
            words = self._question.words
            planned = [planned_for(self._wanted, planned, recording, self._question.sources, words)]
        # Built once for all cases: there may be thousands of points and cases.
        index = {point: i for i, point in enumerate(recording.points)}
        stable = [one for one in planned if self._is_stable(one, recording, index)]
        self._sweep.list(planned)
        # Counted even if no case is left: the report says why nothing was run.
        if len(planned) > len(stable):
            self._sweep.left_out[UNSTABLE] += len(planned) - len(stable)
        if not stable or not _works(recording):
            raise _nothing(self._question, recording, len(planned))
        cases: Sequence[Case] = [self._case(one, recording, index, first) for one in stable]
        # The digest of all cases: which ones the budget allows depends on what broke here the last time.
        self._on_plan(plan_of(cases))
        if not self._question.listing:
            cases = self._within_budget(cases)
        self._digest = plan_of(cases)
        for number, case in enumerate(cases):
            case.order = (PLANNED, number)
        if self._question.shard is None or self._question.listing:
            return cases
        self._whole = sharding.plan_for(cases, self._sweep)
        return sharding.share(self._whole, self._question.shard, self._sweep)

    def _within_budget(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The cases that the budget allows; those that broke the scenario the last time come first."""
        limit = self._question.options.budget
        ranks = {schedule: rank for rank, schedule in enumerate(self._question.first)}
        if limit is None or not ranks:
            return self._sweep.within(cases, limit)
        known = [case for case in cases if case.planned.schedule in ranks]
        before = sorted(known, key=lambda case: ranks[case.planned.schedule])[:limit]
        early = set(map(id, before))
        rest = [case for case in cases if id(case) not in early]
        chosen = early | set(map(id, self._sweep.within(rest, limit - len(before))))
        return [case for case in cases if id(case) in chosen]

    def _is_stable(self, one: Planned, recording: Recording, index: Mapping[Point, int]) -> bool:
        # A schedule that was asked for is run even if it is not stable.
        if self._wanted is not None:
            return True
        known = (index.get(strike.point) for strike in one.schedule)
        return all(i is None or recording.stable[i] for i in known)

    def _case(
        self, one: Planned, recording: Recording, index: Mapping[Point, int], first: Observation
    ) -> Case:
        points = tuple(index[s.point] for s in one.schedule if s.point in index)
        operations = tuple(recording.trace[i] for i in points)
        if one.world is not None:
            # Where a world begins says little: what matters is the call that made it possible.
            operations = (*operations[:-1], one.world.blamed)
        job = self._job(one, first, patterns_with(recording.patterns, one.schedule))
        if self._wanted is not None and len(one.schedule) == len(self._wanted):
            # Recorded as it runs, the recovery included: to run it once more for its timeline, as is done for
            # one case of many, would take as long again as all that a replay is for.
            job = replace(job, record=True, strike_recovery=True)
        return Case(one, operations, points, job)

    def _shrink(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Make broken worlds smaller, until each finding has a smallest one for each model."""
        self._shrinker = shrinker = Shrinker(cases, partial(self._sweep.execute, all_of_them=True))
        # A world that was made smaller may break in another way, and be too large for its new finding.
        while larger := self._not_smallest([*cases, *shrinker.added], shrinker):
            shrinker.shrink(larger)
        if self._whole is not None:
            assert self._baseline is not None
            spots = Spots(self._baseline[1].recording, self._question.file)
            sharding.shrink_all(cases, shrinker, Witness(spots, self._question.nodeid))
            # Which of them belong to the whole result is decided when the shards are joined.
            return []
        run_before = {world.content for world in worlds_of(cases).values()}
        listed = {world.content for world in self._sweep.worlds} - run_before
        for case in shrinker.added:
            assert case.planned.world is not None
            content = case.planned.world.content
            if content in listed and self._sweep.left_out[OVER_BUDGET]:
                # The budget had left it out, but now it was run after all.
                listed.discard(content)
                self._sweep.left_out[OVER_BUDGET] -= 1
            else:
                self._sweep.list([case.planned])
        return shrinker.added

    def _not_smallest(self, cases: Sequence[Case], shrinker: Shrinker) -> Sequence[Case]:
        """The cases that would illustrate findings, one for each model, and that may still be too large."""
        assert self._baseline is not None
        spots = Spots(self._baseline[1].recording, self._question.file)
        found = Witness(spots, self._question.nodeid).grouped(cases, complete=self._sweep.complete)
        shown = (group.simplest_by_model(found.evidence).values() for group in found.groups)
        indexes = dict.fromkeys(found.at[i] for several in shown for i in several)
        return [cases[index] for index in indexes if shrinker.can_be(cases[index])]

    def _result(
        self, planned: Sequence[Case], run: Sequence[Case], timing: Timing, *, again: bool = True
    ) -> ScenarioResult:
        """The result of the cases ``run``; ``again``: run one case of each finding once more."""
        assert self._baseline is not None
        self.ran = run
        first, alignment, _ = self._baseline
        shrinker = self._shrinker if self._whole is None else None
        material = Material(self._question, first, alignment, planned, run, shrinker, self._digest)
        result = replace(result_of(material, self._sweep, timing, again=again), oracle=self._oracle)
        if self._whole is not None and self._shrinker is not None and again:
            part = sharding.part_of(material, self._whole, self._sweep, self._shrinker, self._followed)
            result = replace(result, part=part)
        # Last, since the trial of the check contains file names, too.
        return result.printable()


def _broke(cases: Sequence[Case]) -> bool:
    return any(case.judgement.verdict in BROKEN for case in cases)


def _works(recording: Recording) -> bool:
    """True if the workload did anything that was recorded."""
    return any(operation.call != "end" for operation in recording.trace)


def _nothing(question: Question, recording: Recording, planned: int) -> NothingToExplore:
    if not _works(recording):
        return NothingToExplore(question.words.idle)
    if planned:
        return NothingToExplore(
            f"all {planned} cases of this scenario strike at operations that are {UNSTABLE}; expected some "
            "that are. The workload must do the same each time: fix its seeds, its clock, its threads."
        )
    hints = "".join(f"{text} " for text in question.faults.misses(recording.trace.operations))
    return NothingToExplore(
        f"none of the faults asked for can happen at the {len(recording.trace)} operations of this workload; "
        f"expected at least one case. {hints}Faults: {question.faults!r}. {question.words.listing} prints "
        "the operations."
    )
