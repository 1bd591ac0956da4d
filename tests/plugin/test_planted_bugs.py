"""Planted bugs are found, and their corrected twins are clean, in any order and with several workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import inner
import planted_bugs
import pytest
from planted_bugs import PLANTED

VERDICTS = {"tolerated", "failed safe", "violated", "hung", "diverged", "not injected"}


# All of it in one test for each way, since the inner run is what takes the time.
@pytest.mark.parametrize("seed_and_workers", [(1, 1), (2, 2)], ids=["one worker", "two workers"])
def test_every_bug_is_found_and_every_twin_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed_and_workers: tuple[int, int]
) -> None:
    """For every kind of fault and every verdict: the bug fails by it, the twin does not, with receipts."""
    seed, workers = seed_and_workers
    inner.write(tmp_path, "")
    shutil.copy(planted_bugs.__file__, tmp_path / "test_inner.py")
    monkeypatch.setenv("PLANTED_COUNTER", str(tmp_path / "counter"))

    found = inner.run(tmp_path, f"--chaoskit-seed={seed}", f"--chaoskit-workers={workers}")

    assert [problem for name in PLANTED for problem in problems_of(name, found)] == [], found.output
    assert {case["verdict"] for told in found.report["scenarios"] for case in told["cases"]} == VERDICTS


def problems_of(name: str, found: inner.Inner) -> Iterator[str]:
    """What is not as planted, in words."""
    planted = PLANTED[name]
    bug, twin = found.scenario(f"test_bug[{name}]"), found.scenario(f"test_twin[{name}]")
    if found.outcomes[f"test_bug[{name}]"] != "failed":
        yield f"{name}: the bug passed"
    if found.outcomes[f"test_twin[{name}]"] != "passed" or not twin["cases"]:
        yield f"{name}: the twin failed: {verdicts(twin)}"
    if [v for s, v in verdicts(bug).items() if fits(s, planted.finds)] != [planted.verdict]:
        yield f"{name}: {planted.finds} is not {planted.verdict}: {verdicts(bug)} {bug['error']}"
    if not set(verdicts(twin).values()) <= set(planted.twin_verdicts):
        yield f"{name}: the twin's verdicts are {verdicts(twin)}"
    for case in bug["cases"] + twin["cases"]:
        if not proven(case):
            yield f"{name}: {case['schedule']} is {case['verdict']} with the receipts of {case['runs']}"


def verdicts(told: dict[str, Any]) -> dict[str, str]:
    return {case["schedule"]: case["verdict"] for case in told["cases"]}


def fits(schedule: str, pattern: str) -> bool:
    """Whether it is the one; a star stands for the name of the process."""
    return fnmatchcase(schedule, pattern.replace("[", "[[]"))


def proven(case: dict[str, Any]) -> bool:
    """One receipt for the strike if there is a verdict on it, none if there is not."""
    struck = [receipt["strike"] for run in case["runs"] for receipt in run["receipts"]]
    return struck == ([] if case["verdict"] in ("diverged", "not injected") else [case["schedule"]])
