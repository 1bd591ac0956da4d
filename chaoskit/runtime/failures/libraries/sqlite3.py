"""The errors of sqlite3, and of aiosqlite and apsw, which raise the same texts."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_SQLITE = ("sqlite3.Error",)


# Rules match the name of the result code if the error has one, else its text: Python 3.11 and later set the
# name only for errors that SQLite reported. The class does not help: OperationalError means busy, full and
# broken.
LIBRARY = Library(
    name="sqlite3",
    source="SQLite's result codes and sqlite3_errstr()",
    code_of=lambda error: getattr(error, "sqlite_errorname", ""),
    rules=(
        Rule(
            name="sqlite.locked",
            verdict=t.TransientError,
            types=_SQLITE,
            message=r"database (table |schema )?is locked|locking protocol",
            why="another connection holds the lock",
        ),
        Rule(
            name="sqlite.busy",
            verdict=t.TransientError,
            codes=("SQLITE_BUSY*", "SQLITE_LOCKED*", "SQLITE_PROTOCOL", "SQLITE_SCHEMA"),
            why="another connection holds the lock, or changed the schema",
        ),
        Rule(
            name="sqlite.full",
            verdict=t.DiskFull,
            types=_SQLITE,
            message=r"database or disk is full",
            why="the disk or the database's page limit is full",
        ),
        Rule(
            name="sqlite.read-only",
            verdict=t.ReadOnlyFilesystem,
            types=_SQLITE,
            message=r"readonly database",
            why="the file or its directory cannot be written",
        ),
        Rule(
            name="sqlite.corrupt",
            verdict=t.DataIntegrityError,
            types=_SQLITE,
            message=r"malformed|is not a database|integrity",
            why="the file is damaged, or is not a database",
        ),
        Rule(
            name="sqlite.memory",
            verdict=t.OutOfMemory,
            types=_SQLITE,
            message=r"out of memory",
            why="memory ran out",
        ),
        Rule(
            name="sqlite.io",
            verdict=t.FilesystemError,
            types=_SQLITE,
            message=r"disk i/o error",
            why="the file system failed below SQLite",
        ),
        Rule(
            name="sqlite.cannot-open",
            verdict=t.FilesystemError,
            types=_SQLITE,
            message=r"unable to open",
            why="the directory is missing or closed to this user",
        ),
        Rule(
            name="sqlite.interrupted",
            verdict=t.TransientError,
            types=_SQLITE,
            message=r"^interrupted$",
            why="another thread interrupted the statement",
        ),
        Rule(
            name="sqlite.constraint",
            verdict=t.ValidationError,
            types=("sqlite3.IntegrityError", "sqlite3.DataError"),
            why="this row breaks a constraint",
        ),
        Rule(
            name="sqlite.no-such-thing",
            verdict=t.ConfigurationError,
            types=_SQLITE,
            message=r"no such (table|column|function|module|collation|index)|has no column named",
            why="table, column or function does not exist: a migration is missing",
        ),
        Rule(
            name="sqlite.statement",
            verdict=t.PermanentError,
            types=("sqlite3.Error", "sqlite3.Warning"),
            why="the program sends a statement that cannot work, or at the wrong time",
        ),
    ),
)
