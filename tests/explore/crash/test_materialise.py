"""Snapshots and the way back: what is written into a directory is what was meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_recorder import Recorder
from programs import ALL, NEW, OLD, PROGRAMS, nothing, tree_made

from chaoskit.core.errors import UsageError
from chaoskit.explore.crash import CrashStates, Materialiser, Snapshot, crash_states, script, state_tree

States = Callable[..., CrashStates]


def read(path: Path) -> dict[str, object]:
    tree: dict[str, object] = {}
    for part in sorted(path.iterdir()):
        if part.is_symlink():
            tree[part.name] = os.readlink(part)
        else:
            tree[part.name] = read(part) if part.is_dir() else part.read_bytes()
    return tree


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))
def test_what_is_written_is_the_state(program: object, states_of: States, tmp_path: Path) -> None:
    """Each state, one after the other into the same directory, leaves nothing of the one before."""
    states = states_of(program.setup, program.wrong)  # type: ignore[attr-defined]
    target = tmp_path / "case"
    target.mkdir()
    materialiser = Materialiser(states)
    for state in states:
        materialiser.write(state, target)
        assert read(target) == state_tree(states, state)


def test_recovery_may_change_what_it_finds(states_of: States, tmp_path: Path) -> None:
    """Files of one state are not those of another."""
    states = states_of(nothing, tree_made(True), models=ALL)
    last = list(states)[-1]
    target = tmp_path / "case"
    target.mkdir()
    materialiser = Materialiser(states)
    materialiser.write(last, target)
    (target / "jobs/1/out").write_bytes(b"changed")
    materialiser.write(last, target)
    assert (target / "jobs/1/out").read_bytes() == NEW


def test_modes_links_and_kinds_come_back(tmp_path: Path) -> None:
    """Hard links are one file again; modes do not depend on the umask; FIFOs and links are made."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "private").write_bytes(OLD)
    (source / "private").chmod(0o4600)
    os.link(source / "private", source / "same")
    os.symlink("nowhere", source / "link")
    os.mkfifo(source / "fifo", 0o640)
    (source / "d").mkdir()
    (source / "d").chmod(0o700)
    states = crash_states(script(Recorder(source).trace(), Snapshot.take(source)), "ext4")
    assert len(states) == 0
    recorder = Recorder(source)
    recorder.promise(None)
    states = crash_states(script(recorder.trace(), Snapshot.take(source)), "ext4")
    before = os.umask(0o077)
    try:
        Materialiser(states).write(next(iter(states)), target)
    finally:
        os.umask(before)
    private = os.stat(target / "private")
    assert stat.S_IMODE(private.st_mode) == 0o4600
    assert private.st_ino == os.stat(target / "same").st_ino
    assert os.readlink(target / "link") == "nowhere"
    assert stat.S_IFMT(os.stat(target / "fifo").st_mode) == stat.S_IFIFO
    assert stat.S_IMODE(os.stat(target / "d").st_mode) == 0o700


def test_a_mode_that_was_not_synced_may_be_the_old_one(states_of: States, tmp_path: Path) -> None:
    """Two states differ by the mode alone, and both can be written."""

    def work(r: Recorder) -> None:
        r.chmod("state", 0o600)
        r.promise(None)

    states = states_of(lambda r: r.put("state", OLD), work, models="xfs")
    modes = set()
    for state in states:
        Materialiser(states).write(state, tmp_path / "0")
        modes.add(stat.S_IMODE(os.stat(tmp_path / "0/state").st_mode))
    assert modes == {0o600, 0o644}


def test_extended_attributes_are_followed(tmp_path: Path) -> None:
    """Set, changed and removed ones, and those that were there before."""
    place = tmp_path / "w"
    place.mkdir()
    r = Recorder(place)
    r.put("f", OLD)
    try:
        os.setxattr(place / "f", "user.a", b"1")
    except OSError:
        pytest.skip("the file system of the temporary directory has no extended attributes")
    before = Snapshot.take(place)
    r = Recorder(place)
    r.setxattr("f", "user.a", b"2")
    states = crash_states(script(r.trace(), before), "ext4")
    found = set()
    for state in states:
        Materialiser(states).write(state, place)
        found.add(os.getxattr(place / "f", "user.a"))
    assert found == {b"1", b"2"}


def test_a_directory_that_cannot_be_entered_is_replaced_all_the_same(
    states_of: States, tmp_path: Path
) -> None:
    """Programs leave directories without rights; the next case needs a clean place."""
    states = states_of(nothing, tree_made(True), models="ext4")
    target = tmp_path / "case"
    (target / "locked/inner").mkdir(parents=True)
    (target / "locked").chmod(0)
    Materialiser(states).write(next(iter(states)), target)
    assert read(target) == state_tree(states, next(iter(states)))


def test_a_snapshot_needs_a_directory(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(UsageError, match=r"nothing-here.*expected an existing directory"):
        Snapshot.take(tmp_path / "nothing-here")


def test_a_snapshot_from_text_is_that_tree() -> None:
    """Bytes are files, str links, mappings directories."""
    snapshot = Snapshot.of({"f": b"1", "l": "f", "d": {"g": b""}})
    assert [n.kind.value for n in snapshot.nodes] == ["directory", "file", "symlink", "directory", "file"]
    with pytest.raises(UsageError, match="expected bytes, str or a mapping"):
        Snapshot.of({"f": 3})
