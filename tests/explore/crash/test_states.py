"""Steps, names, hashes and limits of the enumeration."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_recorder import Recorder
from programs import ALL, NEW, OLD, PROGRAMS, replaced

from chaoskit.core.errors import ScheduleError, UsageError
from chaoskit.core.operation import Bytes, FileDetail, Operation, PromiseDetail, Trace
from chaoskit.core.schedule import Fault, Schedule, Strike, point_of
from chaoskit.explore.crash import (
    CrashState,
    CrashStates,
    Snapshot,
    crash_states,
    most_suspicious,
    name_of,
    script,
    state_named,
    state_tree,
)
from chaoskit.explore.crash.pieces import cuts, pieces
from chaoskit.explore.crash.steps import StepKind

States = Callable[..., CrashStates]


def start(r: Recorder) -> None:
    r.put("state", OLD)


def empty(r: Recorder) -> None:
    """Nothing there."""


def trees(states: CrashStates) -> list[object]:
    return [state_tree(states, s) for s in states]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))
@pytest.mark.parametrize("exhaustive", [0, 4096])
def test_every_name_rebuilds_its_state(program: object, exhaustive: int, states_of: States) -> None:
    """Names are ASCII, fit into a schedule, and give back the same steps and the same tree."""
    states = states_of(program.setup, program.wrong, exhaustive=exhaustive)  # type: ignore[attr-defined]
    for state in states:
        operation = states.script.trace[state.moment.operation]
        if operation.call == "promise":
            operation = dataclasses.replace(operation, target=".")
        schedule = Schedule(
            (Strike(point_of(operation), Fault("power_loss", name_of(states.script, state))),)
        )
        argument = Schedule.parse(str(schedule)).strikes[0].fault.argument
        again = state_named(states.script, state.moment.operation, argument)
        assert (again.persisted, again.garbage, again.hash) == (state.persisted, state.garbage, state.hash)


def test_a_name_does_not_change_with_what_happens_earlier(states_of: States) -> None:
    """Steps are counted back from the power loss."""

    def longer(r: Recorder) -> None:
        r.put("before", b"x")
        replaced(False)(r)

    names = []
    for work in (replaced(False), longer):
        states = states_of(start, work)
        lost = [s for s in states if state_tree(states, s).get("state") == b"" and "xfs" in s.models]
        names.append({name_of(states.script, s) for s in lost})
    assert names[0] & names[1]


@pytest.mark.parametrize(
    "argument",
    ["", "drop", "drop x", "drop 99", "keep 1", "keep 1 zfs", "torn 1", "torn 1@7", "only-synced", "drop 0",
     "explode 3", "all 3"],
)  # fmt: skip
def test_a_name_that_means_nothing_is_refused_with_an_example(argument: str, states_of: States) -> None:
    """The error shows the argument and what would have been understood."""
    states = states_of(start, replaced(False))
    with pytest.raises(ScheduleError, match=r"expected 'all', 'only-synced ext4', 'drop 1,3-5'"):
        state_named(states.script, 3, argument)


def test_a_state_of_an_operation_that_is_not_there_is_refused(states_of: States) -> None:
    """The error names the range."""
    states = states_of(start, replaced(False))
    with pytest.raises(ScheduleError, match=r"operation 99 is not in the trace; expected 0 to \d+"):
        state_named(states.script, 99, "all")


def test_a_model_that_does_not_exist_is_refused(states_of: States) -> None:
    """The error lists those that exist."""
    with pytest.raises(UsageError, match=r"'zfs'.*ext4, ext4-ordered, xfs, btrfs, portable, strict"):
        states_of(start, replaced(False), models="zfs")
    with pytest.raises(UsageError, match="expected one or several of"):
        states_of(start, replaced(False), models=())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))
def test_states_are_distinct_by_content_and_promises(program: object, states_of: States) -> None:
    """No two states have the same tree and the same promises; equal hashes mean equal trees."""
    states = states_of(program.setup, program.wrong, exhaustive=4096)  # type: ignore[attr-defined]
    seen = [(repr(state_tree(states, s)), s.moment.promises) for s in states]
    modes_differ = any(step.kind is StepKind.ATTRIBUTE for step in states.script.steps)
    assert len(set(seen)) == len(seen) or modes_differ
    assert len({(s.hash, s.moment.promises) for s in states}) == len(states) == states.counts.distinct
    assert states.counts.possible >= states.counts.distinct


def test_equal_trees_are_one_state_whatever_files_make_them(states_of: States) -> None:
    """Replacing a file by another with the same content leaves nothing new to check."""

    def work(r: Recorder) -> None:
        r.put("tmp", OLD, sync=True)
        r.rename("tmp", "state")

    states = states_of(start, work, models="ext4")
    assert trees(states).count({"state": OLD}) == 1


def test_the_last_state_of_a_trace_is_what_is_on_the_disk(tmp_path: Path) -> None:
    """Links, directories, holes, renamed directories: playing the steps gives what the calls gave."""
    r = Recorder(tmp_path)
    r.put("a", b"12345")
    before = Snapshot.take(tmp_path)
    r = Recorder(tmp_path)
    r.mkdir("d")
    r.link("a", "d/a")
    r.symlink("d/a", "link")
    fd = r.open("d/sparse", os.O_RDWR | os.O_CREAT)
    r.write(fd, b"end", 10_000)
    r.truncate(fd, 10_001)
    r.fallocate(fd, 0, 20_000)
    r.close(fd)
    r.rename("d", "e")
    r.put("e/a", b"6", os.O_WRONLY | os.O_APPEND)
    r.unlink("a")
    states = crash_states(script(r.trace(), before), "ext4")
    last = [s for s in states if s.complete][-1]
    sparse = bytes(10_000) + b"e" + bytes(9_999)
    assert state_tree(states, last) == {"e": {"a": b"123456", "sparse": sparse}, "link": "d/a"}
    assert (tmp_path / "e/sparse").read_bytes() == sparse


def test_syncs_go_by_file_and_not_by_name(states_of: States) -> None:
    """A descriptor that was opened before a rename syncs the file under its new name."""

    def work(r: Recorder) -> None:
        fd = r.open("tmp", os.O_WRONLY | os.O_CREAT)
        r.write(fd, NEW)
        r.rename("tmp", "kept")
        r.put("tmp", b"another file")
        r.fsync(fd)
        r.sync_path(".")
        r.promise(None)

    states = states_of(empty, work, models=ALL)
    assert {state_tree(states, s)["kept"] for s in states if states.promised(s) == (None,)} == {NEW}


def test_a_number_used_again_by_the_system_is_another_file(tmp_path: Path) -> None:
    """File systems give the inode number of a deleted file to the next one."""

    def made(index: int, call: str, **detail: object) -> Operation:
        return Operation(index, call, str(detail.pop("name")), result=1, detail=FileDetail(**detail))  # type: ignore[arg-type]

    trace = Trace((
        made(0, "open", name="a", inode=(1, 7), created=True),
        made(1, "write", name="a", inode=(1, 7), offset=0, data=Bytes(b"1")),
        made(2, "unlink", name="a", inode=(1, 7), links=1),
        made(3, "open", name="b", inode=(1, 7), created=True),
        made(4, "write", name="b", inode=(1, 7), offset=0, data=Bytes(b"2")),
    ))  # fmt: skip
    states = crash_states(script(trace, Snapshot()), "ext4")
    assert {"b": b"2"} in trees(states)
    assert not any(tree.get("a") == b"2" or tree.get("b") == b"1" for tree in trees(states))  # type: ignore[attr-defined]


def test_failed_calls_leave_nothing_and_short_writes_what_they_wrote() -> None:
    """The result counts, not the request."""
    data = Bytes(b"0123456789")
    trace = Trace((
        Operation(0, "open", "a", result=3, detail=FileDetail(inode=(1, 1), created=True)),
        Operation(1, "write", "a", result=4, detail=FileDetail(inode=(1, 1), offset=0, length=10, data=data)),
        Operation(
            2, "write", "a", result=-errno.ENOSPC, detail=FileDetail(inode=(1, 1), offset=4, data=data)
        ),
        Operation(3, "rename", "a", "b", result=-errno.EXDEV, detail=FileDetail(inode=(1, 1))),
        Operation(4, "unlink", "a", result=-errno.EACCES, detail=FileDetail(inode=(1, 1))),
    ))  # fmt: skip
    states = crash_states(script(trace, Snapshot()), "xfs")
    assert len(states) == 3
    assert all(tree in trees(states) for tree in ({}, {"a": b""}, {"a": b"0123"}))


def test_a_call_without_result_may_have_happened_or_not() -> None:
    """Nothing that follows rests on it, and no sync makes it certain."""
    trace = Trace((
        Operation(0, "open", "a", result=3, detail=FileDetail(inode=(1, 1), created=True)),
        Operation(1, "mkdir", "d", result=None, detail=FileDetail(inode=(1, 2))),
        Operation(2, "fsync", "a", result=0, detail=FileDetail(inode=(1, 1))),
        Operation(3, "promise", "", result=0, detail=PromiseDetail(1)),
    ))  # fmt: skip
    states = crash_states(script(trace, Snapshot()), "ext4")
    promised = [state_tree(states, s) for s in states if s.moment.promises]
    assert {"a": b""} in promised
    assert {"a": b"", "d": {}} in promised


def test_after_a_failed_fsync_a_later_one_saves_nothing(states_of: States) -> None:
    """The pages count as clean: the second fsync succeeds and the data may still be gone."""

    def work(r: Recorder, fail: bool) -> None:
        fd = r.open("log", os.O_WRONLY | os.O_CREAT)
        r.write(fd, NEW)
        if fail:
            r._note("fsync", "log", None, -errno.EIO, {"inode": r._about("log")["inode"]})
        r.fsync(fd)
        r.sync_path(".")
        r.promise("saved")

    honest = states_of(empty, lambda r: work(r, False), models=ALL)
    assert {state_tree(honest, s)["log"] for s in honest if honest.promised(s)} == {NEW}
    lying = states_of(empty, lambda r: work(r, True), models=ALL)
    for model in ALL:
        found = {state_tree(lying, s)["log"] for s in lying if lying.promised(s) and model in s.models}
        assert {NEW, bytes(len(NEW))} <= found


def test_data_written_again_after_a_failed_fsync_is_saved(states_of: States) -> None:
    """Writing anew is what helps; the pages are dirty again."""

    def work(r: Recorder) -> None:
        fd = r.open("log", os.O_WRONLY | os.O_CREAT)
        r.write(fd, NEW)
        r._note("fsync", "log", None, -errno.EIO, {"inode": r._about("log")["inode"]})
        r.write(fd, NEW, 0)
        r.fsync(fd)
        r.sync_path(".")
        r.promise("saved")

    states = states_of(empty, work, models=ALL)
    assert {state_tree(states, s)["log"] for s in states if states.promised(s)} == {NEW}


@pytest.mark.parametrize("flag", [os.O_DSYNC, os.O_SYNC])
def test_synchronous_writes_are_durable_and_others_are_not(flag: int, states_of: States) -> None:
    """O_DSYNC covers what was written through it, not what was written before without it."""

    def work(r: Recorder) -> None:
        r.put("f", b"A" * 4096)
        fd = r.open("f", os.O_WRONLY | flag)
        r.write(fd, b"B" * 4096, 4096)
        r.promise(None)

    states = states_of(lambda r: None, work, models=("ext4", "xfs", "btrfs"))
    found = {state_tree(states, s)["f"] for s in states if s.moment.promises}
    assert {b"A" * 4096 + b"B" * 4096, bytes(4096) + b"B" * 4096} <= found
    assert {content[4096:] for content in found} == {b"B" * 4096}  # type: ignore[index]


KEEP_SIZE = 0x01


@pytest.mark.parametrize(("mode", "left"), [(0, bytes(4096)), (KEEP_SIZE, b"")])
@pytest.mark.parametrize("model", ["ext4", "ext4-ordered"])
def test_a_preallocated_file_is_not_saved_by_a_rename_on_ext4(
    mode: int, left: bytes, model: str, states_of: States
) -> None:
    """Seen each time on a mounted ext4: what is written early are delayed blocks, and it has none."""

    def work(r: Recorder) -> None:
        fd = r.open("t", os.O_WRONLY | os.O_CREAT)
        r.fallocate(fd, 0, 4096, mode)
        r.write(fd, b"N" * 4096)
        r.close(fd)
        r.rename("t", "state")
        r.put("other", b"y", sync=True)

    states = states_of(start, work, models=model)
    assert {"state": left, "other": b"y"} in trees(states)


def test_a_preallocated_file_is_not_saved_by_its_close_on_ext4(states_of: States) -> None:
    """The same when it had been emptied: without fallocate the close writes the new content."""

    def work(r: Recorder, preallocate: bool) -> None:
        fd = r.open("state", os.O_WRONLY | os.O_TRUNC)
        if preallocate:
            r.fallocate(fd, 0, 4096)
        r.write(fd, b"N" * 4096)
        r.close(fd)
        r.put("other", b"y", sync=True)

    for preallocate in (True, False):
        states = states_of(start, lambda r, how=preallocate: work(r, how), models="ext4-ordered")
        synced = [tree["state"] for tree in trees(states) if tree.get("other") == b"y"]  # type: ignore[attr-defined]
        assert (bytes(4096) in synced) is preallocate


def _cut(r: Recorder, fd: int) -> None:
    r.truncate(fd, 3)


def _allocated(r: Recorder, fd: int) -> None:
    r.fallocate(fd, 0, 8192)


def _punched(r: Recorder, fd: int) -> None:
    r.fallocate(fd, 0, 8, 0x02 | 0x01)


@pytest.mark.parametrize("flag", [os.O_DSYNC, os.O_SYNC])
@pytest.mark.parametrize("change", [_cut, _allocated, _punched])
def test_only_writes_are_durable_by_the_flags_of_a_descriptor(
    change: Callable[[Recorder, int], None], flag: int, states_of: States
) -> None:
    """A file that is cut, extended or punched through it may be as it was (open(2), "Synchronized I/O")."""

    def work(r: Recorder) -> None:
        change(r, r.open("state", os.O_WRONLY | flag))
        r.promise(None)

    states = states_of(start, work, models=ALL)
    unchanged = {
        m for s in states if s.moment.promises and state_tree(states, s)["state"] == OLD for m in s.models
    }
    assert unchanged == set(ALL)


def test_a_mode_is_not_durable_by_the_flags_of_a_descriptor(states_of: States) -> None:
    """fchmod through O_SYNC is like any other fchmod."""

    def work(r: Recorder) -> None:
        r.fchmod(r.open("state", os.O_WRONLY | os.O_SYNC), 0o600)
        r.promise(None)

    states = states_of(start, work, models=ALL)
    (step,) = [step for step in states.script.steps if step.kind is StepKind.ATTRIBUTE]
    lost = {m for s in states if s.moment.promises and not s.persisted >> step.index & 1 for m in s.models}
    assert lost == set(ALL)


def _moved(r: Recorder) -> None:
    r.rename("n/f", "d/g")


def _linked_and_unlinked(r: Recorder) -> None:
    r.link("n/f", "d/g")
    r.unlink("n/f")


@pytest.mark.parametrize("move", [_moved, _linked_and_unlinked])
@pytest.mark.parametrize("data_only", [False, True])
def test_the_directory_that_a_synced_file_came_from_may_be_missing_on_btrfs_alone(
    move: Callable[[Recorder], None], data_only: bool, states_of: States
) -> None:
    """Seen each time on a mounted btrfs: the file has its last name, its first directory is not there."""

    def work(r: Recorder) -> None:
        r.mkdir("n")
        r.put("n/f", b"1")
        move(r)
        r.sync_path("d/g", data_only=data_only)
        r.promise(None)

    states = states_of(lambda r: r.mkdir("d"), work, models=("ext4", "xfs", "btrfs"))
    without = [s for s in states if s.moment.promises and state_tree(states, s) == {"d": {"g": b"1"}}]
    assert [s.models for s in without] == [("btrfs",)]
    found = [state_tree(states, s)["d"] for s in states if s.moment.promises and "btrfs" in s.models]
    assert all(directory == {"g": b"1"} for directory in found)


def _replaces(r: Recorder) -> None:
    r.rename("t", "state")


def _gets_a_second_name(r: Recorder) -> None:
    r.link("t", "state2")


def _goes(r: Recorder) -> None:
    r.unlink("t")


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (_replaces, {"state": NEW}),
        (_gets_a_second_name, {"state": OLD, "t": NEW, "state2": NEW}),
        (_goes, {"state": OLD}),
    ],
)
def test_a_name_of_a_synced_file_overtakes_other_changes_on_btrfs_alone(
    change: Callable[[Recorder], None], left: dict[str, object], states_of: States
) -> None:
    """Seen each time on a mounted btrfs: the next fsync writes it out, without the file made before it."""

    def work(r: Recorder) -> None:
        r.put("t", NEW, sync=True)
        r.put("z", b"segment that the new one needs")
        change(r)
        r.put("other", b"y", sync=True)
        r.promise(None)

    states = states_of(start, work, models=("ext4", "xfs", "btrfs"))
    overtaken = [s for s in states if s.moment.promises and state_tree(states, s) == {**left, "other": b"y"}]
    assert [s.models for s in overtaken] == [("btrfs",)]


def test_a_file_that_lost_its_name_to_a_synced_one_may_be_missing_on_btrfs_alone(states_of: States) -> None:
    """Seen each time on a mounted btrfs, if it went to a new directory: neither is there."""

    def work(r: Recorder) -> None:
        r.mkdir("n")
        r.rename("state", "n/old")
        r.put("state", NEW, sync=True)
        r.promise(None)

    states = states_of(start, work, models=("ext4", "xfs", "btrfs"))
    lost = [s for s in states if s.moment.promises and state_tree(states, s) == {"state": NEW}]
    assert [s.models for s in lost] == [("btrfs",)]


def test_sync_file_range_promises_nothing(states_of: States) -> None:
    """As its manual page says: no metadata, and the disk's cache is not emptied."""

    def work(r: Recorder) -> None:
        fd = r.open("state", os.O_WRONLY)
        r.write(fd, NEW)
        r.sync_file_range(fd, 0, len(NEW))
        r.promise(None)

    states = states_of(start, work)
    assert {"state": OLD} in [state_tree(states, s) for s in states if s.moment.promises]


def test_sync_makes_everything_durable(states_of: States) -> None:
    """Under every model only one state is left."""

    def work(r: Recorder) -> None:
        r.mkdir("d")
        r.put("d/f", NEW)
        r.chmod("d/f", 0o600)
        r.sync()
        r.promise(None)

    states = states_of(start, work, models=ALL)
    assert [state_tree(states, s) for s in states if s.moment.promises] == [{"state": OLD, "d": {"f": NEW}}]


def test_growth_without_data_is_zeroes_and_under_strict_garbage(states_of: States) -> None:
    """Space that was never written may show what was there before only where nothing forbids it."""
    states = states_of(empty, lambda r: r.put("f", NEW))
    zero = [s for s in states if state_tree(states, s).get("f") == bytes(len(NEW))]
    odd = [s for s in states if state_tree(states, s).get("f", b"") not in (b"", NEW, bytes(len(NEW)))]
    assert zero
    assert odd
    assert all(s.models == ("strict",) for s in odd)
    assert {m for s in zero for m in s.models} == {"ext4", "portable", "strict"}
    assert {name_of(states.script, s).split()[0] for s in zero} == {"zero"}
    assert {name_of(states.script, s).split()[0] for s in odd} == {"garbage"}


def test_a6_writes_tear_at_sectors_and_pages(states_of: States) -> None:
    """At 512 bytes under strict alone: file systems send whole blocks, and no disk in use tears one."""
    old, new = b"o" * 8192, b"n" * 8192
    states = states_of(lambda r: r.put("f", old), lambda r: r.put("f", new, os.O_WRONLY), models=ALL)
    torn: dict[str, set[int]] = {m: set() for m in ALL}
    for s in states:
        content = state_tree(states, s)["f"]
        for model in s.models:
            torn[model].add(content.count(b"n"))  # type: ignore[attr-defined]
    assert torn.pop("strict") == {0, 512, 3584, 4096, 4608, 7680, 8192}
    assert all(found == {0, 4096, 8192} for found in torn.values())


def test_pieces_and_cuts() -> None:
    """At most four pieces, together the whole range, cut at pages; torn at first and last borders."""
    for offset, length in ((0, 1), (100, 9000), (4095, 2), (5, 10**6)):
        parts = list(pieces(offset, length))
        assert len(parts) <= 4
        assert [p[0] for p in parts] == [offset, *(a + b for a, b in parts[:-1])]
        assert sum(count for _, count in parts) == length
        assert all(start % 4096 == 0 for start, _ in parts[1:])
    assert cuts(0, 512) == ()
    assert cuts(100, 1000) == (512, 1024)
    assert cuts(0, 40960) == (512, 4096, 36864, 40448)


def test_a_budget_takes_the_most_suspicious_first_and_repeatably(states_of: States) -> None:
    """States that a kill leaves too come last; the same seed gives the same choice."""
    states = states_of(start, replaced(False))
    chosen = most_suspicious(states, 4, seed=7)
    assert chosen == most_suspicious(states, 4, seed=7)
    assert not any(s.complete for s in chosen)
    assert len(most_suspicious(states, 10**6)) == len(states)
    first: CrashState = most_suspicious(states, 1)[0]
    assert states.script.trace[first.moment.operation].call == "rename"


def test_prefixes_alone_are_few(states_of: States) -> None:
    """Two states at most for each operation."""

    def work(r: Recorder) -> None:
        for number in range(20):
            r.put(f"f{number}", b"x")

    states = states_of(empty, work, models="strict", prefixes_only=True)
    assert states.counts.possible <= 2 * 40
    assert len(trees(states)[-1]) == 20  # type: ignore[arg-type]


def test_more_states_for_weaker_models(states_of: States) -> None:
    """Everything that a real model allows, strict allows too."""
    for program in PROGRAMS:
        states = states_of(program.setup, program.wrong, exhaustive=10**5)
        assert all("strict" in s.models for s in states), program.name


@pytest.mark.parametrize("mode", [0x10, 0x02 | KEEP_SIZE])
@pytest.mark.parametrize("model", ["xfs", "btrfs"])
def test_the_ends_of_a_zeroed_range_are_only_zeroed_in_memory(
    mode: int, model: str, states_of: States
) -> None:
    """Seen on a mounted xfs: the whole blocks were zeroes, the ends of those beside them were not."""

    def setup(r: Recorder) -> None:
        r.put("big", b"A" * 12_288)

    def work(r: Recorder) -> None:
        # Only noted: not every file system that the tests run on has FALLOC_FL_ZERO_RANGE.
        detail = {"inode": r._about("big")["inode"], "offset": 4000, "length": 8000, "mode": mode}
        r._note("fallocate", "big", None, 0, detail)
        r.put("other", b"y", sync=True)

    states = states_of(setup, work, models=model)
    found = [tree["big"] for tree in trees(states) if tree.get("other") == b"y"]  # type: ignore[attr-defined]
    assert b"A" * 4096 + bytes(4096) + b"A" * 4096 in found
    assert b"A" * 4000 + bytes(8000) + b"A" * 288 in found
