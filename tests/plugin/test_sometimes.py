"""States that some case must reach: a scenario that never comes to them is told so, and breaks nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

TEXT = """
from chaoskit import faults, scenario

def save(path):
    path.write_text("new")

@scenario(faults.disk().only("EIO", "ENOSPC"))
def test_reached(chaos):
    file = chaos.path / "a"
    outcome = chaos.run(save, file)
    chaos.sometimes("the write failed", not outcome.ok)
    assert not outcome.ok or file.read_text() == "new"

@scenario(faults.disk().only("EIO"))
def test_idle(chaos):
    file = chaos.path / "a"
    outcome = chaos.run(save, file)
    chaos.sometimes("the lease was stale", False)
    assert not outcome.ok or file.read_text() == "new"

def inside(chaos):
    chaos.sometimes("inside", True)

@scenario(faults.disk())
def test_inside(chaos):
    chaos.run(inside, chaos)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of all of them."""
    folder = tmp_path_factory.mktemp("sometimes")
    inner.write(folder, TEXT)
    return folder


def test_a_state_that_no_case_reached_is_told(place: Path) -> None:
    """Cases are counted by state; the idle scenario passes with a line that names what it never came to."""
    ran = inner.run(place, "-k", "reached or idle")
    assert ran.outcomes == {"test_reached": "passed", "test_idle": "passed"}
    assert "    no case came to: the lease was stale" in ran.output
    assert "no case came to: the write failed" not in ran.output
    assert ran.scenario("test_idle")["sometimes"] == {"the lease was stale": 0}
    assert ran.scenario("test_reached")["sometimes"]["the write failed"] > 0
    assert "no case came to: the lease was stale" in (place / "report" / "summary.md").read_text()


def test_within_a_workload_it_is_refused(place: Path) -> None:
    """What a workload knows is lost with it, so the error says where to ask instead."""
    ran = inner.run(place, "-k", "inside")
    assert ran.outcomes == {"test_inside": "failed"}
    assert "chaos.sometimes('inside') was called inside a workload" in ran.output
