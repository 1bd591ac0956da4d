"""The four disciplines of writing a file, each with the models under which it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from crash_recorder import Recorder
from programs import NEW, OLD, created, old_or_new, published, replaced, replaced_and_promised

from chaoskit.explore.crash import (
    MODELS,
    CrashStates,
    ModelRule,
    explain,
    models_named,
    simplest,
    state_tree,
    warnings,
)

States = Callable[..., CrashStates]


def start(r: Recorder) -> None:
    r.put("state", OLD)


def empty(r: Recorder) -> None:
    """Nothing there."""


def contents(states: CrashStates, name: str, model: str) -> set[object]:
    """What ``name`` may hold after a power loss under ``model``; None where it may be missing."""
    return {state_tree(states, s).get(name) for s in states if model in s.models}


def test_a4_replacing_without_fsync_keeps_the_content_on_ordered_ext4_alone(states_of: States) -> None:
    """ext4 begins to write the data before the rename, and by default does not wait: zeroes in full size."""
    states = states_of(start, replaced(False))
    assert contents(states, "state", "ext4-ordered") == {OLD, NEW}
    assert contents(states, "state", "ext4") == {OLD, NEW, bytes(len(NEW))}
    for model in ("xfs", "btrfs"):
        assert contents(states, "state", model) == {OLD, NEW, b""}
    assert {OLD, NEW, b"", bytes(len(NEW))} < contents(states, "state", "strict")


def test_renaming_to_a_new_name_without_fsync_is_wrong_everywhere(states_of: States) -> None:
    """Without an old file to replace ext4 leaves an empty one too."""
    states = states_of(empty, published(False))
    for model in MODELS:
        assert b"" in contents(states, "out", model)


def test_a_synced_file_without_its_directory_is_lost_under_strict_alone(states_of: States) -> None:
    """The real file systems make the name of a new file durable with the file."""
    states = states_of(empty, created(False))
    lost = [s for s in states if states.promised(s) and "out" not in state_tree(states, s)]
    assert [s.models for s in lost] == [("strict",)]


def test_the_full_discipline_is_clean_everywhere(states_of: States) -> None:
    """fsync the file, rename, fsync the directory, then acknowledge."""
    states = states_of(start, replaced_and_promised(True), exhaustive=10**6)
    assert all(old_or_new(state_tree(states, s), states.promised(s)) for s in states)
    assert warnings(states.script) == ()


def test_the_explanation_of_a_replace_without_fsync_is_one_sentence(states_of: States) -> None:
    """It names both files and the order that is wrong; the fix is two lines."""
    states = states_of(start, replaced(False))
    broken = [s for s in states if not old_or_new(state_tree(states, s), ())]
    advice = explain(states.script, simplest(broken))
    assert advice.text == "`state.tmp` was renamed over `state` before its data was synced"
    assert advice.fix == (
        "file.flush(); os.fsync(file.fileno())    # `state.tmp`\nos.replace(…)    # over `state`, only then"
    )
    assert states.script.trace[advice.operation].call == "rename"


def test_an_ext4_append_within_a_block_may_read_as_zeroes(states_of: States) -> None:
    """The size is journalled at once, the data is not; no other real file system does that."""
    states = states_of(lambda r: r.put("log", b"one\n"), lambda r: append(r, b"two\n"))
    assert b"one\n\0\0\0\0" in contents(states, "log", "ext4")
    assert contents(states, "log", "xfs") == contents(states, "log", "btrfs") == {b"one\n", b"one\ntwo\n"}


def append(r: Recorder, data: bytes) -> None:
    r.put("log", data, os.O_WRONLY | os.O_APPEND)


def rewrite(r: Recorder) -> None:
    r.put("state", NEW, os.O_WRONLY | os.O_TRUNC)
    r.put("later", b"", os.O_WRONLY | os.O_CREAT, sync=True)
    r.promise("later")


def test_ext4_writes_out_what_replaced_the_content_of_a_closed_file(states_of: States) -> None:
    """Once something later is durable, a file that was truncated, written and closed is not empty.

    By default it may be zeroes, which are still on their way.
    """
    states = states_of(start, rewrite)
    after = {
        m: {state_tree(states, s)["state"] for s in states if states.promised(s) and m in s.models}
        for m in ("ext4", "ext4-ordered", "xfs", "btrfs")
    }
    zeroes = bytes(len(NEW))
    assert after == {
        "ext4": {NEW, zeroes},
        "ext4-ordered": {NEW},
        "xfs": {b"", NEW},
        "btrfs": {OLD, b"", NEW},
    }


def test_unlinking_is_durable_with_the_next_file_except_on_btrfs(states_of: States) -> None:
    """One journal orders all metadata; the log tree of btrfs has the synced file alone."""

    def work(r: Recorder) -> None:
        r.unlink("state")
        r.put("other", b"x", sync=True)
        r.promise("other")

    states = states_of(start, work)
    still = {m for s in states if states.promised(s) and "state" in state_tree(states, s) for m in s.models}
    assert still == {"btrfs", "portable", "strict"}


def test_a3_a_removed_file_is_gone_before_its_data_is(states_of: States) -> None:
    """Under every model: no program could guard against an empty journal that it has removed."""

    def work(r: Recorder) -> None:
        r.unlink("state")
        r.put("other", b"x")

    states = states_of(start, work, exhaustive=10**6)
    assert {m for s in states for m in s.models} == set(MODELS)
    for model in MODELS:
        assert contents(states, "state", model) == {OLD, None}


def test_a_rename_between_directories_may_leave_both_names_on_btrfs(states_of: States) -> None:
    """After syncing the new directory alone; never neither, except under strict."""

    def setup(r: Recorder) -> None:
        r.mkdir("old")
        r.mkdir("new")
        r.put("old/f", OLD)

    def work(r: Recorder) -> None:
        r.rename("old/f", "new/f")
        r.sync_path("new")
        r.promise("moved")

    states = states_of(setup, work)
    seen = {
        m: {
            ("f" in state_tree(states, s)["old"], "f" in state_tree(states, s)["new"])
            for s in states
            if m in s.models
        }
        for m in ("ext4", "xfs", "btrfs", "strict")
    }
    assert seen["ext4"] == seen["xfs"] == {(True, False), (False, True)}
    assert seen["btrfs"] == {(True, False), (False, True), (True, True)}
    assert seen["strict"] == {(True, False), (False, True), (True, True), (False, False)}


def test_the_swap_of_a_rename_is_one_step_under_every_model(states_of: States) -> None:
    """Nobody ever sees the destination missing, or the old content gone before the new one is there."""
    states = states_of(start, replaced(True), exhaustive=10**6)
    for model in ("ext4", "xfs", "btrfs", "strict"):
        assert contents(states, "state", model) == {OLD, NEW}


@pytest.mark.parametrize("model", ["ext4", "xfs", "btrfs"])
def test_every_rule_of_a_real_model_has_its_source(model: str) -> None:
    """No rule without a reason to believe it; strict has no rules at all."""
    (found,) = models_named(model)
    assert all(source.strip() for source in found.rules.values())
    assert ModelRule.ORDERED_METADATA in found
    assert not models_named("strict")[0].rules
