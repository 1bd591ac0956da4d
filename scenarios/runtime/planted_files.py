"""The file primitives with one thing left out or done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_files import (
    NEW,
    OLD,
    RECORDS,
    append,
    change_flag,
    check_file,
    content_of,
    fill,
    make,
    publish,
    read_back,
    shown,
    shown_after_a_failed_sync,
    write,
    write_until_it_works,
)

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Flag, clean_leftovers, publish_directory, write_file
from chaoskit.runtime.durable.files import (
    append_log,
    directories,
    flag,
    leftovers,
    publishing,
    records,
    renaming,
    staging,
    swapping,
)

Patch = pytest.MonkeyPatch
SYNCED, KILLED = faults.power_loss(), faults.kill()


def nothing(*_: object, **__: object) -> None:
    """Instead of a sync."""


# --- directories and files ---------------------------------------------------------------------------------


def make_with_the_standard_library(chaos: Chaos) -> None:
    os.makedirs(chaos.path / "a" / "b")
    write_file(chaos.path / "a" / "b" / "state", NEW)
    chaos.promise("written")


@scenario(SYNCED, model="strict")
def test_makedirs_does_not_sync(chaos: Chaos) -> None:
    chaos.run(make_with_the_standard_library, chaos)
    assert not chaos.promised or (chaos.path / "a/b/state").read_bytes() == NEW


@scenario(SYNCED, model="strict")
def test_a_directory_that_is_there_is_taken_as_it_is(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    chaos.run(os.mkdir, chaos.path / "a")
    chaos.run(make, chaos)
    assert not chaos.promised or (chaos.path / "a/b/c").is_dir()


@scenario(SYNCED, model="strict")
def test_a_directory_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(directories, "sync_directory", nothing)
    chaos.run(make, chaos)
    assert not chaos.promised or (chaos.path / "a/b/c").is_dir()


def written(chaos: Chaos) -> None:
    write_file(chaos.path / "state", OLD)
    outcome = chaos.run(write, chaos)
    check_file(chaos.path / "state", outcome.error, bool(chaos.promised))


@scenario(SYNCED, model="strict")
def test_a_file_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(staging, "sync_file", nothing)
    written(chaos)


@scenario(SYNCED, model="strict")
def test_the_directory_of_a_file_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(staging, "sync_published", nothing)
    written(chaos)


@scenario(faults.fsync_lies(), model="strict")
def test_a_failed_sync_is_tried_again(chaos: Chaos, monkeypatch: Patch) -> None:
    def persistent(descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError:
            os.fsync(descriptor)

    monkeypatch.setattr(staging, "sync_file", persistent)
    write_file(chaos.path / "state", OLD)
    chaos.run(write_until_it_works, chaos)
    check_file(chaos.path / "state", None, bool(chaos.promised))


@scenario(KILLED)
def test_a_file_is_written_in_place(chaos: Chaos) -> None:
    (chaos.path / "state").write_bytes(OLD)
    chaos.run((chaos.path / "state").write_bytes, NEW)
    check_file(chaos.path / "state", None, promised=False)


@scenario(faults.disk())
def test_a_directory_that_cannot_be_synced_is_no_matter(chaos: Chaos, monkeypatch: Patch) -> None:
    """An error after the rename that looks like one before it."""

    def plain(target: Path) -> None:
        staging.sync_directory(target.parent)

    monkeypatch.setattr(staging, "sync_published", plain)
    written(chaos)


@scenario(faults.share().only("lost"))
def test_a_lost_answer_is_taken_for_a_failure(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(staging, "rename", os.replace)
    written(chaos)


# --- directories as a whole ------------------------------------------------------------


def published(chaos: Chaos) -> None:
    with publish_directory(chaos.path / "data") as stage:
        fill(stage, OLD)
    chaos.run(publish, chaos, replace=True)
    found = content_of(chaos.path / "data")
    assert found in (OLD, NEW)
    assert not chaos.promised or found == NEW


@scenario(KILLED)
def test_two_renames_instead_of_an_exchange(chaos: Chaos, monkeypatch: Patch) -> None:
    """Without a recovery, as a reader meets it."""
    monkeypatch.setattr(renaming, "_system_call", lambda: None)
    published(chaos)


@scenario(SYNCED, model="strict")
def test_a_tree_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(publishing, "sync_tree", nothing)
    published(chaos)


@scenario(SYNCED, model="strict")
def test_the_old_tree_is_removed_too_early(chaos: Chaos, monkeypatch: Patch) -> None:
    replace = publishing.replace_directory

    def impatient(stage: Path, target: Path, *, sync: bool) -> None:
        before = replace(stage, target, sync=sync)
        if before is not None:
            swapping.remove_tree(before)

    monkeypatch.setattr(publishing, "replace_directory", impatient)
    published(chaos)


@scenario(SYNCED, model="strict")
def test_a_link_is_swapped_before_its_tree_is_there(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(renaming, "_system_call", lambda: None)
    monkeypatch.setattr(swapping, "sync_directory", nothing)
    (chaos.path / "first").mkdir()
    fill(chaos.path / "first", OLD)
    os.symlink("first", chaos.path / "data")
    chaos.run(publish, chaos, replace=True)
    assert content_of(chaos.path / "data") in (OLD, NEW)


@scenario(KILLED)
def test_what_was_moved_away_is_taken_for_rubbish(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(renaming, "_system_call", lambda: None)
    monkeypatch.setattr(leftovers, "restore", lambda old, target: False)
    with publish_directory(chaos.path / "data") as stage:
        fill(stage, OLD)
    chaos.run(publish, chaos, replace=True)
    chaos.recover(clean_leftovers, chaos.path)
    assert content_of(chaos.path / "data") in (OLD, NEW)


# --- logs ------------------------------------------------------------------------------------------------


def appended(chaos: Chaos) -> None:
    chaos.run(append, chaos)
    found = read_back(chaos)
    assert found == RECORDS[: len(found)]
    assert len(found) >= len(chaos.promised)


@scenario(SYNCED, model="strict")
def test_a_record_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(append_log, "sync_data", nothing)
    appended(chaos)


@scenario(KILLED | SYNCED, model="strict")
def test_records_have_no_checksum(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(records, "_sum", lambda data, offset: 0)
    appended(chaos)


def append_behind(chaos: Chaos) -> None:
    """Append where the file ends, as O_APPEND does."""
    with append_log.AppendLog(chaos.path / "log", max_record=1 << 13) as log:
        log._end = (chaos.path / "log").stat().st_size
        log.append(b"second")
        chaos.promise("second")


@scenario(KILLED)
def test_a_torn_tail_is_not_cut(chaos: Chaos, monkeypatch: Patch) -> None:
    """What is appended behind it cannot be read."""
    monkeypatch.setattr(os, "ftruncate", nothing)
    chaos.run(append, chaos)
    chaos.run(append_behind, chaos)
    assert len(read_back(chaos)) >= len(chaos.promised)


@scenario(SYNCED, model="strict")
def test_what_a_killed_process_appended_is_shown_unsynced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(append_log.AppendLog, "_settle", nothing)
    shown(chaos)


@scenario(faults.fsync_lies(), model="strict")
def test_a_log_goes_on_where_its_sync_failed(chaos: Chaos, monkeypatch: Patch) -> None:
    """The record that failed is taken for durable, because the next sync succeeds."""

    def careless(log: append_log.AppendLog) -> None:
        try:
            os.fdatasync(log._descriptor)
        except OSError:
            os.fdatasync(log._descriptor)

    monkeypatch.setattr(append_log.AppendLog, "_sync_written", careless)
    appended(chaos)


@scenario(faults.fsync_lies(), model="strict")
def test_a_log_is_opened_after_a_failed_sync(chaos: Chaos, monkeypatch: Patch) -> None:
    """The last record is synced when the log is opened, but not written again."""
    monkeypatch.setattr(append_log.AppendLog, "_rewrite", nothing)
    shown_after_a_failed_sync(chaos, monkeypatch)


# --- flags -----------------------------------------------------------------------------------------------


@scenario(SYNCED, model="strict")
def test_the_end_of_a_flag_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(flag, "sync_published", nothing)
    Flag(chaos.path / "flag").set("first")
    chaos.run(change_flag, chaos)
    found = Flag(chaos.path / "flag").read()
    assert chaos.promised != ["cleared"] or found is None or found.reason == "out of order"


def set_in_place(path: Path) -> None:
    path.write_text('{"reason": "first", "details": {}}')


@scenario(KILLED)
def test_a_damaged_flag_counts_as_none(chaos: Chaos) -> None:
    chaos.run(set_in_place, chaos.path / "flag")
    path = chaos.path / "flag"
    assert not path.exists() or path.stat().st_size, "there, and read as not set"
