"""What a signal does to calls that wait for us is never the program's fault: it is tried again."""

from __future__ import annotations

import sys
from pathlib import Path

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

# As on a busy machine: so many runs of each schedule have an interrupted call, and come to nothing by it.
_BUSY = """
import dataclasses, re, zlib
from chaoskit.inject.kernel import KernelBackend

plain, times, place = KernelBackend.run, {times}, {place!r}

def run(self, work, plan):
    ran = plain(self, work, plan)
    if re.search(r"w\\d\\d-", plan.root) is None:
        return ran  # What tries the machine out.
    name = "case" if plan.strikes else "baseline"
    with open(f"{{place}}/{{name}}-{{zlib.crc32(repr(plan.strikes).encode())}}", "a") as file:
        file.write(".")
        so_far = file.tell()
    if so_far <= times[name]:
        return dataclasses.replace(ran, ok=False, stray_interrupts=1, error=OSError("Cannot fork"))
    return ran

KernelBackend.run = run
"""
_MODULE = """
import os, sys
from chaoskit import faults, scenario
from saving import save

@scenario(faults.disk().only("ENOSPC").on(call="rename"), oracle="off")
def test_saves(chaos, tmp_path):
    assert not list(tmp_path.iterdir())
    (tmp_path / "used").touch()
    out = chaos.run(save, chaos.path, {})
    assert "fork" not in str(out.error)
"""


def _run(place: Path, **times: int) -> inner.Inner:
    counts = place / "counts"
    counts.mkdir()
    inner.write(place, _MODULE)
    with open(place / "conftest.py", "a") as file:
        file.write(_BUSY.format(times=times, place=str(counts)))
    return inner.run(place, "--chaoskit-workers=1")


def test_a_baseline_with_an_interrupted_call_is_repeated(tmp_path: Path) -> None:
    """With fixtures that are fresh, until it passes; the cases then run as ever."""
    found = _run(tmp_path, baseline=3, case=0)
    assert found.outcomes["test_saves"] == "passed", found.output
    assert set(found.verdicts("test_saves").values()) == {"failed safe"}


def test_one_that_fails_each_time_says_what_was_interrupted(tmp_path: Path) -> None:
    """And is not a finding, nor an endless loop."""
    found = _run(tmp_path, baseline=99, case=0)
    assert found.outcomes["test_saves"] == "failed", found.output
    assert "1 calls were interrupted by a signal" in found.texts["test_saves"]
    assert len((next((tmp_path / "counts").glob("baseline*"))).read_text()) == 8


def test_a_case_with_an_interrupted_call_is_tried_until_it_can_be_judged(tmp_path: Path) -> None:
    """More often than one without a receipt: its assertion failed for our sake."""
    found = _run(tmp_path, baseline=0, case=6)
    assert found.outcomes["test_saves"] == "passed", found.output
    assert {case["attempts"] for case in found.scenario("test_saves")["cases"]} == {7}


def test_a_case_that_never_can_be_is_no_finding(tmp_path: Path) -> None:
    """It is inconclusive, with the reason, and what the assertion said."""
    found = _run(tmp_path, baseline=0, case=99)
    assert found.outcomes["test_saves"] == "failed", found.output
    scenario = found.scenario("test_saves")
    assert (scenario["state"], scenario["findings"]) == ("inconclusive", [])
    assert "after 1 call was interrupted by signals: AssertionError" in found.texts["test_saves"]
