"""Planted bugs of programs that read files are found, each by its damage, and their twins are clean."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import inner
import planted_damage
import pytest
from budgets import some
from planted_damage import PLANTED
from test_planted_bugs import chosen, proven, verdicts, wrong_outcomes


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="twins use the filter of CPython 3.11.4")
def test_every_bug_is_found_by_its_damage_and_every_twin_is_clean(tmp_path: Path) -> None:
    """Recall is complete, there are no false alarms, each case has its receipt, each finding its words."""
    inner.write(tmp_path, "")
    shutil.copy(planted_damage.__file__, tmp_path / "test_inner.py")

    names = some(PLANTED)
    found = inner.run(tmp_path, "--chaoskit-seed=1", *chosen(names))

    assert [problem for name in names for problem in problems_of(name, found)] == [], found.output
    assert len(PLANTED) >= 10


def problems_of(name: str, found: inner.Inner) -> Iterator[str]:
    """What is not as planted, in words."""
    planted = PLANTED[name]
    bug, twin = found.scenario(f"test_bug[{name}]"), found.scenario(f"test_twin[{name}]")
    yield from wrong_outcomes(name, found)
    if unclean := {s: v for s, v in verdicts(twin).items() if v not in ("tolerated", "failed safe")}:
        yield f"{name}: the twin has cases that broke: {unclean}"
    schedule = f"open({planted.name})#1=damage[{planted.finds}]"
    if verdicts(bug).get(schedule) != "violated":
        yield f"{name}: {schedule} is not violated: {verdicts(bug)} {bug['error']}"
    if not any(schedule in finding["schedules"] for finding in bug["findings"]):
        yield f"{name}: {schedule} belongs to no finding"
    for case in bug["cases"] + twin["cases"]:
        if not proven(case):
            yield f"{name}: {case['schedule']} is {case['verdict']} with the receipts of {case['runs']}"
    if "bytes before, " not in found.texts[f"test_bug[{name}]"]:
        yield f"{name}: the finding does not tell the damage in words"
