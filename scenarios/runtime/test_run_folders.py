"""The flags of run folders under disk errors, kills and loss of power: set or clear, and never in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, Outcome, faults, scenario
from chaoskit.runtime import OutcomeUnknown, RunFolders
from chaoskit.runtime.failures.taxonomy import ResilienceError

EVERYTHING = faults.disk() | faults.kill() | faults.power_loss()
TIMEOUT = 30

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def prepared(directory: Path) -> None:
    """Three runs: one that has failed long ago, one that will fail, and one that is sound."""
    for name in ("long-ago", "now", "sound"):
        (directory / name).mkdir()
        (directory / name / "data").write_text("counts")
    RunFolders(directory).fail("long-ago", ValueError("line 3"))


def work(directory: Path, promise: Callable[[str], None]) -> None:
    """One fails, and an operator clears the other; each is acknowledged."""
    folders = RunFolders(directory)
    folders.fail("now", OSError("no header"), sample="S7")
    promise("failed")
    folders.clear("long-ago")
    promise("cleared")


def judge(chaos: Chaos) -> None:
    """A flag is set with its reason or not at all, and stays as it was acknowledged; no run is in neither."""
    folders = RunFolders(chaos.path)
    due = {path.name for path in folders.due()}
    flagged = {one.path.name: one.why for one in folders.flagged()}
    assert due | flagged.keys() == {"long-ago", "now", "sound"}
    assert not due & flagged.keys()
    assert "sound" in due, "a flag of another run"
    assert not any(why.damaged for why in flagged.values()), "a flag in between"
    if "failed" in chaos.promised:
        assert "now" in flagged, "it was acknowledged as failed, and is due again"
    if "cleared" in chaos.promised:
        assert "long-ago" in due, "it was acknowledged as cleared, and is left alone"
    if "now" in flagged:
        assert flagged["now"].reason == "OSError: no header"
        assert flagged["now"].details["sample"] == "S7"
    if "long-ago" in flagged:
        assert flagged["long-ago"].reason == "ValueError: line 3"


def judge_again(chaos: Chaos) -> None:
    """The same work once more, without faults, ends where it would have ended."""
    work(chaos.path, lambda promised: None)
    folders = RunFolders(chaos.path)
    assert [path.name for path in folders.due()] == ["long-ago", "sound"]
    for name in ("long-ago", "now", "sound"):
        assert (chaos.path / name / "data").read_text() == "counts"


@scenario(EVERYTHING, model="strict", timeout=TIMEOUT, budget=bounded(120))
def test_a_flag_is_set_or_it_is_not(chaos: Chaos) -> None:
    """Whatever fails, and wherever the process is killed or power is lost."""
    prepared(chaos.path)
    outcome: Outcome = chaos.run(work, chaos.path, chaos.promise)
    assert outcome.error is None or isinstance(outcome.error, (ResilienceError, OutcomeUnknown, OSError))
    judge(chaos)
    judge_again(chaos)


def look(directory: Path) -> tuple[list[str], list[str]]:
    folders = RunFolders(directory)
    return [path.name for path in folders.due()], [one.path.name for one in folders.flagged()]


def judge_look(outcome: Outcome) -> None:
    """A run that failed is never due because its flag could not be looked at."""
    assert outcome.error is None or isinstance(outcome.error, OSError)
    if outcome.ok:
        due, flagged = outcome.value
        assert "long-ago" not in due
        assert "long-ago" in flagged


@scenario(faults.disk(), timeout=TIMEOUT, budget=bounded(60))
def test_a_flag_that_cannot_be_looked_at_counts(chaos: Chaos) -> None:
    """The others are looked at all the same."""
    prepared(chaos.path)
    judge_look(chaos.run(look, chaos.path))
