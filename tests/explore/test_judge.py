"""Every verdict, from the observation that leads to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaoskit.core.case import CaseFailure, RunSummary
from chaoskit.core.operation import Receipt
from chaoskit.core.schedule import Schedule
from chaoskit.explore import interpreters
from chaoskit.explore.job import Expected, Job
from chaoskit.explore.judge import judge
from chaoskit.explore.observation import Observation
from chaoskit.inject.base import Leaks

TEXT = "write(a)#1=EIO"
JOB = Job(Schedule.parse(TEXT))
RECEIPT = Receipt(TEXT, "write(a)#1", "answered EIO")
STRUCK = Observation(
    runs=(RunSummary(1, "raised", receipts=(RECEIPT,)),), struck=(TEXT,), reached=1, leaks=(Leaks(),)
)
BROKEN = CaseFailure("assertion", "AssertionError", "assert 1 == 2")


def test_an_error_reported_and_survived_is_failed_safe() -> None:
    """The workload raised, the invariants held."""
    assert judge(JOB, STRUCK).verdict == "failed safe"


def test_a_workload_that_returns_in_spite_of_the_fault_has_tolerated_it() -> None:
    """It struck, and yet the workload succeeded."""
    seen = replace(STRUCK, runs=(replace(STRUCK.runs[0], how="returned"),))
    assert judge(JOB, seen).verdict == "tolerated"


def test_later_runs_do_not_decide_what_was_tolerated() -> None:
    """Only the runs that were struck tell whether the fault was tolerated."""
    seen = replace(STRUCK, runs=(replace(STRUCK.runs[0], how="returned"), RunSummary(2, "raised")))
    assert judge(JOB, seen).verdict == "tolerated"


def test_a_broken_assertion_is_a_violation() -> None:
    """With its receipt it is final."""
    judgement = judge(JOB, replace(STRUCK, failure=BROKEN))
    assert (judgement.verdict, judgement.again) == ("violated", False)


def test_without_a_receipt_nothing_passes() -> None:
    """The call was made and no fault is proven: tried again, never a pass."""
    judgement = judge(JOB, replace(STRUCK, struck=()))
    assert (judgement.verdict, judgement.again) == ("not injected", True)


def test_a_point_that_is_not_reached_means_diverged() -> None:
    """The run went another way: tried again, never a pass."""
    judgement = judge(JOB, replace(STRUCK, struck=(), reached=0))
    assert (judgement.verdict, judgement.again) == ("diverged", True)
    assert TEXT in judgement.note


def test_one_receipt_does_not_stand_for_two() -> None:
    """Each strike of a schedule needs a receipt of its own, equal ones too."""
    two = Job(Schedule.parse(f"{TEXT}; {TEXT}"))
    assert judge(two, STRUCK).verdict == "diverged"


def test_a_violation_without_a_receipt_is_tried_again_and_stays_one() -> None:
    """A broken assertion never hides behind an allowed share of inconclusive cases."""
    judgement = judge(JOB, replace(STRUCK, struck=(), reached=0, failure=BROKEN))
    assert (judgement.verdict, judgement.again) == ("violated", True)
    assert "without a receipt" in judgement.note


def test_a_workload_that_hangs_is_hung_whatever_the_test_says() -> None:
    """The backend killed it; the stack is the failure's text."""
    run = replace(STRUCK.runs[0], how="stopped", stacks="in lock()")
    judgement = judge(JOB, replace(STRUCK, runs=(run,), failure=BROKEN))
    assert judgement.verdict == "hung"
    assert judgement.failure is not None
    assert judgement.failure.text == "in lock()"


def test_a_test_that_skips_itself_is_no_pass() -> None:
    """A case that checked nothing is inconclusive."""
    assert judge(JOB, replace(STRUCK, skipped="no data")).verdict == "diverged"


def test_stray_interrupts_are_tried_again() -> None:
    """An EINTR nobody injected makes the case doubtful, though it passes if it stays."""
    seen = replace(STRUCK, runs=(replace(STRUCK.runs[0], stray_interrupts=1),))
    judgement = judge(JOB, seen)
    assert (judgement.verdict, judgement.again) == ("failed safe", True)


@pytest.mark.parametrize("what", ["descriptors", "threads", "processes"])
def test_a_leak_is_a_violation(what: str) -> None:
    """What the workload holds at its end, and does not hold in the baseline, has leaked."""
    seen = replace(STRUCK, leaks=(Leaks(**{what: ("a.tmp",)}),))
    judgement = judge(JOB, seen)
    assert judgement.verdict == "violated"
    assert judgement.failure is not None
    assert (judgement.failure.kind, judgement.failure.name) == ("invariant", f"no_leaked_{what}")


def test_what_is_held_without_faults_too_is_no_leak() -> None:
    """The baseline is the yardstick; numbers in names do not matter, but the count does."""
    job = replace(JOB, expected=Expected(leaks=(Leaks(descriptors=("pipe:[1]",)),)))
    held = replace(STRUCK, leaks=(Leaks(descriptors=("pipe:[77]",)),))
    more = replace(STRUCK, leaks=(Leaks(descriptors=("pipe:[77]", "pipe:[78]")),))
    assert judge(job, held).verdict == "failed safe"
    assert judge(job, more).verdict == "violated"


def test_a_killed_workload_leaks_nothing() -> None:
    """What SIGKILL leaves open, the kernel closes."""
    run = replace(STRUCK.runs[0], how="died", signal="SIGKILL")
    seen = replace(STRUCK, runs=(run,), leaks=(Leaks(descriptors=("a.tmp",)),))
    assert judge(JOB, seen).verdict == "failed safe"


def test_a_hang_after_stray_interrupts_is_no_finding() -> None:
    """A close that was interrupted for our sake leaves a pipe open, and its reader waits forever."""
    hung = replace(STRUCK.runs[0], how="stopped", stray_interrupts=1)
    judgement = judge(JOB, replace(STRUCK, runs=(hung,)))
    assert (judgement.verdict, judgement.failure, judgement.again) == ("diverged", None, True)
    assert judge(JOB, replace(STRUCK, runs=(replace(hung, stray_interrupts=0),))).verdict == "hung"


@pytest.mark.parametrize(
    "wrong", [{"failure": BROKEN}, {"leaks": (Leaks(descriptors=("pipe:[1]",)),)}], ids=["failure", "leak"]
)
def test_what_goes_wrong_after_stray_interrupts_is_no_finding(wrong: dict[str, object]) -> None:
    """It may come from the EINTR that nothing injected: the case is tried oftener, and never a finding."""
    seen = replace(STRUCK, **wrong)  # type: ignore[arg-type]
    doubtful = replace(seen, runs=(replace(STRUCK.runs[0], stray_interrupts=1),))
    judgement = judge(JOB, doubtful)
    assert (judgement.verdict, judgement.failure) == ("diverged", None)
    assert (judgement.again, judgement.interrupted) == (True, True)
    assert judgement.note.startswith("after 1 call was interrupted by signals: ")
    assert judge(JOB, seen).verdict == "violated"


def test_a_server_that_could_not_be_told_what_was_said_is_no_ground_for_a_finding() -> None:
    """Whatever the test then says of it: the case cannot be judged, and the reason says what to do."""
    seen = replace(
        STRUCK, untold="db took no connection", failure=CaseFailure("invariant", "E", "no row", "")
    )
    judgement = judge(JOB, seen)
    assert judgement.verdict == "diverged"
    assert "db took no connection" in judgement.note
    assert "without faults.power_loss()" in judgement.note


ALLOCATION = "alloc(app.py,save,2)#1=MemoryError[1]"
OF_MEMORY = Receipt(ALLOCATION, "alloc(app.py,save,2)#1", "allocation 1 failed")
STACK = 'Fatal Python error: Segmentation fault\n\n  File "/lib/json/encoder.py", line 12 in encode\n'


def short_of_memory(**run: Any) -> Observation:
    """A case in which an allocation failed, and how its run ended."""
    return Observation(
        runs=(RunSummary(1, receipts=(OF_MEMORY,), **run),), struck=(ALLOCATION,), reached=1, leaks=(Leaks(),)
    )


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"how": "died", "signal": "SIGSEGV", "stacks": STACK}, "SIGSEGV at json/encoder.py:12 in encode"),
        ({"how": "died", "signal": "SIGABRT"}, "SIGABRT at app.py,save,2"),
        (
            {
                "how": "raised",
                "error": "SystemError: <built-in function f> returned a result with an exception set",
                "traceback": '  File "/app/a.py", line 3, in g\n',
            },
            "returned a result with an exception set at app/a.py:3 in g",
        ),
    ],
)
def test_what_cpython_does_wrong_is_not_the_programs(run: dict[str, Any], told: str) -> None:
    """A crash or its SystemError after a failed allocation is neither a violation nor a pass."""
    job, seen = Job(Schedule.parse(ALLOCATION)), replace(short_of_memory(**run), failure=BROKEN)
    judged = judge(job, seen)
    assert (judged.verdict, judged.failure) == ("interpreter", None)
    assert told in judged.note
    assert [one.kind for one in interpreters.caveats(job, seen)] == ["interpreter"]


@pytest.mark.parametrize(
    "run",
    [
        {"how": "died", "signal": "SIGKILL"},
        {"how": "raised", "error": "SystemError: the pump has failed"},
        {"how": "raised", "error": "MemoryError: "},
    ],
)
def test_what_the_program_does_is_the_programs(run: dict[str, Any]) -> None:
    """The twins: errors and deaths that CPython is not to blame for."""
    seen = short_of_memory(**run)
    job = Job(Schedule.parse(ALLOCATION))
    assert judge(job, seen).verdict == "failed safe"
    assert judge(job, replace(seen, failure=BROKEN)).verdict == "violated"
    assert list(interpreters.caveats(job, seen)) == []


def test_a_crash_without_a_failed_allocation_is_the_programs() -> None:
    """Also where the allocation has no proof: nothing passes without one."""
    crashed = {"how": "died", "signal": "SIGSEGV"}
    disk = replace(STRUCK, runs=(replace(STRUCK.runs[0], **crashed),))
    assert judge(JOB, replace(disk, failure=BROKEN)).verdict == "violated"
    unproven = replace(short_of_memory(**crashed), struck=())
    assert judge(Job(Schedule.parse(ALLOCATION)), unproven).verdict == "not injected"
