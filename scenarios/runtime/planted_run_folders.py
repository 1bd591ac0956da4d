"""Flags of run folders as they come to mind first: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_run_folders import TIMEOUT, judge, judge_look, look, prepared, work

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import RunFolders
from chaoskit.runtime.durable.files import flag
from chaoskit.runtime.recovering import run_folders

Patch = pytest.MonkeyPatch


def swept(chaos: Chaos) -> None:
    prepared(chaos.path)
    chaos.run(work, chaos.path, chaos.promise)
    judge(chaos)


def in_place(path: Path, content: str, **_: object) -> None:
    with open(path, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@scenario(faults.kill(), timeout=TIMEOUT)
def test_a_flag_is_written_in_place(chaos: Chaos, monkeypatch: Patch) -> None:
    prepared(chaos.path)
    monkeypatch.setattr(flag, "write_file", in_place)
    chaos.run(work, chaos.path, chaos.promise)
    judge(chaos)


def for_the_process(path: Path, content: str, **_: object) -> None:
    kept(path, content, durability="process-crash")


kept = flag.write_file


@scenario(faults.power_loss(), model="strict", timeout=TIMEOUT)
def test_a_flag_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    prepared(chaos.path)
    monkeypatch.setattr(flag, "write_file", for_the_process)
    chaos.run(work, chaos.path, chaos.promise)
    judge(chaos)


def nothing(*_: object) -> None:
    """Instead of a sync."""


@scenario(faults.power_loss(), model="strict", timeout=TIMEOUT)
def test_the_end_of_a_flag_is_not_synced_in_a_folder(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(flag, "sync_published", nothing)
    swept(chaos)


def missing_if_unreadable(self: RunFolders, folder: Path) -> object:
    try:
        return flag.Flag(folder / "errorprocessing").read()
    except OSError:
        return None


@scenario(faults.disk(), timeout=TIMEOUT)
def test_a_flag_that_cannot_be_looked_at_counts_as_none(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(run_folders.RunFolders, "_why", missing_if_unreadable)
    prepared(chaos.path)
    judge_look(chaos.run(look, chaos.path))
