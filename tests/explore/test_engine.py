"""The engine over a scripted executor: recordings, cases, retries, budgets, pairs, results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from made import KILL, operation, saving, trace

from chaoskit import faults
from chaoskit.core.case import CaseFailure, RunSummary
from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Caveat, InsideDetail, Operation, Place, Receipt, Trace
from chaoskit.core.result import AFTER_FIRST, HANGS_THERE, Options, ScenarioResult
from chaoskit.core.schedule import Fault, Schedule
from chaoskit.explore.case import Question
from chaoskit.explore.engine import Explorer
from chaoskit.explore.errors import NothingToExplore, WorkloadFailed
from chaoskit.explore.execute import Wanted, always
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import FileEntry
from chaoskit.explore.sources import Offers
from chaoskit.faults import FaultSet
from chaoskit.inject.base import Leaks
from chaoskit.report.explain import finding_text

Answer = Callable[[Job, int], Observation]
BROKEN = CaseFailure("assertion", "AssertionError", "assert lost == kept")
ENTRY = FileEntry("file", 0o644)


def struck(job: Job, how: str = "raised", **changes: object) -> Observation:
    """The observation of a case in which every strike has its receipt."""
    texts = tuple(map(str, job.schedule))
    receipts = tuple(Receipt(text, "call", "effect") for text in texts)
    run = RunSummary(1, how, receipts=receipts)  # type: ignore[arg-type]
    seen = Observation(runs=(run,), struck=texts, reached=len(texts), leaks=(Leaks(),))
    return replace(seen, **changes)  # type: ignore[arg-type]


@dataclass
class Scripted:
    """An executor: recordings give ``recorded``, cases what ``answer`` says to (job, attempt)."""

    recorded: Trace
    answer: Answer = lambda job, attempt: struck(job)
    attempts: dict[str, int] = field(default_factory=dict)
    second: Observation | None = None
    recorded_cases: Trace | None = None
    """What is recorded of cases; None: the same as of the baseline."""

    def run(
        self, jobs: Sequence[Job], wanted: Wanted = always
    ) -> Generator[tuple[int, Observation], None, None]:
        # Backwards, since an executor may answer in any order.
        for number in reversed(range(len(jobs))):
            job = jobs[number]
            if job.record and not job.schedule.strikes:
                yield number, self.second or Observation(trace=self.recorded)
                continue
            text = str(job.schedule)
            self.attempts[text] = self.attempts.get(text, 0) + 1
            seen = self.answer(job, self.attempts[text])
            yield number, replace(seen, trace=self.recorded_cases or self.recorded) if job.record else seen


def explore(
    executor: Scripted,
    asked: FaultSet,
    first: Trace | None = None,
    options: Options | None = None,
    **changes: object,
) -> ScenarioResult:
    """Explore with one source that offers what is asked."""
    question = Question("test_a.py::test_a", asked, (Offers(asked),), options or Options(timeout=1.0))
    question = replace(question, **changes)  # type: ignore[arg-type]
    return Explorer(question, executor).explore(Observation(trace=first or executor.recorded))


def test_one_case_for_each_fault_at_each_point_in_order() -> None:
    """All cases are run once, and the result lists them in the order of the trace."""
    result = explore(Scripted(saving("a.tmp")), KILL)
    assert [case.schedule for case in result.cases] == [
        "open(a.tmp)#1=kill", "write(a.tmp)#1=kill", "rename(a.tmp -> final)#1=kill", "end()#1=kill",
    ]  # fmt: skip
    assert result.state == "passed"
    assert [case.points for case in result.cases] == [(0,), (1,), (3,), (4,)]
    assert [point.explored for point in result.points] == [1, 1, 0, 1, 1]
    assert (result.budget.possible, result.budget.run) == (4, 4)


def test_names_that_vary_are_struck_under_their_wildcard() -> None:
    """The jobs carry the patterns, so that the backend counts as the recording does."""
    patterns = set()

    def answer(job: Job, attempt: int) -> Observation:
        patterns.add(job.patterns)
        return struck(job)

    result = explore(Scripted(saving("tmp0v3lm7pz"), answer), KILL, saving("tmpa8xk_2qd"))
    assert result.cases[0].schedule == "open(tmp*)#1=kill"
    assert patterns == {("tmp*",)}
    assert [v.text for v in result.variations] == ["tmp*"]


def test_what_is_not_in_both_recordings_is_left_out_and_counted() -> None:
    """Such cases would diverge; the budget says how many there were."""
    extra = saving("a.tmp", operation("unlink", "lock", line=9))
    result = explore(Scripted(saving("a.tmp")), KILL, extra)
    assert "unlink(lock)#1=kill" not in [case.schedule for case in result.cases]
    assert result.budget.left_out == {"not the same in two baselines": 1}
    assert (result.budget.possible, result.budget.run) == (5, 4)


def test_a_task_that_another_thread_of_a_pool_has_taken_is_not_left_out() -> None:
    """If the recordings differ in nothing but threads, the baseline is recorded again, at most twice more."""
    usual = saving("a.tmp")
    moved = replace(usual, operations=tuple(_in_thread(one, 1) for one in usual.operations))

    class Pool(Scripted):
        odd, recordings = 1, 0

        def run(
            self, jobs: Sequence[Job], wanted: Wanted = always
        ) -> Generator[tuple[int, Observation], None, None]:
            if jobs and jobs[0].record and not jobs[0].schedule.strikes:
                self.recordings += 1
                self.second = Observation(trace=moved if self.recordings <= self.odd else usual)
            return super().run(jobs, wanted)

    once = Pool(usual)
    result = explore(once, KILL)
    assert once.recordings == 2
    assert (result.budget.left_out, result.budget.run) == ({}, 4)
    often = Pool(usual)
    often.odd = 2
    assert not explore(often, KILL).budget.left_out
    assert often.recordings == 3


def _in_thread(one: Operation, thread: int) -> Operation:
    return replace(one, place=replace(one.place, thread=thread))


def test_a_case_without_receipt_is_tried_three_times() -> None:
    """Then it is inconclusive, and the scenario with it."""
    nothing = Scripted(saving("a.tmp"), lambda job, attempt: Observation())
    result = explore(nothing, KILL)
    assert set(nothing.attempts.values()) == {3}
    assert {case.verdict for case in result.cases} == {"diverged"}
    assert result.state == "inconclusive"


def test_a_receipt_at_the_second_try_counts() -> None:
    """One disturbed attempt is forgiven."""
    late = Scripted(saving("a.tmp"), lambda job, n: struck(job) if n > 1 else Observation())
    result = explore(late, KILL)
    assert result.state == "passed"
    assert {case.attempts for case in result.cases} == {2}


def test_what_is_not_there_is_struck_at_the_nearest_place_that_is() -> None:
    """A line that makes fewer allocations than it was recorded with is struck at its last one.

    The result names the schedule that has struck, which is the one to be replayed, and names it once.
    """
    lines = [replace(operation("alloc", f"a.py,f,{n}"), detail=InsideDetail(m)) for n, m in ((1, 3), (2, 9))]

    def answer(job: Job, attempt: int) -> Observation:
        (strike,) = job.schedule
        near = {"3": "2", "9": "7"}.get(strike.fault.argument)
        if near is None:
            return struck(job)
        nearest = replace(strike, fault=Fault("MemoryError", near))
        return Observation(reached=1, nearest={str(strike): nearest})

    result = explore(Scripted(trace(*lines, operation("end", "")), answer), faults.memory())
    assert result.state == "passed"
    assert [(case.schedule[11:], case.attempts) for case in result.cases] == [
        ("f,1)#1=MemoryError[1]", 1),
        ("f,1)#1=MemoryError[2]", 1),
        ("f,2)#1=MemoryError[1]", 1),
        ("f,2)#1=MemoryError[2]", 1),
        ("f,2)#1=MemoryError[4]", 1),
        ("f,2)#1=MemoryError[8]", 1),
        ("f,2)#1=MemoryError[7]", 2),
    ]
    assert (result.budget.possible, result.budget.run, result.budget.left_out) == (7, 7, {})


@pytest.mark.parametrize(
    ("share", "state"), [(0.0, "inconclusive"), (0.24, "inconclusive"), (0.25, "passed")]
)
def test_a_share_of_inconclusive_cases_may_be_allowed(share: float, state: str) -> None:
    """One of four cases is a quarter."""

    def answer(job: Job, attempt: int) -> Observation:
        return Observation() if "end" in str(job.schedule) else struck(job)

    options = Options(timeout=1.0, allow_inconclusive=share)
    assert explore(Scripted(saving("a.tmp"), answer), KILL, options=options).state == state


def test_an_allowed_share_never_hides_a_violation() -> None:
    """A broken assertion without a receipt is tried again and then fails the scenario."""
    broken = Scripted(saving("a.tmp"), lambda job, n: Observation(failure=BROKEN))
    result = explore(broken, KILL, options=Options(timeout=1.0, allow_inconclusive=1.0))
    assert result.state == "failed"
    assert set(broken.attempts.values()) <= {3, 4}


def test_findings_are_merged_by_stretch() -> None:
    """Kills one after the other that do the same harm are one finding, until one in between does none."""
    trace_ = trace(
        operation("write", "a", line=1),
        operation("write", "a", line=2),
        operation("write", "b", line=3),
        operation("rename", "c", "d", line=4),
    )

    def answer(job: Job, attempt: int) -> Observation:
        return struck(job, "died", failure=None if "(b)" in str(job.schedule) else BROKEN)

    result = explore(Scripted(trace_, answer), KILL)
    assert [len(finding.schedules) for finding in result.findings] == [2, 1]
    assert [case.finding for case in result.cases] == [0, 0, None, 1]
    told = finding_text(result, result.findings[0])
    assert "write(a)#2=kill" in told
    assert "--chaoskit-replay 'write(a)#1=kill'" in told


def test_a_budget_is_kept_and_said() -> None:
    """No more cases than asked for, and the rest is counted."""
    result = explore(Scripted(saving("a.tmp")), KILL, options=Options(timeout=1.0, budget=2))
    assert len(result.cases) == 2
    assert result.budget.left_out == {"over the budget": 2}
    assert result.state == "passed"


def test_the_digest_of_the_plan_says_whether_two_would_run_the_same() -> None:
    """It is equal for equal recordings and faults, and differs with another budget or another call."""
    same = {explore(Scripted(saving("a.tmp")), KILL).plan for _ in range(2)}
    assert len(same) == 1
    fewer = explore(Scripted(saving("a.tmp")), KILL, options=Options(timeout=1.0, budget=2)).plan
    other = explore(Scripted(saving("b.tmp")), KILL).plan
    assert len({*same, fewer, other}) == 3


def test_listing_runs_nothing() -> None:
    """Points with their faults, no case."""
    executor = Scripted(saving("a.tmp"))
    result = explore(executor, KILL, listing=True)
    assert executor.attempts == {}
    assert result.state == "listed"
    assert [len(point.faults) for point in result.points] == [1, 1, 0, 1, 1]


def test_replay_runs_one_schedule() -> None:
    """A schedule is replayed although the scenario's faults would not offer it."""
    executor = Scripted(saving("a.tmp"))
    explore(executor, KILL, options=Options(timeout=1.0, replay=Schedule.parse("fsync(a.tmp)#1=EIO")))
    assert executor.attempts == {"fsync(a.tmp)#1=EIO": 1}


def test_replay_finds_a_varying_name_by_the_wildcard_of_the_schedule() -> None:
    """The printed schedule fits, though the two recordings have found another wildcard this time."""
    executor = Scripted(saving("tmpa1"))
    explore(executor, KILL, options=Options(timeout=1.0, replay=Schedule.parse("open(t*)#1=EIO")))
    assert executor.attempts == {"open(t*)#1=EIO": 1}


def test_replay_of_an_unknown_point_names_near_ones() -> None:
    """A misspelt or outdated schedule is an error before anything runs."""
    with pytest.raises(ScheduleError, match=r"open\(b\.tmp\)#1.*open\(a\.tmp\)#1"):
        explore(
            Scripted(saving("a.tmp")),
            KILL,
            options=Options(timeout=1.0, replay=Schedule.parse("open(b.tmp)#1=EIO")),
        )


def test_pairs_strike_behind_the_first_fault() -> None:
    """With depth 2, every case that passed is recorded again, and what follows is struck."""
    both = trace(operation("write", "a"), operation("rename", "a", "b"))
    result = explore(Scripted(both), KILL.on(call=("write", "rename")), options=Options(depth=2, timeout=1.0))
    assert [case.schedule for case in result.cases] == [
        "write(a)#1=kill", "rename(a -> b)#1=kill", "write(a)#1=kill; rename(a -> b)#1=kill",
    ]  # fmt: skip
    assert result.cases[2].points == (0,)


def test_pairs_go_on_in_the_next_run_when_the_first_was_killed() -> None:
    """A call that was never made is not in the second recording; what follows is the next run."""
    later = operation("write", "a", place=Place(run=2))
    executor = Scripted(trace(operation("write", "a"), later))

    def answer(job: Job, attempt: int) -> Observation:
        executor.recorded = trace(later)
        return struck(job)

    executor.answer = answer
    result = explore(executor, KILL, options=Options(depth=2, timeout=1.0))
    assert "write(a)#1=kill; run2:write(a)#1=kill" in [case.schedule for case in result.cases]


def test_first_faults_that_lead_to_the_same_are_followed_once() -> None:
    """Two errors after which all is alike get one set of second faults; what is left out is counted."""
    both = trace(operation("write", "a"), operation("rename", "a", "b"))
    errors = faults.disk().on(call="write").only("EIO", "EFBIG")
    options = Options(depth=2, timeout=1.0)

    def schedules(answer: Answer) -> tuple[list[str], int]:
        result = explore(Scripted(both, answer), errors | KILL.on(call="rename"), options=options)
        pairs = [case.schedule for case in result.cases if ";" in case.schedule]
        return pairs, sum(result.budget.left_out.values())

    firsts = {"EIO", "EIO[persistent]", "EFBIG"}
    alike, left_out = schedules(lambda job, n: struck(job))
    assert alike == ["write(a)#1=EIO; rename(a -> b)#1=kill"]
    assert left_out == len(firsts) - 1

    def each_its_own(job: Job, n: int) -> Observation:
        seen = struck(job)
        return replace(seen, snapshot={str(job.schedule.strikes[0]): ENTRY})

    assert len(schedules(each_its_own)[0]) == len(firsts)


def test_a_case_that_breaks_when_recorded_again_is_broken() -> None:
    """Flaky is not passed: the worse of two executions counts."""
    options = Options(depth=2, timeout=1.0)
    flaky = Scripted(saving("a.tmp"), lambda job, n: struck(job, failure=BROKEN if job.record else None))
    result = explore(flaky, KILL, options=options)
    assert {case.verdict for case in result.cases} == {"violated"}


def test_a_finding_of_one_fault_takes_the_pairs_that_show_it_too() -> None:
    """The second fault alone breaks it, so the pair is not a finding of its own."""
    both = trace(operation("write", "a", line=1), operation("rename", "a", "b", line=2))

    def answer(job: Job, attempt: int) -> Observation:
        return struck(job, failure=BROKEN if "rename" in str(job.schedule) else None)

    result = explore(Scripted(both, answer), KILL, options=Options(depth=2, timeout=1.0))
    [finding] = result.findings
    assert finding.schedule == "rename(a -> b)#1=kill"
    assert len(finding.schedules) == 2


@pytest.mark.parametrize("always", [True, False])
def test_each_finding_is_tried_once_more(always: bool) -> None:
    """What does not show again is a finding all the same, and its text says so."""

    def answer(job: Job, attempt: int) -> Observation:
        broken = "rename" in str(job.schedule) and (always or attempt == 1)
        return struck(job, failure=BROKEN if broken else None)

    result = explore(Scripted(saving("a.tmp"), answer), KILL)
    [finding] = result.findings
    assert finding.reproduced is always
    assert ("did not show again" in finding_text(result, finding)) is not always


def test_a_test_that_cannot_be_run_twice_is_refused() -> None:
    """The second run of the baseline must pass as the first did."""
    executor = Scripted(saving("a.tmp"), second=Observation(failure=BROKEN))
    with pytest.raises(WorkloadFailed, match=r"failed the second time(.|\n)*lost == kept"):
        explore(executor, KILL)


@pytest.mark.parametrize(
    ("recorded", "asked", "reason"),
    [
        (trace(operation("end", "")), KILL, "did nothing below chaos.path"),
        (saving("a.tmp"), faults.disk().only("EXDEV").on(path="other"), "none of the faults asked for"),
    ],
)
def test_a_scenario_without_cases_never_passes(recorded: Trace, asked: FaultSet, reason: str) -> None:
    """It would look tested and is not."""
    with pytest.raises(NothingToExplore, match=reason):
        explore(Scripted(recorded), asked)


def test_a_scenario_that_is_all_chance_never_passes() -> None:
    """If nothing is the same twice, nothing can be struck by name."""
    with pytest.raises(NothingToExplore, match="fix its seeds"):
        explore(
            Scripted(trace(operation("mkdir", "b"))), KILL.on(call="write"), trace(operation("write", "a"))
        )


def test_caveats_are_told_once() -> None:
    """The same blind spot in many cases, in processes of other ids, is one line."""
    caveat = Caveat("own-filter", "process 12", "process 12 has a filter of its own")

    def answer(job: Job, attempt: int) -> Observation:
        number = len(str(job.schedule))
        return struck(job, caveats=(replace(caveat, target=f"process {number}"),))

    assert len(explore(Scripted(saving("a.tmp"), answer), KILL).caveats) == 1


def test_progress_counts_each_case_once() -> None:
    """Retries do not move it."""
    seen: list[tuple[int, int]] = []
    late = Scripted(saving("a.tmp"), lambda job, n: struck(job) if n > 1 else Observation())
    question = Question("test", KILL, (Offers(KILL),), Options(timeout=1.0))
    Explorer(question, late, lambda done, total: seen.append((done, total))).explore(
        Observation(trace=saving("a.tmp"))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_result_comes_back_from_plain_data() -> None:
    """to_dict and from_dict are inverses on a result with everything in it."""
    result = explore(Scripted(saving("a.tmp"), lambda job, n: struck(job, failure=BROKEN)), KILL)
    assert ScenarioResult.from_dict(result.to_dict()) == result


@dataclass
class InOrder(Scripted):
    """An executor that asks before each job, and has handed out one more when it has an answer."""

    def run(
        self, jobs: Sequence[Job], wanted: Wanted = always
    ) -> Generator[tuple[int, Observation], None, None]:
        if not jobs or jobs[0].record:
            yield from super().run(jobs)
            return
        ahead: list[int] = []
        for number in range(len(jobs)):
            if wanted(number):
                ahead.append(number)
            if len(ahead) > 1:
                yield from self._answered(ahead.pop(0), jobs)
        for number in ahead:
            yield from self._answered(number, jobs)

    def _answered(self, number: int, jobs: Sequence[Job]) -> Generator[tuple[int, Observation], None, None]:
        self.attempts[str(jobs[number].schedule)] = 1
        yield number, self.answer(jobs[number], 1)


def hangs_at_writes(job: Job, attempt: int) -> Observation:
    hang = CaseFailure("hang", "hang", "it hung and was killed", "")
    return replace(struck(job), failure=hang) if "write" in str(job.schedule) else struck(job)


def test_after_three_hangs_at_a_line_the_rest_there_is_left_out() -> None:
    """Each would cost its whole time-out and show the same; what strikes at other lines is run."""
    recorded = trace(
        *(operation("write", f"w{i}", line=7) for i in range(8)), operation("rename", "b", line=8)
    )
    executor = InOrder(recorded, hangs_at_writes)
    result = explore(executor, faults.disk().only("EIO"))
    verdicts = [case.verdict for case in result.cases]
    assert verdicts.count("hung") == 3
    assert result.budget is not None
    assert result.budget.left_out == {HANGS_THERE: result.budget.possible - len(result.cases)}
    # One was under way: whether it had hung by then is a matter of time, and it does not count.
    assert sum("write" in name for name in executor.attempts) == 4
    assert any("rename" in case.schedule for case in result.cases)


def test_hangs_at_different_lines_are_all_run() -> None:
    """They may have different causes."""
    recorded = trace(*(operation("write", f"w{i}", line=i + 1) for i in range(8)))
    result = explore(InOrder(recorded, hangs_at_writes), faults.disk().only("EIO"))
    assert result.budget is not None
    assert result.budget.left_out == {}
    assert [case.verdict for case in result.cases] == ["hung"] * result.budget.possible


def breaks_at_writes(job: Job, attempt: int) -> Observation:
    broken = CaseFailure("assertion", "AssertionError", "it is torn", "")
    return replace(struck(job), failure=broken) if "write" in str(job.schedule) else struck(job)


def test_one_case_that_breaks_is_enough_where_that_is_asked() -> None:
    """The first in the order of running is kept, in whichever order they end; the rest is counted."""
    recorded = trace(*(operation("write", f"w{i}", line=i + 1) for i in range(8)), operation("rename", "b"))
    asked = faults.disk().only("EIO")
    in_order, backwards = InOrder(recorded, breaks_at_writes), Scripted(recorded, breaks_at_writes)
    possible = explore(backwards, asked).budget.possible
    results = [explore(executor, asked, exit_first=True) for executor in (in_order, backwards)]
    (broken,) = {case.schedule for result in results for case in result.cases if case.verdict == "violated"}
    for result in results:
        assert result.findings[0].schedules == (broken,)
        assert result.budget.left_out == {AFTER_FIRST: possible - len(result.cases)}
    # One was under way when another ended; that one does not count.
    assert len(in_order.attempts) == len(results[0].cases) + 1 < possible


def test_a_program_without_a_mistake_is_explored_to_its_end() -> None:
    """What ends with the first case that breaks has no end before that."""
    recorded = trace(*(operation("write", f"w{i}", line=i + 1) for i in range(8)))
    result = explore(Scripted(recorded), faults.disk().only("EIO"), exit_first=True)
    assert result.state == "passed"
    assert result.budget.run == result.budget.possible


def test_no_second_fault_is_looked_for_when_one_was_enough() -> None:
    """Nor what a first fault brings to light: that would be a second finding."""
    recorded = trace(*(operation("write", f"w{i}", line=i + 1) for i in range(4)))
    two = Options(timeout=1.0, depth=2)
    result = explore(
        Scripted(recorded, breaks_at_writes), faults.disk().only("EIO"), options=two, exit_first=True
    )
    assert all(";" not in case.schedule for case in result.cases)
    assert result.state == "failed"
