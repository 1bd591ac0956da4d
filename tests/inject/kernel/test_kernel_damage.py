"""A file is damaged just before it is opened: in place, as the label says, and proven by being read."""

from __future__ import annotations

import mmap
import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from chaoskit.core.operation import Operation
from chaoskit.faults.corrupt import formats
from chaoskit.faults.corrupt.examples import TABLE, examples
from chaoskit.inject import damageable

GIVEN = bytes(range(256)) * 20
STRUCK = "open(given)#1=damage[file.cut.half]"


@pytest.fixture
def given(root):
    path = Path(root, "given")
    path.write_bytes(GIVEN)
    return path


@pytest.mark.parametrize(("name", "data"), examples().items(), ids=examples())
def test_what_is_read_is_what_the_label_says(run, given, name, data):
    """For every format: the program reads the damaged file, and the receipt says in words what was done."""
    given.write_bytes(data)
    label = next(label for label in formats.chosen(data) if label.startswith(name))
    ran = run(given.read_bytes, f"open(given)#1=damage[{label}]")
    assert ran.value == given.read_bytes() == formats.damaged(data, label) != data
    (receipt,) = ran.receipts
    assert receipt.effect.endswith(f"({len(data)} bytes before, {len(ran.value)} now)")


def test_inode_mode_and_times_are_as_before(run, given):
    """Rot does not change a file's dates: only the content and its length are others."""
    os.utime(given, ns=(1_000_000_000, 2_000_000_000))
    before = given.stat()
    ran = run(lambda: [os.fstat(os.open(given, os.O_RDONLY)).st_atime_ns, len(given.read_bytes())], STRUCK)
    after = given.stat()
    assert ran.value == [1_000_000_000, len(GIVEN) // 2]
    for one in ("st_ino", "st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_nlink"):
        assert getattr(before, one) == getattr(after, one)


def test_a_file_that_only_can_be_read_is_damaged_too(run, given):
    """Its mode is not in the way, and is as before."""
    given.chmod(0o400)
    ran = run(given.read_bytes, STRUCK)
    assert len(ran.value) == len(GIVEN) // 2
    assert stat.S_IMODE(given.stat().st_mode) == 0o400


def test_a_file_that_is_not_read_was_not_struck(run, given):
    """Opening and closing it is not enough: the program has not met the damage, so there is no receipt."""
    ran = run(lambda: os.close(os.open(given, os.O_RDONLY)), STRUCK)
    assert ran.reached == 1
    assert ran.receipts == ()


def _mapped(path, access):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0, access=access) as memory:
        return memory[:4]


def _through_a_duplicate(path):
    fd = os.open(path, os.O_RDONLY)
    return os.pread(os.dup(fd), 4, 0)


def _renamed(path):
    with open(path, "rb") as file:
        os.rename(path, path.with_name("other"))
        return file.read(4)


def _by_a_child(path):
    fd = os.open(path, os.O_RDONLY)
    code = "import os, sys; sys.stdout.buffer.write(os.read(int(sys.argv[1]), 4))"
    return subprocess.run(
        [sys.executable, "-c", code, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE, check=True
    ).stdout


@pytest.mark.parametrize(
    "read",
    [
        lambda path: _mapped(path, mmap.ACCESS_WRITE),
        _through_a_duplicate,
        _renamed,
        _by_a_child,
    ],
    ids=["mapping", "duplicate", "renamed", "child"],
)
def test_every_way_of_reading_is_proof(run, given, read):
    """By another descriptor, under another name, by a mapping or another process: it is the same file."""
    ran = run(lambda: read(given), STRUCK)
    assert ran.value == GIVEN[:4]
    assert len(ran.receipts) == 1


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_COPY], ids=["shared", "private"])
def test_a_mapping_to_read_is_proof_where_accesses_are_noted(run, given, access):
    """Such a mapping makes no call that is seen; the file's time of access tells, if the mount keeps it."""

    def work():
        fd = os.open(given, os.O_RDONLY)
        with mmap.mmap(fd, 0, access=access) as memory:
            return memory[:4]

    os.utime(given, ns=(1_000_000_000, 2_000_000_000))
    probe = given.with_name("probe")
    probe.write_bytes(GIVEN)
    os.utime(probe, ns=(1_000_000_000, 2_000_000_000))
    probe.read_bytes()
    ran = run(work, STRUCK)
    noted = probe.stat().st_atime_ns != 1_000_000_000
    assert len(ran.receipts) == int(noted)


def test_what_the_workload_wrote_itself_can_be_damaged(run, root):
    """Between the close and the next open a disk may rot, too."""

    def work():
        path = Path(root, "state")
        path.write_bytes(GIVEN)
        return path.read_bytes()

    ran = run(work, "open(state)#2=damage[file.zeros.all]")
    assert ran.value == bytes(len(GIVEN))
    assert len(ran.receipts) == 1


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: os.link(path, path.with_name("other")), "it has 2 names"),
        (lambda path: os.truncate(path, damageable.MOST + 1), "the most that are looked at"),
        (lambda path: path.write_bytes(b""), "not a regular file with content"),
        (lambda path: path.write_bytes(b"{}"), "a damage of this json file"),
    ],
    ids=["hard link", "large", "empty", "no such damage"],
)
def test_what_cannot_be_damaged_is_left_alone(run, given, spoil, why):
    """The call goes on, nothing has struck, and the reason is said; a hard link may lead to a user's file."""
    spoil(given)
    before = given.read_bytes()
    ran = run(given.read_bytes, "open(given)#1=damage[zip.entry1.flip.crc]")
    assert ran.value == before == given.read_bytes()
    assert ran.receipts == ()
    assert [why in one.text for one in ran.caveats] == [True]


def test_an_open_that_empties_the_file_is_not_struck(run, given):
    """Nothing of it will be read."""
    ran = run(lambda: given.write_bytes(b"new"), STRUCK)
    assert ran.receipts == ()
    assert given.read_bytes() == b"new"


def test_a_link_out_of_the_directory_is_not_followed(run, root, tmp_path):
    """A file elsewhere is none of the scenario's, even if a name in its directory leads there."""
    outside = tmp_path / "outside"
    outside.write_bytes(GIVEN)
    os.symlink(outside, f"{root}/given")
    ran = run(Path(root, "given").read_bytes, STRUCK)
    assert ran.reached == 0
    assert outside.read_bytes() == GIVEN


def test_sqlite_reads_the_damaged_page(run, root):
    """Its library opens, locks and reads by calls of its own, and meets the damage all the same."""
    path = f"{root}/jobs.db"
    Path(path).write_bytes(examples()["sqlite"])

    def work():
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("select count(*) from jobs").fetchone()[0]

    assert run(work).value == 40
    ran = run(work, "open(jobs.db)#1=damage[sqlite.page2.zeros]")
    assert isinstance(ran.error, sqlite3.DatabaseError)
    assert len(ran.receipts) == 1


def test_a_bomb_is_met_bounded(run, root):
    """It unpacks to 64 MiB and not to more, and is small as a file."""
    path = Path(root, "in.zip")
    path.write_bytes(examples()["zip"])

    def work():
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())

    whole = run(work).value
    ran = run(work, "open(in.zip)#1=damage[zip.hostile.bomb]")
    assert ran.value - whole == 64 << 20
    assert path.stat().st_size < 1 << 20


# --- what a recording keeps --------------------


def _opens(ran) -> list[Operation]:
    return [one for one in ran.trace if one.call == "open"]


def test_a_recording_keeps_what_was_held_once(run, given):
    """An open that reads has the content, unless this run knows it already; a change makes it news."""

    def work():
        given.read_bytes()
        given.read_bytes()
        given.write_bytes(TABLE)
        given.read_bytes()

    kept = [one.file.held for one in _opens(run(work, record=True))]
    assert [None if one is None else one.read() for one in kept] == [GIVEN, None, None, TABLE]


def test_a_recording_keeps_nothing_that_cannot_be_damaged(run, given, root):
    """Hard links, empty files, directories, and what is only written."""
    os.link(given, f"{root}/linked")
    Path(root, "empty").touch()

    def work():
        for name in ("given", "linked", "empty"):
            Path(root, name).read_bytes()
        os.close(os.open(root, os.O_RDONLY))
        os.close(os.open(f"{root}/given", os.O_WRONLY))

    assert {one.file.held for one in _opens(run(work, record=True))} == {None}


def test_a_recording_of_a_damaged_file_shows_the_change(run, given):
    """No call has made it, so a crash state that is built from the recording must be told."""
    ran = run(lambda: given.read_bytes() and None, STRUCK, record=True)
    seen = [data.read() for one in ran.trace for _, data in one.file.seen]
    assert seen == [GIVEN[: len(GIVEN) // 2]]


def _gives_up_by_size(path):
    with open(path, "rb", buffering=0) as file:
        return file.seek(0, os.SEEK_END)


def _gives_up_by_fstat(path):
    # As pyarrow does with a file that is too short to be Parquet.
    with open(path, "rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size


@pytest.mark.parametrize("asks", [_gives_up_by_size, _gives_up_by_fstat])
@pytest.mark.parametrize(("label", "left"), [("file.cut.1", 1), ("file.empty", 0)])
def test_a_program_that_gives_up_by_the_size_has_met_the_damage(run, given, label, left, asks):
    """An archive that is too short to be one is closed unread: the size was all that there is to know."""
    ran = run(lambda: asks(given), f"open(given)#1=damage[{label}]")
    assert ran.value == left
    assert len(ran.receipts) == 1
