"""Bugs that memory, Ctrl-C and cancellation bring out are found at their places, and the twins are clean."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import inner
import planted_inner_bugs
import pytest
from budgets import some
from planted_inner_bugs import PLANTED
from test_planted_bugs import chosen, proven, verdicts

NAMES = some(PLANTED)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """What a run of all of them has found."""
    directory = tmp_path_factory.mktemp("inside")
    inner.write(directory, "")
    shutil.copy(planted_inner_bugs.__file__, directory / "test_inner.py")
    return inner.run(directory, "--chaoskit-seed=1", *chosen(NAMES))


def test_every_bug_inside_is_found(found: inner.Inner) -> None:
    """Recall is complete, and what broke has its receipts."""
    assert [problem for name in NAMES for problem in missed(name, found)] == [], found.output


def test_every_twin_is_clean(found: inner.Inner) -> None:
    """There are no false alarms."""
    assert [problem for name in NAMES for problem in false_alarms(name, found)] == [], found.output


def test_there_are_ten_bugs_of_each_family() -> None:
    """Memory and interrupts each have at least ten planted bugs."""
    of_memory = [name for name, one in PLANTED.items() if "MemoryError" in one.faults.names]
    assert len(of_memory) >= 10
    assert len(PLANTED) - len(of_memory) >= 10


def missed(name: str, found: inner.Inner) -> Iterator[str]:
    """What of a bug is not as planted, in words."""
    planted, bug = PLANTED[name], found.scenario(f"test_bug[{name}]")
    if found.outcomes[f"test_bug[{name}]"] != "failed":
        yield f"{name}: the bug passed: {verdicts(bug)} {bug['error']}"
    there = [v for s, v in verdicts(bug).items() if planted.finds in s and v == "violated"]
    if not there:
        yield f"{name}: nothing at {planted.finds} is violated: {verdicts(bug)} {bug['error']}"
    told = [case for case in bug["cases"] if case["runs"] and case["verdict"] == "violated"]
    yield from (f"{name}: no receipts for {case['schedule']}" for case in told if not proven(case))


def false_alarms(name: str, found: inner.Inner) -> Iterator[str]:
    """What is said against a twin, in words."""
    twin = found.scenario(f"test_twin[{name}]")
    # What CPython itself does wrong, as 3.13.0 does in json, is said against it and not against the twin.
    good = ("tolerated", "failed safe", "interpreter")
    broken = {s: v for s, v in verdicts(twin).items() if v not in good}
    if found.outcomes[f"test_twin[{name}]"] != "passed" or not (twin["cases"] or twin["passed"]) or broken:
        yield f"{name}: the twin failed: {broken} {twin['error']}"
