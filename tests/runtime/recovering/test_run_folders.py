"""Run folders: one that failed is left alone until it is cleared, and costs its siblings nothing."""

from __future__ import annotations

import errno
import json
import os

import pytest

from chaoskit.cli.group import run
from chaoskit.core.errors import UsageError
from chaoskit.runtime import Flag, RunFolders


@pytest.fixture
def root(tmp_path):
    """Three runs, a hidden directory, a file and a link that leads elsewhere."""
    root = tmp_path / "runs"
    for name in ("a", "b", "c", ".hidden"):
        (root / name).mkdir(parents=True)
    (root / "file").write_text("")
    (root / "link").symlink_to(tmp_path)
    return root


def names(paths):
    return [one.name for one in paths]


def test_a_failed_run_is_left_alone_and_its_siblings_are_not(root):
    """Also by another program, until it is cleared."""
    RunFolders(root).fail("b", ValueError("line 3"), sample="S7")
    folders = RunFolders(root)
    assert names(folders.due()) == ["a", "c"]
    (found,) = folders.flagged()
    assert (found.path.name, found.why.reason) == ("b", "ValueError: line 3")
    assert found.why.details["sample"] == "S7"
    assert folders.clear("b")
    assert not folders.clear("b")
    assert names(folders.due()) == ["a", "b", "c"]


def test_a_mark_that_cannot_be_read_counts(root):
    """A run that failed is not done again for a bad sector."""
    (root / "a" / "errorprocessing").write_bytes(b"\0garbage")
    folders = RunFolders(root)
    assert names(folders.due()) == ["b", "c"]
    assert folders.why("a").damaged


@pytest.mark.parametrize("name", ["absent", "../runs", "..", ".", "a\0", "file", "link", "", "x" * 300])
def test_a_name_that_is_no_run_is_refused(root, name):
    """And leads nowhere else."""
    for use in (lambda: RunFolders(root).fail(name, ValueError()), lambda: RunFolders(root).clear(name)):
        with pytest.raises(UsageError, match="no run"):
            use()
    assert not (root.parent / "errorprocessing").exists()


def test_a_run_that_cannot_be_looked_at_is_not_called_absent(root, monkeypatch):
    """The disk is at fault, not the name; ``Path.is_dir`` would have said False, from Python 3.14 on."""
    real = os.lstat

    def broken(path, *args, **kwargs):
        if os.path.basename(path) == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "lstat", broken)
    folders = RunFolders(root)
    for use in (
        lambda: folders.fail("a", ValueError()),
        lambda: folders.clear("a"),
        lambda: [*folders.due()],
    ):
        with pytest.raises(OSError) as caught:
            use()
        assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("flag", ["", "..", "a/b", "/etc/x", "a\0", None])
def test_a_flag_that_is_no_name_is_refused(root, flag):
    """One with a path in it would be set and read elsewhere than in the folder."""
    with pytest.raises(UsageError, match="the name of a file within each folder"):
        RunFolders(root, flag=flag)


def test_a_folder_that_goes_away_does_not_end_the_search(root):
    """Another program may remove or move one at any time: it is no run any more, and the others are."""
    due, flagged = RunFolders(root).due(), RunFolders(root, flag="other").flagged()
    assert next(due).name == "a"
    RunFolders(root, flag="other").fail("a", ValueError())
    assert next(flagged).path.name == "a"
    (root / "b").rmdir()
    assert names(due) == ["c"]
    assert list(flagged) == []


def test_a_fifo_in_place_of_the_flag_holds_up_nothing(root):
    """It counts as set, and is not waited for."""
    os.mkfifo(root / "a" / "errorprocessing")
    assert names(RunFolders(root).due()) == ["b", "c"]
    assert "is a FIFO" in RunFolders(root).why("a").reason


def test_details_have_any_name_but_those_of_the_error(root):
    """What is kept of the error itself stays; ``name`` or ``reason`` are names like any other."""
    folders = RunFolders(root)
    folders.fail("a", ValueError("x"), name="n", error="e", reason="r")
    assert folders.why("a").details.items() >= {"name": "n", "error": "e", "reason": "r"}.items()
    with pytest.raises(UsageError, match="expected other names"):
        folders.fail("a", ValueError("x"), chain="c")


def test_the_console_lists_and_clears_them(root, capsys):
    """All of what was named, or nothing if one name is wrong; no store is needed."""
    folders = RunFolders(root)
    for name in ("a", "b"):
        folders.fail(name, ValueError(f"bad {name}"))
    assert run(["recovery", "flags", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in document["flagged"]] == ["a", "b"]
    assert run(["recovery", "flags", str(root), "--clear", "a", "--clear", "c"]) == 2
    assert "'c' is not marked" in capsys.readouterr().err
    assert names(folders.due()) == ["c"]
    assert run(["recovery", "flags", str(root), "--clear", "a"]) == 0
    assert "a is looked at again" in capsys.readouterr().out
    assert names(folders.due()) == ["a", "c"]


def test_a_flag_that_cannot_be_looked_at_is_a_damaged_one(root, monkeypatch):
    """The run is left alone, and its reader is told that the reason is not the run's."""

    def refused(self):
        raise PermissionError("no")

    monkeypatch.setattr(Flag, "read", refused)
    found = RunFolders(root).why("a")
    assert found.damaged
    assert found.reason == "the flag cannot be looked at: no"
