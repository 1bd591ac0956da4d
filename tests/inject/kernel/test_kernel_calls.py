"""Every family of calls is seen with what it was given and what came of it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.operation import Operation
from chaoskit.inject.base import Ran
from chaoskit.inject.kernel import domains
from chaoskit.inject.kernel.seccomp import abi

Record = Callable[[Callable[[], Any]], Ran]

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")


def of(ran: Ran, *calls: str) -> list[Operation]:
    """The operations of some families."""
    return [operation for operation in ran.trace if operation.call in calls]


def shown(ran: Ran) -> list[str]:
    """The trace without its end."""
    assert ran.trace.operations[-1].call == "end"
    return [str(operation) for operation in ran.trace.operations[:-1]]


def inode(path: str) -> tuple[int, int]:
    facts = os.lstat(path)
    return facts.st_dev, facts.st_ino


def make(path: str, content: bytes = b"") -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def syscall(name: str, *args: Any) -> int:
    """Make a system call by name; minus the errno if it fails."""
    spec = next(one for one in domains.SPECS if one.name == name)
    number = spec.number(abi.machine())
    if number is None:
        pytest.skip(f"{name} does not exist on {abi.machine()}")
    return abi.libc().syscall(number, *args)


def test_an_open_that_creates_says_so(root: str, record: Record) -> None:
    """A created file is recorded with its inode, its mode and the descriptor that the workload got."""
    ran = record(lambda: os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY, 0o640))
    (opened,) = of(ran, "open")
    assert opened.result == ran.value == opened.file.fd
    assert opened.file.created
    assert not opened.file.truncated
    assert opened.file.inode == inode(f"{root}/a")
    assert opened.file.mode == 0o640


def test_an_open_that_truncates_says_so(root: str, record: Record) -> None:
    """Truncation is recorded only where there was something to lose."""
    make(f"{root}/full", b"content")
    make(f"{root}/empty")
    ran = record(
        lambda: [os.close(os.open(f"{root}/{n}", os.O_WRONLY | os.O_TRUNC)) for n in ("full", "empty")]
    )
    full, empty = of(ran, "open")
    assert full.file.truncated
    assert full.file.size_before == 7
    assert not full.file.created
    assert not empty.file.truncated


@pytest.mark.parametrize("name", ["open", "creat", "openat", "openat2"])
def test_each_way_to_open_is_an_open(root: str, record: Record, name: str) -> None:
    """open, creat, openat and openat2 are one family, with exact flags."""
    path = f"{root}/a".encode()
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    how = struct.pack("=QQQ", flags, 0o600, 0)
    arguments: dict[str, tuple[Any, ...]] = {
        "open": (path, flags, 0o600),
        "creat": (path, 0o600),
        "openat": (abi.AT_FDCWD, path, flags, 0o600),
        "openat2": (abi.AT_FDCWD, path, how, len(how)),
    }
    buffers = [
        ctypes.create_string_buffer(a, len(a) + 1) if isinstance(a, bytes) else a for a in arguments[name]
    ]
    ran = record(lambda: syscall(name, *buffers))
    (opened,) = of(ran, "open")
    assert (opened.syscall, opened.target, opened.result) == (name, "a", ran.value)
    assert opened.file.flags & os.O_TRUNC
    assert opened.file.mode == 0o600
    assert opened.file.created


def test_openat2_that_restricts_its_lookup_is_left_to_the_kernel(root: str, record: Record) -> None:
    """Resolve flags mean something else from here: the result is unknown, and the trace says so."""
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_CREAT | os.O_WRONLY, 0o600, 0x08))
    inside = ctypes.create_string_buffer(b"a")

    def work() -> int:
        base = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        return syscall("openat2", base, inside, how, 24)

    ran = record(work)
    assert ran.value > 0
    assert of(ran, "open")[-1].result is None
    assert [caveat.kind for caveat in ran.caveats] == ["unconfirmed"]


def vector(*parts: bytes) -> Any:
    """A ``struct iovec`` for each part; Python itself only uses the newer calls that take flags, too."""
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    words = [word for one in buffers for word in (ctypes.addressof(one), len(one))]
    made = (ctypes.c_size_t * len(words))(*words)
    made.buffers = buffers  # type: ignore[attr-defined]
    return made


WRITES: dict[str, Callable[[int], int]] = {
    "write": lambda fd: os.write(fd, b"abcdef"),
    "pwrite64": lambda fd: os.pwrite(fd, b"abcdef", 3),
    "writev": lambda fd: os.writev(fd, [b"abc", b"", b"def"]),
    "pwritev": lambda fd: syscall("pwritev", fd, vector(b"abc", b"def"), 2, 3, 0),
    "pwritev2": lambda fd: os.pwritev(fd, [b"abc", b"def"], 3, os.RWF_DSYNC),
}


@pytest.mark.parametrize("name", sorted(WRITES))
def test_each_way_to_write_is_a_write(root: str, record: Record, name: str) -> None:
    """Offset, length, data and result are those of the call, whichever form it takes."""
    make(f"{root}/a", b"0123456789")

    def work() -> tuple[int, int]:
        fd = os.open(f"{root}/a", os.O_RDWR)
        os.lseek(fd, 2, os.SEEK_SET)
        return WRITES[name](fd), os.lseek(fd, 0, os.SEEK_CUR)

    ran = record(work)
    (written,) = of(ran, "write")
    offset = 2 if name in ("write", "writev") else 3
    assert ran.value == (6, 8 if offset == 2 else 2)
    assert (written.syscall, written.result) == (name, 6)
    assert (written.file.offset, written.file.length, written.file.size_before) == (offset, 6, 10)
    assert written.file.data is not None
    assert written.file.data.read() == b"abcdef"
    assert written.file.synchronous == ("O_DSYNC" if name == "pwritev2" else "")
    with open(f"{root}/a", "rb") as file:
        assert file.read() == (b"0123456789"[:offset] + b"abcdef" + b"0123456789"[offset + 6 :])


def test_an_append_is_recorded_where_it_went(root: str, record: Record) -> None:
    """With O_APPEND the offset is the end of the file, also for a write that names another."""
    make(f"{root}/a", b"12345")

    def work() -> int:
        fd = os.open(f"{root}/a", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"xx")
        os.pwrite(fd, b"yy", 0)
        return os.lseek(fd, 0, os.SEEK_CUR)

    ran = record(work)
    assert [one.file.offset for one in of(ran, "write")] == [5, 7]
    assert ran.value == 7
    with open(f"{root}/a", "rb") as file:
        assert file.read() == b"12345xxyy"


@pytest.mark.parametrize(
    ("flags", "offset", "content", "position"),
    [
        (0, 2, b"12ab5", 4),
        (0x10, 5, b"12345ab", 7),
    ],
)
def test_pwritev2_at_the_current_position_moves_it(
    root: str, record: Record, flags: int, offset: int, content: bytes, position: int
) -> None:
    """The offset -1 means the position of the descriptor; RWF_APPEND means the end of the file."""
    make(f"{root}/a", b"12345")
    data = ctypes.create_string_buffer(b"ab")
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 2))

    def work() -> tuple[int, int]:
        fd = os.open(f"{root}/a", os.O_WRONLY)
        os.lseek(fd, 2, os.SEEK_SET)
        return syscall("pwritev2", fd, vector, 1, -1, -1, flags), os.lseek(fd, 0, os.SEEK_CUR)

    ran = record(work)
    (written,) = of(ran, "write")
    assert (written.file.offset, ran.value) == (offset, (2, position))
    with open(f"{root}/a", "rb") as file:
        assert file.read() == content


@pytest.mark.parametrize(
    "call",
    [
        lambda fd: os.pwrite(fd, b"x", -5),
        lambda fd: os.pread(fd, 1, -5),
        lambda fd: os.pwritev(fd, [b"x"], -2, 0),
    ],
)
def test_a_negative_offset_fails_as_it_does_unwatched(
    root: str, run: Any, call: Callable[[int], Any]
) -> None:
    """A negative offset is EINVAL and changes nothing."""
    make(f"{root}/a", b"12345")
    ran = run(lambda: call(os.open(f"{root}/a", os.O_RDWR)), record=True)
    assert isinstance(ran.error, OSError)
    assert ran.error.errno == errno.EINVAL
    with open(f"{root}/a", "rb") as file:
        assert file.read() == b"12345"


@pytest.mark.parametrize("call", ["writev", "readv"])
@pytest.mark.parametrize(("address", "count", "expected"), [(0, 5, errno.EFAULT), (None, 1025, errno.EINVAL)])
def test_a_list_of_buffers_that_the_kernel_refuses_transfers_nothing(
    root: str, run: Any, call: str, address: int | None, count: int, expected: int
) -> None:
    """A list that cannot be read is EFAULT and one that is too long EINVAL; no part of it is transferred."""
    make(f"{root}/a", b"12345")

    def work() -> tuple[int, int]:
        fd = os.open(f"{root}/a", os.O_RDWR)
        parts = vector(*[b"x"] * count) if address is None else address
        return syscall(call, fd, parts, count), os.lseek(fd, 0, os.SEEK_CUR)

    assert run(work, record=True).value == (-expected, 0)
    with open(f"{root}/a", "rb") as file:
        assert file.read() == b"12345"


READS: dict[str, Callable[[int], Any]] = {
    "read": lambda fd: os.read(fd, 4),
    "pread64": lambda fd: os.pread(fd, 4, 2),
    "readv": lambda fd: os.readv(fd, [bytearray(1), bytearray(3)]),
    "preadv": lambda fd: syscall("preadv", fd, vector(b".", b"..."), 2, 2, 0),
    "preadv2": lambda fd: os.preadv(fd, [bytearray(4)], 2, os.RWF_HIPRI),
}


AT = -100
"""AT_FDCWD: no directory descriptor."""
CHANGES: dict[str, Callable[[bytes, bytes, int], tuple[Any, ...]]] = {
    "rename": lambda old, new, fd: (old, new),
    "renameat": lambda old, new, fd: (AT, old, AT, new),
    "renameat2": lambda old, new, fd: (AT, old, AT, new, 0),
    "link": lambda old, new, fd: (old, new),
    "linkat": lambda old, new, fd: (AT, old, AT, new, 0),
    "symlink": lambda old, new, fd: (b"to", new),
    "symlinkat": lambda old, new, fd: (b"to", AT, new),
    "unlink": lambda old, new, fd: (old,),
    "unlinkat": lambda old, new, fd: (AT, old, 0),
    "mkdir": lambda old, new, fd: (new, 0o755),
    "mkdirat": lambda old, new, fd: (AT, new, 0o755),
    "mknod": lambda old, new, fd: (new, 0o010644, 0),
    "mknodat": lambda old, new, fd: (AT, new, 0o010644, 0),
    "truncate": lambda old, new, fd: (old, 1),
    "ftruncate": lambda old, new, fd: (fd, 1),
    "chmod": lambda old, new, fd: (old, 0o600),
    "fchmod": lambda old, new, fd: (fd, 0o600),
    "fchmodat": lambda old, new, fd: (AT, old, 0o600),
    "fchmodat2": lambda old, new, fd: (AT, old, 0o600, 0),
    "chown": lambda old, new, fd: (old, os.getuid(), os.getgid()),
    "lchown": lambda old, new, fd: (old, os.getuid(), os.getgid()),
    "fchown": lambda old, new, fd: (fd, os.getuid(), os.getgid()),
    "fchownat": lambda old, new, fd: (AT, old, os.getuid(), os.getgid(), 0),
    "utime": lambda old, new, fd: (old, 0),
    "utimes": lambda old, new, fd: (old, 0),
    "futimesat": lambda old, new, fd: (AT, old, 0),
    "utimensat": lambda old, new, fd: (AT, old, 0, 0),
}
"""Arguments of every call that changes names or facts of a file, given a name, a free one, a descriptor."""


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_each_way_to_change_a_file_is_seen(root: str, record: Record, name: str) -> None:
    """Whichever form of a call the C library takes: the name that it is known by, and its result."""
    if all(spec.name != name for spec in domains.SPECS if spec.number(abi.machine()) is not None):
        assert abi.machine() != "x86_64"
        pytest.skip(f"{name} does not exist on {abi.machine()}")
    make(f"{root}/a", b"12345")

    def work() -> int:
        fd = os.open(f"{root}/a", os.O_RDWR)
        return syscall(name, *CHANGES[name](os.fsencode(f"{root}/a"), os.fsencode(f"{root}/new"), fd))

    ran = record(work)
    if ran.value == -errno.ENOSYS:
        pytest.skip(f"this kernel has no {name}")
    (seen,) = [one for one in ran.trace if one.call not in ("open", "end")]
    assert (seen.syscall, seen.result, ran.value) == (name, 0, 0)


@pytest.mark.parametrize("how", ["", "l", "f"])
@pytest.mark.parametrize("what", ["setxattr", "removexattr"])
def test_each_way_to_change_an_attribute_is_seen(root: str, record: Record, what: str, how: str) -> None:
    """Also where the file system has no attributes: then the result is what it says."""
    make(f"{root}/a", b"12345")
    value: tuple[Any, ...] = (b"x", 1, 0) if what == "setxattr" else ()

    def work() -> int:
        fd = os.open(f"{root}/a", os.O_RDWR)
        return syscall(how + what, fd if how == "f" else os.fsencode(f"{root}/a"), b"user.one", *value)

    ran = record(work)
    (seen,) = of(ran, what)
    assert (seen.syscall, seen.result, seen.file.text) == (how + what, ran.value, "user.one")


@pytest.mark.parametrize("name", sorted(READS))
def test_each_way_to_read_is_a_read(root: str, record: Record, name: str) -> None:
    """A read is recorded with its offset, its length and the number of bytes that are there."""
    make(f"{root}/a", b"12345")

    def work() -> Any:
        fd = os.open(f"{root}/a", os.O_RDONLY)
        os.lseek(fd, 2, os.SEEK_SET)
        return READS[name](fd)

    (read,) = of(record(work), "read")
    assert (read.file.offset, read.file.length, read.result) == (2, 4, 3)
    assert read.syscall == name


def test_a_direct_write_goes_through(disk: str, record_on_disk: Record) -> None:
    """A write with O_DIRECT keeps its alignment when it is made for the caller."""
    try:
        os.close(os.open(f"{disk}/probe", os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("no O_DIRECT here")

    def work() -> int:
        fd = os.open(f"{disk}/a", os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, 8192)
        buffer[:4] = b"data"
        return os.write(fd, buffer)

    ran = record_on_disk(work)
    assert ran.value == of(ran, "write")[0].result == 8192


SYNCS: dict[str, Callable[[int], Any]] = {
    "fsync": os.fsync,
    "fdatasync": os.fdatasync,
    "sync_file_range": lambda fd: syscall("sync_file_range", fd, 0, 10, 2),
    "syncfs": lambda fd: syscall("syncfs", fd),
}


@pytest.mark.parametrize("name", sorted(SYNCS))
def test_each_way_to_sync_a_file_is_seen(root: str, record: Record, name: str) -> None:
    """The sync of a file is recorded under its own name, with its result."""
    make(f"{root}/a", b"12345")
    ran = record(lambda: SYNCS[name](os.open(f"{root}/a", os.O_RDWR)))
    (synced,) = of(ran, name)
    assert (synced.target, synced.result, synced.file.inode) == ("a", 0, inode(f"{root}/a"))


def test_the_sync_of_everything_is_seen(record: Record) -> None:
    """sync(2) concerns the root as it concerns everything."""
    assert shown(record(os.sync)) == ["sync(.)#1 = 0"]


def test_the_sync_of_a_directory_is_seen_as_one(root: str, record: Record) -> None:
    """A directory's fsync is recorded with the directory, the root as a dot."""
    os.mkdir(f"{root}/d")

    def work() -> None:
        for path in (root, f"{root}/d"):
            os.fsync(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    first, second = of(record(work), "fsync")
    assert (first.target, first.file.directory, second.target, second.file.directory) == (
        ".",
        True,
        "d",
        True,
    )


def test_a_rename_knows_both_files(root: str, record: Record) -> None:
    """A rename is recorded with source, destination, the inode that moved and the one it replaced."""
    make(f"{root}/a", b"new")
    make(f"{root}/b", b"old")
    moved, replaced = inode(f"{root}/a"), inode(f"{root}/b")
    (renamed,) = of(record(lambda: os.rename(f"{root}/a", f"{root}/b")), "rename")
    assert (renamed.target, renamed.second, renamed.result) == ("a", "b", 0)
    assert (renamed.file.inode, renamed.file.replaced) == (moved, replaced)


@pytest.mark.parametrize(("flags", "result"), [(1, -errno.EEXIST), (2, 0)])
def test_a_rename_with_flags_keeps_their_meaning(root: str, record: Record, flags: int, result: int) -> None:
    """NOREPLACE fails where there is a destination, EXCHANGE swaps, and both are recorded."""
    make(f"{root}/a", b"A")
    make(f"{root}/b", b"B")
    names = [ctypes.create_string_buffer(f"{root}/{n}".encode()) for n in "ab"]
    ran = record(lambda: syscall("renameat2", abi.AT_FDCWD, names[0], abi.AT_FDCWD, names[1], flags))
    (renamed,) = of(ran, "rename")
    assert renamed.result == ran.value == result
    assert renamed.file.flags == flags
    with open(f"{root}/a", "rb") as file:
        assert file.read() == (b"B" if result == 0 else b"A")


def test_a_rename_across_the_border_names_the_outside(root: str, disk: str, record: Record) -> None:
    """A rename into or out of the root counts, and the far side is an absolute path."""
    make(f"{root}/a")
    outside = f"{os.path.dirname(root)}/{os.path.basename(root)}-outside"

    def work() -> None:
        os.rename(f"{root}/a", outside)
        os.rename(outside, f"{root}/b")

    assert shown(record(work)) == [f"rename(a -> {outside})#1 = 0", f"rename({outside} -> b)#1 = 0"]


def test_a_hard_link_knows_its_count(root: str, record: Record) -> None:
    """A link is recorded with the inode and how many names it had before."""
    make(f"{root}/a")

    def work() -> None:
        os.link(f"{root}/a", f"{root}/b")
        os.unlink(f"{root}/a")

    ran = record(work)
    assert shown(ran) == ["link(a -> b)#1 = 0", "unlink(a)#1 = 0"]
    assert [one.file.links for one in of(ran, "link", "unlink")] == [1, 2]
    assert of(ran, "unlink")[0].file.inode == inode(f"{root}/b")


def test_an_unnamed_file_gets_its_name_by_a_link(root: str, record: Record) -> None:
    """O_TMPFILE creates; linkat of /proc/self/fd gives the name that later calls go by."""
    name = ctypes.create_string_buffer(f"{root}/named".encode())

    def work() -> None:
        fd = os.open(root, os.O_TMPFILE | os.O_RDWR)
        os.write(fd, b"x")
        link = ctypes.create_string_buffer(f"/proc/self/fd/{fd}".encode())
        assert syscall("linkat", abi.AT_FDCWD, link, abi.AT_FDCWD, name, abi.AT_SYMLINK_FOLLOW) == 0
        os.fsync(fd)

    ran = record(work)
    opened, written, linked = of(ran, "open", "write", "link")
    assert opened.file.created
    assert (linked.second, linked.result) == ("named", 0)
    assert linked.file.inode == opened.file.inode == written.file.inode == inode(f"{root}/named")


def test_a_descriptor_can_be_linked_by_an_empty_name(root: str, record: Record) -> None:
    """linkat with AT_EMPTY_PATH means the descriptor itself."""
    empty, name = ctypes.create_string_buffer(b""), ctypes.create_string_buffer(f"{root}/b".encode())
    make(f"{root}/a")

    def work() -> int:
        fd = os.open(f"{root}/a", os.O_RDONLY)
        return syscall("linkat", fd, empty, abi.AT_FDCWD, name, abi.AT_EMPTY_PATH)

    ran = record(work)
    (linked,) = of(ran, "link")
    assert (linked.target, linked.second, linked.result) == ("a", "b", ran.value)
    assert os.path.exists(f"{root}/b") == (ran.value == 0)


def test_a_symbolic_link_keeps_its_content(root: str, record: Record) -> None:
    """The target of a symlink call is the new link, its text is where it leads."""
    (linked,) = of(record(lambda: os.symlink("to/nowhere", f"{root}/a")), "symlink")
    assert (linked.target, linked.second, linked.file.text, linked.result) == ("a", None, "to/nowhere", 0)
    assert linked.file.inode == inode(f"{root}/a")


def test_directories_come_and_go(root: str, record: Record) -> None:
    """mkdir and rmdir are recorded, the latter also when it is made by unlinkat."""
    name = ctypes.create_string_buffer(f"{root}/d".encode())

    def work() -> None:
        os.mkdir(f"{root}/d", 0o750)
        os.rmdir(f"{root}/d")
        os.mkdir(f"{root}/d")
        assert syscall("unlinkat", abi.AT_FDCWD, name, abi.AT_REMOVEDIR) == 0

    ran = record(work)
    assert shown(ran) == ["mkdir(d)#1 = 0", "rmdir(d)#1 = 0", "mkdir(d)#2 = 0", "rmdir(d)#2 = 0"]
    assert all(one.file.directory for one in of(ran, "mkdir", "rmdir"))


def test_a_fifo_is_made_and_used(root: str, record: Record) -> None:
    """mknod is recorded; what may block when opened is left to the kernel."""

    def work() -> bytes:
        os.mkfifo(f"{root}/p")
        reader = os.open(f"{root}/p", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(f"{root}/p", os.O_WRONLY)
        os.write(writer, b"through")
        return os.read(reader, 100)

    ran = record(work)
    assert ran.value == b"through"
    assert str(of(ran, "mknod")[0]) == "mknod(p)#1 = 0"
    assert [one.result for one in of(ran, "open", "write")] == [None, None, None]


def test_truncation_is_seen_by_name_and_by_descriptor(root: str, record: Record) -> None:
    """truncate and ftruncate are one family, with the new length and the old size."""
    make(f"{root}/a", b"12345")

    def work() -> None:
        os.truncate(f"{root}/a", 3)
        os.ftruncate(os.open(f"{root}/a", os.O_RDWR), 9)

    ran = record(work)
    assert [(one.file.length, one.file.size_before) for one in of(ran, "truncate")] == [(3, 5), (9, 3)]
    assert os.path.getsize(f"{root}/a") == 9


def test_space_is_reserved(root: str, record: Record) -> None:
    """fallocate is recorded with its mode, offset and length."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 10, 90)

    (reserved,) = of(record(work), "fallocate")
    assert (reserved.file.offset, reserved.file.length, reserved.result) == (10, 90, 0)


def test_copies_between_files_carry_their_data(root: str, record: Record) -> None:
    """copy_file_range is recorded at its target, with where the bytes came from and what they were."""
    make(f"{root}/a", b"0123456789")

    def work() -> int:
        source, target = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/b", os.O_CREAT | os.O_RDWR)
        os.lseek(source, 1, os.SEEK_SET)
        first = os.copy_file_range(source, target, 4)
        return first + os.copy_file_range(source, target, 100, offset_src=7, offset_dst=20)

    ran = record(work)
    first, second = of(ran, "copy_file_range")
    assert ran.value == 7
    assert (first.target, first.result, first.file.offset, first.file.source_offset) == ("b", 4, 0, 1)
    assert (second.result, second.file.offset, second.file.source_offset) == (3, 20, 7)
    assert first.file.data is not None
    assert first.file.data.read() == b"1234"
    with open(f"{root}/b", "rb") as file:
        assert file.read() == b"1234" + bytes(16) + b"789"


@pytest.mark.parametrize("offset", [None, 2])
def test_sendfile_between_files_is_a_change_of_its_target(
    root: str, record: Record, offset: int | None
) -> None:
    """sendfile works from the position of its source, or from the one it is given, and moves that one."""
    make(f"{root}/a", b"0123456789")

    def work() -> tuple[int, int]:
        source, target = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/b", os.O_CREAT | os.O_WRONLY)
        return os.sendfile(target, source, offset, 5), os.lseek(source, 0, os.SEEK_CUR)

    ran = record(work)
    (sent,) = of(ran, "sendfile")
    assert ran.value == (5, 5 if offset is None else 0)
    assert (sent.target, sent.result, sent.file.offset, sent.file.source_offset) == (
        "b",
        5,
        0,
        offset or 0,
    )
    with open(f"{root}/b", "rb") as file:
        assert file.read() == b"0123456789"[offset or 0 :][:5]


def test_sendfile_to_a_socket_is_a_read(root: str, record: Record) -> None:
    """What leaves the root for another place is a read of its source."""
    make(f"{root}/a", b"0123456789")

    def work() -> bytes:
        ours, theirs = socket.socketpair()
        with open(f"{root}/a", "rb") as source, ours, theirs:
            os.sendfile(ours.fileno(), source.fileno(), 0, 10)
            return theirs.recv(100)

    ran = record(work)
    assert ran.value == b"0123456789"
    assert [(one.syscall, one.target) for one in of(ran, "read")] == [("sendfile", "a")]


def test_splice_is_seen_and_not_vouched_for(root: str, record: Record) -> None:
    """A splice may block: its result is unknown, and the trace says so."""

    def work() -> int:
        reader, writer = os.pipe()
        os.write(writer, b"spliced")
        target = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        return os.splice(reader, target, 7)

    ran = record(work)
    (spliced,) = of(ran, "splice")
    assert (ran.value, spliced.target, spliced.result) == (7, "a", None)
    assert [(one.kind, one.target) for one in ran.caveats] == [("unconfirmed", "a")]


@pytest.mark.parametrize("part", [False, True])
def test_a_clone_has_the_result_that_the_file_system_gives(root: str, record: Record, part: bool) -> None:
    """FICLONE and FICLONERANGE are recorded with their result, here an error of this file system or 0."""
    make(f"{root}/a", b"x" * 4096)

    def work() -> int:
        source, target = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/b", os.O_CREAT | os.O_RDWR)
        try:
            if part:
                fcntl.ioctl(target, abi.FICLONERANGE, struct.pack("=qQQQ", source, 0, 4096, 4096))
            else:
                fcntl.ioctl(target, abi.FICLONE, source)
        except OSError as error:
            return -(error.errno or 0)
        return 0

    ran = record(work)
    (cloned,) = of(ran, "clone")
    assert cloned.result == ran.value
    assert cloned.file.offset == (4096 if part else 0)


def test_rights_owners_and_times_are_changes(root: str, record: Record) -> None:
    """chmod, chown and utimens are seen by name, by descriptor and without following links."""
    make(f"{root}/a")
    os.symlink("a", f"{root}/l")
    times = ctypes.create_string_buffer(struct.pack("=qqqq", 5, 0, 6, 0))
    me, group = os.getuid(), os.getgid()

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_RDWR)
        os.chmod(f"{root}/l", 0o600)
        os.fchmod(fd, 0o604)
        os.chown(f"{root}/l", me, group, follow_symlinks=False)
        os.fchown(fd, me, group)
        os.utime(f"{root}/l", (1, 2), follow_symlinks=False)
        assert syscall("utimensat", fd, 0, times, 0) == 0

    ran = record(work)
    changes = [str(one) for one in of(ran, "chmod", "chown", "utimens")]
    assert changes == [
        *("chmod(a)#1 = 0", "chmod(a)#2 = 0", "chown(l)#1 = 0", "chown(a)#1 = 0"),
        *("utimens(l)#1 = 0", "utimens(a)#1 = 0"),
    ]
    assert stat.S_IMODE(os.stat(f"{root}/a").st_mode) == 0o604
    assert os.stat(f"{root}/a").st_mtime == 6
    assert os.lstat(f"{root}/l").st_mtime == 2


def test_attributes_carry_name_and_value(disk: str, record_on_disk: Record) -> None:
    """Extended attributes are recorded with their name; what is set, with its value."""
    path = make(f"{disk}/a")
    try:
        os.setxattr(path, "user.probe", b"")
    except OSError:
        pytest.skip("no extended attributes here")

    def work() -> None:
        os.setxattr(path, "user.k", b"value")
        os.removexattr(os.open(path, os.O_RDWR), "user.k")

    changed, removed = of(record_on_disk(work), "setxattr", "removexattr")
    assert (changed.target, changed.file.text, changed.result) == ("a", "user.k", 0)
    assert changed.file.data is not None
    assert changed.file.data.read() == b"value"
    assert (removed.syscall, removed.file.text, removed.result) == ("fremovexattr", "user.k", 0)


def test_locks_of_every_kind_are_seen_and_unlocks_are_not(root: str, record: Record) -> None:
    """flock, POSIX and open-file locks are operations; giving one back is none."""
    ofd = struct.pack("=hhiqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0, 0)

    def work() -> None:
        with open(f"{root}/a", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_UN)
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_UN)
            fcntl.fcntl(file, 37, ofd)

    ran = record(work)
    assert [(one.syscall, one.file.flags) for one in of(ran, "lock")] == [
        ("flock", 2),
        ("fcntl", 7),
        ("fcntl", 37),
    ]


def test_listing_a_directory_is_seen(root: str, record: Record) -> None:
    """Reading a directory's names is an operation on the directory."""
    os.mkdir(f"{root}/d")
    assert {one.target for one in of(record(lambda: os.listdir(f"{root}/d")), "getdents")} == {"d"}


def test_a_shared_writable_mapping_is_a_caveat(root: str, record: Record) -> None:
    """Stores through a mapping are not seen: mmap and msync are, and the trace says what it lacks."""
    make(f"{root}/\N{SNOWMAN}\n", b"x" * 4096)

    def work() -> None:
        with open(f"{root}/\N{SNOWMAN}\n", "r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
            mapped[0] = 65
            mapped.flush()

    ran = record(work)
    assert [(one.call, one.target) for one in of(ran, "mmap", "msync")] == [
        ("mmap", "\N{SNOWMAN}\n"),
        ("msync", "\N{SNOWMAN}\n"),
    ]
    assert [(one.kind, one.target) for one in ran.caveats] == [("shared-mapping", "\N{SNOWMAN}\n")]


def test_a_private_or_readable_mapping_is_no_operation(root: str, record: Record) -> None:
    """Mappings that change nothing need no mention."""
    make(f"{root}/a", b"x" * 4096)

    def work() -> None:
        with open(f"{root}/a", "r+b") as file:
            mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE).close()
            mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ).close()

    ran = record(work)
    assert not of(ran, "mmap")
    assert not ran.caveats


def test_a_mapping_that_becomes_writable_is_a_caveat(root: str, record: Record) -> None:
    """mprotect makes of a mapping to read one to write; the trace says what it lacks."""
    make(f"{root}/a", b"x" * 4096)
    make(f"{root}/b", b"x" * 4096)
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def work() -> None:
        for name in "ab":
            fd = os.open(f"{root}/{name}", os.O_RDWR)
            address = library.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
            if name == "a":
                assert library.mprotect(address, 4096, mmap.PROT_READ | mmap.PROT_WRITE) == 0

    ran = record(work)
    assert not of(ran, "mmap")
    assert [(one.kind, one.target) for one in ran.caveats] == [("shared-mapping", "a")]


def test_every_close_is_seen_but_not_those_by_range(root: str, record: Record) -> None:
    """close is an operation; close_range, which cannot fail late, is none and does its work."""

    def work() -> bool:
        fds = [os.open(f"{root}/{n}", os.O_CREAT | os.O_WRONLY) for n in "abc"]
        os.close(fds[0])
        os.closerange(fds[1], fds[2] + 1)
        return any(os.path.exists(f"/proc/self/fd/{fd}") for fd in fds)

    ran = record(work)
    assert ran.value is False
    assert [one.target for one in of(ran, "close")] == ["a"]


@pytest.mark.parametrize(
    ("work", "number"),
    [
        (lambda root: os.mkdir(f"{root}/a"), errno.EEXIST),
        (lambda root: os.mkdir(""), errno.ENOENT),
        (lambda root: os.open("", os.O_RDONLY), errno.ENOENT),
        (lambda root: os.rmdir(f"{root}/d"), errno.ENOTEMPTY),
        (lambda root: os.unlink(f"{root}/d"), errno.EISDIR),
        (lambda root: os.rename(f"{root}/none", f"{root}/b"), errno.ENOENT),
        (lambda root: os.open(f"{root}/a/b", os.O_RDONLY), errno.ENOTDIR),
        (lambda root: os.open(f"{root}/a", os.O_CREAT | os.O_EXCL), errno.EEXIST),
        (lambda root: os.open(f"{root}/{'n' * 256}", os.O_CREAT), errno.ENAMETOOLONG),
        (lambda root: os.write(os.open(f"{root}/a", os.O_RDONLY), b"x"), errno.EBADF),
        (lambda root: os.truncate(f"{root}/a", -1), errno.EINVAL),
        (lambda root: os.link(f"{root}/a", f"{root}/d"), errno.EEXIST),
        (lambda root: os.symlink("x", f"{root}/none/l"), errno.ENOENT),
    ],
)
def test_a_call_that_fails_gets_the_errno_of_the_kernel(
    root: str, run: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[[str], Any], number: int
) -> None:
    """What the kernel would answer unwatched is what the workload gets."""
    monkeypatch.chdir(root)
    make(f"{root}/a")
    os.makedirs(f"{root}/d/e")
    ran = run(lambda: work(root), record=True)
    assert isinstance(ran.error, OSError)
    assert ran.error.errno == number
    results = [one.result for one in ran.trace if one.call not in ("end", "open", "close")]
    assert set(results) <= {-number}


def test_a_process_without_a_free_descriptor_creates_nothing(root: str, run: Any) -> None:
    """EMFILE comes before the file is made, as it does unwatched."""

    def work() -> None:
        free = os.dup(0)  # The lowest number that is free: the count of the open ones says nothing of gaps.
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, 4096))
        os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)

    ran = run(work, record=True)
    assert ran.error.errno == errno.EMFILE
    assert os.listdir(root) == []


def test_the_limit_on_file_size_holds(root: str, run: Any) -> None:
    """RLIMIT_FSIZE is the caller's: writes fall short and fail, truncation fails, as unwatched."""

    def work() -> list[int]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        outcomes = [os.write(fd, b"x" * 8), os.write(fd, b"x" * 8)]
        for call in (
            lambda: os.write(fd, b"x"),
            lambda: os.ftruncate(fd, 11),
            lambda: os.posix_fallocate(fd, 0, 20),
        ):
            try:
                call()
            except OSError as error:
                outcomes.append(-(error.errno or 0))
        return outcomes

    ran = run(work, record=True)
    assert ran.value == [8, 2, -errno.EFBIG, -errno.EFBIG, -errno.EFBIG]
    assert os.path.getsize(f"{root}/a") == 10


def test_the_umask_is_the_callers(root: str, record: Record) -> None:
    """Files, directories and FIFOs get the rights that the workload's umask leaves."""

    def work() -> None:
        os.umask(0o077)
        os.close(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(f"{root}/d", 0o777)
        os.mkfifo(f"{root}/p", 0o666)

    before = os.umask(0o022)
    os.umask(before)
    record(work)
    assert [stat.S_IMODE(os.lstat(f"{root}/{n}").st_mode) for n in "adp"] == [0o600, 0o700, 0o600]
    assert os.umask(before) == before


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_another_user_never_gets_our_rights(root: str, record: Record) -> None:
    """After setuid the kernel decides by the caller's rights; the result is unknown, and that is said."""
    make(f"{root}/secret")
    os.chmod(root, 0o755)
    os.chmod(f"{root}/secret", 0o644)

    def work() -> list[int]:
        fd = os.open(f"{root}/secret", os.O_RDONLY)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        failed = []
        for call in (
            lambda: os.fchmod(fd, 0o777),
            lambda: os.mkdir(f"{root}/d"),
            lambda: os.unlink(f"{root}/secret"),
        ):
            try:
                call()
            except OSError as error:
                failed.append(error.errno or 0)
        return failed

    ran = record(work)
    assert ran.value == [errno.EPERM, errno.EACCES, errno.EACCES]
    assert {one.result for one in of(ran, "chmod", "mkdir", "unlink")} == {None}
    assert {one.target for one in ran.caveats if one.kind == "unconfirmed"} == {"secret", "d"}


def test_large_writes_keep_their_data(root: str, record: Record) -> None:
    """64 MiB in one write are captured; what is too much for memory goes to a file without a name."""
    data = os.urandom(1024) * 65536

    def work() -> None:
        with open(f"{root}/a", "wb", buffering=0) as file:
            file.write(b"small")
            file.write(data)
            file.write(b"small")

    first, big, last = of(record(work), "write")
    assert big.file.data is not None
    assert type(big.file.data).__name__ == "Spilled"
    assert big.result == len(big.file.data) == 64 << 20
    assert big.file.data.read() == data
    assert [one.file.data.read() for one in (first, last) if one.file.data] == [b"small", b"small"]


def test_large_copies_are_recorded_whole(root: str, record: Record) -> None:
    """However much one call copies, from wherever it begins; and a file that is moved in from elsewhere."""
    size, outside = 65 << 20, f"{root}-outside"
    for name in (f"{root}/from", outside):
        with open(name, "wb") as file:
            file.truncate(size)
            file.seek(-3, os.SEEK_END)
            file.write(b"end")

    def work() -> None:
        source, target = os.open(f"{root}/from", os.O_RDONLY), os.open(f"{root}/to", os.O_WRONLY | os.O_CREAT)
        os.sendfile(target, source, 1 << 20, size)
        os.rename(outside, f"{root}/brought")

    ran = record(work)
    (sent,) = of(ran, "sendfile")
    (moved,) = of(ran, "rename")
    assert sent.file.data is not None
    assert moved.file.data is not None
    assert (len(sent.file.data), sent.result) == (64 << 20, 64 << 20)
    assert len(moved.file.data) == size
    assert {bytes(data.part(len(data) - 4, 9)) for data in (sent.file.data, moved.file.data)} == {b"\0end"}


def test_what_a_mapped_file_holds_is_recorded_where_it_counts(root: str, record: Record) -> None:
    """At msync, fsync, close and the end, and only if it has changed since the last time."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
        os.truncate(fd, 4096)
        with mmap.mmap(fd, 4096) as memory:
            memory[:1] = b"1"
            memory.flush()
            os.fsync(fd)
            memory[:1] = b"2"
        os.close(fd)

    ran = record(work)
    seen = [(one.call, content.read()[:1]) for one in ran.trace for _, content in one.file.seen]
    assert seen == [("msync", b"1"), ("close", b"2")]
    assert [one.result for one in of(ran, "msync")] == [0]


def test_two_recordings_of_a_deterministic_workload_are_equal(root: str, record: Record) -> None:
    """Fifty recordings have the same operations, call sites and ordinals."""

    def work() -> None:
        for name in ("a", "b"):
            with open(f"{root}/{name}", "wb") as file:
                file.write(name.encode())
                os.fsync(file.fileno())
        os.replace(f"{root}/a", f"{root}/b")
        os.unlink(f"{root}/b")

    def seen() -> list[tuple[Any, ...]]:
        return [(str(one), one.place, one.stack, one.file.offset) for one in record(work).trace]

    first = seen()
    assert len(first) == 11
    assert all(seen() == first for _ in range(49))
