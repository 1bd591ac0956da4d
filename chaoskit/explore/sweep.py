"""Run the cases of one exploration, and keep account: what was possible, run, and left out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from chaoskit.core.case import BROKEN
from chaoskit.core.errors import UsageError
from chaoskit.core.evidence import HANGS
from chaoskit.core.operation import Frame, Operation
from chaoskit.core.result import AFTER_FIRST, ALIKE, HANGS_THERE, OVER_BUDGET, Budget
from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned, World
from chaoskit.explore.case import Case, Question
from chaoskit.explore.choose import choose, ranked
from chaoskit.explore.execute import Executor, Observations, Wanted, always
from chaoskit.explore.job import Job
from chaoskit.explore.judge import Judgement, judge
from chaoskit.explore.observation import Observation

ATTEMPTS = 3
"""The most times a case is run if its fault leaves no receipt."""

INTERRUPTED_ATTEMPTS = 8
"""The same if an interrupted call may be the cause, as often happens on a busy machine."""

INTERRUPTED = "interrupted"

Progress = Callable[[int, int], None]


class Sweep:
    """One exploration under way.

    ``left_out`` counts, by reason, the possible cases that were not run; ``worlds`` are those of all listed
    cases, whether or not they were run; ``begun`` are the cases that were handed out. ``elsewhere`` counts
    the cases that other shards run.
    """

    def __init__(self, question: Question, executor: Executor, progress: Progress | None = None) -> None:
        self.question = question
        self.left_out: Counter[str] = Counter()
        self.worlds: list[World] = []
        self.begun: list[Case] = []
        self.elsewhere = 0
        self._executor = executor
        self._progress = progress or (lambda done, total: None)
        self._hung: Counter[object] = Counter()
        self._aimed: set[int] = set()
        self._possible = 0
        self._done = 0

    def list(self, planned: Sequence[Planned], worlds: Sequence[World] | None = None) -> None:
        """Note the cases that may be run. ``worlds`` are their new worlds, if not all are new."""
        self._possible += len(planned)
        self.worlds += [one.world for one in planned if one.world is not None] if worlds is None else worlds

    def room(self, used: int) -> int | None:
        """How many cases the budget still allows after ``used`` cases; None without a budget."""
        limit = self.question.options.budget
        return None if limit is None else max(0, limit - used - self.elsewhere)

    def within(self, cases: Sequence[Case], limit: int | None) -> Sequence[Case]:
        """The most suspicious cases, as many as ``limit`` allows; the rest count as left out."""
        chosen = choose([case.planned for case in cases], struck(cases), limit, self.question.seed)
        if len(chosen) < len(cases):
            self.left_out[OVER_BUDGET] += len(cases) - len(chosen)
        return [cases[i] for i in chosen]

    def observe(self, jobs: Sequence[Job], wanted: Wanted = always) -> Observations:
        """The number and observation of each job, as the jobs end."""
        # Closed explicitly: an interrupt here must end the workers now, not when a frame is collected.
        with contextlib.closing(self._executor.run(jobs, wanted)) as stream:
            yield from stream

    def execute(self, cases: Sequence[Case], *, all_of_them: bool = False) -> Sequence[Case]:
        """Run the cases, again those that could not be judged, and return the ones that were run.

        The most telling ones come first, so that a run stopped half-way has seen most of what there is to
        see. After some hangs at one line the other cases there are left out, unless ``all_of_them`` are
        wanted: each would cost its whole timeout, and show the same.
        """
        self.begun += cases
        first = _running_order(cases, self.question.seed)
        waiting = [cases[i] for i in first]
        if before := frozenset(self.question.first):
            # Cases that broke the scenario the last time come before those that are merely likely to.
            waiting.sort(key=lambda case: case.planned.schedule not in before)
        order = list(waiting)
        enough = _Enough(order) if self.question.exit_first and not all_of_them else None
        for attempt in range(INTERRUPTED_ATTEMPTS):
            batch = waiting
            wanted = always if all_of_them else lambda number: self._wanted(batch[number], enough)  # noqa: B023
            with contextlib.closing(self.observe([case.job for case in batch], wanted)) as stream:
                for number, seen in stream:
                    self._judge(batch[number], seen, attempt)
                    if enough is not None:
                        enough.note(batch[number], attempt)
            waiting = [case for case in batch if worth_another(case.judgement, attempt)]
            if not waiting:
                break
        if all_of_them:
            return cases
        behind = enough.behind() if enough is not None else set()
        spared = _beyond_the_hangs([case for case in order if id(case) not in behind])
        self.left_out[AFTER_FIRST] += len(behind)
        self.left_out[HANGS_THERE] += len(spared)
        again = self._run_before([case for case in cases if id(case) not in spared | behind])
        # The point that they were aimed at does not exist, so they were not cases.
        self._possible -= len(again)
        return [case for case in cases if id(case) not in spared | behind | again]

    def again(self, cases: Sequence[Case]) -> dict[int, tuple[bool, Observation]]:
        """Run each case once more, recorded; by number, return True if it broke again, and the observation.

        Every run of the test is recorded, the recovery included. No additional faults strike in the recovery,
        since every strike of a schedule names its run.
        """
        jobs = [replace(case.job, record=True, strike_recovery=True) for case in cases]
        found: dict[int, tuple[bool, Observation]] = {}
        waiting = list(range(len(jobs)))
        for _ in range(INTERRUPTED_ATTEMPTS):
            batch, waiting = waiting, []
            with contextlib.closing(self.observe([jobs[number] for number in batch])) as stream:
                for place, seen in stream:
                    number = batch[place]
                    judgement = judge(jobs[number], seen)
                    found[number] = (judgement.verdict in BROKEN, seen)
                    waiting += [number] if judgement.interrupted else []
            if not waiting:
                break
        return found

    @property
    def possible(self) -> int:
        """How many cases were listed."""
        return self._possible

    @property
    def complete(self) -> bool:
        """True if only cases that can show nothing new were left out."""
        return not any(number for why, number in self.left_out.items() if why not in (ALIKE, HANGS_THERE))

    def interrupt(self) -> Sequence[Case]:
        """The cases that are over. The others count as left out from now on."""
        # A case that waits for another attempt has not been judged, unless it broke.
        over = [c for c in self.begun if c.attempts and (c.judgement.failure or not c.judgement.again)]
        self.left_out[INTERRUPTED] += len(self.begun) - len(over)
        return over

    def _wanted(self, case: Case, enough: _Enough | None) -> bool:
        """False if enough cases at the same line have hung, or an earlier broken case was enough."""
        return self._hung[_line(case)] < HANGS and (enough is None or enough.wants(case))

    def budget(self, run: int) -> Budget:
        """The account, after ``run`` cases were run."""
        left_out = {why: number for why, number in self.left_out.items() if number}
        return Budget(self.question.options.budget, self._possible, run, left_out)

    def _judge(self, case: Case, seen: Observation, attempt: int) -> None:
        if seen.refused:
            # Wrong use is the test's error: no verdict on the program can follow from it.
            raise UsageError(f"in the case {case.job.schedule} chaos.run was refused: {seen.refused}")
        case.seen, case.judgement = seen, judge(case.job, seen)
        case.attempts += 1
        if case.judgement.verdict == "not injected" and worth_another(case.judgement, attempt):
            self._aim_nearer(case)
        if case.judgement.verdict == "hung" and (line := _line(case)):
            self._hung[line] += 1
        if attempt == 0:
            self._done += 1
            self._progress(self._done, len(self.begun))

    def _aim_nearer(self, case: Case) -> None:
        """Let the next attempt strike at the nearest possible point, if the intended one did not occur.

        The number of allocations that a line makes varies by a few with what the interpreter has cached and
        specialised, so the last recorded one need not occur. The schedule reported is the one that strikes.
        """
        strikes = (case.seen.nearest.get(str(strike), strike) for strike in case.job.schedule)
        schedule = Schedule(tuple(strikes))
        if schedule != case.job.schedule:
            case.job = replace(case.job, schedule=schedule)
            case.planned = replace(case.planned, schedule=schedule)
            self._aimed.add(id(case))

    def _run_before(self, cases: Sequence[Case]) -> set[int]:
        """The identities of re-aimed cases that strike where another case does."""
        seen = {case.planned.schedule for case in cases if id(case) not in self._aimed}
        found = set()
        for case in cases:
            if id(case) in self._aimed:
                found |= {id(case)} if case.planned.schedule in seen else set()
                seen.add(case.planned.schedule)
        return found


class _Enough:
    """The first case that broke, in the running order, and the cases that it makes unnecessary.

    Later cases may have been under way when it broke. They are left out anyway, and earlier ones are still
    run: which case breaks first is a matter of timing, and equal runs must have equal results.
    """

    def __init__(self, order: Sequence[Case]) -> None:
        self._order = order
        self._place = {id(case): place for place, case in enumerate(order)}
        self._broken = len(order)

    def note(self, case: Case, attempt: int) -> None:
        """Take note of how a case was judged at attempt number ``attempt``."""
        if case.judgement.verdict in BROKEN and not worth_another(case.judgement, attempt):
            self._broken = min(self._broken, self._place[id(case)])

    def wants(self, case: Case) -> bool:
        """True if no earlier case has broken."""
        return self._place[id(case)] <= self._broken

    def behind(self) -> set[int]:
        """The identities of the cases after the first one that broke."""
        return {id(case) for case in self._order[self._broken + 1 :]}


def _running_order(cases: Sequence[Case], seed: int) -> Sequence[int]:
    """The indices of the cases, the most telling first; a shard has the order of a complete run."""
    if all(case.rank >= 0 for case in cases):
        return sorted(range(len(cases)), key=lambda i: cases[i].rank)
    return ranked([case.planned for case in cases], struck(cases), seed)


def worth_another(judgement: Judgement, attempt: int) -> bool:
    """True if the case must be run again after attempt number ``attempt``, counted from 0."""
    most = INTERRUPTED_ATTEMPTS if judgement.interrupted else ATTEMPTS
    return judgement.again and attempt + 1 < most


def _line(case: Case) -> tuple[Frame, ...]:
    """The stack of the call that the case strikes; empty for a command, whose calls have no lines."""
    return case.operations[-1].stack if case.operations else ()


def _beyond_the_hangs(cases: Sequence[Case]) -> set[int]:
    """The identities of those ``cases``, given in running order, that follow enough hangs at their line.

    Some of them were under way by then. They are left out anyway: which ones is a matter of timing, and equal
    runs must have equal results.
    """
    hung: Counter[object] = Counter()
    beyond = set()
    for case in cases:
        line = _line(case)
        if hung[line] >= HANGS:
            beyond.add(id(case))
        elif line and case.judgement.verdict == "hung":
            hung[line] += 1
    return beyond


def struck(cases: Sequence[Case]) -> list[Operation | None]:
    """The operation that each case strikes last; None if that is not in the recording."""
    return [case.operations[-1] if case.operations else None for case in cases]
