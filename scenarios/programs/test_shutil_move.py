"""shutil.move from one file system to another: a copy, and then a removal."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

FILES = {"one": b"1" * 10_000, "two": b"2" * 10, "sub/three": b"3" * 5000}


@pytest.fixture
def elsewhere(chaos: Chaos) -> Iterator[Path]:
    """A fresh directory on another file system than ``chaos.path``."""
    here = os.stat(chaos.path).st_dev
    for place in ("/dev/shm", tempfile.gettempdir(), os.path.expanduser("~")):
        if os.path.isdir(place) and os.access(place, os.W_OK) and os.stat(place).st_dev != here:
            with tempfile.TemporaryDirectory(dir=place) as directory:
                yield Path(directory)
            return
    pytest.skip("needs a second writable file system beside that of chaos.path; found none")


def build(tree: Path) -> None:
    for name, data in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)


def is_whole(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


@scenario(faults.disk() | faults.kill())
def test_a_file_moved_away_is_never_lost(chaos: Chaos, elsewhere: Path) -> None:
    """It is whole in at least one of both places; after success, in the new one alone."""
    source, target = chaos.path / "file", elsewhere / "file"
    source.write_bytes(FILES["one"])
    outcome = chaos.run(shutil.move, source, target)
    assert is_whole(source, FILES["one"]) or is_whole(target, FILES["one"])
    assert not outcome.ok or not source.exists()


@scenario(faults.disk() | faults.kill())
def test_a_file_moved_in_is_never_lost(chaos: Chaos, elsewhere: Path) -> None:
    """The same when the faults strike on the side that it is moved to."""
    source, target = elsewhere / "file", chaos.path / "file"
    source.write_bytes(FILES["one"])
    outcome = chaos.run(shutil.move, source, target)
    assert is_whole(source, FILES["one"]) or is_whole(target, FILES["one"])
    assert not outcome.ok or is_whole(target, FILES["one"])


@scenario(faults.disk() | faults.kill())
def test_no_file_of_a_tree_moved_away_is_lost(chaos: Chaos, elsewhere: Path) -> None:
    """Every file of a directory is whole in at least one of both places."""
    build(chaos.path / "tree")
    chaos.run(shutil.move, chaos.path / "tree", elsewhere / "tree")
    for name, data in FILES.items():
        assert is_whole(chaos.path / "tree" / name, data) or is_whole(elsewhere / "tree" / name, data), name


@scenario(
    faults.disk() | faults.kill(),
    known={"cbb9fc": "the copy is made under the final name, where an error or a kill leaves a part of it"},
)
def test_a_file_moved_in_appears_at_once(chaos: Chaos, elsewhere: Path) -> None:
    """Under its new name the file is whole or not there."""
    source, target = elsewhere / "file", chaos.path / "file"
    source.write_bytes(FILES["one"])
    chaos.run(shutil.move, source, target)
    assert not target.exists() or is_whole(target, FILES["one"])
