"""Which errors each call can really return, when, and the source for that.

Each row cites its source: the manual page of the call, or where that leaves it to the file system,
``errno(3)`` (ESTALE: "can occur for NFS and for other filesystems") and ``nfs(5)`` (a soft mount gives up and
the call fails with EIO or ETIMEDOUT; with this every call on a share can fail with EIO). Errors that only a
mistake of the program can cause are left out (EBADF, EFAULT, EINVAL of arguments, ENAMETOOLONG, and ENOTDIR
and ELOOP except where a program asks to be told of a link).

Each row has a class, which says where such trouble comes from. A local disk does not fail like the server of
a network file system, and neither contradicts its own content: an existing file is not found only if another
process interferes (``interference``) or a client has stale information (``share``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial

from chaoskit.core.finding import FaultClass
from chaoskit.core.operation import Operation
from chaoskit.faults.calls import creates, extends, opens_for_writing
from chaoskit.faults.conditions import (
    Condition,
    across,
    always,
    by_name,
    exclusive,
    is_directory,
    is_file,
    keeps_what_is_there,
    lengthens,
    makes_nothing,
    refuses_links,
    refuses_links_to_directories,
    replaces_directory,
    synchronous_msync,
    synchronous_write,
    takes_lock,
    tries_fcntl,
    tries_flock,
    waits_fcntl,
    waits_flock,
)


@dataclass(frozen=True, slots=True)
class ErrnoRow:
    """One errno of one call. ``lasting`` is True if the trouble can persist until recovery."""

    name: str
    source: str
    when: Condition
    lasting: bool = True
    fault_class: FaultClass = "local"


def _rows(
    source: str,
    names: str,
    when: Condition = always,
    *,
    lasting: bool = True,
    fault_class: FaultClass = "local",
) -> tuple[ErrnoRow, ...]:
    return tuple(ErrnoRow(name, source, when, lasting, fault_class) for name in names.split())


_share = partial(_rows, fault_class="share")
_others = partial(_rows, fault_class="interference", lasting=False)
"""Rows for what other processes cause. It passes: the next call may find that they are done."""

_STALE = _share("errno(3)", "ESTALE")
_GIVEN_UP = _share("nfs(5)", "EIO")
# "A (local) disk is not a slow device according to this definition; I/O operations on disk devices are not
# interrupted by signals." A call that waits for a server is.
_INTERRUPTED = _share("signal(7)", "EINTR", lasting=False)
# A client answers look-ups from its cache, for missing names, too, for a minute and more: nfs(5),
# "lookupcache" and "acdirmax". So a name vanishes for a moment while the server replaces it, and names that
# other clients made appear late.
_BLINKS = _share("nfs(5)", "ENOENT", lasting=False)

TABLE: dict[str, tuple[ErrnoRow, ...]] = {
    "open": (
        *_rows("open(2)", "ENOSPC EDQUOT", creates),
        *_rows("open(2)", "EROFS", opens_for_writing),
        *_rows("ioctl_iflags(2)", "EPERM", opens_for_writing),  # an immutable file
        *_rows("open(2)", "EACCES EMFILE ENFILE"),
        *_rows("errno(3)", "EIO"),  # the disk cannot read what it needs to find the file
        *_share("nfs(5)", "ENOENT", makes_nothing, lasting=False),
        *_GIVEN_UP,
        *_INTERRUPTED,
        *_STALE,
        *_others("open(2)", "ENOENT"),
        *_others("open(2)", "EEXIST", exclusive),
        *_others("open(2)", "ELOOP", refuses_links),
        *_others("open(2)", "ENOTDIR", refuses_links_to_directories),
    ),
    "read": (*_rows("read(2)", "EIO"), *_STALE, *_INTERRUPTED),
    "write": (
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
        *_rows("write(2)", "EFBIG", extends, lasting=False),
        *_INTERRUPTED,
        *_STALE,
    ),
    # Only if data may still be pending: chaoskit.faults.facts says at which closes. close(2) lists ENOSPC and
    # EDQUOT for NFS only.
    "close": (
        *_rows("close(2)", "EIO", lasting=False),
        *_share("close(2)", "ENOSPC EDQUOT EINTR", lasting=False),
        *_share("errno(3)", "ESTALE", lasting=False),
    ),
    # "ENOSPC EDQUOT: fd is bound to a file on NFS or another filesystem which does not allocate space at the
    # time of a write(2) system call". The page lists ENOSPC a second time by itself, for any file system.
    "fsync": (
        *_rows("fsync(2)", "EIO"),
        *_rows("fsync(2)", "ENOSPC", is_file),
        *_share("fsync(2)", "EDQUOT", is_file),
        *_INTERRUPTED,
        *_STALE,
    ),
    "fdatasync": (
        *_rows("fdatasync(2)", "EIO"),
        *_rows("fdatasync(2)", "ENOSPC", is_file),
        *_share("fdatasync(2)", "EDQUOT", is_file),
        *_INTERRUPTED,
        *_STALE,
    ),
    "sync_file_range": _rows("sync_file_range(2)", "EIO ENOSPC"),
    "sync": (),  # sync(2): "sync() is always successful."
    "syncfs": (*_rows("syncfs(2)", "EIO"), *_share("syncfs(2)", "ENOSPC EDQUOT")),
    # MS_SYNC ends in the same vfs_fsync_range as fsync.
    "msync": (
        *_rows("fsync(2)", "EIO", synchronous_msync),
        *_share("fsync(2)", "ENOSPC EDQUOT", synchronous_msync),
        *_share("errno(3)", "ESTALE", synchronous_msync),
    ),
    "rename": (
        *_rows("rename(2)", "EXDEV", across),
        *_rows("rename(2)", "ENOSPC EDQUOT EACCES EPERM EROFS"),
        *_rows("rename(3p)", "EIO"),
        *_STALE,
        # ENOENT does not say whether the file was taken away or the directory that it was to go to.
        *_others("rename(2)", "ENOENT"),
        *_others("rename(2)", "EEXIST", keeps_what_is_there),
        *_others("rename(2)", "ENOTEMPTY", replaces_directory),
        *_others("rename(2)", "EBUSY", is_directory, lasting=True),
    ),
    "link": (
        *_rows("link(2)", "EXDEV", across),
        *_rows("link(2)", "ENOSPC EDQUOT EACCES EPERM EROFS EMLINK EIO"),
        *_STALE,
        *_others("link(2)", "ENOENT EEXIST"),
    ),
    "symlink": (
        *_rows("symlink(2)", "ENOSPC EDQUOT EACCES EPERM EROFS EIO"),
        *_STALE,
        *_others("symlink(2)", "ENOENT EEXIST"),
    ),
    "unlink": (
        *_rows("unlink(2)", "EACCES EPERM EROFS EIO"),
        *_STALE,
        *_others("unlink(2)", "EBUSY", lasting=True),
    ),
    "mkdir": (
        *_rows("mkdir(2)", "ENOSPC EDQUOT EACCES EROFS EMLINK"),
        *_GIVEN_UP,
        *_STALE,
        *_others("mkdir(2)", "ENOENT"),
    ),
    "rmdir": (
        *_rows("rmdir(2)", "EACCES EPERM EROFS"),
        *_rows("rmdir(3p)", "EIO"),
        *_STALE,
        # An NFS client leaves a .nfsXXXX in place of a removed file that is still open.
        *_share("rmdir(2)", "ENOTEMPTY", lasting=False),
        *_others("rmdir(2)", "EBUSY", lasting=True),
        *_others("rmdir(2)", "ENOTEMPTY"),
    ),
    "mknod": (
        *_rows("mknod(2)", "ENOSPC EDQUOT EACCES EPERM EROFS"),
        *_GIVEN_UP,
        *_STALE,
        *_others("mknod(2)", "ENOENT EEXIST"),
    ),
    "truncate": (
        *_rows("truncate(2)", "EACCES EROFS", by_name),
        *_rows("ioctl_iflags(2)", "EPERM", by_name),
        *_rows("truncate(2)", "EIO"),
        *_rows("truncate(2)", "EFBIG", lengthens, lasting=False),
        *_INTERRUPTED,
        *_STALE,
        *_others("truncate(2)", "ENOENT", by_name),
    ),
    "fallocate": (
        *_rows("fallocate(2)", "ENOSPC EIO EOPNOTSUPP EPERM"),
        *_rows("errno(3)", "EDQUOT"),
        *_rows("fallocate(2)", "EFBIG", extends, lasting=False),
        # Unlike other calls, this one checks for signals on a local disk, too (mm/shmem.c, shmem_fallocate).
        *_rows("fallocate(2)", "EINTR", lasting=False),
        *_STALE,
    ),
    "copy_file_range": (
        *_rows("copy_file_range(2)", "ENOSPC EIO EXDEV EOPNOTSUPP EPERM"),
        *_rows("errno(3)", "EDQUOT"),
        *_rows("copy_file_range(2)", "EFBIG", extends, lasting=False),
        *_STALE,
    ),
    "sendfile": (
        *_rows("write(2)", "ENOSPC EDQUOT"),
        *_rows("sendfile(2)", "EIO EINVAL"),
        *_rows("write(2)", "EFBIG", extends, lasting=False),
        *_STALE,
    ),
    "splice": (
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
        *_rows("splice(2)", "EINVAL"),
        *_STALE,
    ),
    "clone": (
        *_rows("ioctl_ficlonerange(2)", "EXDEV EOPNOTSUPP EINVAL EPERM"),
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
        *_STALE,
    ),
    "chmod": (
        *_rows("chmod(2)", "EPERM EROFS EIO"),
        *_rows("chmod(2)", "EACCES", by_name),
        *_STALE,
        *_others("chmod(2)", "ENOENT", by_name),
    ),
    "chown": (
        *_rows("chown(2)", "EPERM EROFS EIO"),
        *_rows("chown(2)", "EACCES", by_name),
        *_rows("errno(3)", "EDQUOT"),
        *_STALE,
        *_others("chown(2)", "ENOENT", by_name),
    ),
    "utimens": (
        *_rows("utimensat(2)", "EACCES EPERM EROFS"),
        *_GIVEN_UP,
        *_STALE,
        *_others("utimensat(2)", "ENOENT", by_name),
    ),
    # setxattr(2) leaves the checks of permission to stat(2) and to what the kernel does for all changes.
    "setxattr": (
        *_rows("setxattr(2)", "ENOSPC EDQUOT EOPNOTSUPP EPERM"),
        *_rows("stat(2)", "EACCES"),
        *_rows("errno(3)", "EROFS"),
        *_GIVEN_UP,
        *_STALE,
        *_others("stat(2)", "ENOENT", by_name),
    ),
    "removexattr": (
        *_rows("removexattr(2)", "EOPNOTSUPP"),
        *_rows("ioctl_iflags(2)", "EPERM"),
        *_rows("stat(2)", "EACCES"),
        *_rows("errno(3)", "EROFS"),
        *_GIVEN_UP,
        *_STALE,
        *_others("stat(2)", "ENOENT", by_name),
    ),
    "lock": (
        *_rows("flock(2)", "EINTR", waits_flock, lasting=False),
        *_rows("fcntl(2)", "EINTR", waits_fcntl, lasting=False),
        *_rows("flock(2), fcntl(2)", "ENOLCK", takes_lock),
        # Not lasting: else a local disk that keeps failing would fail locks, too, of which it knows nothing.
        *_share("nfs(5)", "EIO", takes_lock, lasting=False),
        *_share("errno(3)", "ESTALE", takes_lock),
        *_others("flock(2)", "EWOULDBLOCK", tries_flock, lasting=True),
        *_others("fcntl(2)", "EAGAIN", tries_fcntl, lasting=True),
        *_others("fcntl(2)", "EDEADLK", waits_fcntl),
    ),
    "mmap": _rows("mmap(2)", "ENOMEM ENODEV EAGAIN"),
    # Not ENOENT: a removed directory is empty, and libc reports that errno as the end of the directory.
    "getdents": (*_rows("errno(3)", "EIO"), *_GIVEN_UP, *_STALE),
    # Permissions of a directory may change at any time. That trouble is over with the call: a name that was
    # looked up lately is answered from memory and not from the disk.
    "stat": (
        *_rows("stat(2)", "EACCES", lasting=False),
        *_rows("stat(3p)", "EIO", lasting=False),
        *_BLINKS,
        *_share("errno(3)", "ESTALE", lasting=False),
        *_others("stat(2)", "ENOENT"),
    ),
    "access": (
        *_rows("access(2)", "EACCES EIO", lasting=False),
        *_BLINKS,
        *_share("errno(3)", "ESTALE", lasting=False),
        *_others("access(2)", "ENOENT"),
    ),
    "readlink": (
        *_rows("readlink(2)", "EACCES EIO", lasting=False),
        *_BLINKS,
        *_share("errno(3)", "ESTALE", lasting=False),
        *_others("readlink(2)", "ENOENT"),
    ),
    "getcwd": (
        *_rows("getcwd(3)", "EACCES", lasting=False),
        *_others("getcwd(3)", "ENOENT"),
    ),
}

_lost_reply = partial(_share, lasting=False)

LOST: dict[str, tuple[ErrnoRow, ...]] = {
    # link(2), rename(2): "On NFS filesystems, … the return code may be wrong in case the NFS server performs
    # the … and dies before it can say so": the request is sent again and now fails on its own effect.
    # Not for others: one that claims a job by moving it goes on to do it, which no invented process does. A
    # worker that rightly leaves the job to the other would be blamed for it.
    "rename": _lost_reply("rename(2)", "EIO ENOENT"),
    "link": _lost_reply("link(2)", "EIO EEXIST"),
    "symlink": _lost_reply("link(2), by analogy", "EIO EEXIST"),
    # A quicker process has the same effect: the directory is there, or the name is gone.
    "mkdir": (*_lost_reply("link(2), by analogy", "EIO EEXIST"), *_others("mkdir(2)", "EEXIST")),
    "unlink": (*_lost_reply("link(2), by analogy", "EIO ENOENT"), *_others("unlink(2)", "ENOENT")),
    "rmdir": (*_lost_reply("link(2), by analogy", "EIO ENOENT"), *_others("rmdir(2)", "ENOENT")),
    "open": _lost_reply("nfs(5)", "EIO", creates),
    "truncate": _lost_reply("nfs(5)", "EIO"),
    "chmod": _lost_reply("nfs(5)", "EIO"),
    "chown": _lost_reply("nfs(5)", "EIO"),
    "utimens": _lost_reply("nfs(5)", "EIO"),
    "setxattr": _lost_reply("nfs(5)", "EIO"),
    "removexattr": _lost_reply("nfs(5)", "EIO"),
    # With O_SYNC or O_DSYNC (open(2)) the data is in the file before the disk is asked and says no.
    "write": _rows("write(2)", "EIO", synchronous_write, lasting=False),
}
"""Errors of calls that nevertheless took effect: the reply was lost, another process was quicker, or only the
last step failed."""


OF_ONE_FILE = frozenset({"EACCES", "EPERM", "ESTALE", "ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ETXTBSY"})
"""Errors that stay with a file and not with the disk."""

FAULT_CLASSES: tuple[FaultClass, ...] = ("local", "share", "interference")
"""Ordered from what every program must expect to what only some programs meet."""


def possible(operation: Operation, *classes: FaultClass) -> Iterator[ErrnoRow]:
    """The rows of :data:`TABLE` whose condition ``operation`` meets, in the table's order, limited to
    ``classes`` if any are named.
    """
    # A call without rows, such as a promise, cannot fail.
    rows = TABLE.get(operation.call, ())
    return (row for row in rows if (not classes or row.fault_class in classes) and row.when(operation))


def lost(operation: Operation, *classes: FaultClass) -> Iterator[ErrnoRow]:
    """The rows of :data:`LOST` whose condition ``operation`` meets, in the same way."""
    rows = LOST.get(operation.call, ())
    return (row for row in rows if row.fault_class in classes and row.when(operation))


def class_of(call: str, name: str, argument: str) -> FaultClass:
    """The most ordinary class that has a fault of this name and argument at a call."""
    rows = (LOST if name == "lost" else TABLE).get(call, ())
    wanted = argument if name == "lost" else name
    found = {row.fault_class for row in rows if row.name == wanted}
    # A fault that is not an error of a call, such as a kill, needs no share and no other process.
    return next((one for one in FAULT_CLASSES if one in found), "local")


def can_fail(operation: Operation, name: str) -> bool:
    """Return True if ``operation`` can fail with the errno called ``name``."""
    return any(row.name == name for row in possible(operation))


# Needed for each point of a schedule, while the table never changes.
@cache
def calls_that_keep_failing(name: str) -> frozenset[str]:
    """The calls that fail while such trouble persists; see :func:`keeps_failing`."""
    return frozenset(call for call, rows in TABLE.items() if any(r.name == name and r.lasting for r in rows))


def keeps_failing(operation: Operation, name: str) -> bool:
    """Return True if ``operation`` fails with ``name`` while trouble that began earlier persists.

    A close does not. It can fail only while data is pending, which is not known in advance; failing every
    close, even of a file that was only read, would blame programs for what never happens.
    """
    return any(row.name == name and row.lasting for row in possible(operation))
