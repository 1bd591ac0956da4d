"""Which errno which call can really give, when, and who says so.

Each row cites its source: the manual page of the call, or where that leaves it to the file system,
``errno(3)`` (ESTALE: "can occur for NFS and for other filesystems") and ``nfs(5)`` (a soft mount gives
up and the call fails with EIO or ETIMEDOUT; with this every call on a share can fail with EIO).
Left out is what only a mistake of the program can cause (EBADF, EFAULT, EINVAL of arguments, ENOTDIR,
ELOOP, ENAMETOOLONG) and what the state of the disk would contradict: an ``unlink`` that fails with
ENOENT while the file stays is no fault but a lie. What remains of those is in :data:`LOST`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from chaoskit.core.operation import Operation
from chaoskit.faults.calls import creates, extends, opens_for_writing

Condition = Callable[[Operation], bool]


@dataclass(frozen=True, slots=True)
class ErrnoRow:
    """One errno of one call. ``lasting`` tells whether the trouble can persist until recovery."""

    name: str
    source: str
    when: Condition
    lasting: bool = True


def _always(_: Operation) -> bool:
    return True


def _exclusive(op: Operation) -> bool:
    return op.file.flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL


def _across(op: Operation) -> bool:
    """True if the two names could be on different file systems; within one directory they never are.

    Renaming a directory is different: overlayfs answers it with EXDEV anywhere when
    ``redirect_dir`` is off (Documentation/filesystems/overlayfs.rst).
    """
    return op.file.directory or op.target.rpartition("/")[0] != (op.second or "").rpartition("/")[0]


def _is_file(op: Operation) -> bool:
    return not op.file.directory


def _is_directory(op: Operation) -> bool:
    return op.file.directory


def _by_name(op: Operation) -> bool:
    """True if a call that comes in two forms was given a path, False for a descriptor."""
    # fchmod, fchmod2, ftruncate take a descriptor; fchmodat, fchownat take a path.
    return not op.syscall.startswith("f") or op.syscall.removesuffix("2").endswith("at")


def _lengthens(op: Operation) -> bool:
    """True unless a truncate is known to make its file no longer."""
    detail = op.file
    return detail.length is None or detail.size_before is None or detail.length > detail.size_before


def _synchronous_msync(op: Operation) -> bool:
    return bool(op.file.flags & 4)  # MS_SYNC


_LOCK_NB, _LOCK_UN = 4, 8  # flock(2)
_TRYING, _WAITING = (6, 37), (7, 38)  # F_SETLK, F_OFD_SETLK; F_SETLKW, F_OFD_SETLKW: fcntl(2)


def _tries_flock(op: Operation) -> bool:
    return op.syscall == "flock" and bool(op.file.flags & _LOCK_NB) and not op.file.flags & _LOCK_UN


def _waits_flock(op: Operation) -> bool:
    return op.syscall == "flock" and not op.file.flags & (_LOCK_NB | _LOCK_UN)


def _tries_fcntl(op: Operation) -> bool:
    return op.syscall == "fcntl" and op.file.flags in _TRYING


def _waits_fcntl(op: Operation) -> bool:
    return op.syscall == "fcntl" and op.file.flags in _WAITING


def _takes_lock(op: Operation) -> bool:
    return not (op.syscall == "flock" and op.file.flags & _LOCK_UN)


def _rows(
    source: str, names: str, when: Condition = _always, *, lasting: bool = True
) -> tuple[ErrnoRow, ...]:
    return tuple(ErrnoRow(name, source, when, lasting) for name in names.split())


_SHARE = (*_rows("nfs(5)", "EIO"), *_rows("errno(3)", "ESTALE"))

TABLE: dict[str, tuple[ErrnoRow, ...]] = {
    "open": (
        *_rows("open(2)", "ENOSPC EDQUOT", creates),
        *_rows("open(2)", "EROFS", opens_for_writing),
        *_rows("ioctl_iflags(2)", "EPERM", opens_for_writing),  # an immutable file
        *_rows("open(2)", "EACCES EMFILE ENFILE"),
        *_rows("open(2)", "ENOENT EINTR", lasting=False),
        *_rows("open(2)", "EEXIST", _exclusive, lasting=False),
        *_SHARE,
    ),
    "read": (
        *_rows("read(2)", "EIO"),
        *_rows("errno(3)", "ESTALE"),
        *_rows("read(2)", "EINTR", lasting=False),
    ),
    "write": (
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
        *_rows("write(2)", "EFBIG", extends, lasting=False),
        *_rows("write(2)", "EINTR", lasting=False),
        *_rows("errno(3)", "ESTALE"),
    ),
    # Only where data may still be on its way: chaoskit.faults.facts says which closes these are.
    "close": _rows("close(2)", "EIO ENOSPC EDQUOT EINTR", lasting=False),
    "fsync": (
        *_rows("fsync(2)", "EIO"),
        *_rows("fsync(2)", "ENOSPC EDQUOT", _is_file),
        *_rows("fsync(2)", "EINTR", lasting=False),
        *_rows("errno(3)", "ESTALE"),
    ),
    "fdatasync": (
        *_rows("fdatasync(2)", "EIO"),
        *_rows("fdatasync(2)", "ENOSPC EDQUOT", _is_file),
        *_rows("fdatasync(2)", "EINTR", lasting=False),
        *_rows("errno(3)", "ESTALE"),
    ),
    "sync_file_range": _rows("sync_file_range(2)", "EIO ENOSPC"),
    "sync": (),  # sync(2): "sync() is always successful."
    "syncfs": _rows("syncfs(2)", "EIO ENOSPC EDQUOT"),
    "msync": _rows("fsync(2)", "EIO", _synchronous_msync),  # MS_SYNC ends in the same vfs_fsync_range
    "rename": (
        *_rows("rename(2)", "EXDEV", _across),
        *_rows("rename(2)", "ENOSPC EDQUOT EACCES EPERM EROFS"),
        *_rows("rename(2)", "EBUSY", _is_directory),
        *_rows("rename(3p)", "EIO"),
        *_rows("errno(3)", "ESTALE"),
    ),
    "link": (
        *_rows("link(2)", "EXDEV", _across),
        *_rows("link(2)", "ENOSPC EDQUOT EACCES EPERM EROFS EMLINK EIO"),
        *_rows("errno(3)", "ESTALE"),
    ),
    "symlink": (
        *_rows("symlink(2)", "ENOSPC EDQUOT EACCES EPERM EROFS EIO"),
        *_rows("errno(3)", "ESTALE"),
    ),
    "unlink": (
        *_rows("unlink(2)", "EACCES EPERM EROFS EBUSY EIO"),
        *_rows("errno(3)", "ESTALE"),
    ),
    "mkdir": (*_rows("mkdir(2)", "ENOSPC EDQUOT EACCES EROFS EMLINK"), *_SHARE),
    "rmdir": (
        *_rows("rmdir(2)", "EACCES EPERM EROFS EBUSY"),
        # Another process made a file there, or an NFS client left its .nfsXXXX for an open one.
        *_rows("rmdir(2)", "ENOTEMPTY", lasting=False),
        *_rows("rmdir(3p)", "EIO"),
        *_rows("errno(3)", "ESTALE"),
    ),
    "mknod": (*_rows("mknod(2)", "ENOSPC EDQUOT EACCES EPERM EROFS"), *_SHARE),
    "truncate": (
        *_rows("truncate(2)", "EACCES EROFS", _by_name),
        *_rows("ioctl_iflags(2)", "EPERM", _by_name),
        *_rows("truncate(2)", "EIO"),
        *_rows("truncate(2)", "EFBIG", _lengthens, lasting=False),
        *_rows("truncate(2)", "EINTR", lasting=False),
        *_rows("errno(3)", "ESTALE"),
    ),
    "fallocate": (
        *_rows("fallocate(2)", "ENOSPC EIO EOPNOTSUPP EPERM"),
        *_rows("errno(3)", "EDQUOT ESTALE"),
        *_rows("fallocate(2)", "EFBIG", extends, lasting=False),
        *_rows("fallocate(2)", "EINTR", lasting=False),
    ),
    "copy_file_range": (
        *_rows("copy_file_range(2)", "ENOSPC EIO EXDEV EOPNOTSUPP EPERM"),
        *_rows("copy_file_range(2)", "EFBIG", extends, lasting=False),
        *_rows("errno(3)", "ESTALE"),
    ),
    "sendfile": (
        *_rows("write(2)", "ENOSPC EDQUOT"),
        *_rows("sendfile(2)", "EIO EINVAL"),
        *_rows("write(2)", "EFBIG", extends, lasting=False),
    ),
    "splice": (
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
        *_rows("splice(2)", "EINVAL"),
    ),
    "clone": (
        *_rows("ioctl_ficlonerange(2)", "EXDEV EOPNOTSUPP EINVAL EPERM"),
        *_rows("write(2)", "ENOSPC EDQUOT EIO"),
    ),
    "chmod": (
        *_rows("chmod(2)", "EPERM EROFS EIO"),
        *_rows("chmod(2)", "EACCES", _by_name),
        *_rows("errno(3)", "ESTALE"),
    ),
    "chown": (
        *_rows("chown(2)", "EPERM EROFS EIO"),
        *_rows("chown(2)", "EACCES", _by_name),
        *_rows("errno(3)", "EDQUOT ESTALE"),
    ),
    "utimens": (*_rows("utimensat(2)", "EACCES EPERM EROFS"), *_SHARE),
    # setxattr(2) leaves the checks of permission to stat(2) and to what the kernel does for all changes.
    "setxattr": (
        *_rows("setxattr(2)", "ENOSPC EDQUOT EOPNOTSUPP EPERM"),
        *_rows("stat(2)", "EACCES"),
        *_rows("errno(3)", "EROFS"),
        *_SHARE,
    ),
    "removexattr": (
        *_rows("removexattr(2)", "EOPNOTSUPP"),
        *_rows("ioctl_iflags(2)", "EPERM"),
        *_rows("stat(2)", "EACCES"),
        *_rows("errno(3)", "EROFS"),
        *_SHARE,
    ),
    "lock": (
        *_rows("flock(2)", "EWOULDBLOCK", _tries_flock),
        *_rows("fcntl(2)", "EAGAIN", _tries_fcntl),
        *_rows("flock(2)", "EINTR", _waits_flock, lasting=False),
        *_rows("fcntl(2)", "EINTR EDEADLK", _waits_fcntl, lasting=False),
        *_rows("flock(2), fcntl(2)", "ENOLCK", _takes_lock),
    ),
    "mmap": _rows("mmap(2)", "ENOMEM ENODEV EAGAIN"),
    # Not ENOENT: a directory that was removed is empty, and libc hides that errno as its end.
    "getdents": _SHARE,
    # Not ENOENT, ENOTDIR, ELOOP or ENAMETOOLONG, which the state of the disk would contradict. Another
    # process may change the permissions of a directory, though, at any time. That trouble is over with
    # the call: a name that was looked up lately is answered from memory and not from the disk.
    "stat": (
        *_rows("stat(2)", "EACCES", lasting=False),
        *_rows("stat(3p)", "EIO", lasting=False),
    ),
    "access": _rows("access(2)", "EACCES EIO", lasting=False),
    "readlink": _rows("readlink(2)", "EACCES EIO", lasting=False),
}

LOST: dict[str, tuple[ErrnoRow, ...]] = {
    # link(2), rename(2): "On NFS filesystems, … the return code may be wrong in case the NFS server performs
    # the … and dies before it can say so": the request is sent again and now fails on its own effect.
    "rename": (*_rows("rename(2)", "EIO ENOENT", lasting=False),),
    "link": (*_rows("link(2)", "EIO EEXIST", lasting=False),),
    "symlink": (*_rows("link(2), of its kind", "EIO EEXIST", lasting=False),),
    "mkdir": (*_rows("link(2), of its kind", "EIO EEXIST", lasting=False),),
    "unlink": (*_rows("link(2), of its kind", "EIO ENOENT", lasting=False),),
    "rmdir": (*_rows("link(2), of its kind", "EIO ENOENT", lasting=False),),
    "open": (*_rows("nfs(5)", "EIO", creates, lasting=False),),
    "truncate": _rows("nfs(5)", "EIO", lasting=False),
    "chmod": _rows("nfs(5)", "EIO", lasting=False),
    "chown": _rows("nfs(5)", "EIO", lasting=False),
    "utimens": _rows("nfs(5)", "EIO", lasting=False),
    "setxattr": _rows("nfs(5)", "EIO", lasting=False),
    "removexattr": _rows("nfs(5)", "EIO", lasting=False),
    # With O_SYNC or O_DSYNC (open(2)) the data is in the file before the disk is asked and says no.
    "write": _rows("write(2)", "EIO", lambda op: bool(op.file.synchronous), lasting=False),
}
"""Errors of calls that took effect all the same: the reply was lost, or only the last step failed."""


def possible(operation: Operation) -> Iterator[ErrnoRow]:
    """The rows of :data:`TABLE` whose condition ``operation`` meets, in the table's order."""
    # A call without rows, such as a promise, cannot fail.
    return (row for row in TABLE.get(operation.call, ()) if row.when(operation))


def can_fail(operation: Operation, name: str) -> bool:
    """Whether ``operation`` can fail with the errno called ``name``."""
    return any(row.name == name for row in possible(operation))


# Asked for each point of a schedule, while the table never changes.
@cache
def calls_that_keep_failing(name: str) -> frozenset[str]:
    """The calls of which some operation is hit by such trouble; see :func:`keeps_failing`."""
    return frozenset(call for call, rows in TABLE.items() if any(r.name == name and r.lasting for r in rows))


def keeps_failing(operation: Operation, name: str) -> bool:
    """Whether ``operation`` is hit by trouble called ``name`` that began earlier and persists.

    A close is not: whether data is still on its way, so that it could fail, is not known beforehand,
    and to fail every close of a file that was only read would blame programs for what never happens.
    """
    return any(row.name == name and row.lasting for row in possible(operation))
