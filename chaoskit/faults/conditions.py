"""When a call can fail in some way: the conditions in the table of :mod:`chaoskit.faults.errnos`."""

from __future__ import annotations

import os
from collections.abc import Callable

from chaoskit.core.operation import Operation

Condition = Callable[[Operation], bool]

_LOCK_NB, _LOCK_UN = 4, 8  # flock(2)
_TRYING, _WAITING = (6, 37), (7, 38)  # F_SETLK, F_OFD_SETLK; F_SETLKW, F_OFD_SETLKW: fcntl(2)
_RENAME_NOREPLACE = 1  # linux/fs.h
_EXCLUSIVE = os.O_CREAT | os.O_EXCL
# Not on Windows, where no call has them.
_NOFOLLOW, _DIRECTORY = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_DIRECTORY", 0)


def always(_: Operation) -> bool:
    """Return True: the call can fail so whatever its arguments are."""
    return True


def exclusive(op: Operation) -> bool:
    """Return True if an open insists on making its file."""
    return op.file.flags & _EXCLUSIVE == _EXCLUSIVE


def makes_nothing(op: Operation) -> bool:
    """Return True if an open does not create a missing file."""
    return not op.file.flags & os.O_CREAT


def refuses_links(op: Operation) -> bool:
    """Return True if an open says ELOOP to a symbolic link at the end of its name.

    With ``O_DIRECTORY`` it says ENOTDIR, and an exclusive one EEXIST, as to any other file (open(2)).
    """
    return _refuses_links(op) and not op.file.flags & _DIRECTORY


def refuses_links_to_directories(op: Operation) -> bool:
    """Return True if an open says ENOTDIR to a symbolic link, wherever it leads."""
    return _refuses_links(op) and bool(op.file.flags & _DIRECTORY)


def _refuses_links(op: Operation) -> bool:
    return bool(op.file.flags & _NOFOLLOW) and not exclusive(op)


def across(op: Operation) -> bool:
    """Return True if the two names could be on different file systems; within one directory they never are.

    Renaming a directory is different: overlayfs answers it with EXDEV anywhere when
    ``redirect_dir`` is off (Documentation/filesystems/overlayfs.rst).
    """
    return op.file.directory or op.target.rpartition("/")[0] != (op.second or "").rpartition("/")[0]


def keeps_what_is_there(op: Operation) -> bool:
    """Return True if a rename refuses to replace anything."""
    return bool(op.file.flags & _RENAME_NOREPLACE)


def replaces_directory(op: Operation) -> bool:
    """Return True if a rename may put a directory in the place of an empty one, which is not empty by now."""
    # The other flags keep what is there, exchange two names, or leave a whiteout: renameat2(2).
    return op.file.directory and not op.file.flags


def is_file(op: Operation) -> bool:
    """Return True unless the call acts on a directory."""
    return not op.file.directory


def is_directory(op: Operation) -> bool:
    """Return True if the call acts on a directory."""
    return op.file.directory


def by_name(op: Operation) -> bool:
    """Return True if a call that has two forms was given a path, False for a descriptor."""
    # utimensat takes both: its descriptor is the target only without a name.
    if op.file.fd is not None:
        return False
    # fchmod, fchmod2, ftruncate take a descriptor; fchmodat, fchownat take a path.
    return not op.syscall.startswith("f") or op.syscall.removesuffix("2").endswith("at")


def lengthens(op: Operation) -> bool:
    """Return True unless a truncate is known not to make its file longer."""
    detail = op.file
    return detail.length is None or detail.size_before is None or detail.length > detail.size_before


def synchronous_write(op: Operation) -> bool:
    """Return True if a write returns only when its data is on the disk."""
    return bool(op.file.synchronous)


def synchronous_msync(op: Operation) -> bool:
    """Return True if an msync waits for the disk."""
    return bool(op.file.flags & 4)  # MS_SYNC


def tries_flock(op: Operation) -> bool:
    """Return True if flock asks for a lock and does not wait for it."""
    return op.syscall == "flock" and bool(op.file.flags & _LOCK_NB) and not op.file.flags & _LOCK_UN


def waits_flock(op: Operation) -> bool:
    """Return True if flock waits for its lock."""
    return op.syscall == "flock" and not op.file.flags & (_LOCK_NB | _LOCK_UN)


def tries_fcntl(op: Operation) -> bool:
    """Return True if fcntl asks for a lock and does not wait for it."""
    return op.syscall == "fcntl" and op.file.flags in _TRYING


def waits_fcntl(op: Operation) -> bool:
    """Return True if fcntl waits for its lock."""
    return op.syscall == "fcntl" and op.file.flags in _WAITING


def takes_lock(op: Operation) -> bool:
    """Return True unless flock gives a lock back."""
    return not (op.syscall == "flock" and op.file.flags & _LOCK_UN)
