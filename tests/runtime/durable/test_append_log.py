"""Logs and flags: what a reader finds, what is cut, and what is refused."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    AppendLog,
    Flag,
    FlagInfo,
    OutcomeUnknown,
    RecordCorrupt,
    StoreBusy,
    StoreForked,
    StoreGone,
    read_log,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.files import append_log
from chaoskit.runtime.failures.taxonomy import DiskFull

RECORDS = [b"first", b"", b"\0" * 40, b"last one"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with four records, closed."""
    with AppendLog(tmp_path / "log") as log:
        assert [log.append(record) for record in RECORDS] == [0, 1, 2, 3]
    return tmp_path / "log"


def test_records_come_back_in_order(path: Path) -> None:
    """Whatever their bytes; the log can be read while it is open, and goes on where it was."""
    with AppendLog(path) as log:
        assert list(log) == list(read_log(path)) == RECORDS
        log.append(bytearray(b"more"))
        assert list(log) == [*RECORDS, b"more"]
        assert (log.count, log.torn) == (5, 0)


def test_every_torn_tail_is_cut_and_counted(path: Path) -> None:
    """Wherever a crash cuts the file, the whole records before it are there and can be appended to."""
    content = path.read_bytes()
    ends = [16, 29, 37, 85, 101]
    assert ends[-1] == len(content)
    for cut in range(16, len(content)):
        path.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert list(read_log(path)) == RECORDS[:whole]
        with AppendLog(path) as log:
            assert (list(log), log.torn) == (RECORDS[:whole], cut - ends[whole])
            log.append(b"next")
        assert list(read_log(path)) == [*RECORDS[:whole], b"next"]


@pytest.mark.parametrize("size", [1, 8, 100, 5000])
def test_zeroes_at_the_end_are_no_records(path: Path, size: int) -> None:
    """A file system may leave zeroes where data was to come: they are a torn tail."""
    with open(path, "ab") as file:
        file.write(bytes(size))
    with AppendLog(path) as log:
        assert (list(log), log.torn) == (RECORDS, size)


def test_every_flipped_bit_before_the_tail_is_refused(path: Path) -> None:
    """Damage is never taken for a torn tail as long as an intact record follows; nothing is cut."""
    content = path.read_bytes()
    for at in range(85):  # The last record begins there.
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(RecordCorrupt):
                AppendLog(path)
            assert path.read_bytes() == damaged


def test_records_around_a_damaged_one_can_be_read(path: Path) -> None:
    """The neighbours are unaffected, and the error says where and how."""
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordCorrupt, match="damaged at byte 37") as caught:
        list(read_log(path))
    assert "skip_damaged=True" in caught.value.hint
    assert list(read_log(path, skip_damaged=True)) == [RECORDS[0], RECORDS[1], RECORDS[3]]


def test_a_tail_that_is_too_long_to_be_torn_is_damage(tmp_path: Path) -> None:
    """One append at most can be torn: more than that is not cut."""
    path = tmp_path / "log"
    with AppendLog(path, max_record=10) as log:
        log.append(b"1")
    with open(path, "ab") as file:
        file.write(b"\xff" * 19)
    with pytest.raises(RecordCorrupt):
        AppendLog(path)


def test_a_record_that_was_copied_is_no_record(path: Path) -> None:
    """A checksum covers the place: an old record behind the last is not taken for a new one."""
    content = path.read_bytes()
    path.write_bytes(content + content[16:29])
    with AppendLog(path) as log:
        assert (list(log), log.torn) == (RECORDS, 13)


def test_a_log_without_checksum_would_take_zeroes_for_records(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted twin of the tests above."""
    from chaoskit.runtime.durable.files import records

    monkeypatch.setattr(records, "_sum", lambda data, offset: 0)
    path.write_bytes(path.read_bytes()[:16] + bytes(80))
    assert list(read_log(path)) == [b""] * 10


@pytest.mark.parametrize("content", [b"", b"CKLOG", b"something else entirely"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not a log is not written to."""
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(RecordCorrupt, match="does not begin with the head of an append log"):
        AppendLog(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == content


def test_records_have_a_longest_length(path: Path, tmp_path: Path) -> None:
    """The limit is the one that the log was made with; a longer record is refused before it is written."""
    with AppendLog(tmp_path / "short", max_record=3) as log:
        log.append(b"abc")
    with AppendLog(tmp_path / "short") as log, pytest.raises(UsageError, match="at most 3 bytes"):
        log.append(b"abcd")
    assert list(read_log(tmp_path / "short")) == [b"abc"]
    with pytest.raises(UsageError, match="max_record"):
        AppendLog(tmp_path / "none", max_record=0)


def test_large_records_cross_the_buffers(tmp_path: Path) -> None:
    """Records longer than what is read at once, among short ones."""
    written = [b"a" * (1 << 20), b"b", b"c" * ((1 << 20) - 1), b"d" * 700_000, b""] * 2
    with AppendLog(tmp_path / "log", durability="process-crash") as log:
        for record in written:
            log.append(record)
    assert list(read_log(tmp_path / "log")) == written


def test_one_at_a_time_writes(path: Path) -> None:
    """Another object is refused, in this process and in another, and the error names the process."""
    with AppendLog(path):
        with pytest.raises(StoreBusy, match=rf"held by this process \({os.getpid()}\)"):
            AppendLog(path)
        code = "import sys; from chaoskit.runtime import AppendLog; AppendLog(sys.argv[1])"
        other = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
        )
        assert f"held by process {os.getpid()}" in other.stderr
    AppendLog(path).close()


def test_the_lock_outlives_readers_of_the_file(path: Path) -> None:
    """Opening and closing the log elsewhere in the process does not drop its lock."""
    with AppendLog(path):
        path.read_bytes()
        list(read_log(path))
        with pytest.raises(StoreBusy):
            AppendLog(path)
        code = "import sys; from chaoskit.runtime import AppendLog; AppendLog(sys.argv[1])"
        other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
        assert other.returncode == 1


def test_a_killed_writer_is_no_longer_in_the_way(tmp_path: Path) -> None:
    """Its lock goes with it, even while a child that it forked lives on."""
    code = (
        "import os, sys, time; from chaoskit.runtime import AppendLog\n"
        "log = AppendLog(sys.argv[1]); log.append(b'kept')\n"
        "child = os.fork()\n"
        "if not child: sys.stdin.read(); os._exit(0)\n"
        "print(child, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, tmp_path / "log"]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    child = int(writer.stdout.readline())
    assert writer.wait(30) == -signal.SIGKILL
    os.kill(child, 0)  # It lives, and has inherited every descriptor.
    with AppendLog(tmp_path / "log") as log:
        assert list(log) == [b"kept"]
    writer.communicate()


def test_a_child_is_refused(path: Path) -> None:
    """An object carried across a fork says so, and the parent's goes on."""
    with AppendLog(path) as log:
        child = os.fork()
        if not child:
            try:
                log.append(b"x")
            except StoreForked as error:
                os._exit(0 if "Open it in the child" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        log.append(b"parent")
        assert list(log) == [*RECORDS, b"parent"]


def test_a_closed_log_is_refused(path: Path) -> None:
    """Using it after close is an error that says so; closing twice is none."""
    log = AppendLog(path)
    log.close()
    log.close()
    with pytest.raises(UsageError, match="It was closed"):
        log.append(b"x")


def test_threads_share_a_log(tmp_path: Path) -> None:
    """Every record is there once, under the number that its append returned."""
    numbers: dict[int, bytes] = {}
    with AppendLog(tmp_path / "log", durability="process-crash") as log:

        def work(name: int) -> None:
            for count in range(50):
                record = b"%d %d" % (name, count)
                numbers[log.append(record)] = record

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert list(log) == [numbers[number] for number in range(200)]


def test_a_full_disk_leaves_the_log_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a record is taken back at once, and the log goes on when there is space again."""
    pwrite = os.pwrite
    calls: list[int] = []

    def fills_up(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return pwrite(descriptor, bytes(data)[:5], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    size = path.stat().st_size
    with AppendLog(path, durability="process-crash") as log:
        monkeypatch.setattr(os, "pwrite", fills_up)
        with pytest.raises(DiskFull, match="could not append to"):
            log.append(b"too much")
        assert path.stat().st_size == size
        monkeypatch.undo()
        assert log.append(b"again") == 4
        assert list(log) == [*RECORDS, b"again"]


def test_a_failed_sync_is_not_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is taken back and the one before it written again, through another descriptor."""
    with AppendLog(path) as log:
        before, failed = log._descriptor, []

        def fails(descriptor: int) -> None:
            failed.append(descriptor)
            if len(failed) == 1:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(append_log, "sync_data", fails)
        held = os.dup(before)  # So that the number is not given to the new descriptor.
        with pytest.raises(OSError, match="Input/output"):
            log.append(b"lost")
        os.close(held)
        monkeypatch.undo()
        assert len(failed) == 2
        assert list(log) == RECORDS
        log.append(b"next")
    assert list(read_log(path)) == [*RECORDS, b"next"]


def test_what_cannot_be_taken_back_is_an_unknown_outcome(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record may be there; the object goes on without it as soon as it can."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with AppendLog(path) as log:
        monkeypatch.setattr(append_log, "sync_data", fails)
        with pytest.raises(OutcomeUnknown, match="so did taking it back"):
            log.append(b"unknown")
        monkeypatch.undo()
        log.append(b"next")
        assert list(log) == [*RECORDS, b"next"]
    assert list(read_log(path)) == [*RECORDS, b"next"]


def rotated(path: Path, way: str) -> None:
    """What a rotation does to a log, or a careless hand."""
    os.rename(path, path.with_name("log.1"))
    if way == "replaced":
        AppendLog(path).close()


@pytest.mark.parametrize("way", ["removed", "replaced"])
def test_nothing_is_acknowledged_into_a_log_that_was_rotated(path: Path, way: str) -> None:
    """The record would be in a file that no reader of the path looks into."""
    with AppendLog(path) as log:
        (path.with_name("log.lock")).rename(path.with_name("log.1.lock"))
        rotated(path, way)
        with pytest.raises(StoreGone, match="is no longer the log that was opened") as caught:
            log.append(b"lost")
        assert "a rotation" in caught.value.hint
    assert list(read_log(path.with_name("log.1"))) == RECORDS


def test_a_log_that_is_rotated_while_a_record_is_appended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synced, and perhaps to no file any more: its outcome is unknown."""
    with AppendLog(path) as log:
        monkeypatch.setattr(append_log, "sync_data", lambda descriptor: rotated(path, "removed"))
        with pytest.raises(OutcomeUnknown, match="was removed or replaced while a record was appended"):
            log.append(b"lost")
        monkeypatch.undo()
        with pytest.raises(StoreGone):
            log.append(b"lost too")


def test_what_came_in_place_of_a_log_is_not_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the log is opened again: another one under its name was cut to its length."""

    def fails(descriptor: int) -> None:
        os.rename(path, path.with_name("log.1"))
        path.write_bytes(b"another file" * 100)
        raise OSError(errno.EIO, "Input/output error")

    with AppendLog(path) as log:
        monkeypatch.setattr(append_log, "sync_data", fails)
        with pytest.raises(StoreGone):
            log.append(b"lost")
        monkeypatch.undo()
        with pytest.raises(StoreGone):
            log.append(b"lost too")
    assert path.read_bytes() == b"another file" * 100


# --- flags -------------------------------------------------------------------------------------------


def test_a_flag_says_why(tmp_path: Path) -> None:
    """Reason, details and time come back; setting it again replaces them."""
    flag = Flag(tmp_path / "flag", clock=VirtualClock(epoch=5.0))
    assert flag.read() is None
    flag.set("first")
    flag.set("worse", run="r1", count=2)
    assert flag.read() == FlagInfo("worse", {"run": "r1", "count": 2}, 5.0)
    assert flag.clear()
    assert not flag.clear()
    assert flag.read() is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b'{"crc": 1, "flag": "{}"}', b"[" * 100_000]
)
def test_a_flag_that_cannot_be_read_is_set(tmp_path: Path, content: bytes) -> None:
    """What it warns of is unknown, so the warning stands."""
    (tmp_path / "flag").write_bytes(content)
    found = Flag(tmp_path / "flag").read()
    assert found is not None
    assert found.damaged
    assert Flag(tmp_path / "flag").clear()


def test_every_flipped_bit_of_a_flag_is_seen(tmp_path: Path) -> None:
    """It never says something else than what was set."""
    flag = Flag(tmp_path / "flag", clock=VirtualClock())
    flag.set("reason", a=1)
    right, content = flag.read(), (tmp_path / "flag").read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            (tmp_path / "flag").write_bytes(damaged)
            found = flag.read()
            assert found is not None
            assert found.damaged or found == right


def test_details_are_json(tmp_path: Path) -> None:
    """Others are refused before anything is written."""
    with pytest.raises(UsageError, match="values that JSON can hold"):
        Flag(tmp_path / "flag").set("x", what=object())
    assert os.listdir(tmp_path) == []
