"""The case by which a finding is shown says what it did, in order, and what struck where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made import KILL, operation, saving, trace
from test_engine import BROKEN, Scripted, explore, struck

from chaoskit.core.case import CaseFailure, RunSummary, Timeline
from chaoskit.core.operation import Place, Receipt, Trace
from chaoskit.explore.job import Job
from chaoskit.explore.observation import Observation
from chaoskit.explore.timeline import LONGEST


def timeline(recorded: Trace, schedule: str, how: str = "violated", seen: Trace | None = None) -> Timeline:
    """Of the case of ``schedule``, in which alone the test breaks; ``seen`` is what it does by then."""

    def answer(job: Job, attempt: int) -> Observation:
        if str(job.schedule) != schedule:
            return struck(job)
        hang = CaseFailure("hang", "hang", "hung")
        return struck(job, failure=BROKEN if how == "violated" else hang)

    result = explore(Scripted(recorded, answer, recorded_cases=seen), KILL)
    [case] = [case for case in result.cases if case.verdict in ("violated", "hung")]
    assert (case.schedule, case.verdict) == (schedule, how)
    assert [c.timeline for c in result.cases if c is not case] == [None] * (len(result.cases) - 1)
    assert case.timeline is not None
    return case.timeline


def test_a_violated_case_has_its_operations_with_what_struck() -> None:
    """What comes behind the fault is what this case did, not what the baseline did."""
    after = trace(
        operation("open", "a.tmp", line=1),
        operation("write", "a.tmp", line=2, result=-28),
        operation("unlink", "a.tmp", line=9),
    )
    found = timeline(saving("a.tmp"), "write(a.tmp)#1=kill", seen=after)
    assert (found.recorded, found.left_out) == (True, 0)
    assert [(e.operation, e.outcome, e.struck) for e in found.entries] == [
        ("open(a.tmp)#1", "0", ""),
        ("write(a.tmp)#1", "ENOSPC", "effect"),
        ("unlink(a.tmp)#1", "0", ""),
    ]
    assert [e.site.line for e in found.entries if e.site is not None] == [1, 2, 9]


def test_a_call_that_was_never_made_stands_where_the_process_died() -> None:
    """A kill before a call leaves no operation in the recording; the receipt is in its place all the same."""
    killed = trace(
        operation("open", "a.tmp", line=1),
        operation("unlink", "a.tmp", place=Place(run=2)),
    )
    found = timeline(saving("a.tmp"), "write(a.tmp)#1=kill", seen=killed)
    assert [(e.run, e.operation, e.struck) for e in found.entries] == [
        (1, "open(a.tmp)#1", ""),
        (1, "write(a.tmp)#1", "effect"),
        (2, "run2:unlink(a.tmp)#1", ""),
    ]


def test_a_hung_case_has_the_baseline_up_to_the_fault() -> None:
    """It is not run a second time, which would cost its whole time again, and the record says so."""
    found = timeline(saving("a.tmp"), "rename(a.tmp -> final)#1=kill", "hung")
    assert not found.recorded
    assert [(e.operation, e.struck) for e in found.entries] == [
        ("open(a.tmp)#1", ""),
        ("write(a.tmp)#1", ""),
        ("fsync(a.tmp)#1", ""),
        ("rename(a.tmp -> final)#1", "effect"),
    ]


@pytest.mark.parametrize("at", [1, 500, 1000])
def test_a_long_timeline_keeps_what_is_nearest_to_the_fault(at: int) -> None:
    """Its length is bounded, and how much is missing is said."""
    long = trace(*(operation("write", "log", line=2) for _ in range(1000)))
    found = timeline(long, f"write(log)#{at}=kill")
    assert len(found.entries) == LONGEST
    assert found.left_out == 1000 - LONGEST
    numbers = [int(entry.operation.rpartition("#")[2]) for entry in found.entries]
    assert numbers == sorted(numbers)
    assert max(abs(number - at) for number in numbers) <= LONGEST
    assert [entry.operation for entry in found.entries if entry.struck] == [f"write(log)#{at}"]


def test_names_that_vary_are_told_under_their_wildcard() -> None:
    """An entry is named as in schedules, so that a page can match the two."""

    def answer(job: Job, attempt: int) -> Observation:
        return struck(job, failure=BROKEN if "write" in str(job.schedule) else None)

    result = explore(Scripted(saving("tmp0v3lm7pz"), answer), KILL, saving("tmpa8xk_2qd"))
    [found] = [case.timeline for case in result.cases if case.timeline is not None]
    assert [(e.operation, e.struck) for e in found.entries][:2] == [
        ("open(tmp*)#1", ""),
        ("write(tmp*)#1", "effect"),
    ]


def test_without_a_receipt_nothing_is_said_to_have_struck() -> None:
    """Proof is what the injector gave, never what the schedule wanted."""
    unproven = RunSummary(1, "raised", receipts=(Receipt("other(x)#1=kill", "", "effect"),))

    def answer(job: Job, attempt: int) -> Observation:
        seen = struck(job)
        return replace(seen, failure=BROKEN, runs=(unproven,)) if "write" in str(job.schedule) else seen

    result = explore(Scripted(saving("a.tmp"), answer), KILL)
    [found] = [case.timeline for case in result.cases if case.timeline is not None]
    assert not any(entry.struck for entry in found.entries)
