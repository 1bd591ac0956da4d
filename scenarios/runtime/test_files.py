"""The runtime's file primitives, swept at every call under the strictest model: no case breaks them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.invariants import no_extra_files
from chaoskit.runtime import (
    AppendLog,
    Flag,
    OutcomeUnknown,
    ResilienceError,
    StoreGone,
    clean_leftovers,
    make_directories,
    open_atomic,
    publish_directory,
    write_file,
)
from chaoskit.runtime.durable.files import renaming

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss() | faults.fsync_lies()
OLD, NEW = b"old content\n" * 400, b"new content\n" * 500


def check_file(path: Path, error: BaseException | None, promised: bool, *, old: bytes | None = OLD) -> None:
    """The old content or the new; the old one after an error that says so; the new one after a promise."""
    found = path.read_bytes() if path.exists() else None
    assert found in (old, NEW)
    assert error is None or isinstance(error, OSError | ResilienceError), "an error without a class"
    if promised:
        assert found == NEW, "an acknowledged write is gone"
    if isinstance(error, OSError):
        assert found == old, f"changed, though the write raised {error!r}"


# --- directories -----------------------------------------------------------------------------------------


def make(chaos: Chaos) -> None:
    make_directories(chaos.path / "a" / "b" / "c")
    chaos.promise("made")


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_directories_stay(chaos: Chaos) -> None:
    """Directories that were promised are there, and making them again after a failure succeeds."""
    chaos.run(make, chaos)
    assert not chaos.promised or (chaos.path / "a/b/c").is_dir()
    make_directories(chaos.path / "a/b/c")


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_directories_of_a_killed_process_are_synced_by_the_next(chaos: Chaos) -> None:
    """What another process made and did not live to sync is synced by the process that finds it there."""
    chaos.run(os.mkdir, chaos.path / "a")
    chaos.run(make, chaos)
    assert not chaos.promised or (chaos.path / "a/b/c").is_dir()


# --- files -------------------------------------------------------------------------------------------


def write(chaos: Chaos, exclusive: bool = False) -> None:
    write_file(chaos.path / "state", NEW, exclusive=exclusive)
    chaos.promise("written")


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_file_has_the_old_content_or_the_new(chaos: Chaos) -> None:
    """Whatever happens, and an error that is not OutcomeUnknown means the old."""
    write_file(chaos.path / "state", OLD)
    outcome = chaos.run(write, chaos)
    check_file(chaos.path / "state", outcome.error, bool(chaos.promised))


@pytest.mark.parametrize("linking", [False, True])
@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_new_file_is_whole_or_absent(chaos: Chaos, linking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With exclusive=True, by rename and by link."""
    if linking:
        monkeypatch.setattr(renaming, "_system_call", lambda: None)
    outcome = chaos.run(write, chaos, exclusive=True)
    check_file(chaos.path / "state", outcome.error, bool(chaos.promised), old=None)


def write_in_pieces(chaos: Chaos) -> None:
    with open_atomic(chaos.path / "state") as file:
        for begin in range(0, len(NEW), 1000):
            file.write(NEW[begin : begin + 1000])
    chaos.promise("written")


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_an_open_file_is_published_as_a_whole(chaos: Chaos) -> None:
    """Nothing of the block is seen before its end."""
    write_file(chaos.path / "state", OLD)
    outcome = chaos.run(write_in_pieces, chaos)
    check_file(chaos.path / "state", outcome.error, bool(chaos.promised))


def write_until_it_works(chaos: Chaos) -> None:
    for _ in range(3):
        try:
            write_file(chaos.path / "state", NEW)
        except (OSError, OutcomeUnknown):
            continue
        chaos.promise("written")
        return


@scenario(faults.fsync_lies(), model="strict")
def test_a_file_written_again_after_a_failed_sync_stays(chaos: Chaos) -> None:
    """A failed sync is never tried again: the content is written again, to another file."""
    write_file(chaos.path / "state", OLD)
    chaos.run(write_until_it_works, chaos)
    check_file(chaos.path / "state", None, bool(chaos.promised))


@scenario(
    faults.disk().only("ENOSPC", "EDQUOT", "EIO[]", "EMFILE", "short", "full")
    | faults.share().only("EINTR")
    | faults.kill(),
    invariants=[no_extra_files],
)
def test_nothing_is_left_behind(chaos: Chaos) -> None:
    """An error that passes leaves nothing; what a kill leaves is removed by clean_leftovers."""
    write_file(chaos.path / "state", OLD)
    chaos.run(write, chaos)
    chaos.recover(clean_leftovers, chaos.path)
    assert os.listdir(chaos.path) == ["state"]


# --- directories as a whole ------------------------------------------------------------------------------


def fill(directory: Path, content: bytes) -> None:
    (directory / "sub").mkdir()
    (directory / "a").write_bytes(content)
    (directory / "sub" / "b").write_bytes(content)


def publish(chaos: Chaos, replace: bool) -> None:
    with publish_directory(chaos.path / "data", replace=replace) as stage:
        fill(stage, NEW)
    chaos.promise("published")


def content_of(directory: Path) -> bytes | None:
    """What both files of a directory hold, or None where there is none; a mix is an error."""
    if not directory.exists():
        return None
    first, second = (directory / "a").read_bytes(), (directory / "sub" / "b").read_bytes()
    assert first == second, "a mix"
    return first


def check_directory(chaos: Chaos, old: bytes | None, error: BaseException | None) -> None:
    found = content_of(chaos.path / "data")
    assert found in (old, NEW)
    assert error is None or isinstance(error, OSError | ResilienceError), "an error without a class"
    assert not chaos.promised or found == NEW, "an acknowledged directory is gone"
    if isinstance(error, OSError):
        assert found == old, f"changed, though publishing raised {error!r}"


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_new_directory_is_whole_or_absent(chaos: Chaos) -> None:
    """All of its files, or none of them."""
    outcome = chaos.run(publish, chaos, replace=False)
    check_directory(chaos, None, outcome.error)


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_directory_is_replaced_as_a_whole(chaos: Chaos) -> None:
    """By exchange: at each moment there is the old one or the new one."""
    with publish_directory(chaos.path / "data") as stage:
        fill(stage, OLD)
    outcome = chaos.run(publish, chaos, replace=True)
    check_directory(chaos, OLD, outcome.error)


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that cannot exchange names."""
    monkeypatch.setattr(renaming, "_system_call", lambda: None)
    return None


@pytest.mark.usefixtures("no_exchange")
@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_link_to_a_directory_is_swapped(chaos: Chaos) -> None:
    """Where names cannot be exchanged, a link is: at each moment there is the old one or the new one."""
    (chaos.path / "first").mkdir()
    fill(chaos.path / "first", OLD)
    os.symlink("first", chaos.path / "data")
    outcome = chaos.run(publish, chaos, replace=True)
    check_directory(chaos, OLD, outcome.error)
    assert content_of(chaos.path / "first") == OLD, "what the user's own link led to was touched"


@pytest.mark.usefixtures("no_exchange")
@scenario(EVERYTHING, budget=bounded(100))
def test_two_renames_are_repaired(chaos: Chaos) -> None:
    """Where nothing better is left, a crash may leave no target; clean_leftovers puts the old one back.

    Not under ``strict``: there a power loss may tear a rename to a new name in two, and nothing helps.
    """
    (chaos.path / "data").mkdir()
    fill(chaos.path / "data", OLD)
    outcome = chaos.run(publish, chaos, replace=True)
    chaos.recover(clean_leftovers, chaos.path)
    found = content_of(chaos.path / "data")
    assert found is not None, "gone"
    check_directory(chaos, OLD, outcome.error)


@scenario(
    faults.kill() | faults.power_loss(),
    model="strict",
    strike_recovery=True,
)
def test_cleaning_up_may_be_interrupted(chaos: Chaos) -> None:
    """A crash in the clean-up does no harm, and the next clean-up leaves the target and nothing else."""
    with publish_directory(chaos.path / "data") as stage:
        fill(stage, OLD)
    chaos.run(publish, chaos, replace=True)
    chaos.recover(clean_leftovers, chaos.path)
    clean_leftovers(chaos.path)
    check_directory(chaos, OLD, None)
    assert os.listdir(chaos.path) == ["data"]


# --- logs --------------------------------------------------------------------------------------------


RECORDS = [b"first" * 100, b"", b"third" * 1000, b"4"]


def append(chaos: Chaos) -> None:
    with AppendLog(chaos.path / "log", max_record=1 << 13) as log:
        for number, record in enumerate(RECORDS):
            log.append(record)
            chaos.promise(number)


def read_back(chaos: Chaos) -> list[bytes]:
    with AppendLog(chaos.path / "log", max_record=1 << 13) as log:
        return list(log)


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_log_is_a_prefix_and_keeps_its_promises(chaos: Chaos) -> None:
    """Each acknowledged record is there, as it was; at most one more, whole."""
    chaos.run(append, chaos)
    found = read_back(chaos)
    assert found == RECORDS[: len(found)]
    assert len(chaos.promised) <= len(found) <= len(chaos.promised) + 1


def append_in_spite_of_errors(chaos: Chaos) -> None:
    """One that goes on after errors, in the same object or with a new one."""
    log = None
    for number in range(4):
        for _ in range(3):
            try:
                log = log or AppendLog(chaos.path / "log", max_record=1 << 13)
                log.append(b"%d" % number * 3000)
            # A share may hide a name for a moment: then the log seems to be gone.
            except (OSError, OutcomeUnknown, StoreGone):
                if log is not None and number % 2:
                    log.close()
                    log = None
                continue
            chaos.promise(number)
            break
    if log is not None:
        log.close()


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_log_goes_on_after_errors(chaos: Chaos) -> None:
    """What was appended after a failure is not lost with the record that failed."""
    chaos.run(append_in_spite_of_errors, chaos)
    found = [int(record[:1]) for record in read_back(chaos)]
    assert found == sorted(found)
    assert set(chaos.promised) <= set(found), "an acknowledged record is gone"


def append_unsynced(chaos: Chaos) -> None:
    with AppendLog(chaos.path / "log", max_record=1 << 13, durability="process-crash") as log:
        log.append(RECORDS[2])


def show(chaos: Chaos) -> None:
    with AppendLog(chaos.path / "log", max_record=1 << 13) as log:
        chaos.promise(len(list(log)))


def shown(chaos: Chaos) -> None:
    AppendLog(chaos.path / "log", max_record=1 << 13).close()
    chaos.run(append_unsynced, chaos)
    chaos.run(show, chaos)
    assert not chaos.promised or len(read_back(chaos)) >= chaos.promised[0], "what was shown is gone"


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_what_a_killed_process_appended_is_synced_by_the_next(chaos: Chaos) -> None:
    """A record that another object shows is durable, though its writer did not live to sync it."""
    shown(chaos)


def shown_after_a_failed_sync(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(log: AppendLog) -> None:
        raise OSError(errno.EIO, "the process dies before it can take the record back")

    monkeypatch.setattr(AppendLog, "_start_over", dies)
    chaos.run(append, chaos)
    chaos.run(show, chaos)
    # Each of the appends promises its number, and then the count of what was shown is promised.
    counts = chaos.promised[len(RECORDS) :] or chaos.promised[-1:]
    assert not counts or len(read_back(chaos)) >= counts[0], "what was shown is gone"


@scenario(faults.fsync_lies(), model="strict")
def test_what_a_failed_sync_has_left_is_written_again(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose sync failed in another process only seems to be on the disk; opening repairs that."""
    shown_after_a_failed_sync(chaos, monkeypatch)


def reopen(directory: Path) -> None:
    AppendLog(directory / "log", max_record=1 << 13).close()


@scenario(faults.kill() | faults.power_loss(), model="strict", strike_recovery=True)
def test_opening_a_log_may_be_interrupted(chaos: Chaos) -> None:
    """A crash while a torn tail is cut loses nothing; opening once more finds the same records."""
    chaos.run(append, chaos)
    chaos.recover(reopen, chaos.path)
    found = read_back(chaos)
    assert found == RECORDS[: len(found)]
    assert len(found) >= len(chaos.promised)


# --- flags -------------------------------------------------------------------------------------------


def change_flag(chaos: Chaos) -> None:
    flag = Flag(chaos.path / "flag")
    flag.clear()
    chaos.promise("cleared")
    flag.set("out of order", part=7)
    chaos.promise("set")


@scenario(EVERYTHING, model="strict", budget=bounded(100))
def test_a_flag_is_set_or_not(chaos: Chaos) -> None:
    """What was acknowledged last holds, and what a flag says is whole."""
    Flag(chaos.path / "flag").set("first")
    chaos.run(change_flag, chaos)
    found = Flag(chaos.path / "flag").read()
    # Under this model the content of a removed file may go before its name does: then the flag is set, and
    # says that it cannot be read.
    assert found is None or found.damaged or found.reason in ("first", "out of order")
    if "set" in chaos.promised:
        assert found is not None
        assert found.details == {"part": 7}
    elif chaos.promised:
        assert found is None or found.reason == "out of order"
