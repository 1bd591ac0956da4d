"""Cases that are counted keep what the page is made of: faults, verdicts, and times of recovery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from chaoskit.core.case import CaseResult, RunSummary
from chaoskit.core.counted import CountedCases, RecoveryTimes, counted, recovery_times
from chaoskit.core.operation import Frame
from chaoskit.core.result import ScenarioResult
from chaoskit.core.source import Excerpt, excerpt


def case(fault: str, *, point: int = 0, recovered: tuple[float, ...] = ()) -> CaseResult:
    runs = tuple(RunSummary(2, "returned", recovery=True, seconds=seconds) for seconds in recovered)
    return CaseResult(0, f"write(a)#1={fault}", "failed safe", (point,), (fault,), runs)


def test_each_fault_is_counted_with_the_cases_it_struck_in():
    """Cases of one point and verdict are one entry, which still says how many cases each fault had."""
    found = counted([case("EIO"), case("full[0]"), case("full[512]"), case("EIO", point=1)], ())
    assert found == (
        CountedCases((0,), "failed safe", 3, {"EIO": 1, "full": 2}),
        CountedCases((1,), "failed safe", 1, {"EIO": 1}),
    )
    assert counted((), found) == found
    assert counted([case("EIO")], found)[0] == CountedCases((0,), "failed safe", 4, {"EIO": 2, "full": 2})


def test_recoveries_are_counted_by_how_long_they_took():
    """Every recovery that returned is in one class; a class without one is not there."""
    cases = [case("EIO", recovered=(0.0005, 0.004)), case("EIO", recovered=(9.0,)), case("EIO")]
    assert recovery_times(cases) == RecoveryTimes(3, 9.0, {"1": 1, "5": 1, "more": 1})
    assert recovery_times([case("EIO")]) is None


def test_times_of_recovery_survive_counting_and_a_file():
    """A result without its cases still knows them, and counting a second time changes nothing."""
    whole = ScenarioResult("t.py::t", "passed", cases=(case("EIO", recovered=(0.003,)),))
    kept = whole.aggregated()
    assert kept.cases == ()
    assert kept.recovery == RecoveryTimes(1, 0.003, {"5": 1})
    assert kept.aggregated() == kept
    assert ScenarioResult.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept


def test_an_excerpt_is_around_the_innermost_place_of_the_project(tmp_path: Path):
    """Two lines before and after it, fewer at the ends of the file; libraries are passed over."""
    file = tmp_path / "app.py"
    file.write_text("".join(f"line {number}\n" for number in range(1, 8)))
    own = Frame(str(file), 4, "save")
    stack = (Frame("/usr/lib/python3.11/os.py", 1, "replace"), own, replace(own, line=1))
    lines = ("line 2", "line 3", "line 4", "line 5", "line 6")
    assert excerpt(stack) == Excerpt(own, 2, lines)
    first, last = replace(own, line=1), replace(own, line=7)
    assert excerpt((first,)) == Excerpt(first, 1, ("line 1", "line 2", "line 3"))
    assert excerpt((last,)) == Excerpt(last, 5, ("line 5", "line 6", "line 7"))
    assert excerpt(stack[:1]) is None
    assert excerpt((Frame(str(tmp_path / "gone.py"), 1, "f"),)) is None
