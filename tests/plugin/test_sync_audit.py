"""The sync audit, asked for on the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import inner
import pytest

from chaoskit.report import Report, read
from chaoskit.report.auditing import audit_lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

TEST = """
import os
from chaoskit import faults, scenario

def write(path, text):
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

def work(path, promise):
    write(path / "aside", "not looked at")
    write(path / "state.new", "2")
    os.rename(path / "state.new", path / "state")
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.fsync(fd)
    promise(2)
    write(path / "state.new", "3")

@scenario(faults.power_loss())
def test_save(chaos):
    (chaos.path / "state").write_text("1")
    chaos.run(work, chaos.path, chaos.promise)
    assert (chaos.path / "state").read_text() in ("2",) if chaos.promised else ("1", "2")

@scenario(faults.kill())
def test_killed(chaos):
    chaos.run(write, chaos.path / "a", "b")
"""


def explored(directory: Path, *options: str) -> tuple[inner.Inner, Report]:
    """The run, and its report."""
    inner.write(directory, TEST)
    return inner.run(directory, *options), read(directory / "report")


def test_each_sync_gets_its_word(tmp_path: Path) -> None:
    """Needed, doubled, and of a file that the check does not look at; without power loss there is none."""
    ran, made = explored(tmp_path, "--chaoskit-sync-audit")
    assert ran.outcomes == {"test_save": "passed", "test_killed": "passed"}
    by_name = {entry.result.nodeid.partition("::")[2]: entry.result for entry in made.entries}
    saved = by_name["test_save"]
    found = [(saved.points[one.point].name, one.word) for one in saved.syncs or ()]
    assert found == [
        ("fsync(aside)#1", "unnoticed"),
        ("fsync(state.new)#1", "needed"),
        ("fsync(.)#1", "superfluous"),
        ("fsync(.)#2", "superfluous"),
        ("fsync(state.new)#2", "superfluous"),
    ]
    assert by_name["test_killed"].syncs == ()
    told = ran.output.partition("sync audit of test_inner.py::test_save:\n")[2]
    assert re.search(r"needed.*fsync\(state\.new\)", told), ran.output


def test_without_the_option_nothing_is_audited(tmp_path: Path) -> None:
    """Neither in the result nor on the terminal."""
    _, made = explored(tmp_path)
    assert [entry.result.syncs for entry in made.entries] == [None, None]
    assert not list(audit_lines(made.entries))
