"""Crash states as cases of a scenario."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from crash_recorder import Recorder
from programs import NEW, OLD, replaced

from chaoskit import faults
from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Bytes, Operation, Place, Trace
from chaoskit.core.schedule import Fault, Schedule, Strike
from chaoskit.explore.align import unaligned
from chaoskit.explore.border import Planned
from chaoskit.explore.crash import CrashSource
from chaoskit.explore.sources import sources_of
from chaoskit.faults import FaultSet
from chaoskit.grouping.blame import simpler_of

Work = Callable[[Recorder], None]


def cases(
    place: Path, work: Work, asked: FaultSet, models: tuple[str, ...] = ("ext4", "xfs"), run: int = 1
) -> tuple[CrashSource, list[Planned]]:
    """The cases of ``work`` done in each of ``run`` runs."""
    r = Recorder(place)
    r.put("state", OLD)
    source = CrashSource(asked, models)
    operations: list[Operation] = []
    for number in range(1, run + 1):
        source.before_run(number, str(place))
        recorder = Recorder(place)
        work(recorder)
        for o in recorder.trace():
            operations.append(replace(o, index=len(operations), place=Place(run=number)))
    recording = unaligned(Trace(tuple(operations), root=str(place)))
    return source, list(source.cases(recording))


def test_each_state_is_a_case_with_a_schedule_that_parses_back(tmp_path: Path) -> None:
    """One strike at the operation after which the power goes; the world fits it."""
    _, found = cases(tmp_path, replaced(False), faults.power_loss())
    assert len({str(one.schedule) for one in found}) == len(found) > 4
    for one in found:
        assert Schedule.parse(str(one.schedule)) == one.schedule
        (strike,) = one.schedule
        assert one.world is not None
        assert one.world.strike == strike
        assert one.world.run == 1
        assert set(one.world.models) <= {"ext4", "xfs"}


def test_a_world_builds_its_state_and_says_how_much_is_missing(tmp_path: Path) -> None:
    """What was in the directory before is gone, whatever the case's set-up had put there."""
    work, target = tmp_path / "work", tmp_path / "case"
    work.mkdir()
    target.mkdir()
    _, found = cases(work, replaced(False), faults.power_loss())
    (target / "left over").write_bytes(b"x")
    empty = next(one for one in found if one.world and one.world.told.kind == "rename-before-sync")
    assert empty.world is not None
    (receipt,) = empty.world.build(str(target))
    assert sorted(os.listdir(target)) == ["state"]
    assert (target / "state").read_bytes() == b""
    assert receipt.effect.startswith("power lost with 1 of ")
    assert receipt.strike == str(empty.schedule)
    assert empty.world.blamed.call == "rename"


def test_a_later_run_has_its_own_states(tmp_path: Path) -> None:
    """The point names the run; what was not synced in the run before is still at stake."""
    _, found = cases(tmp_path, replaced(False), faults.power_loss(), run=2)
    later = [one.world for one in found if one.world is not None and one.world.run == 2]
    assert len(later) > len(found) / 2
    for world in later:
        assert str(world.strike).startswith("run2:")
        assert world.operation.place.run == 2
    assert {world.blamed.place.run for world in later} == {1, 2}


def two_runs(place: Path, first: Work, meanwhile: Work, second: Work, model: str) -> set[tuple[str, ...]]:
    """What the directory may hold after a power loss in ``second``, with the promises before."""
    source = CrashSource(faults.power_loss(), (model,))
    operations: list[Operation] = []
    for number, work in enumerate((first, second), 1):
        source.before_run(number, str(place))
        recorder = Recorder(place)
        work(recorder)
        for o in recorder.trace():
            operations.append(replace(o, index=len(operations), place=Place(run=number)))
        if number == 1:
            meanwhile(Recorder(place))
    recording = unaligned(Trace(tuple(operations), root=str(place)))
    left: set[tuple[str, ...]] = set()
    for one in source.cases(recording):
        if one.world is not None and one.world.run == 2:
            target = place.with_name("left")
            target.mkdir(exist_ok=True)
            one.world.build(str(target))
            left.add(tuple(f"{f.name}={f.read_bytes()[:3]!r}" for f in sorted(target.iterdir())))
    return left


def nothing(r: Recorder) -> None:
    """Do nothing."""


def test_what_an_earlier_run_did_not_sync_can_be_lost_in_a_later_one(tmp_path: Path) -> None:
    """Under strict the file of the first run may be there or not, whatever the second one has synced."""
    place = tmp_path / "work"
    place.mkdir()
    left = two_runs(
        place, lambda r: r.put("a", b"new"), nothing, lambda r: r.put("b", b"ack", sync=True), "strict"
    )
    assert {(), ("a=b''", "b=b'ack'"), ("a=b'new'", "b=b'ack'"), ("b=b'ack'",)} <= left


def test_what_an_earlier_run_has_synced_stays(tmp_path: Path) -> None:
    """One fsync in the first run is enough for all later ones."""
    place = tmp_path / "work"
    place.mkdir()
    left = two_runs(
        place, lambda r: r.put("a", b"new", sync=True), nothing, lambda r: r.put("b", b"ack"), "ext4"
    )
    assert left
    assert all("a=b'new'" in found for found in left)


def test_what_the_test_does_between_two_runs_counts_as_synced(tmp_path: Path) -> None:
    """New, changed, renamed and removed files; what the run before it left in others is still at stake."""
    place = tmp_path / "work"
    place.mkdir()

    def first(r: Recorder) -> None:
        for name in ("changed", "removed", "renamed", "left"):
            r.put(name, name.encode())

    def meanwhile(r: Recorder) -> None:
        r.put("made", b"made")
        r.put("changed", b"other and longer", flags=os.O_WRONLY | os.O_TRUNC)
        r.unlink("removed")
        r.rename("renamed", "moved")

    left = two_runs(place, first, meanwhile, lambda r: r.put("end", b"end"), "strict")
    assert left
    assert all("made=b'mad'" in found for found in left)
    assert not any("removed" in name for found in left for name in found)
    assert {"changed=b'oth'"} == {n for found in left for n in found if n.startswith("changed")}
    assert {"moved=b''", "moved=b'ren'"} <= {n for found in left for n in found if n.startswith("moved")}
    assert any(not name.startswith("left") for found in left for name in found)
    assert {"left=b''", "left=b'lef'"} <= {n for found in left for n in found if n.startswith("left")}


def test_what_a_file_held_at_a_call_counts_as_written_before_it(tmp_path: Path) -> None:
    """Stores that no call made are at stake until the sync that found them, and durable after it."""
    place = tmp_path / "work"
    place.mkdir()
    Recorder(place).put("f", bytes(8192))
    source = CrashSource(faults.power_loss(), ("ext4",))
    source.before_run(1, str(place))
    r = Recorder(place)
    fd = r.open("f", os.O_RDWR)
    r.close(fd)
    r.sync_path("f")
    r.promise("synced")
    now = b"new".ljust(4096, b"\0") + bytes(4096)
    operations = [
        replace(o, detail=replace(o.file, seen=((o.file.inode, Bytes(now)),)))
        if o.call in ("close", "fsync") and o.file.inode is not None
        else o
        for o in r.trace()
    ]
    recording = unaligned(Trace(tuple(operations), root=str(place)))
    found: dict[str, set[bytes]] = {}
    for one in source.cases(recording):
        assert one.world is not None
        target = tmp_path / "left"
        target.mkdir(exist_ok=True)
        one.world.build(str(target))
        found.setdefault(one.world.operation.call, set()).add((target / "f").read_bytes()[:3])
    assert found["close"] == {b"new", bytes(3)}
    assert found["promise"] == {b"new"}


def test_no_state_is_built_with_a_file_that_has_changed_unseen(tmp_path: Path) -> None:
    """Its content is not known from its first operation on; others are explored, and a caveat says so."""
    place = tmp_path / "work"
    place.mkdir()
    Recorder(place).put("f", b"old")
    source = CrashSource(faults.power_loss(), ("ext4",))
    source.before_run(1, str(place))
    r = Recorder(place)
    r.put("g", b"seen", sync=True)
    r.put("f", b"OLD", sync=True)
    (place / "f").write_bytes(b"new")
    r.promise("new")
    source.after_run(1, str(place))
    found = list(source.cases(unaligned(r.trace())))
    assert {one.world.operation.target for one in found if one.world} == {"g"}
    (caveat,) = source.caveats()
    assert (caveat.kind, caveat.target) == ("content-unknown", "f")
    assert "crash states with it were left out" in caveat.text


def test_neither_a_smaller_state_nor_a_name_brings_an_unknown_file_back(tmp_path: Path) -> None:
    """States without the file are explored; giving its name back, or asking for it, gives no state."""
    place = tmp_path / "work"
    place.mkdir()
    source = CrashSource(faults.power_loss(), ("ext4",))
    source.before_run(1, str(place))
    r = Recorder(place)
    r.put("f", b"OLD")
    (place / "f").write_bytes(b"new")
    r.promise("new")
    source.after_run(1, str(place))
    recording = unaligned(r.trace())
    worlds = [one.world for one in source.cases(recording) if one.world is not None]
    without = next(world for world in worlds if world.operation.call == "promise")
    assert without.parts
    assert without.lacking(()) is None
    assert without.lacking(without.parts) is not None
    assert source.named(Schedule.parse("promise()#1=power_loss[all]"), recording) is None


def test_the_models_of_the_fault_win_over_those_of_the_scenario(tmp_path: Path) -> None:
    """And several families add up."""
    _, found = cases(tmp_path, replaced(False), faults.power_loss(model="btrfs"), ("ext4",))
    assert {m for one in found if one.world for m in one.world.models} == {"btrfs"}


def test_power_goes_only_where_it_was_asked_for(tmp_path: Path) -> None:
    """``on`` narrows the places; the states are those of the whole trace up to there."""
    _, found = cases(tmp_path, replaced(False), faults.power_loss().on(call="rename"))
    assert {one.schedule.strikes[0].point.call for one in found} == {"rename"}


def test_nothing_is_enumerated_where_power_loss_was_not_asked_for(tmp_path: Path) -> None:
    """A set without it has no such source."""
    assert [type(s).__name__ for s in sources_of(faults.kill(), ("ext4",))] == ["Offers"]
    assert [type(s).__name__ for s in sources_of(faults.power_loss(), ("ext4",))] == ["Offers", "CrashSource"]
    _, found = cases(tmp_path, replaced(False), faults.power_loss().on(path="elsewhere"))
    assert found == []


def test_the_recording_alone_gives_remarks(tmp_path: Path) -> None:
    """Plain records, ready for the result."""
    source, _ = cases(tmp_path, replaced(False), faults.power_loss())
    (remark,) = source.remarks()
    assert (remark.kind, remark.operation) == ("rename-before-sync", "rename(state.tmp -> state)#1 = 0")
    assert source.caveats() == ()


def test_what_the_recording_does_not_hold_is_a_caveat(tmp_path: Path) -> None:
    """A file that comes from elsewhere has unknown content: verdicts that rest on it say so."""

    def work(r: Recorder) -> None:
        r._note("rename", "/elsewhere/f", "f", 0, {"inode": (9, 9)})

    source, _ = cases(tmp_path, work, faults.power_loss())
    assert [caveat.kind for caveat in source.caveats()] == ["content-unknown"]


def test_states_that_miss_more_are_put_down_to_what_a_simpler_one_shows(tmp_path: Path) -> None:
    """Two cases that break in the same way, of which one lacks all that the other lacks: one call."""
    _, found = cases(tmp_path, replaced(False), faults.power_loss(), ("strict",))
    worlds = {i: one.world for i, one in enumerate(found) if one.world is not None and one.world.missing}
    simple, more = next((i, j) for i, a in worlds.items() for j, b in worlds.items() if a.missing < b.missing)
    corrected = simpler_of(dict.fromkeys(worlds, "same"), worlds)
    assert corrected[more] == corrected[simple]
    assert len(set(corrected.values())) < len(worlds)
    apart = simpler_of({i: i for i in worlds}, worlds)
    assert apart == {i: i for i in worlds}


@pytest.mark.parametrize("model", ["zfs", ("ext4", "zfs"), ()])
def test_a_model_that_does_not_exist_is_refused_where_it_is_written(model: object) -> None:
    """The error lists those that exist."""
    with pytest.raises(UsageError, match=r"one or several of ext4, .*, xfs, btrfs, portable, strict"):
        faults.power_loss(model=model)  # type: ignore[arg-type]


def test_power_loss_reads_back_as_it_was_written() -> None:
    """The text of a set of faults is what a user would write."""
    assert repr(faults.power_loss()) == "faults.power_loss()"
    assert repr(faults.power_loss("ext4")) == "faults.power_loss(model='ext4')"
    assert repr(faults.power_loss(("ext4", "xfs"))) == "faults.power_loss(model=('ext4', 'xfs'))"


def test_calls_that_failed_are_no_places_for_it(tmp_path: Path) -> None:
    """Nothing has changed after them."""

    def work(r: Recorder) -> None:
        with pytest.raises(OSError) as caught:
            r.rename("nothing", "there")
        assert caught.value.errno == errno.ENOENT
        r.put("out", NEW)

    _, found = cases(tmp_path, work, faults.power_loss())
    assert {one.schedule.strikes[0].point.call for one in found} == {"open", "write"}


def lying(place: Path, work: Callable[[Recorder, bool], None]) -> tuple[CrashSource, Planned, list[Planned]]:
    """The source, the case in which the fsync fails, and the power losses that follow it."""
    source, _ = cases(place, lambda r: work(r, False), faults.fsync_lies())
    again = place / "again"
    again.mkdir()
    r = Recorder(again)
    r.put("state", OLD)
    r = Recorder(again)
    work(r, True)
    recording = unaligned(r.trace())
    hit = next(i for i, o in enumerate(recording.trace) if o.call == "fsync")
    failed = Planned(Schedule((Strike(recording.points[hit], Fault("EIO")),)))
    return source, failed, list(source.after(failed, recording))


def write_and_sync(r: Recorder, fail: bool, again: bool) -> None:
    fd = r.open("log", os.O_WRONLY | os.O_CREAT)
    r.write(fd, NEW)
    if fail:
        r._note("fsync", "log", None, -errno.EIO, {"inode": r._about("log")["inode"]})
        if again:
            r.write(fd, NEW, 0)
    r.fsync(fd)
    r.close(fd)
    r.sync_path(".")
    r.promise("log")


def test_after_a_failed_fsync_the_power_goes_where_its_data_is_missing(tmp_path: Path) -> None:
    """The schedule has both strikes, the world a receipt for each; the failed call is to blame."""
    _, failed, followed = lying(tmp_path, lambda r, fail: write_and_sync(r, fail, again=False))
    assert followed
    target = tmp_path / "case"
    target.mkdir()
    for one in followed:
        assert one.schedule.strikes[:1] == failed.schedule.strikes
        assert one.world is not None
        assert one.world.told.kind == "fsync-failed"
        assert [r.strike for r in one.world.build(str(target))] == list(map(str, one.schedule))
    promised = [one.world for one in followed if one.world and one.world.promised]
    assert promised
    promised[0].build(str(target))
    assert (target / "log").read_bytes() == bytes(len(NEW))
    assert (target / "state").read_bytes() == OLD


def test_nothing_follows_where_the_data_was_written_again(tmp_path: Path) -> None:
    """Pages that are dirty again are written by the next fsync."""
    _, _, followed = lying(tmp_path, lambda r, fail: write_and_sync(r, fail, again=True))
    assert not [one for one in followed if one.world and one.world.promised]


def test_nothing_follows_a_failed_fsync_where_it_was_not_asked_for(tmp_path: Path) -> None:
    """EIO from ``faults.disk()`` alone is an error and no lie."""
    source, _ = cases(tmp_path, replaced(True), faults.power_loss() | faults.disk())
    recorder = Recorder(tmp_path)
    recorder.promise(None)
    recording = unaligned(recorder.trace())
    failed = Planned(Schedule((Strike(recording.points[0], Fault("EIO")),)))
    assert list(source.after(failed, recording)) == []
