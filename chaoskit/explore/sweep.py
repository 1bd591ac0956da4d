"""Run the cases of one exploration, and keep the books: what was possible, run, and left out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from chaoskit.core.case import BROKEN
from chaoskit.core.errors import UsageError
from chaoskit.core.result import OVER_BUDGET, Budget
from chaoskit.explore.border import Planned, World
from chaoskit.explore.case import Case, Question
from chaoskit.explore.choose import choose
from chaoskit.explore.execute import Executor, Observations
from chaoskit.explore.job import Job
from chaoskit.explore.judge import judge
from chaoskit.explore.observation import Observation

ATTEMPTS = 3
"""How often a case is run at most when its fault leaves no receipt."""

INTERRUPTED = "interrupted"

Progress = Callable[[int, int], None]


class Sweep:
    """One exploration under way.

    ``left_out`` counts by reason the cases that are possible and were not run; ``worlds`` are those of all
    cases that were listed, whether or not they were run; ``begun`` are the cases that were handed out.
    """

    def __init__(self, question: Question, executor: Executor, progress: Progress | None = None) -> None:
        self.question = question
        self.left_out: Counter[str] = Counter()
        self.worlds: list[World] = []
        self.begun: list[Case] = []
        self._executor = executor
        self._progress = progress or (lambda done, total: None)
        self._possible = 0
        self._done = 0

    def list(self, planned: Sequence[Planned], worlds: Sequence[World] | None = None) -> None:
        """Note what may be run. ``worlds`` are its new ones, where not every world in it is one."""
        self._possible += len(planned)
        self.worlds += [one.world for one in planned if one.world is not None] if worlds is None else worlds

    def room(self, used: int) -> int | None:
        """How many cases the budget still allows when ``used`` were run; None without a budget."""
        limit = self.question.options.budget
        return None if limit is None else max(0, limit - used)

    def within(self, cases: Sequence[Case], limit: int | None) -> Sequence[Case]:
        """As many of the cases as ``limit`` allows, the most suspicious; the rest counts as left out."""
        struck = [case.operations[-1] if case.operations else None for case in cases]
        chosen = choose([case.planned for case in cases], struck, limit, self.question.seed)
        if len(chosen) < len(cases):
            self.left_out[OVER_BUDGET] += len(cases) - len(chosen)
        return [cases[i] for i in chosen]

    def observe(self, jobs: Sequence[Job]) -> Observations:
        """Each job's number with what it showed, in the order in which they end."""
        # Closed by name: an interrupt here must end the workers now, not when a frame is collected.
        with contextlib.closing(self._executor.run(jobs)) as stream:
            yield from stream

    def execute(self, cases: Sequence[Case]) -> None:
        """Run every case, and those that could not be judged again."""
        self.begun += cases
        waiting = list(cases)
        for attempt in range(ATTEMPTS):
            with contextlib.closing(self.observe([case.job for case in waiting])) as stream:
                for number, seen in stream:
                    self._judge(waiting[number], seen, attempt)
            waiting = [case for case in waiting if case.judgement.again]
            if not waiting:
                return

    def again(self, cases: Sequence[Case]) -> dict[int, tuple[bool, Observation]]:
        """Run each case once more and record it: whether it broke again, and what it did.

        Every run of the test is recorded, the recovery included, which takes no faults by that: those of a
        schedule name the run that they belong to.
        """
        jobs = [replace(case.job, record=True, strike_recovery=True) for case in cases]
        found = {}
        with contextlib.closing(self.observe(jobs)) as stream:
            for number, seen in stream:
                found[number] = (judge(jobs[number], seen).verdict in BROKEN, seen)
        return found

    def interrupt(self) -> Sequence[Case]:
        """The cases that are over although others are not, which count as left out from now on."""
        # One that waits for another try has not been judged, unless it broke.
        over = [c for c in self.begun if c.attempts and (c.judgement.failure or not c.judgement.again)]
        self.left_out[INTERRUPTED] += len(self.begun) - len(over)
        return over

    def budget(self, run: int) -> Budget:
        """The books, when ``run`` cases were run in the end."""
        left_out = {why: number for why, number in self.left_out.items() if number}
        return Budget(self.question.options.budget, self._possible, run, left_out)

    def _judge(self, case: Case, seen: Observation, attempt: int) -> None:
        if seen.refused:
            # Wrong use is the test's, whenever it comes: no verdict on the program can follow from it.
            raise UsageError(f"in the case {case.job.schedule} chaos.run was refused: {seen.refused}")
        case.seen, case.judgement = seen, judge(case.job, seen)
        case.attempts += 1
        if attempt == 0:
            self._done += 1
            self._progress(self._done, len(self.begun))
