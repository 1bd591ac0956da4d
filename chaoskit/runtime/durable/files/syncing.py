"""Waiting until written data is on the storage device.

A failed fsync is never repeated on the same descriptor: the kernel has marked the pages as clean, and a
second fsync succeeds without writing anything. After an error from these functions the data has to be
written again, to a new file or through a new descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from chaoskit.runtime.failures.taxonomy import StorageError

__all__ = ["sync_data", "sync_directory", "sync_file", "sync_tree"]


def sync_file(descriptor: int) -> None:
    """Return when the content and the attributes of an open file are durable.

    Raises:
        OSError: it is unknown whether they are durable; see the module's docstring.
    """
    if sys.platform == "darwin" and _full_sync(descriptor):
        return
    os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """As ``sync_file``, but for content and size only: where fdatasync exists it need not write timestamps.

    Raises:
        OSError: as ``sync_file``.
    """
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync_file(descriptor)


def _full_sync(descriptor: int) -> bool:
    """Flush the drive's cache too, which macOS does only on request; return False if the volume cannot."""
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined, unused-ignore]
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
            return False  # A network volume: fsync is all that it offers.
        raise
    return True


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Return when the entries of a directory are durable. Does nothing on Windows, which has no call for it.

    Raises:
        StorageError: the file system cannot sync directories.
        OSError: any other failure.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):
            raise StorageError(
                f"the file system of {os.fspath(path)!r} does not sync directories ({error.strerror});"
                " expected one that does",
                hint="Write to a local disk, or name a weaker level: durability='process-crash'.",
            ) from error
        raise
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Return when everything below a directory, and its own entries, is durable.

    Links are synced as directory entries, and not followed.

    Raises:
        StorageError, OSError: as ``sync_directory``.
    """
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            sync_tree(Path(entry.path))
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            _sync_path(entry.path)
    sync_directory(directory)


def _sync_path(path: str) -> None:
    # Windows flushes only a descriptor that is open for writing.
    access = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_CLOEXEC
    descriptor = os.open(path, access)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)
