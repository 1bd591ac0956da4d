"""What each family offers at which operation, and what it does not."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_operations import offered, operation, trace, write

from chaoskit import faults
from chaoskit.core.operation import Place
from chaoskit.core.schedule import Schedule, Strike, point_of
from chaoskit.faults import errnos
from chaoskit.faults.calls import CALLS, FILE_CALLS
from chaoskit.faults.kills import PAGE, torn_lengths

CREATE = os.O_WRONLY | os.O_CREAT


def names(*operations, at: int = 0, asked: faults.FaultSet | None = None) -> set[str]:
    """The one-shot errors that a disk offers, or another set that is ``asked``."""
    return {text for text in offered(asked or faults.disk(), *operations, at=at) if "[" not in text}


# --- errors ---


def test_every_file_call_has_its_rows_and_every_row_a_known_errno() -> None:
    """The table covers exactly the families of calls, with names that the platform knows."""
    assert set(errnos.TABLE) == set(FILE_CALLS)
    rows = [row for table in (errnos.TABLE, errnos.LOST) for rows in table.values() for row in rows]
    assert all(hasattr(errno, row.name) and row.source for row in rows)


def test_an_open_for_reading_meets_no_full_disk() -> None:
    """Space and write protection concern only opens that ask for more than reading."""
    assert names(operation("open", flags=os.O_RDONLY)).isdisjoint({"ENOSPC", "EDQUOT", "EROFS", "EEXIST"})


def test_an_open_needs_space_only_to_create() -> None:
    """ENOSPC belongs to an open that made the file, EROFS to any that may write."""
    old = names(operation("open", flags=CREATE))
    new = names(operation("open", flags=CREATE, created=True))
    assert new - old == {"ENOSPC", "EDQUOT"}
    assert "EROFS" in old


def test_eexist_needs_an_exclusive_open() -> None:
    """Without both flags the kernel cannot say EEXIST."""
    others = faults.interference()
    assert "EEXIST" in names(operation("open", flags=CREATE | os.O_EXCL, created=True), asked=others)
    assert "EEXIST" not in names(operation("open", flags=CREATE, created=True), asked=others)


@pytest.mark.parametrize(
    ("second", "directory", "possible"), [("g", False, False), ("d/f", False, True), ("g", True, True)]
)
def test_exdev_needs_two_directories(second: str, directory: bool, possible: bool) -> None:
    """A file renamed within its directory stays on its file system; overlayfs refuses any directory."""
    assert ("EXDEV" in names(operation("rename", "f", second, directory=directory))) is possible


def test_a_file_that_is_cut_is_not_too_large() -> None:
    """EFBIG needs a truncate that lengthens, as it needs a write that does."""
    assert "EFBIG" in names(operation("truncate", length=9, size_before=5))
    assert "EFBIG" not in names(operation("truncate", length=5, size_before=9))
    assert "EFBIG" not in names(write(5, size_before=9))


@pytest.mark.parametrize(
    ("syscall", "named"), [("chmod", True), ("fchmod", False), ("fchmodat", True), ("fchmodat2", True)]
)
def test_a_descriptor_needs_no_search_permission(syscall: str, named: bool) -> None:
    """EACCES comes from looking up a path; a call that is given a descriptor looks up none."""
    assert ("EACCES" in names(operation("chmod", syscall=syscall))) is named


def test_only_a_lock_that_does_not_wait_would_block() -> None:
    """EWOULDBLOCK for LOCK_NB, EINTR for one that waits, neither for an unlock."""
    every = faults.disk() | faults.interference()
    trying = names(operation("lock", syscall="flock", flags=2 | 4), asked=every)
    waiting = names(operation("lock", syscall="flock", flags=2), asked=every)
    unlocking = names(operation("lock", syscall="flock", flags=8), asked=every)
    assert (trying, waiting, unlocking) == ({"EWOULDBLOCK", "ENOLCK"}, {"EINTR", "ENOLCK"}, set())


def test_a_call_that_failed_by_itself_is_left_alone() -> None:
    """What failed in the baseline is offered nothing by any family but signals and delays."""
    missing = operation("open", result=-errno.ENOENT, flags=CREATE)
    assert offered(faults.default(), missing) == []


@pytest.mark.parametrize("name", ["EINTR", "ENOENT", "EEXIST", "EFBIG"])
def test_what_passes_by_itself_does_not_persist(name: str) -> None:
    """A fault that would make every honest retry loop endless is offered once only."""
    exclusive = operation("open", flags=CREATE | os.O_EXCL, created=True)
    every = faults.disk() | faults.share() | faults.interference()
    got = offered(every, exclusive) + offered(every, write(1))
    assert name in got
    assert f"{name}[persistent]" not in got


def test_persistent_trouble_hits_only_what_can_fail_that_way() -> None:
    """A full disk refuses writes and creation, but neither reading nor removing."""
    assert errnos.keeps_failing(operation("write", result=None), "ENOSPC")
    assert errnos.keeps_failing(operation("open", result=None, flags=CREATE), "ENOSPC")
    assert not errnos.keeps_failing(operation("open", result=None, flags=0), "ENOSPC")
    assert not errnos.keeps_failing(operation("unlink", result=None), "ENOSPC")
    assert not errnos.keeps_failing(operation("promise", result=None), "ENOSPC")


def test_persistent_trouble_spares_every_close() -> None:
    """A close of a file that was only read never fails, and nobody knows beforehand which ones were."""
    assert errnos.can_fail(operation("close", result=None), "EIO")
    assert not errnos.keeps_failing(operation("close", result=None), "EIO")


# --- transfers ---


@pytest.mark.parametrize(("length", "parts"), [(0, []), (1, []), (2, [1]), (3, [1]), (100, [1, 50])])
@pytest.mark.parametrize("call", ["read", "write", "copy_file_range", "sendfile"])
def test_short_transfers_are_one_byte_and_half(call: str, length: int, parts: list[int]) -> None:
    """Only what can be cut is cut, and never to nothing or to everything."""
    cut = operation(call, result=length, length=1 << 16)
    got = offered(faults.disk().only("short"), cut)
    assert got == [f"short[{n}]" for n in parts]


@pytest.mark.parametrize(
    ("op", "free"),
    [
        (write(100), [0, 50]),
        (write(1), [0]),
        (write(100, size_before=1000), []),
        (write(100, offset=50, size_before=100), [0, 25]),
        (operation("fallocate"), [0]),
        (operation("fallocate", offset=0, length=4096, size_before=0, mode=0x01), [0]),
        (operation("fallocate", offset=0, length=4096, size_before=8192, mode=0x10), []),
        (operation("fallocate", offset=8192, length=4096, size_before=100, mode=0x03), []),
        (operation("splice", result=None, length=100), [0]),
        (operation("copy_file_range", result=10, length=10, offset=0, size_before=0), [0, 5]),
        (operation("read", result=10), []),
    ],
)
def test_a_disk_fills_up_where_a_file_grows(op, free: list[int]) -> None:
    """Thresholds lie at the beginning and in the middle of what a call adds to its file."""
    assert offered(faults.disk().only("full"), op) == [f"full[{n}]" for n in free]


def test_a_lost_reply_is_true_to_what_a_second_request_meets() -> None:
    """After an unlink that took effect the file is not there; after a mkdir the directory is."""
    lost = faults.share().only("lost")
    assert offered(lost, operation("unlink")) == ["lost[EIO]", "lost[ENOENT]"]
    assert offered(lost, operation("mkdir")) == ["lost[EIO]", "lost[EEXIST]"]
    assert offered(lost, operation("read", result=5)) == []


def test_a_synchronous_write_may_fail_after_the_fact() -> None:
    """With O_SYNC the data is in the file before the device says no; else the error comes first."""
    lost = faults.disk().only("lost")
    assert offered(lost, write(5, synchronous="O_SYNC")) == ["lost[EIO]"]
    assert offered(lost, write(5)) == []


# --- late errors ---

FILE = {"inode": (1, 7)}


@pytest.mark.parametrize(
    ("before", "late"),
    [
        ((), False),
        ((write(5, **FILE),), True),
        ((write(5, inode=(1, 8)),), False),
        ((write(5, **FILE), operation("fsync", **FILE)), False),
        ((write(5, **FILE), operation("fsync", result=-errno.EIO, **FILE)), True),
        ((write(5, **FILE), operation("syncfs")), False),
        ((operation("fsync", **FILE), write(5, **FILE)), True),
        ((write(5, **FILE), operation("close", **FILE)), False),
        ((operation("write", result=-errno.EIO, **FILE),), False),
        ((write(5, **FILE), operation("rename", "f", "g", **FILE)), True),
    ],
)
def test_close_reports_late_only_what_was_not_yet_synced(before, late: bool) -> None:
    """An error at close is about data: the file's own, written since it was last synced or closed."""
    both = faults.disk() | faults.share()
    got = names(*before, operation("close", "g", **FILE), at=len(before), asked=both)
    assert got == ({"EIO", "ENOSPC", "EDQUOT", "EINTR", "ESTALE"} if late else set())


# --- kill ---


@pytest.mark.parametrize(
    "op",
    [
        *(
            operation(call)
            for call in ("rename", "unlink", "mkdir", "truncate", "setxattr", "promise", "end")
        ),
        operation("open", flags=CREATE, created=True),
        operation("open", flags=os.O_TRUNC, truncated=True),
        operation("write", result=None, length=5),
        write(5),
    ],
    ids=str,
)
def test_a_kill_strikes_before_every_change(op) -> None:
    """What changes the disk, acknowledges something or ends the run is a place to be killed at."""
    assert "kill" in offered(faults.kill(), op)


@pytest.mark.parametrize(
    "op",
    [
        *(operation(call) for call in ("read", "close", "fsync", "fdatasync", "lock", "getdents", "mmap")),
        operation("open", flags=os.O_RDONLY),
        operation("open", flags=CREATE),
        operation("write", result=0, length=0),
        operation("rename", result=-errno.ENOENT),
    ],
    ids=str,
)
def test_a_kill_is_not_wasted_where_nothing_changes(op) -> None:
    """A kill that leaves the disk as the next one does is not a case of its own."""
    assert offered(faults.kill(), op) == []


def test_one_process_is_killed_alone_only_among_several() -> None:
    """``kill[process]`` needs another process in the same run."""
    child = operation("unlink", place=Place(1, "git~1"))
    assert offered(faults.kill(), operation("unlink"), child) == ["kill", "kill[process]"]
    assert offered(faults.kill(), operation("unlink"), child, at=1) == ["kill", "kill[process]"]
    elsewhere = operation("unlink", place=Place(2))
    assert offered(faults.kill(), operation("unlink"), elsewhere) == ["kill"]
    threads = operation("unlink", place=Place(1, "", 1))
    assert offered(faults.kill(), operation("unlink"), threads) == ["kill"]


@given(offset=st.integers(0, 1 << 20), length=st.integers(0, 1 << 20))
def test_a_write_is_torn_at_page_borders_of_the_file(offset: int, length: int) -> None:
    """Up to three lengths, each inside the write and ending on a border; first and last among them."""
    torn = torn_lengths(write(length, offset=offset))
    if length <= PAGE:
        assert torn == ()
        return
    assert 1 <= len(torn) <= 3
    assert all(0 < n < length and (offset + n) % PAGE == 0 for n in torn)
    assert torn[0] <= PAGE
    assert torn[-1] >= length - PAGE
    torn_writes = faults.kill().only("kill[torn *]")
    assert offered(torn_writes, write(length, offset=offset)) == [f"kill[torn {n}]" for n in torn]


# --- signals and delays ---


def test_signals_strike_at_calls_and_promises_but_not_after_the_end() -> None:
    """Whoever handles a signal must still be there."""
    term = faults.signal("SIGTERM")
    assert offered(term, operation("read")) == offered(term, operation("promise")) == ["SIGTERM"]
    assert offered(term, operation("end")) == []
    child = Place(1, "child~1")
    run = (
        operation("read"),
        operation("write", place=child),
        operation("end"),
        operation("write", place=child),
    )
    assert [offered(term, *run, at=at) for at in range(4)] == [["SIGTERM"], ["SIGTERM"], [], []]
    later = operation("read", place=Place(2))
    assert offered(term, *run, later, at=4) == ["SIGTERM"]


def test_delays_strike_at_system_calls_alone() -> None:
    """A promise and the end take no time of their own; the argument is the shortest that reads back."""
    slow = faults.delay(0.1)
    assert offered(slow, operation("fsync")) == ["delay[0.1]"]
    assert offered(faults.delay(1e-7), operation("fsync")) == ["delay[0.0000001]"]
    assert offered(faults.delay(2), operation("fsync")) == ["delay[2]"]
    assert offered(slow, operation("promise")) == offered(slow, operation("end")) == []


@given(call=st.sampled_from(CALLS), length=st.integers(0, 1 << 16), data=st.data())
def test_everything_offered_can_be_written_as_a_schedule(call: str, length: int, data) -> None:
    """Any fault of any family at any operation parses back from its line of text."""
    flags = data.draw(st.sampled_from([0, CREATE, CREATE | os.O_EXCL, os.O_TRUNC, 6]))
    op = operation(
        call, result=length, length=length, offset=0, size_before=0, flags=flags, created=bool(flags)
    )
    whole = trace(op, operation("end", place=Place(1, "sh~1")))
    union = faults.all() | faults.delay(0.5)
    for fault in union.offers(whole[0], whole):
        schedule = Schedule((Strike(point_of(op), fault),))
        assert Schedule.parse(str(schedule)) == schedule
        assert fault.name in union.names
