"""A planted mistake whose recorded case does not show it, or not in those words, is reported."""

from __future__ import annotations

from pathlib import Path

import planting
import pytest
from planting import Planted, Shown, missed

TWINS = """
from chaoskit import faults, scenario

def overwrite(path):
    with open(path, "w") as file:
        file.write("new")

@scenario(faults.kill(), faults.disk().only("ENOSPC"), oracle="off")
def test_{name}(chaos):
    (chaos.path / "job").write_text("old")
    chaos.run(overwrite, chaos.path / "job")
    assert (chaos.path / "job").read_text() in ("old", "new"), "neither of them"
"""
"""One mistake: between opening and writing, nothing is there."""
CAUGHT = Shown("write(job)#1=kill", "neither of them")


def written(directory: Path, *names: str) -> Path:
    """A file that has the mistake under each of these names."""
    file = directory / "planted_here.py"
    file.write_text("".join(TWINS.format(name=name) for name in names))
    return file


def test_what_is_shown_is_not_missed(tmp_path: Path) -> None:
    """By its recorded case, which is replayed alone, or by what the sweep finds."""
    planted: Planted = {"test_recorded": CAUGHT, "test_swept": "kill"}
    assert missed(written(tmp_path, "recorded", "swept"), planted, tmp_path) == {}
    assert not (tmp_path / "all").exists(), "swept, without need"


def test_what_is_not_shown_is_missed(tmp_path: Path) -> None:
    """With what does show it, so that this can be recorded instead; others are not concerned."""
    planted: Planted = {
        "test_recorded": CAUGHT,
        "test_its_case_is_passed": Shown("open(job)#1=kill", CAUGHT.says),
        "test_its_case_is_not_there": Shown("rename(job -> gone)#1=kill", CAUGHT.says),
        "test_the_check_says_something_else": Shown(CAUGHT.schedule, "both of them"),
        "test_the_fault_is_another": "EIO",
        "test_gone": CAUGHT,
    }
    names = [name.removeprefix("test_") for name in planted if name != "test_gone"]
    found = missed(written(tmp_path, *names, "unlisted"), planted, tmp_path)
    assert set(found) == {*planted, "test_unlisted"} - {"test_recorded"}
    assert found.pop("test_gone") == []
    assert all(CAUGHT.schedule in schedules for schedules in found.values()), found


def test_the_complete_run_sweeps_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that the sweep does not have is missed there, though its replay shows the mistake."""
    monkeypatch.setattr(planting, "ALL", True)
    planted: Planted = {"test_recorded": CAUGHT, "test_only_replayed": Shown("write(job)#1=EIO", CAUGHT.says)}
    file = written(tmp_path, "recorded", "only_replayed")
    assert list(missed(file, planted, tmp_path)) == ["test_only_replayed"]
