"""Run folders: one that failed is left alone until it is cleared, and costs its siblings nothing."""

from __future__ import annotations

import json

import pytest

from chaoskit.cli.group import run
from chaoskit.core.errors import UsageError
from chaoskit.runtime import RunFolders


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


@pytest.mark.parametrize("name", ["absent", "../runs", "file", ""])
def test_a_name_that_is_no_run_is_refused(root, name):
    """And leads nowhere else."""
    with pytest.raises(UsageError, match="no run"):
        RunFolders(root).fail(name, ValueError())


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
