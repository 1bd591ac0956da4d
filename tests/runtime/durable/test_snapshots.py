"""The last snapshots of a job: the newest is loaded, the old ones go, and a full disk still holds one."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import RecordCorrupt, SnapshotInfo, Snapshots, StateCodec, StoreTooNew
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable import reserve
from chaoskit.runtime.durable.snapshots import folder
from chaoskit.runtime.failures.taxonomy import CheckpointError, DiskFull

np = pytest.importorskip("numpy")


def kept(directory: Path, **options: Any) -> Snapshots:
    return Snapshots(directory, reserve=0, **options)


def damage(info: SnapshotInfo) -> None:
    content = bytearray(info.path.read_bytes())
    content[-1] ^= 1
    info.path.write_bytes(content)


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    """By another object too, and each one by its number."""
    snapshots = kept(tmp_path / "a" / "b", clock=VirtualClock(epoch=9.0))
    first = snapshots.save({"n": (1,)}, stage="fit", description="before the restart")
    assert (first.number, first.at, first.stage) == (1, 9.0, "fit")
    snapshots.save({"n": (2,)})
    again = kept(tmp_path / "a" / "b")
    assert again.load() == {"n": (2,)}
    assert again.load(1) == {"n": (1,)}
    assert again.list()[0] == first
    assert first.size == first.path.stat().st_size


def test_without_a_snapshot_there_is_an_error_or_the_default(tmp_path: Path) -> None:
    """Reading makes nothing, not even the directory."""
    snapshots = kept(tmp_path / "none")
    assert snapshots.load(default=None) is None
    with pytest.raises(CheckpointError, match="there is no snapshot 'latest' of 'state'"):
        snapshots.load()
    with pytest.raises(CheckpointError, match="there is no snapshot 3"):
        snapshots.load(3)
    assert (snapshots.list(), snapshots.verify(), snapshots.prune()) == ([], {}, 0)
    assert not (tmp_path / "none").exists()


def test_the_last_twenty_are_kept(tmp_path: Path) -> None:
    """The oldest go first, and numbers are not used twice."""
    snapshots = kept(tmp_path, durability="process-crash")
    for number in range(25):
        snapshots.save(number)
    assert [info.number for info in snapshots.list()] == list(range(6, 26))
    assert kept(tmp_path, keep=3).prune() == 17
    assert [info.number for info in snapshots.list()] == [23, 24, 25]


def test_jobs_share_a_directory(tmp_path: Path) -> None:
    """Also where one name begins like another."""
    one, other = kept(tmp_path, job="a", keep=1), kept(tmp_path, job="a-0000000001", keep=1)
    for number in range(3):
        one.save(("one", number))
        other.save(("other", number))
    assert (one.load(), other.load()) == (("one", 2), ("other", 2))
    assert len(os.listdir(tmp_path)) == 2


def test_a_damaged_newest_one_is_an_error(tmp_path: Path) -> None:
    """Going back in silence would repeat work; who asks for the newest that is whole gets it."""
    snapshots = kept(tmp_path)
    for number in range(3):
        info = snapshots.save(number)
    damage(info)
    with pytest.raises(RecordCorrupt, match=r"state-0000000003\.snapshot") as caught:
        snapshots.load()
    assert caught.value.context == {"path": str(info.path)}
    assert snapshots.load("latest-intact") == 1
    assert list(snapshots.verify()) == [3]
    for one in snapshots.list()[:-1]:
        damage(one)
    with pytest.raises(RecordCorrupt, match="0000000003"):
        snapshots.load("latest-intact", default=None)


def test_a_list_says_nothing_that_was_not_written(tmp_path: Path) -> None:
    """It reads the beginning alone, which has a checksum to itself."""
    snapshots = kept(tmp_path)
    info = snapshots.save(1, stage="fit")
    content = info.path.read_bytes()
    info.path.write_bytes(content.replace(b'"fit"', b'"sit"'))
    assert snapshots.list() == [SnapshotInfo(1, info.path, info.size)]


def test_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    """One of a later version is named, and is not taken for damage."""
    snapshots = kept(tmp_path)
    info = snapshots.save(1)
    content = bytearray(info.path.read_bytes())
    content[8] = 9
    info.path.write_bytes(content)
    with pytest.raises(StoreTooNew, match="format 9"):
        snapshots.load()
    assert snapshots.list() == [SnapshotInfo(1, info.path, info.size)]


def test_a_state_that_cannot_be_saved_changes_nothing(tmp_path: Path) -> None:
    """It is refused before anything is touched."""
    with pytest.raises(CheckpointError, match=r"state\['x'\]"):
        kept(tmp_path / "new").save({"x": object()})
    assert not (tmp_path / "new").exists()


def test_loaded_arrays_can_be_written(tmp_path: Path) -> None:
    """They lie in the memory that the file was read to, without a copy."""
    snapshots = kept(tmp_path)
    snapshots.save({"a": np.arange(1000.0)})
    found = snapshots.load()["a"]
    found += 1
    assert found.sum() == 500500
    assert not found.flags.owndata


def test_two_processes_save_under_different_numbers(tmp_path: Path) -> None:
    """Each snapshot is there, none over another."""
    start = threading.Barrier(4)

    def save(name: int) -> None:
        snapshots = kept(tmp_path, keep=100, durability="process-crash")
        start.wait(30)
        for count in range(10):
            snapshots.save((name, count))

    threads = [threading.Thread(target=save, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    snapshots = kept(tmp_path)
    found = [snapshots.load(number) for number in range(1, 41)]
    assert sorted(found) == [(name, count) for name in range(4) for count in range(10)]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The first save of an object cleans up after those that died while they saved."""
    code = "from chaoskit.runtime.durable.owners import this_owner; print(this_owner())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (tmp_path / f".state-0000000001.snapshot.ck-{dead.stdout.strip()}-1").write_text("half")
    kept(tmp_path).save(1)
    assert os.listdir(tmp_path) == ["state-0000000001.snapshot"]


def test_old_ones_that_cannot_be_removed_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The save has succeeded all the same; the next one tries again."""
    snapshots = kept(tmp_path, keep=1)
    snapshots.save(1)

    def refuses(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuses)
        snapshots.save(2)
    assert len(snapshots.list()) == 2
    snapshots.save(3)
    assert [info.number for info in snapshots.list()] == [3]


# --- a full disk --------------------------------------------------------------------------------------


class Disk:
    """A disk with so many free bytes, for what snapshots write and remove."""

    def __init__(self, directory: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.size = directory, size
        write = folder.write_buffers

        def limited(path: Path, pieces: Any, **options: Any) -> None:
            if self.used() + sum(memoryview(piece).nbytes for piece in pieces) > self.size:
                raise DiskFull("no space", errno=errno.ENOSPC)
            write(path, pieces, **options)

        monkeypatch.setattr(folder, "write_buffers", limited)

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.directory.iterdir())


def test_the_reserve_is_there_before_it_is_needed(tmp_path: Path) -> None:
    """It takes up real blocks, not only a size."""
    Snapshots(tmp_path, reserve=1 << 20).save(1)
    found = (tmp_path / "state.reserve").stat()
    assert (found.st_size, found.st_blocks * 512 >= 1 << 20) == (1 << 20, True)


def test_a_save_that_fails_takes_no_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the only one that is kept goes only when the next one is there."""
    snapshots = kept(tmp_path, keep=1)
    snapshots.save("first")
    disk = Disk(tmp_path, 0, monkeypatch)
    with pytest.raises(DiskFull):
        snapshots.save("second")
    assert snapshots.load() == "first"
    disk.size = 1 << 20
    snapshots.save("third")
    assert (len(snapshots.list()), snapshots.load()) == (1, "third")


def test_an_emergency_uses_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk an ordinary save fails, and the emergency one succeeds; later the reserve is back."""
    snapshots = Snapshots(tmp_path, reserve=1 << 16)
    snapshots.save(b"x" * 1000)
    disk = Disk(tmp_path, 0, monkeypatch)
    disk.size = disk.used()
    with pytest.raises(DiskFull):
        snapshots.save(b"y" * 1000)
    info = snapshots.emergency(b"z" * 1000, description="disk full")
    assert info is not None
    assert info.emergency
    assert snapshots.load() == b"z" * 1000
    assert snapshots.list()[-1] == info
    assert not (tmp_path / "state.reserve").exists()
    disk.size = 1 << 20
    Snapshots(tmp_path, reserve=1 << 16).save(1)
    assert (tmp_path / "state.reserve").exists()


def test_an_emergency_gives_up_old_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, as many as it needs, and never the newest."""
    snapshots = kept(tmp_path)
    for number in range(4):
        snapshots.save(bytes([number]) * 1000)
    disk = Disk(tmp_path, 0, monkeypatch)
    disk.size = disk.used()
    assert snapshots.emergency(b"z" * 2200) is not None
    assert [info.number for info in snapshots.list()] == [4, 5] or len(snapshots.list()) == 3
    assert snapshots.load() == b"z" * 2200


def test_an_emergency_that_fails_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It never raises, says why in the log, and what was newest can still be loaded."""
    snapshots = kept(tmp_path)
    for number in range(3):
        snapshots.save(number)
    Disk(tmp_path, 10, monkeypatch)
    with caplog.at_level(logging.ERROR, "chaoskit"):
        assert snapshots.emergency(b"too much") is None
        assert snapshots.emergency(object()) is None
    assert [record.message for record in caplog.records] == [
        "the emergency snapshot of 'state' could not be saved"
    ] * 2
    assert snapshots.load() == 2


def test_a_reserve_that_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving goes on without; half a reserve would only take space from others."""

    def full(descriptor: int, size: int) -> None:
        os.write(descriptor, b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reserve, "_fill", full)
    Snapshots(tmp_path).save(1)
    assert os.listdir(tmp_path) == ["state-0000000001.snapshot"]


@pytest.mark.parametrize(
    ("options", "named"), [({"job": "../x"}, "job is"), ({"job": ""}, "job is"), ({"keep": 0}, "keep is"),
                           ({"durability": "none"}, "durability is")],
)  # fmt: skip
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    """When the object is made."""
    with pytest.raises(UsageError, match=named):
        Snapshots(tmp_path, **options)
    with pytest.raises(UsageError, match="'latest' or 'latest-intact'"):
        Snapshots(tmp_path).load("newest")  # type: ignore[arg-type]


def test_the_codec_is_an_argument(tmp_path: Path) -> None:
    """Its checksum, classes and key are those of all the snapshots."""
    snapshots = kept(tmp_path, codec=StateCodec(checksum="xxh3"))
    info = snapshots.save([1])
    assert b'"checksum":"xxh3"' in info.path.read_bytes()
    assert snapshots.load() == [1]
