"""Planted bugs of programs that talk to a server are found, each by its fault, and their twins are clean."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import inner
import planted_network_bugs
from budgets import some
from planted_network_bugs import PLANTED
from test_planted_bugs import chosen, not_found, proven, verdicts, wrong_outcomes


def test_every_bug_of_the_network_is_found_and_every_twin_is_clean(tmp_path: Path) -> None:
    """Recall is complete, there are no false alarms, and what broke has its receipts."""
    inner.write(tmp_path, "")
    shutil.copy(planted_network_bugs.__file__, tmp_path / "test_inner.py")

    names = some(PLANTED)
    found = inner.run(tmp_path, "--chaoskit-seed=1", *chosen(names))

    assert [problem for name in names for problem in problems_of(name, found)] == [], found.output
    assert len(PLANTED) >= 10


def problems_of(name: str, found: inner.Inner) -> Iterator[str]:
    """What is not as planted, in words."""
    bug, twin = found.scenario(f"test_bug[{name}]"), found.scenario(f"test_twin[{name}]")
    yield from wrong_outcomes(name, found)
    if set(verdicts(twin).values()) - {"tolerated", "failed safe"}:
        yield f"{name}: the twin has cases that broke: {verdicts(twin)}"
    yield from not_found(name, bug, PLANTED[name])
    # Of cases that broke alike only one is told in full.
    told = [case for case in bug["cases"] if case["runs"]]
    yield from (f"{name}: no receipts for {case['schedule']}" for case in told if not proven(case))
