"""Whole directories, and what is left of those that were not finished."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.runtime import OutcomeUnknown, clean_leftovers, publish_directory
from chaoskit.runtime.durable.files import leftovers, marking, names, publishing, renaming
from chaoskit.runtime.durable.owners import this_owner
from chaoskit.runtime.failures.taxonomy import TransactionValidationError


@pytest.fixture(params=["exchange", "no exchange"])
def target(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A name in an empty directory, on a file system that can exchange names and on one that cannot."""
    if request.param == "no exchange":
        monkeypatch.setattr(renaming, "_system_call", lambda: None)
    return tmp_path / "data"


def fill(target: Path, text: str, *, replace: bool = False) -> None:
    with publish_directory(target, replace=replace) as stage:
        (stage / "sub").mkdir()
        (stage / "sub" / "file").write_text(text)


def text_of(target: Path) -> str:
    return (target / "sub" / "file").read_text()


@pytest.fixture
def dead() -> str:
    """The name of an owner that has died."""
    code = "from chaoskit.runtime.durable.owners import this_owner; print(this_owner())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_directory_appears_and_is_replaced_whole(target: Path) -> None:
    """In every way that a file system may need; nothing else is left."""
    fill(target, "one")
    assert text_of(target) == "one"
    fill(target, "two", replace=True)
    assert text_of(target) == "two"
    assert os.listdir(target.parent) == ["data"]


def test_what_is_there_is_only_replaced_when_told(target: Path) -> None:
    """An empty directory too, which os.rename would replace without a word."""
    target.mkdir()
    with pytest.raises(FileExistsError, match="replace=True"):
        fill(target, "one")
    assert os.listdir(target) == []
    assert os.listdir(target.parent) == ["data"]


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """An empty directory that another process makes while the block runs stays."""
    with pytest.raises(FileExistsError), publish_directory(tmp_path / "data"):
        (tmp_path / "data").mkdir()
    assert os.listdir(tmp_path) == ["data"]
    assert os.listdir(tmp_path / "data") == []


def test_a_plain_rename_would_replace_what_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted twin: os.rename takes the place of an empty directory without a word."""
    monkeypatch.setattr(publishing, "_check", lambda target, replace: None)  # It came after the last look.
    if renaming._system_call() is None:
        pytest.skip("the C library has no renameat2")
    with pytest.raises(FileExistsError), publish_directory(tmp_path / "data"):
        (tmp_path / "data").mkdir()
    monkeypatch.setattr(publishing, "place_new", os.rename)
    with publish_directory(tmp_path / "data") as stage:
        (stage / "file").write_text("mine")
    assert os.listdir(tmp_path / "data") == ["file"]


def test_a_file_is_not_replaced_by_a_directory(target: Path) -> None:
    """What has the name must be a directory."""
    target.write_text("a file")
    with pytest.raises(NotADirectoryError):
        fill(target, "one", replace=True)
    assert target.read_text() == "a file"


def test_a_block_that_fails_leaves_nothing(target: Path) -> None:
    """The target is as it was, and the half-filled directory is gone."""
    fill(target, "one")
    with pytest.raises(FileNotFoundError), publish_directory(target, replace=True) as stage:
        (stage / "half" / "way").write_text("half")
    assert text_of(target) == "one"
    assert os.listdir(target.parent) == ["data"]


def test_a_validator_sees_all_before_it_is_published(target: Path) -> None:
    """One that returns False keeps the old directory in its place."""
    fill(target, "one")
    seen = []
    with (
        pytest.raises(TransactionValidationError),
        publish_directory(
            target, replace=True, validate=lambda path: bool(seen.append(os.listdir(path)))
        ) as stage,
    ):
        (stage / "new").write_text("")
    assert (seen, text_of(target)) == ([["new"]], "one")


def test_the_mode_of_a_replaced_directory_stays(target: Path) -> None:
    """A private directory stays private."""
    fill(target, "one")
    target.chmod(0o711)
    fill(target, "two", replace=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o711


def test_a_link_keeps_what_its_user_made(target: Path) -> None:
    """A directory that a link led to is left alone; those made by publishing are not heaped up."""
    fill(target.with_name("first"), "one")
    target.symlink_to("first")
    fill(target, "two", replace=True)
    fill(target, "three", replace=True)
    assert text_of(target) == "three"
    assert text_of(target.with_name("first")) == "one"
    assert len(os.listdir(target.parent)) == (3 if target.is_symlink() else 2)
    assert clean_leftovers(target.parent) == []
    assert text_of(target) == "three"


def test_a_failed_sync_of_the_parent_keeps_both(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither directory may be emptied while the disk may hold either under the name."""
    fill(target, "one")

    def fails(place: Path) -> None:
        raise OutcomeUnknown("the directory could not be synced")

    monkeypatch.setattr(publishing, "sync_published", fails)
    with pytest.raises(OutcomeUnknown):
        fill(target, "two", replace=True)
    (other,) = (path for path in target.parent.iterdir() if path != target)
    assert (text_of(target), text_of(other)) == ("two", "one")


def test_readers_always_find_a_directory(tmp_path: Path) -> None:
    """With exchange there is no moment without the target, and never a mix."""
    target = tmp_path / "data"
    fill(target, "0")
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
            seen.append(os.listdir(descriptor))
            os.close(descriptor)

    if renaming._system_call() is None:
        pytest.skip("the C library has no renameat2")
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        fill(target, str(number), replace=True)
    stop.set()
    reader.join(30)
    # A reader that opened the old one may find it empty, but the name itself was never gone.
    assert seen
    assert all(entry in (["sub"], []) for entry in seen)


def test_leftovers_of_the_dead_are_removed(tmp_path: Path, dead: str) -> None:
    """Files and directories, by name and owner; what users have named is not touched."""
    (tmp_path / f".state.ck-{dead}-1").write_text("half")
    (tmp_path / f".data.ck-{dead}-2" / "sub").mkdir(parents=True)
    kept = [f"state.ck-{dead}-1", ".state.ck-1-1", ".state.tmp", f".state.ck-{dead}-x", "state"]
    for name in kept:
        (tmp_path / name).write_text("")
    gone = clean_leftovers(tmp_path)
    assert [path.name for path in gone] == [f".data.ck-{dead}-2", f".state.ck-{dead}-1"]
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    assert clean_leftovers(tmp_path) == []


def test_leftovers_of_the_living_stay(tmp_path: Path) -> None:
    """What this process writes is not taken from under its hands."""
    with publish_directory(tmp_path / "data") as stage:
        assert clean_leftovers(tmp_path) == []
        assert stage.is_dir()


def test_a_cleaner_that_does_not_ask_for_the_owner_does_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted twin: without the question a file is gone from under its writer."""
    monkeypatch.setattr(leftovers, "lives", lambda owner: False)
    with pytest.raises(FileNotFoundError), publish_directory(tmp_path / "data"):
        clean_leftovers(tmp_path)


def test_across_containers_the_lock_decides(tmp_path: Path) -> None:
    """An owner that cannot be asked is alive as long as the kernel holds its mark."""
    stranger = replace(this_owner(), world="00000000")
    path = tmp_path / f".state.ck-{stranger}-1"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    marking.mark(descriptor)
    assert clean_leftovers(tmp_path) == []
    os.close(descriptor)
    assert clean_leftovers(tmp_path) == [path]


def test_young_leftovers_stay_when_asked(tmp_path: Path, dead: str) -> None:
    """older_than keeps what was changed in the last seconds."""
    path = tmp_path / f".state.ck-{dead}-1"
    path.write_text("")
    assert clean_leftovers(tmp_path, older_than=3600) == []
    os.utime(path, (0, 0))
    assert clean_leftovers(tmp_path, older_than=3600) == [path]


@pytest.mark.parametrize("by", ["cleaning", "publishing"])
def test_what_was_moved_out_of_the_way_comes_back(tmp_path: Path, dead: str, by: str) -> None:
    """Half a replacement by two renames is undone, by whichever comes first."""
    old = tmp_path / f".data.ck-{dead}-3.old"
    (old / "sub").mkdir(parents=True)
    (old / "sub" / "file").write_text("one")
    if by == "cleaning":
        assert clean_leftovers(tmp_path) == []
    else:
        with pytest.raises(FileExistsError):
            fill(tmp_path / "data", "two")
    assert text_of(tmp_path / "data") == "one"
    assert os.listdir(tmp_path) == ["data"]


def test_what_was_moved_away_is_rubbish_once_there_is_a_new_one(tmp_path: Path, dead: str) -> None:
    """The old directory is removed, and the new one stays."""
    fill(tmp_path / "data", "two")
    (tmp_path / f".data.ck-{dead}-3.old").mkdir()
    assert [path.name for path in clean_leftovers(tmp_path)] == [f".data.ck-{dead}-3.old"]
    assert text_of(tmp_path / "data") == "two"


def test_a_directory_is_restored_before_it_is_missed(tmp_path: Path) -> None:
    """Only the directory of that very name comes back, and only from the dead."""
    (tmp_path / names.unfinished_name(tmp_path / "data", "old").name).mkdir()
    assert not publishing.restore_directory(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_lost_answer_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that took effect and yet reported an error is seen to have taken effect."""
    (tmp_path / "a").write_text("x")
    call = renaming._system_call()
    if call is None:
        pytest.skip("the C library has no renameat2")

    def loses(source: bytes, target: bytes, linux: int, macos: int) -> int:
        call(source, target, linux, macos)
        return 5

    monkeypatch.setattr(renaming, "_system_call", lambda: loses)
    renaming.rename_to_free_name(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]
    with pytest.raises(OSError, match="Input/output"):
        renaming.rename_to_free_name(tmp_path / "missing", tmp_path / "c")


def test_a_directory_that_could_not_be_put_back_is_not_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut, the name of what is moved away does not say where it belongs, and after a kill it was lost."""
    target = tmp_path / ("n" * 250)
    fill(target, "one")
    fill(target, "two", replace=True)
    monkeypatch.setattr(renaming, "_system_call", lambda: None)
    with pytest.raises(OSError, match="too long to be replaced") as caught:
        fill(target, "three", replace=True)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert text_of(target) == "two"
    assert os.listdir(tmp_path) == [target.name]
