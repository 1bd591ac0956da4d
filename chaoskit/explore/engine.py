"""Explore one scenario: from a first recording to a result.

The engine runs nothing itself. It asks an :class:`~chaoskit.explore.execute.Executor` for a second
recording, aligns the two, lets the sources list the cases, has them executed, judges, tries
again what could not be judged, and merges what broke. What can go wrong it does not know: that is for the
sources (:mod:`chaoskit.explore.border`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from chaoskit.core.result import OVER_BUDGET, UNSTABLE, ScenarioResult, Timing
from chaoskit.core.schedule import Point, Schedule
from chaoskit.explore.align import Alignment, align, patterns_with
from chaoskit.explore.assemble import (
    Material,
    grouped,
    in_brief,
    result_of,
    simplest_by_model,
    sizes_of,
    worlds_of,
)
from chaoskit.explore.border import Planned, Recording
from chaoskit.explore.case import Case, Question
from chaoskit.explore.errors import NothingToExplore, WorkloadFailed
from chaoskit.explore.execute import Executor
from chaoskit.explore.job import Expected, Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.replay import planned_for, refused
from chaoskit.explore.sequel import Sequel
from chaoskit.explore.shrink import Shrinker
from chaoskit.explore.sweep import ATTEMPTS, Progress, Sweep


class Explorer:
    """Explores one scenario, once."""

    def __init__(self, question: Question, executor: Executor, progress: Progress | None = None) -> None:
        self._question = question
        self._wanted = question.options.replay
        self._sweep = Sweep(question, executor, progress)
        self._shrinker: Shrinker | None = None
        self._baseline: tuple[Observation, Alignment, float] | None = None

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
        # Kept for so_far(): from here on an interrupt finds something to tell.
        self._baseline = (first, alignment, after_second)
        cases = self._plan(alignment.recording, first)
        if self._question.listing:
            return self._result(cases, [], Timing())
        self._sweep.execute(cases)
        run = self._beyond(cases, alignment.recording)
        now = time.monotonic()
        timing = Timing(first.seconds, after_second - began, now - after_second, now - began + first.seconds)
        return self._result(run, run, timing)

    def so_far(self) -> ScenarioResult | None:
        """What the cases have shown that were over when :meth:`explore` was interrupted.

        Nothing is executed for it. None if there was no case yet.
        """
        if self._baseline is None or not self._sweep.begun:
            return None
        first, _, began = self._baseline
        over = self._sweep.interrupt()
        spent = time.monotonic() - began
        timing = Timing(first.seconds, 0.0, spent, spent + first.seconds)
        return self._result(self._sweep.begun, over, timing, again=False)

    def _second_recording(self, first: Observation) -> Alignment:
        job = self._job(Planned(Schedule()), first, (), record=True)
        # Where cases run, too: what differs there shows as a variation, and no case is blamed for it.
        second = Observation()
        for _ in range(ATTEMPTS):
            with contextlib.closing(self._sweep.observe([job])) as stream:
                for _, seen in stream:
                    second = seen
            # A failure after calls that waited for us and were interrupted may be of our making.
            if second.failure is None or not any(run.stray_interrupts for run in second.runs):
                break
        if second.failure is not None:
            raise WorkloadFailed(
                f"{self._question.words.unsteady}\n{second.failure.text or second.failure.message}"
            )
        return align(first.trace, second.trace)

    def _beyond(self, cases: Sequence[Case], recording: Recording) -> Sequence[Case]:
        """The cases with what comes behind them; in a replay only what was asked for."""
        sequel = Sequel(self._sweep, recording.patterns)
        if self._wanted is None:
            cases = [*cases, *sequel.brought_to_light(cases)]
            if self._question.options.depth >= 2:
                cases = [*cases, *sequel.pairs(cases)]
            return [*cases, *self._shrink(cases)]
        # All of it could be planned, so there is nothing behind it to look for.
        if cases[0].planned.schedule == self._wanted:
            return cases
        # Only its beginning could be planned: the rest strikes behind that, one way or the other.
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
            # The second fault of a pair may have struck in the recovery.
            strike_recovery=self._question.strike_recovery or len(planned.schedule) > 1,
            expected=Expected(first.snapshot, first.leaks),
            timeout=self._question.options.timeout,
        )

    def _plan(self, recording: Recording, first: Observation) -> Sequence[Case]:
        """The cases of the first round."""
        planned = [one for source in self._question.sources for one in source.cases(recording)]
        if self._wanted is not None:
            words = self._question.words
            planned = [planned_for(self._wanted, planned, recording, self._question.sources, words)]
        # Once for all cases: there may be thousands of both.
        index = {point: i for i, point in enumerate(recording.points)}
        stable = [one for one in planned if self._is_stable(one, recording, index)]
        self._sweep.list(planned)
        # Counted even if none is left: the report says why nothing was run.
        if len(planned) > len(stable):
            self._sweep.left_out[UNSTABLE] += len(planned) - len(stable)
        if not stable or not _works(recording):
            raise _nothing(self._question, recording, len(planned))
        cases = [self._case(one, recording, index, first) for one in stable]
        if self._question.listing:
            return cases
        return self._sweep.within(cases, self._question.options.budget)

    def _is_stable(self, one: Planned, recording: Recording, index: Mapping[Point, int]) -> bool:
        # A schedule that was asked for by name is run however unsteady it is.
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
            # Where a world begins says little: what matters is which call let it come about.
            operations = (*operations[:-1], one.world.blamed)
        job = self._job(one, first, patterns_with(recording.patterns, one.schedule))
        return Case(one, operations, points, job)

    def _shrink(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Make worlds that broke smaller, until each finding shows a smallest one for each model."""
        self._shrinker = shrinker = Shrinker(cases, self._sweep.execute)
        # A world that was made smaller may break in another way, and then be too large for that finding.
        while larger := self._not_smallest([*cases, *shrinker.added], shrinker):
            shrinker.shrink(larger)
        run_before = {world.content for world in worlds_of(cases).values()}
        listed = {world.content for world in self._sweep.worlds} - run_before
        for case in shrinker.added:
            assert case.planned.world is not None
            content = case.planned.world.content
            if content in listed and self._sweep.left_out[OVER_BUDGET]:
                # The budget had left it out, and now it was run all the same.
                listed.discard(content)
                self._sweep.left_out[OVER_BUDGET] -= 1
            else:
                self._sweep.list([case.planned])
        return shrinker.added

    def _not_smallest(self, cases: Sequence[Case], shrinker: Shrinker) -> Sequence[Case]:
        """The cases by which findings would be shown, for each model one, and that may be too large."""
        briefly, findings = grouped([in_brief(i, case) for i, case in enumerate(cases)], cases)
        sizes = sizes_of(cases)
        shown = (simplest_by_model(finding, briefly, sizes).values() for finding in findings)
        indexes = dict.fromkeys(case.index for several in shown for case in several)
        return [cases[index] for index in indexes if shrinker.can_be(cases[index])]

    def _result(
        self, planned: Sequence[Case], run: Sequence[Case], timing: Timing, *, again: bool = True
    ) -> ScenarioResult:
        """The result of the cases ``run``; ``again``: run one case of each finding once more."""
        assert self._baseline is not None
        first, alignment, _ = self._baseline
        material = Material(self._question, first, alignment, planned, run, self._shrinker)
        return result_of(material, self._sweep, timing, again=again)


def _works(recording: Recording) -> bool:
    """True if the workload has done anything that can be seen."""
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
