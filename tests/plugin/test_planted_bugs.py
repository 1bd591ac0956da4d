"""Planted bugs are found, and their corrected twins are clean, in any order and with several workers."""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from typing import Any

import inner
import planted_bugs
import pytest

WAYS = {"one worker": ("--chaoskit-seed=1",), "two workers": ("--chaoskit-seed=2", "--chaoskit-workers=2")}


@pytest.fixture(scope="module", params=WAYS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """All planted scenarios, explored in one inner run of pytest for each order and number of workers."""
    directory = tmp_path_factory.mktemp("planted")
    inner.write(directory, "")
    shutil.copy(planted_bugs.__file__, directory / "test_inner.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED_COUNTER", str(directory / "counter"))
        return inner.run(directory, *WAYS[request.param])


@pytest.mark.parametrize("name", planted_bugs.PLANTED)
def test_the_bug_is_found(found: inner.Inner, name: str) -> None:
    """The bug's scenario fails, and the schedule that brings it out is among its findings."""
    planted = planted_bugs.PLANTED[name]
    told = found.scenario(f"test_bug[{name}]")
    cases = [case for case in told["cases"] if fnmatchcase(case["schedule"], _pattern(planted.finds))]
    assert [case["verdict"] for case in cases] == [planted.verdict], told["error"] or found.texts
    assert found.outcomes[f"test_bug[{name}]"] == "failed"


@pytest.mark.parametrize("name", planted_bugs.PLANTED)
def test_the_twin_is_clean(found: inner.Inner, name: str) -> None:
    """The twin's scenario passes under the same faults, of which there are some."""
    planted = planted_bugs.PLANTED[name]
    told = found.scenario(f"test_twin[{name}]")
    assert found.outcomes[f"test_twin[{name}]"] == "passed", found.texts
    assert {case["verdict"] for case in told["cases"]} <= set(planted.twin_verdicts)
    assert told["cases"]


@pytest.mark.parametrize("kind", ["bug", "twin"])
@pytest.mark.parametrize("name", planted_bugs.PLANTED)
def test_every_verdict_rests_on_a_receipt(found: inner.Inner, name: str, kind: str) -> None:
    """Each case that is judged has one receipt for its strike; an inconclusive one has none."""
    for case in found.scenario(f"test_{kind}[{name}]")["cases"]:
        struck = [receipt["strike"] for run in case["runs"] for receipt in run["receipts"]]
        conclusive = case["verdict"] not in ("diverged", "not injected")
        assert struck == ([case["schedule"]] if conclusive else [])


def test_all_verdicts_are_met(found: inner.Inner) -> None:
    """The set is complete: every verdict occurs in it."""
    verdicts: set[Any] = {c["verdict"] for s in found.report["scenarios"] for c in s["cases"]}
    assert verdicts == {"tolerated", "failed safe", "violated", "hung", "diverged", "not injected"}


def _pattern(schedule: str) -> str:
    """A schedule as a glob in which only a leading star is special."""
    return schedule.replace("[", "[[]")
