"""The families of calls that are fault points, and which of them change what a killed program leaves."""

from __future__ import annotations

import os

from chaoskit.core.operation import Operation

FILE_CALLS: tuple[str, ...] = (
    *("open", "read", "write", "close", "fsync", "fdatasync", "sync_file_range", "sync", "syncfs"),
    *("rename", "link", "symlink", "unlink", "mkdir", "rmdir", "mknod", "truncate", "fallocate"),
    *("copy_file_range", "sendfile", "splice", "clone", "chmod", "chown", "utimens", "setxattr"),
    *("removexattr", "lock", "mmap", "msync", "getdents"),
)
"""The families of ``Operation.call`` that act on files."""

PSEUDO_CALLS: tuple[str, ...] = ("promise", "end")
"""Points that are no system calls: something was acknowledged; the workload is over."""

CALLS: tuple[str, ...] = FILE_CALLS + PSEUDO_CALLS

TRANSFERS = frozenset(("write", "copy_file_range", "sendfile", "splice"))
"""Calls that put a number of bytes into a file and return how many."""

_CHANGING = TRANSFERS | {
    *("rename", "link", "symlink", "unlink", "mkdir", "rmdir", "mknod", "truncate", "fallocate"),
    *("clone", "chmod", "chown", "utimens", "setxattr", "removexattr"),
    # No call is seen when a program stores into a shared mapping; msync is where it shows.
    "msync",
}


def happened(operation: Operation) -> bool:
    """Whether the call succeeded, or is not known to have failed."""
    return operation.result is None or operation.result >= 0


def changes(operation: Operation) -> bool:
    """Whether the operation changed what other processes see of the disk.

    The family of fsync does not: it matters when power is lost, not when a process dies, since what
    was written stays in the page cache.
    """
    if not happened(operation):
        return False
    if operation.call == "open":
        return creates(operation) or operation.detail.truncated
    if operation.call in TRANSFERS and operation.result == 0:
        return False
    return operation.call in _CHANGING


def creates(operation: Operation) -> bool:
    """Whether an open made a new file; from its flags alone where the result is not known yet."""
    if operation.result is None and not operation.detail.created:
        return bool(operation.detail.flags & os.O_CREAT)
    return operation.detail.created


def opens_for_writing(operation: Operation) -> bool:
    """Whether an open asked for more than reading: access mode, truncation or creation."""
    flags = operation.detail.flags
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC) or creates(operation)


def extends(operation: Operation) -> bool:
    """Whether the operation makes its file longer, or may do so as far as is known."""
    detail = operation.detail
    if detail.offset is None or detail.length is None or detail.size_before is None:
        return True
    return detail.offset + detail.length > detail.size_before


def transferred(operation: Operation) -> int:
    """How many bytes the call moved; what it was asked for where the result is not known."""
    if operation.result is not None:
        return max(operation.result, 0)
    return operation.detail.length or 0
