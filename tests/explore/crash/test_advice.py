"""Warnings from a trace alone, and explanations that are not covered by the planted programs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from crash_recorder import Recorder
from programs import (
    NEW,
    OLD,
    PROGRAMS,
    Program,
    datasynced,
    nothing,
    old_state,
    wrong_descriptor,
    wrong_directory,
)

from chaoskit.explore.crash import CrashStates, explain, simplest, state_tree, warnings

States = Callable[..., CrashStates]


def kinds(states: CrashStates) -> set[str]:
    return {advice.kind for advice in warnings(states.script)}


def named(name: str) -> Program:
    return next(p for p in PROGRAMS if p.name == name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("replace without fsync", "rename-before-sync"),
        ("publish without fsync", "rename-before-sync"),
        ("create without directory", "directory-not-synced"),
        ("rename without directory", "directory-not-synced"),
        ("unlink without directory", "directory-not-synced"),
        ("parents without directory", "directory-not-synced"),
        ("acknowledged before fsync", "acknowledged-before-sync"),
        ("wrong descriptor", "wrong-file-synced"),
        ("wrong directory", "wrong-directory-synced"),
        ("link without fsync", "rename-before-sync"),
    ],
)
def test_a_trace_alone_gives_a_warning(name: str, kind: str, states_of: States) -> None:
    """No crash state was looked at; the corrected twin gives no warning at all."""
    program = named(name)
    assert kind in kinds(states_of(program.setup, program.wrong))
    assert kinds(states_of(program.setup, program.right)) == set()


def told(states: CrashStates) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(advice.kind, advice.text, advice.models) for advice in warnings(states.script)]


def test_a_directory_that_is_never_synced_needs_no_promise(states_of: States) -> None:
    """Most programs promise nothing; the name may be lost all the same, and it is said where."""

    def rename(r: Recorder) -> None:
        r.put("a.tmp", NEW, sync=True)
        r.rename("a.tmp", "a")

    def make(r: Recorder) -> None:
        r.mkdir("jobs")
        r.put("jobs/1", NEW, sync=True)
        r.put("jobs/2", NEW, sync=True)
        r.sync_path("jobs")

    kind, never = "directory-not-synced", "may be lost: its directory `.` was never synced after it"
    text = f"the rename of `a.tmp` to `a` {never}"
    assert told(states_of(nothing, rename)) == [(kind, text, ("ext4", "xfs", "btrfs", "strict"))]
    assert told(states_of(nothing, make)) == [(kind, f"the new directory `jobs` {never}", ("strict",))]


def test_names_that_nobody_needs_are_no_reason_to_warn(states_of: States) -> None:
    """Scratch files, locks, and what is removed at the end need no durable name."""

    def work(r: Recorder) -> None:
        r.put("cache", NEW)
        r.put("lock", b"")
        r.put("state.tmp", NEW, sync=True)
        r.rename("state.tmp", "state")
        r.sync_path(".")
        r.put("journal", NEW, sync=True)
        r.unlink("journal")
        r.unlink("lock")
        r.unlink("old")

    assert told(states_of(lambda r: r.put("old", OLD), work)) == []


def test_where_a_rename_before_its_sync_matters_is_said(states_of: States) -> None:
    """Everywhere: ext4 begins to write the data of a file that replaces another, and waits for none of it."""
    for name, models in (
        ("replace without fsync", ("ext4", "xfs", "btrfs", "strict")),
        ("publish without fsync", ("ext4", "xfs", "btrfs", "strict")),
    ):
        program = named(name)
        found = {advice.kind: advice for advice in warnings(states_of(program.setup, program.wrong).script)}
        assert found["rename-before-sync"].models == models


@pytest.mark.parametrize("whole", [False, True])
def test_a_mode_that_is_promised_needs_a_full_fsync(whole: bool, states_of: States) -> None:
    """What fdatasync leaves out is told; a discipline that covers it is left alone."""
    found = told(states_of(old_state, datasynced(whole)))
    text = "the chmod of `state` was acknowledged (promise()#1 = 0) before it was synced"
    assert [line[:2] for line in found] == ([] if whole else [("acknowledged-before-sync", text)])


@pytest.mark.parametrize("sync", [False, True])
def test_a_truncation_that_is_promised_needs_an_fsync(sync: bool, states_of: States) -> None:
    """A new size is data like any other."""

    def cut(r: Recorder) -> None:
        fd = r.open("state", os.O_WRONLY)
        r.truncate(fd, 3)
        if sync:
            r.fsync(fd)
        r.close(fd)
        r.promise("cut")

    found = {kind: (text, models) for kind, text, models in told(states_of(old_state, cut))}
    text = "the new size of `state` was acknowledged (promise()#1 = 0) before it was synced"
    expected = {"acknowledged-before-sync": (text, ("ext4", "xfs", "btrfs", "strict"))}
    assert found == ({} if sync else expected)


def test_a_fix_in_python_has_a_twin_for_any_language(states_of: States) -> None:
    """Where a fix is Python, the same is said without it, in two lines at most."""
    for program in PROGRAMS:
        states = states_of(program.setup, program.wrong)
        advised = [*warnings(states.script), *(explain(states.script, state) for state in states)]
        for advice in advised:
            words = advice.anywhere or advice.fix
            assert "os." not in words
            assert "file." not in words
            assert words.count("\n") <= 1


def test_the_wrong_directory_is_named_with_the_right_one(states_of: States) -> None:
    """And symbolic links are mentioned, since they are the usual reason."""
    program = named("wrong directory")
    states = states_of(program.setup, wrong_directory(False))
    text, fix = next((a.text, a.fix) for a in warnings(states.script) if a.kind == "wrong-directory-synced")
    assert text == "directory `public` was synced, but had nothing to sync; `real` had"
    assert "realpath" in fix


def test_the_wrong_file_is_named_with_the_right_one(states_of: States) -> None:
    """The fsync is blamed, not the write."""
    states = states_of(lambda r: r.put("state", OLD), wrong_descriptor(False))
    (advice,) = [a for a in warnings(states.script) if a.kind == "wrong-file-synced"]
    assert states.script.trace[advice.operation].call == "fsync"
    assert "`state.tmp` had" in advice.text


def test_a_temporary_file_that_is_gone_needs_no_sync(states_of: States) -> None:
    """Nothing is said of files that the program has removed before it promised anything."""

    def work(r: Recorder) -> None:
        r.put("scratch", NEW)
        r.unlink("scratch")
        r.sync_path(".")
        r.promise("done")

    assert kinds(states_of(nothing, work)) == set()


def test_a_failed_fsync_is_blamed_for_data_that_a_later_one_did_not_save(states_of: States) -> None:
    """The advice says to write the data again."""

    def work(r: Recorder) -> None:
        fd = r.open("log", os.O_WRONLY | os.O_CREAT)
        r.write(fd, NEW)
        r._note("fsync", "log", None, -errno.EIO, {"inode": r._about("log")["inode"]})
        r.fsync(fd)
        r.sync_path(".")
        r.promise("saved")

    states = states_of(nothing, work)
    broken = [s for s in states if states.promised(s) and state_tree(states, s).get("log") != NEW]
    advice = explain(states.script, simplest(broken))
    assert advice.kind == "fsync-failed"
    assert "a later one succeeds without writing the data" in advice.text


def test_half_a_rename_is_explained(states_of: States) -> None:
    """Under strict the removal of the old name may persist alone: the file is in neither place."""

    def setup(r: Recorder) -> None:
        r.mkdir("old")
        r.mkdir("new")
        r.put("old/f", OLD)

    def work(r: Recorder) -> None:
        r.rename("old/f", "new/f")
        r.sync_path("old")

    states = states_of(setup, work)
    lost = [s for s in states if not any("f" in state_tree(states, s)[d] for d in ("old", "new"))]  # type: ignore[operator]
    advice = explain(states.script, simplest(lost))
    assert advice.kind == "rename-in-halves"
    assert advice.models == ("strict",)
    assert "'new'" in advice.fix


def test_every_state_of_every_program_can_be_explained(states_of: States) -> None:
    """No state, however odd, makes the explanation fail or be empty."""
    for program in PROGRAMS:
        states = states_of(program.setup, program.wrong, exhaustive=4096)
        for state in states:
            advice = explain(states.script, state)
            assert advice.text
            assert advice.kind
            assert advice.fix.count("\n") <= 2
