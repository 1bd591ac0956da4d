"""SQLite connections configured for a store, and the meaning of SQLite's errors."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.files import free_bytes
from chaoskit.runtime.durable.store.migrations import version_of
from chaoskit.runtime.durable.store.reading import Row, RowReader
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy, StoreCorrupt, StoreGone
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    DiskFull,
    OutOfMemory,
    ReadOnlyFilesystem,
    ResilienceError,
    StorageError,
)

__all__ = [
    "SqliteReader",
    "check_library",
    "connect_reader",
    "connect_writer",
    "failure",
    "no_room",
    "has_wal_reset_bug",
    "primary",
]

SYNCHRONOUS: Final[dict[Durability, str]] = {
    "power-loss": "full",
    "process-crash": "normal",
    "memory": "off",
}
BUSY_TIMEOUT = 0.1
"""Seconds that SQLite itself waits. Our own lock comes first, so SQLite waits for other programs only."""
JOURNAL_LIMIT = 4 << 20


def check_library() -> None:
    """Raise ConfigurationError if this Python's SQLite is too old, or not built for several threads."""
    if sqlite3.sqlite_version_info < (3, 35) or sqlite3.threadsafety != 3:
        raise ConfigurationError(
            f"this Python has SQLite {sqlite3.sqlite_version} with threadsafety {sqlite3.threadsafety};"
            " expected 3.35 or later, built for use from several threads (3). Use another build of Python."
        )


def has_wal_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """True for the versions in which two checkpoints at once may corrupt the file.

    The store never lets two of its processes checkpoint or write at once, but another program may.
    https://sqlite.org/wal.html#walresetbug
    """
    return (3, 7, 0) <= version <= (3, 51, 2)


def connect_writer(path: Path, durability: Durability, *, create: bool) -> sqlite3.Connection:
    """The connection that writes. Call with the store's lock held, since switching to WAL does not wait.

    Raises:
        ConfigurationError: the file is a database of another program.
        StoreCorrupt: the file is empty, and ``create`` is False.

    In both cases the file is left as it was.
    """
    pragmas = [
        "journal_mode = wal",
        f"synchronous = {SYNCHRONOUS[durability]}",
        # Checkpoints are made only with our lock held.
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {JOURNAL_LIMIT}",
        "trusted_schema = off",
    ]
    if sys.platform == "darwin" and durability == "power-loss":
        # On macOS only F_FULLFSYNC makes the drive write out its cache: see fsync(2) there.
        pragmas += ["fullfsync = on", "checkpoint_fullfsync = on"]
    connection = _connect(path, "rwc" if create else "rw", [])
    try:
        # Checked before anything is changed: the switch to WAL would stay in another program's file.
        if version_of(connection, path) == 0 and not create:
            # This is not a store that another process is just creating: with the lock held, such a store has
            # its tables.
            raise StoreCorrupt(
                f"{path} is empty; expected a store. It was cut, by a copy or on a full disk, or the process"
                " that was making it was killed. Pass create=True to begin with nothing."
            )
        _set(connection, pragmas)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the database."""
    return _connect(path, "rw", ["query_only = on", "trusted_schema = off", "wal_autocheckpoint = 0"])


def _connect(path: Path, mode: str, pragmas: list[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        # Python must not begin transactions: it would begin them for reading, and then a write could fail.
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _set(connection, pragmas)
    except BaseException:
        connection.close()
        raise
    return connection


def _set(connection: sqlite3.Connection, pragmas: Sequence[str]) -> None:
    for pragma in pragmas:
        connection.execute(f"pragma {pragma}").fetchall()


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code; SQLITE_ERROR for errors that Python itself raises."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def no_room(error: sqlite3.Error) -> bool:
    """True if there was no room for what SQLite had to write, which includes the index of the WAL."""
    full = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return getattr(error, "sqlite_errorcode", 0) in full


def failure(
    error: sqlite3.Error, path: Path, *, committing: str | None = None, size: int = 0
) -> ResilienceError:
    """The store's error for one of SQLite's. The caller raises it from ``error``.

    ``committing`` is the id of the operation if its commit may have taken effect in spite of the error.
    ``size`` is the number of bytes that were to be written.
    """
    code, text = primary(error), f"{path}: {error}"
    free = free_bytes(path.parent) if no_room(error) else 0
    # The index of the WAL may also have failed to grow for another reason, on a disk that has room.
    if code == sqlite3.SQLITE_FULL or (no_room(error) and free < _needed(size)):
        return DiskFull(
            f"{path.parent} is full: {free:,} bytes are free, about {_needed(size):,} are needed."
            " Nothing was changed; free space, then try again.",
            filename=str(path),
            context={"free": free, "needed": _needed(size)},
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return StoreBusy(
            f"{text}: another program holds locks of the database; expected to have it within"
            f" {BUSY_TIMEOUT} s. Nothing was changed; try again, and look for programs that open the file."
        )
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return StoreGone(f"{text}: the file was moved or removed while it was open. Reopen the store.")
    if code == sqlite3.SQLITE_READONLY:
        return ReadOnlyFilesystem(
            f"{text}; expected a file and a file system that can be written to.", filename=str(path)
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        # SQLite also reports some failed reads so: sqlite.org/rescode.html, SQLITE_IOERR_CORRUPTFS.
        return StoreCorrupt(
            f"{text}: the file is damaged, the disk cannot read it, or it never was a store. Look for errors"
            " of the disk, and ask verify(); keep a copy of the file."
        )
    if code == sqlite3.SQLITE_NOMEM:
        return OutOfMemory(f"{text}. Nothing was changed.")
    if committing is not None and code == sqlite3.SQLITE_IOERR:
        return OutcomeUnknown(
            f"{text} while operation {committing} was committed: it may be there after the next opening,"
            " or not. Ask store.outcome(operation_id).",
            operation_id=committing,
        )
    return StorageError(f"{text} ({getattr(error, 'sqlite_errorname', type(error).__name__)}).")


def _needed(size: int) -> int:
    # The record and a few pages of the tree above it, once in the WAL and once in the database.
    return 2 * (size + 8 * 4096)


class SqliteReader(RowReader):
    """Reads over one connection. All rows are fetched at once: an open cursor would hold up checkpoints."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection, self._path = connection, path

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            # Only errors that Python itself raises have no code: here, for text that is not UTF-8, which one
            # flipped bit can cause.
            if not hasattr(error, "sqlite_errorcode"):
                return self._as_it_is(statement, values)
            raise failure(error, self._path) from error

    def _as_it_is(self, statement: str, values: Sequence[Any]) -> list[Row]:
        """The same rows, with undecodable bytes as lone surrogates, which no checksum matches.

        Otherwise one damaged record would make every list, claim and count fail.
        """
        self.connection.text_factory = _any_text
        try:
            return self.connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise failure(error, self._path) from error
        finally:
            self.connection.text_factory = str


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
