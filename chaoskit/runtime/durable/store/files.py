"""The files of a store, and the file systems that a store must not be on."""

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

# f_type of statfs(2), from its manual page and linux/magic.h. SQLite's WAL needs locks and shared memory,
# which do not work between machines: https://sqlite.org/wal.html, "the wal-index is shared memory".
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
    """The files of one store. Only SQLite may open them, except ``lock`` and ``reserve``.

    Closing any descriptor of the database drops the locks that SQLite holds on it in the same process. That
    may lose acknowledged commits.
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
        """Device and inode of the database. Raises FileNotFoundError if it does not exist."""
        seen = os.stat(self.database)
        return seen.st_dev, seen.st_ino

    def wal_size(self) -> int:
        try:
            return os.stat(self.wal).st_size
        except FileNotFoundError:
            return 0


def refuse_other(database: Path) -> None:
    """Raise ConfigurationError if ``database`` exists and is not a regular file."""
    if database.exists() and not database.is_file():
        kind = "a directory" if database.is_dir() else "not a regular file"
        raise ConfigurationError(
            f"{database} is {kind}; expected a store's file, or none. Give the store a path to itself."
        )


def refuse_network(directory: Path) -> None:
    """Raise ConfigurationError if ``directory`` is on a network file system of a known kind."""
    kind = _NETWORK.get(_file_system(directory))
    if kind:
        raise ConfigurationError(
            f"{directory} lies on {kind}; expected a local file system: locks and shared memory do not work"
            " between machines. Put the store on a local disk, or use a database server."
        )


def _file_system(directory: Path) -> int:
    """``f_type`` of the file system; -1 if the system does not report it."""
    if sys.platform != "linux":
        return -1
    # The standard library has only statvfs, which does not report the type. f_type, a long, is the first
    # member of struct statfs; 256 bytes hold the structure on every architecture.
    room = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(directory), room):
        return -1
    return ctypes.c_ulong.from_buffer(room).value & 0xFFFFFFFF


def free_bytes(directory: Path) -> int:
    """The number of bytes that a user without privileges can still write there."""
    seen = os.statvfs(directory)
    return seen.f_bavail * seen.f_frsize


@contextmanager
def typed_errors(doing: str, path: Path) -> Iterator[None]:
    """Raise the system's errors as classes of the taxonomy. ``doing`` completes "could not …"."""
    try:
        with named_refusals(doing, path):
            yield
    except OSError as error:
        if isinstance(error, ResilienceError):
            raise
        kind = next((ours for theirs, ours in _TYPES if isinstance(error, theirs)), FilesystemError)
        # The whole text of the system's error, since it names the path concerned, which may not be ``path``.
        raise kind(
            f"could not {doing} {str(path)!r}: {error}", errno=error.errno, filename=str(path)
        ) from error
