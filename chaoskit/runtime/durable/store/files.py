"""Where a store lies: the files beside the database, and the file systems on which it must not lie."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    FileMissing,
    FilesystemError,
    PermissionRefused,
    ResilienceError,
)

__all__ = ["StoreFiles", "free_bytes", "refuse_network", "refuse_other", "typed_errors"]

# f_type of statfs(2), from its manual page and linux/magic.h. Locks and shared memory between machines
# do not hold what SQLite's WAL needs: https://sqlite.org/wal.html, "the wal-index is shared memory".
_NETWORK = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x517B: "SMB",
    0x564C: "NCP",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x7461636F: "OCFS2",
    0x01021997: "9P",
    0x19830326: "FhGFS",
}


_TYPES: tuple[tuple[type[OSError], type[FilesystemError]], ...] = (
    (PermissionError, PermissionRefused),
    (FileNotFoundError, FileMissing),
)


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """The files of one store. None of them but ``lock`` and ``reserve`` is ever opened except by SQLite:

    closing a descriptor of the database drops the locks that SQLite holds on it in the same process, and
    with them acknowledged commits.
    """

    database: Path

    @property
    def lock(self) -> Path:
        return self._beside(".lock")

    @property
    def reserve(self) -> Path:
        return self._beside(".reserve")

    @property
    def wal(self) -> Path:
        return self._beside("-wal")

    def _beside(self, suffix: str) -> Path:
        return self.database.with_name(self.database.name + suffix)

    def identity(self) -> tuple[int, int]:
        """Device and number of the database. Raises FileNotFoundError if it is not there."""
        seen = os.stat(self.database)
        return seen.st_dev, seen.st_ino

    def wal_size(self) -> int:
        try:
            return os.stat(self.wal).st_size
        except FileNotFoundError:
            return 0


def refuse_other(database: Path) -> None:
    """Raise ConfigurationError if what is there is a directory, a device, or otherwise not a regular file."""
    if database.exists() and not database.is_file():
        kind = "a directory" if database.is_dir() else "not a regular file"
        raise ConfigurationError(
            f"{database} is {kind}; expected a store's file, or none. Give the store a path to itself."
        )


def refuse_network(directory: Path) -> None:
    """Raise ConfigurationError if ``directory`` lies on a network file system that is known as one."""
    kind = _NETWORK.get(_file_system(directory))
    if kind:
        raise ConfigurationError(
            f"{directory} lies on {kind}; expected a local file system: locks and shared memory do not work"
            " between machines. Put the store on a local disk, or use a database server."
        )


def _file_system(directory: Path) -> int:
    """``f_type`` of the file system; -1 where it cannot be asked for."""
    if sys.platform != "linux":
        return -1
    # The standard library has statvfs alone, which does not tell the type. The first member of struct
    # statfs is f_type, a long; 256 bytes hold the structure on every architecture.
    room = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(directory), room):
        return -1
    return ctypes.c_ulong.from_buffer(room).value & 0xFFFFFFFF


def free_bytes(directory: Path) -> int:
    """What an ordinary user may still write there."""
    seen = os.statvfs(directory)
    return seen.f_bavail * seen.f_frsize


@contextmanager
def typed_errors(doing: str, path: Path) -> Iterator[None]:
    """Raise the system's refusals under the names of the taxonomy. ``doing`` completes "could not"."""
    try:
        with named_refusals(doing, path):
            yield
    except OSError as error:
        if isinstance(error, ResilienceError):
            raise
        kind = next((ours for theirs, ours in _TYPES if isinstance(error, theirs)), FilesystemError)
        # The system's own words have the path that it is about.
        raise kind(
            f"could not {doing} {str(path)!r}: {error}", errno=error.errno, filename=str(path)
        ) from error
