"""Local disk, network share, other processes: which family offers what, and where."""

from __future__ import annotations

import os

import pytest
from made_operations import offered, operation, trace, write

from chaoskit import faults
from chaoskit.core.operation import Operation, Place
from chaoskit.core.schedule import Fault
from chaoskit.faults import errnos
from chaoskit.faults.errnos import FAULT_CLASSES, LOST, TABLE

EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
NOREPLACE, EXCHANGE = 1, 2  # linux/fs.h
SYNCED = {"inode": (1, 7)}
CHILD, OTHER = Place(1, "child~1"), Place(1, "child~2")

CONTRADICTED = [
    ("ENOENT", operation("open", flags=os.O_RDONLY)),
    ("ENOENT", operation("stat")),
    ("ENOENT", operation("access")),
    ("ENOENT", operation("readlink")),
    ("ENOENT", operation("getcwd", ".")),
    ("EEXIST", operation("open", flags=EXCLUSIVE, created=True)),
    ("ENOTEMPTY", operation("rmdir", directory=True)),
    ("EBUSY", operation("rmdir", directory=True)),
    ("EBUSY", operation("unlink")),
    ("EBUSY", operation("rename", "a", "b", directory=True)),
    ("EWOULDBLOCK", operation("lock", syscall="flock", flags=2 | 4)),
    ("EAGAIN", operation("lock", syscall="fcntl", flags=6)),
    ("EDEADLK", operation("lock", syscall="fcntl", flags=7)),
    ("ELOOP", operation("open", flags=os.O_RDWR | os.O_NOFOLLOW)),
    ("ENOTDIR", operation("open", flags=os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)),
    ("ENOENT", operation("rename", "a", "b")),
    ("EEXIST", operation("rename", "a", "b", flags=NOREPLACE)),
    ("ENOTEMPTY", operation("rename", "a", "b", directory=True)),
    *(("ENOENT", operation(call, "d/n")) for call in ("mkdir", "symlink", "mknod")),
    *(("EEXIST", operation(call, "d/n")) for call in ("symlink", "mknod")),
    *((name, operation("link", "a", "b")) for name in ("ENOENT", "EEXIST")),
    *(("ENOENT", operation(call)) for call in ("truncate", "chmod", "chown", "utimens")),
    *(("ENOENT", operation(call)) for call in ("setxattr", "removexattr")),
    ("lost[ENOENT]", operation("unlink")),
    ("lost[ENOENT]", operation("rmdir", directory=True)),
    ("lost[EEXIST]", operation("mkdir")),
]


@pytest.mark.parametrize(("error", "op"), CONTRADICTED, ids=lambda value: str(value))
def test_a1_what_the_disk_contradicts_takes_another_process(error: str, op: Operation) -> None:
    """A program that is alone is offered it by ``interference()`` and never by ``disk()``."""
    assert error not in offered(faults.disk(), op)
    assert error not in offered(faults.default(), op)
    assert error in offered(faults.interference(), op)
    assert error in offered(faults.all(), op)


@pytest.mark.parametrize(
    ("error", "op"),
    [
        # An exclusive open says EEXIST to a link as well.
        ("ELOOP", operation("open", flags=EXCLUSIVE | os.O_NOFOLLOW, created=True)),
        ("ELOOP", operation("open", flags=os.O_RDONLY)),
        ("ENOTDIR", operation("open", flags=os.O_RDONLY | os.O_DIRECTORY)),
        # A rename replaces a file, and two directories that are exchanged may be full.
        ("EEXIST", operation("rename", "a", "b")),
        ("ENOTEMPTY", operation("rename", "a", "b")),
        ("ENOTEMPTY", operation("rename", "a", "b", directory=True, flags=EXCHANGE)),
        # What is open is there.
        ("ENOENT", operation("chmod", syscall="fchmod")),
        ("ENOENT", operation("utimens", syscall="utimensat", fd=3)),
        ("ENOENT", operation("setxattr", syscall="fsetxattr")),
        # A job that another has claimed is not left where it was moved to: the other does it.
        ("lost[ENOENT]", operation("rename", "a", "b")),
    ],
    ids=lambda value: str(value),
)
def test_no_other_process_makes_a_call_fail_in_a_way_that_it_cannot(error: str, op: Operation) -> None:
    """Flags decide what a call looks at, and a descriptor needs no name."""
    assert error not in offered(faults.interference(), op)


SERVED = [
    *(("ESTALE", op) for op in (operation("open"), operation("read", result=5, length=5), write(5))),
    *(("ESTALE", operation(call)) for call in ("stat", "rename", "unlink", "getdents", "fsync", "chmod")),
    *((f"lost[{name}]", operation("rename", "a", "b")) for name in ("EIO", "ENOENT")),
    ("lost[EIO]", operation("mkdir")),
    ("EIO", operation("mkdir")),
    ("EIO", operation("utimens")),
    ("EDQUOT", operation("fsync")),
    *((name, operation("msync", flags=4)) for name in ("ENOSPC", "EDQUOT", "ESTALE")),
    *((name, operation("lock", syscall="flock", flags=2)) for name in ("EIO", "ESTALE")),
    *(("ESTALE", operation(call, result=5)) for call in ("sendfile", "splice")),
    ("ESTALE", operation("clone")),
    ("EINTR", write(5)),
    ("ENOTEMPTY", operation("rmdir", directory=True)),
]


@pytest.mark.parametrize(("error", "op"), SERVED, ids=lambda value: str(value))
def test_a2_what_only_a_server_does_is_of_the_share(error: str, op: Operation) -> None:
    """ESTALE, lost replies, a soft mount that gives up: ``share()`` has them, ``disk()`` has not."""
    assert error not in offered(faults.disk(), op)
    assert error not in offered(faults.default(), op)
    assert error in offered(faults.share(), op)


def test_a2_a_close_reports_quota_and_room_late_on_a_share() -> None:
    """close(2) says "On NFS" of them, and a server that has come back may not know the file any more; a local
    disk can only report that data was not written."""
    run = (write(5, **SYNCED), operation("close", **SYNCED))
    assert [one for one in offered(faults.disk(), *run, at=1) if one != "EIO"] == []
    assert offered(faults.share(), *run, at=1) == ["ENOSPC", "EDQUOT", "EINTR", "ESTALE"]
    assert offered(faults.share(), operation("close", **SYNCED)) == []


@pytest.mark.parametrize("call", ["open", "stat", "access", "readlink"])
def test_a2_a_name_blinks_on_a_share(call: str) -> None:
    """A client that remembers that a file was not there says so for a while, though another has made it."""
    op = operation(call, flags=os.O_RDONLY)
    assert "ENOENT" in offered(faults.share(), op)
    assert "ENOENT[persistent]" not in offered(faults.share(), op)


def test_the_three_families_have_every_row_and_no_row_twice() -> None:
    """Each row of the tables belongs to exactly one of them, with errors that it names."""
    sets = {"local": faults.disk(), "share": faults.share(), "interference": faults.interference()}
    assert tuple(sets) == FAULT_CLASSES
    for table in (TABLE, LOST):
        for rows in table.values():
            assert all(row.name in sets[row.fault_class].names or table is LOST for row in rows)
            keys = [(row.name, row.when, row.fault_class) for row in rows]
            assert len(keys) == len(set(keys))


# --- another process of the run ---


def run_of(*steps: tuple[str, str, Place]) -> tuple[Operation, ...]:
    """Operations by call, target and process; an open reads, and a write makes its file. Two names have an
    arrow between them."""
    return tuple(
        operation("open", target, place=place, flags=EXCLUSIVE, created=True)
        if call == "make"
        else operation("open", target, place=place, flags=os.O_WRONLY | os.O_CREAT)
        if call == "append"
        else operation("lock", target, place=place, syscall="flock", flags=2 | 4)
        if call == "lock"
        else operation(call, *target.split(" -> "), place=place, flags=os.O_RDONLY)
        for call, target, place in steps
    )


ME = Place(1)


@pytest.mark.parametrize(
    ("steps", "at", "error"),
    [
        # Removed later, while the reader is still at work.
        ([("open", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("stat", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        # Made before, by a process that goes on.
        ([("open", "x", ME), ("make", "n", CHILD), ("open", "n", ME), ("open", "y", CHILD)], 2, "ENOENT"),
        # A directory above it goes.
        ([("open", "d/n", ME), ("rmdir", "d", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("make", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "EEXIST"),
        ([("rmdir", "d", ME), ("make", "d/n", CHILD), ("end", "", ME)], 0, "ENOTEMPTY"),
        ([("lock", "n", ME), ("lock", "n", CHILD), ("end", "", ME)], 0, "EWOULDBLOCK"),
        ([("mkdir", "d", ME), ("mkdir", "d", CHILD), ("end", "", ME)], 0, "lost[EEXIST]"),
        ([("unlink", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "lost[ENOENT]"),
        # The directory of a name that is to be made goes, or that of the second name.
        ([("mkdir", "d/n", ME), ("rmdir", "d", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("rename", "n -> d/n", ME), ("rmdir", "d", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("symlink", "d/n", ME), ("rename", "d -> old", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("link", "n -> m", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("link", "n -> m", ME), ("make", "m", CHILD), ("end", "", ME)], 0, "EEXIST"),
        ([("symlink", "n", ME), ("symlink", "n", CHILD), ("end", "", ME)], 0, "EEXIST"),
        ([("utimens", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
    ],
)
def test_a1_another_process_at_the_same_name_makes_it_local(steps, at: int, error: str) -> None:
    """Where the run itself has the other process, the local disk can show what it does."""
    assert error in offered(faults.disk(), *run_of(*steps), at=at)


@pytest.mark.parametrize(
    ("steps", "at", "error"),
    [
        # Another name, and another kind of act.
        ([("open", "n", ME), ("unlink", "m", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("open", "n", ME), ("open", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("lock", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "EWOULDBLOCK"),
        # A parent that cleans up behind its child.
        ([("open", "a", ME), ("open", "n", CHILD), ("unlink", "n", ME), ("end", "", ME)], 1, "ENOENT"),
        # A child that has made what its parent then reads.
        ([("open", "a", ME), ("make", "n", CHILD), ("open", "n", ME), ("end", "", ME)], 2, "ENOENT"),
        # Made before the process began.
        ([("make", "n", ME), ("open", "n", CHILD), ("open", "m", CHILD), ("end", "", ME)], 1, "ENOENT"),
        # One after the other.
        ([("make", "n", CHILD), ("open", "n", OTHER), ("end", "", ME)], 1, "ENOENT"),
        # In another run of the test.
        ([("open", "n", ME), ("unlink", "n", Place(2)), ("end", "", Place(2))], 0, "ENOENT"),
        # A file that the other had taken away would not be where it was, once both are done.
        ([("rename", "n -> m", ME), ("rename", "n -> x", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("link", "n -> m", ME), ("make", "n", CHILD), ("end", "", ME)], 0, "EEXIST"),
        ([("mkdir", "n", ME), ("rmdir", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        # Two that make the same directories: what the other made is there when this one has come so far.
        ([("stat", "x", ME), ("mkdir", "d", CHILD), ("mkdir", "d/n", ME), ("end", "", CHILD)], 2, "ENOENT"),
        # What an open would create is there when it returns, even if it was removed before.
        ([("append", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
        ([("make", "n", ME), ("unlink", "n", CHILD), ("end", "", ME)], 0, "ENOENT"),
    ],
)
def test_a1_processes_that_do_not_meet_change_nothing(steps, at: int, error: str) -> None:
    """An order that never varies makes no error possible that the disk contradicts."""
    assert error not in offered(faults.disk(), *run_of(*steps), at=at)
    assert error not in offered(faults.default(), *run_of(*steps), at=at)


# --- the class of a fault ---


def test_the_first_family_that_offers_a_fault_gives_its_class() -> None:
    """A lost EEXIST of mkdir is that of a server or that of a rival, as it was asked for."""
    whole = trace(operation("mkdir", "d"))
    fault = Fault("lost", "EEXIST")
    assert faults.share().class_of(fault, whole[0], whole) == "share"
    assert faults.interference().class_of(fault, whole[0], whole) == "interference"
    assert (faults.interference() | faults.share()).class_of(fault, whole[0], whole) == "interference"
    assert faults.kill().class_of(Fault("kill"), whole[0], whole) == "local"


@pytest.mark.parametrize(
    ("call", "name", "argument", "expected"),
    [
        ("write", "ENOSPC", "persistent", "local"),
        ("open", "EIO", "", "local"),
        ("open", "ESTALE", "", "share"),
        ("rename", "lost", "EIO", "share"),
        ("unlink", "EBUSY", "", "interference"),
        ("rename", "kill", "", "local"),
        ("open", "power_loss", "drop 1", "local"),
    ],
)
def test_a_schedule_that_was_typed_has_a_class_too(
    call: str, name: str, argument: str, expected: str
) -> None:
    """The most ordinary one in which the table of errors has it."""
    assert errnos.class_of(call, name, argument) == expected


def test_a_narrowed_family_keeps_its_class() -> None:
    """Narrowing chooses among the faults and does not change where they come from."""
    whole = trace(operation("open", "f", flags=os.O_RDONLY))
    narrowed = faults.share().only("ESTALE").on(path="f")
    assert narrowed.class_of(Fault("ESTALE"), whole[0], whole) == "share"


def test_a7_failed_syncs_are_followed_wherever_power_loss_is() -> None:
    """Asking for nothing asks for the lying fsync too."""
    assert "fsync_lies" in faults.default().names
    assert {"power_loss", "fsync_lies"} <= faults.all().names


def test_a_disk_that_keeps_failing_does_not_fail_locks() -> None:
    """EIO at a lock is a share's. A standing error of the local disk struck it, too, for a while."""
    lock = operation("lock", syscall="flock", flags=2)
    assert not errnos.keeps_failing(lock, "EIO")
    assert errnos.keeps_failing(operation("write", result=None), "EIO")
