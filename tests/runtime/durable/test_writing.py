"""Whole files: what a writer may rely on beside the sweeps in scenarios/runtime."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import OutcomeUnknown, classify, make_directories, open_atomic, write_file
from chaoskit.runtime.durable.files import directories, names, renaming, staging, syncing
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.failures.taxonomy import (
    DiskFull,
    FilesystemError,
    QuotaExceeded,
    StorageError,
    TransactionValidationError,
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with known content."""
    path = tmp_path / "state"
    path.write_bytes(b"old")
    return path


def fails(number: int):
    """A function that raises this error of the system."""

    def raising(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return raising


def test_bytes_and_text_are_written_as_they_are(tmp_path: Path) -> None:
    """Text becomes UTF-8, and no line end is changed."""
    write_file(tmp_path / "a", memoryview(b"\0\xff"))
    write_file(tmp_path / "b", "é\r\n")
    assert (tmp_path / "a").read_bytes() == b"\0\xff"
    assert (tmp_path / "b").read_bytes() == b"\xc3\xa9\r\n"


def test_a_text_that_has_no_bytes_changes_nothing(target: Path) -> None:
    """A lone surrogate is refused before anything is touched."""
    with pytest.raises(UnicodeEncodeError):
        write_file(target, "\ud800")
    assert os.listdir(target.parent) == ["state"]


@pytest.mark.parametrize("durability", ["power-loss", "process-crash", "memory"])
def test_each_level_replaces_as_a_whole(target: Path, durability) -> None:
    """A weaker level syncs less; what a reader sees is the same."""
    with open(target, "rb") as reader:
        write_file(target, b"new", durability=durability)
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


def test_only_the_strong_level_waits_for_the_disk(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and directory are synced at power-loss, and nothing is at the other levels."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(stat.filemode(os.fstat(fd).st_mode)[0]))
    write_file(target, b"1")
    assert synced == ["-", "d"]
    write_file(target, b"2", durability="process-crash")
    write_file(target, b"3", durability="memory")
    assert synced == ["-", "d"]


def test_an_unknown_level_is_refused(target: Path) -> None:
    """Nothing is written at a level that does not exist."""
    with pytest.raises(UsageError, match="durability is 'full'"):
        write_file(target, b"new", durability="full")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"


def test_the_mode_of_the_old_file_stays(target: Path) -> None:
    """A private file stays private; a given mode wins."""
    target.chmod(0o640)
    write_file(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    write_file(target, b"new", mode=0o604)
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


def test_a_private_file_is_private_while_it_is_written(target: Path) -> None:
    """The hidden file has no wider permissions than the final one, at no moment."""
    target.chmod(0o600)
    with open_atomic(target) as file:
        file.write(b"secret")
        file.flush()
        (hidden,) = (path for path in target.parent.iterdir() if path != target)
        assert stat.S_IMODE(hidden.stat().st_mode) == 0o600


def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path) -> None:
    """As with open()."""
    (tmp_path / "plain").write_bytes(b"")
    write_file(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_and_its_target_is_replaced(target: Path) -> None:
    """Writing through a link is writing to what it leads to; nothing is renamed over the link."""
    link = target.with_name("link")
    link.symlink_to("state")
    write_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory, and a device: as root a rename over /dev/null would succeed."""
    with pytest.raises(IsADirectoryError, match="expected a file"):
        write_file(tmp_path, b"")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="a regular file"):
        write_file(tmp_path / "fifo", b"")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_what_may_never_end_is_not_read(tmp_path: Path) -> None:
    """A FIFO, whose opening waits for a writer, and a device are refused at once; a directory as ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FilesystemError, match="fifo' is a FIFO; expected a regular file"):
        open_regular(tmp_path / "fifo")
    with pytest.raises(FilesystemError, match="is a character device"):
        open_regular("/dev/zero")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        open_regular(tmp_path)
    (tmp_path / "file").write_bytes(b"all of it")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"all of it"


@pytest.mark.parametrize("linking", [False, True])
def test_exclusive_never_replaces(target: Path, linking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what appears while the new file is written; by rename as by link."""
    if linking:
        monkeypatch.setattr(renaming, "_system_call", lambda: None)
    with pytest.raises(FileExistsError):
        write_file(target, b"new", exclusive=True)
    other = target.with_name("other")
    with pytest.raises(FileExistsError), open_atomic(other, exclusive=True):
        other.write_bytes(b"theirs")
    assert other.read_bytes() == b"theirs"
    write_file(target.with_name("third"), b"new", exclusive=True)
    assert sorted(os.listdir(target.parent)) == ["other", "state", "third"]


def test_one_of_many_writers_gets_a_free_name(tmp_path: Path) -> None:
    """Eight threads want the same name, one has it, with its own content."""
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait(30)
        try:
            write_file(tmp_path / "name", b"%d" % number, exclusive=True)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [b"%d" % number for number in won] == [(tmp_path / "name").read_bytes()]
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize("answer", [False, ValueError("no number")])
def test_a_validator_refuses_before_anything_is_seen(target: Path, answer: object) -> None:
    """By False or by raising: the target stays, the complete content was looked at, nothing is left."""
    seen: list[bytes] = []

    def validate(path: Path) -> object:
        seen.append(path.read_bytes())
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises((TransactionValidationError, ValueError)):
        write_file(target, b"new", validate=validate)
    assert (seen, target.read_bytes(), os.listdir(target.parent)) == ([b"new"], b"old", ["state"])


def test_an_async_validator_is_refused(target: Path) -> None:
    """A coroutine is not False: it would accept everything without having looked."""

    async def look(path: Path) -> bool:
        return False

    for validate in (look, lambda path: look(path)):
        with pytest.raises(UsageError, match="validate"):
            write_file(target, b"new", validate=validate)
    assert (target.read_bytes(), os.listdir(target.parent)) == (b"old", ["state"])


def test_a_validator_that_returns_nothing_accepts(target: Path) -> None:
    """Only False is a refusal: a validator that raises needs no return value."""
    write_file(target, b"new", validate=lambda path: None)
    assert target.read_bytes() == b"new"


def test_a_block_that_fails_changes_nothing(target: Path) -> None:
    """Whatever it raises, an interrupt too; the error goes through as it is."""

    def interrupted(text: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_atomic(target, "w") as file:
        file.write("half" + interrupted("other half"))
    assert (target.read_bytes(), os.listdir(target.parent)) == (b"old", ["state"])


def test_a_block_may_close_its_file(target: Path) -> None:
    """It is synced and published all the same."""
    with open_atomic(target, "w", encoding="latin-1") as file:
        file.write("é")
        file.close()
    assert target.read_bytes() == b"\xe9"


@pytest.mark.parametrize("mode", ["r", "a", "xb", "rb+", ""])
def test_other_modes_are_refused(target: Path, mode: str) -> None:
    """What is not a new content is refused, with what to write instead."""
    with pytest.raises(UsageError, match="exclusive=True"), open_atomic(target, mode):  # type: ignore[call-overload]
        pass


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, QuotaExceeded)])
def test_a_full_disk_has_its_name(
    target: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[OSError]
) -> None:
    """The error is of the taxonomy and an OSError, names the file, and the file is as it was."""
    monkeypatch.setattr(os, "write", fails(number))
    with pytest.raises(expected, match=r"could not write '.*state'") as caught:
        write_file(target, b"new")
    assert caught.value.errno == number
    monkeypatch.undo()
    assert (target.read_bytes(), os.listdir(target.parent)) == (b"old", ["state"])


def test_a_failed_sync_is_not_tried_again(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call, then the file is thrown away: the kernel has forgotten what could not be written."""
    calls: list[int] = []

    def once(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", once)
    with pytest.raises(OSError, match="Input/output"):
        write_file(target, b"new")
    assert len(calls) == 1
    assert (target.read_bytes(), os.listdir(target.parent)) == (b"old", ["state"])


def test_an_error_after_the_rename_is_an_unknown_outcome(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new content is there, and may vanish with the power: neither success nor failure."""
    monkeypatch.setattr(staging, "sync_directory", fails(errno.EIO))
    with pytest.raises(OutcomeUnknown, match="directory could not be synced") as caught:
        write_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert classify(caught.value).category == "recoverable"


def test_a_file_system_that_syncs_no_directories_is_refused(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strong promise cannot be made there, and the error says which can."""
    monkeypatch.setattr(syncing, "sync_file", fails(errno.EINVAL))
    with pytest.raises(StorageError) as caught:
        syncing.sync_directory(target.parent)
    assert "process-crash" in caught.value.hint


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    """The hidden name is cut, between characters, so that the longest names work."""
    name = "é" * 127
    write_file(tmp_path / name, b"x")
    hidden = names.unfinished_name(tmp_path / name, "old").name
    assert len(hidden.encode()) <= 255
    found = names.parse(hidden)
    assert found is not None
    assert name.startswith(found.target)


def test_a_relative_path_is_meant_from_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the working directory in the block does not move the file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_atomic("state") as file:
        file.write(b"x")
        os.chdir("elsewhere")
    assert (tmp_path / "state").read_bytes() == b"x"


def test_directories_are_made_and_their_parents_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the top down, each after it was made; and the deepest that was there already, too."""
    synced: list[str] = []
    monkeypatch.setattr(directories, "sync_directory", lambda path: synced.append(path.name))
    make_directories(tmp_path / "a" / "b")
    make_directories(tmp_path / "a" / "b")
    assert synced == [tmp_path.parent.name, tmp_path.name, "a", "a"]


def test_a_directory_that_could_not_be_synced_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed, so that the next call changes its parent again: syncing twice would prove nothing."""
    monkeypatch.setattr(directories, "sync_directory", lambda path: path == tmp_path and fails(errno.EIO)())
    with pytest.raises(OSError, match="Input/output"):
        make_directories(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_way_of_a_directory_is_an_error(target: Path) -> None:
    """As with os.makedirs."""
    with pytest.raises(FileExistsError):
        make_directories(target)
    with pytest.raises(FileExistsError):
        make_directories(target / "a")


def test_the_modules_can_be_loaded_without_what_only_unix_has() -> None:
    """On Windows there is no fcntl: nothing of it is touched by importing."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import chaoskit.runtime as r\n"
        "r.write_file, r.AppendLog, r.publish_directory, r.Flag, r.clean_leftovers, r.make_directories"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
