"""Where rows come from: a function, a table of SQLite, or the files of a directory.

A source that can be changed changes a row only if the row is still as it was read. For SQLite the comparison
and the change are one transaction; a file is compared immediately before it is renamed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import CallableKind, kind_of
from chaoskit.runtime.durable.files.directories import make_directories, paths_below
from chaoskit.runtime.durable.files.names import LONGEST
from chaoskit.runtime.durable.files.renaming import Unsupported, rename, rename_to_free_name
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.numbers import is_number

__all__ = ["ChangeableRows", "FileRows", "FunctionRows", "RowSource", "SqliteRows", "Table"]

EVERYTHING = "**/*"
"""The pattern that matches all files below a directory."""

Table: TypeAlias = Mapping[str, Any]
"""A row: values by column."""


@runtime_checkable
class RowSource(Protocol):
    """Rows that can be read. ``key`` is the column that identifies a row."""

    key: str

    def rows(self) -> Iterable[Table]:
        """All rows, as they are now."""

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value, as they are now."""


@runtime_checkable
class ChangeableRows(RowSource, Protocol):
    """Rows that can be changed, provided that they are still as they were read."""

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Set columns, or with None remove the row; return False if it differs from ``seen``."""


class FunctionRows:
    """The rows that a function returns, called afresh each time."""

    def __init__(self, read: Callable[[], Iterable[Table]], key: str = "id") -> None:
        self.key, self._read = key, read

    def rows(self) -> Iterable[Table]:
        return self._read()

    def find(self, column: str, value: Any) -> list[Table]:
        return [row for row in self._read() if row.get(column) == value]


class SqliteRows:
    """The rows of a table in a SQLite database; each call opens a connection.

    Do not use it on the file of a chaoskit store: this connection would write without the store's lock.
    """

    def __init__(
        self, database: str | os.PathLike[str], table: str, *, key: str = "id", timeout: float = 10.0
    ) -> None:
        """``timeout`` limits the wait for other writers, in seconds."""
        if not (is_number(timeout) and timeout >= 0):
            raise wrong("timeout", timeout, "seconds, zero or more")
        self.key = kinds.text("key", key)
        kinds.text("table", table)
        self._database = Path(kinds.instance("database", database, str, os.PathLike))
        self._timeout = float(timeout)
        self._table, self._column = _quoted(table), _quoted(key)

    def rows(self) -> Iterator[Table]:
        """All rows of the table.

        Raises:
            FileNotFoundError: the database does not exist.
            sqlite3.Error: it cannot be read.
        """
        return iter(self._select("", ()))

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value; raises the same errors as ``rows``."""
        return self._select(f" WHERE {_quoted(column)} IS ?", (value,))

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Change the row with the key of ``seen``, if it is unchanged; raises the same errors as ``rows``."""
        id = seen[self.key]
        with closing(self._connect()) as connection:
            # IMMEDIATE takes the lock before the comparison, so that no other writer gets in between.
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = connection.execute(f"SELECT * FROM {self._table} WHERE {self._column} IS ?", (id,))
                rows = [dict(row) for row in found.fetchall()]
                same = rows == [dict(seen)]
                if same and columns is None:
                    connection.execute(f"DELETE FROM {self._table} WHERE {self._column} IS ?", (id,))
                elif same and columns:
                    names = ", ".join(f"{_quoted(name)} = ?" for name in columns)
                    values = (*columns.values(), id)
                    connection.execute(f"UPDATE {self._table} SET {names} WHERE {self._column} IS ?", values)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return same

    def _select(self, where: str, values: tuple[Any, ...]) -> list[Table]:
        with closing(self._connect()) as connection:
            # Fetch everything at once: an open read keeps SQLite from emptying its write-ahead log.
            return [
                dict(row)
                for row in connection.execute(f"SELECT * FROM {self._table}{where}", values).fetchall()
            ]

    def _connect(self) -> sqlite3.Connection:
        # sqlite3 would create an empty database, and every file would count as an orphan.
        if not self._database.is_file():
            raise FileNotFoundError(2, "there is no such database", str(self._database))
        connection = sqlite3.connect(self._database, timeout=self._timeout, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection


class FileRows:
    """The files below a directory, as rows with ``path`` (relative, with slashes), ``size`` and ``modified``.

    Removing a file moves it to ``quarantine``, another directory on the same file system, so that a file that
    was mistaken for an orphan can be put back.
    """

    key = "path"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        pattern: str = EVERYTHING,
        quarantine: str | os.PathLike[str] | None = None,
    ) -> None:
        self._directory = Path(kinds.instance("directory", directory, str, os.PathLike))
        self._pattern = kinds.text("pattern", pattern)
        kinds.instance("quarantine", quarantine, str, os.PathLike, optional=True)
        self._quarantine = None if quarantine is None else Path(quarantine)

    def rows(self) -> Iterator[Table]:
        """All files whose path matches the pattern; hidden files are skipped.

        Raises:
            FileNotFoundError: the directory does not exist.
            OSError: the directory, or a folder below it that may hold such files, cannot be read.
        """
        # A disk that is not mounted must not look like a directory whose files are all missing.
        if not self._directory.is_dir():
            raise FileNotFoundError(2, "there is no such directory", str(self._directory))
        for path in self._matching():
            name = path.relative_to(self._directory)
            # Files in the quarantine were judged already, and must not be found as orphans again.
            if self._quarantine is not None and path.is_relative_to(self._quarantine):
                continue
            if not any(part.startswith(".") for part in name.parts):
                row = self._row(name.as_posix())
                if row is not None:
                    yield row

    def _matching(self) -> list[Path]:
        # A glob treats an unreadable folder as empty, and its files would count as missing.
        if "/" not in self._pattern:
            os.listdir(self._directory)
        elif self._pattern == EVERYTHING:
            return paths_below(self._directory)
        else:
            paths_below(self._directory)
        return sorted(self._directory.glob(self._pattern))

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value; looking up a path does not read the directory."""
        if column != "path":
            return [row for row in self.rows() if row.get(column) == value]
        row = self._row(str(value))
        return [] if row is None else [row]

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Move the file to the quarantine, if it has not been written since.

        Raises:
            UsageError: there is no quarantine, or ``columns`` is not None.
            OSError: the file could not be moved.
        """
        if columns is not None or self._quarantine is None:
            raise UsageError(
                "files can be removed, and only into a quarantine=; expected one. Give a directory."
            )
        if self._row(str(seen["path"])) != dict(seen):
            return False
        source, target = self._directory / seen["path"], self._quarantine / seen["path"]
        make_directories(target.parent)
        _move(source, target)
        sync_directory(target.parent)
        sync_directory(source.parent)
        return True

    def _row(self, name: str) -> dict[str, Any] | None:
        try:
            found = os.stat(self._directory / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not os.path.isfile(self._directory / name):
            return None
        return {"path": name, "size": found.st_size, "modified": found.st_mtime_ns / 1e9}


def _move(source: Path, target: Path) -> None:
    """Rename the file to ``target`` or, if that name is taken, to the first free name after it."""
    for place in _names_from(target):
        # Tried without checking first: another repair may take the name after a check, and lose its file.
        try:
            rename_to_free_name(source, place)
            return
        except FileExistsError:
            continue
        except Unsupported:
            if os.path.lexists(place):
                continue
            rename(source, place)
            return


def _names_from(target: Path) -> Iterator[Path]:
    """``target``, then its name with a number, cut where the file system would refuse it."""
    yield target
    for number in itertools.count(1):
        tail = f".{number}"
        kept = os.fsencode(target.name)[: LONGEST - len(tail)].decode("utf-8", "ignore")
        yield target.with_name(f"{kept}{tail}")


def source_of(name: str, given: RowSource | Callable[[], Iterable[Table]]) -> RowSource:
    """The source itself, or a source that reads from the function.

    Raises:
        UsageError: it is neither a source nor a function.
    """
    is_class = isinstance(given, type)
    if isinstance(given, RowSource) and not is_class:
        return given
    # A generator function is allowed: the rows are only iterated over.
    awaited = kind_of(given) in (CallableKind.ASYNC, CallableKind.ASYNC_GENERATOR)
    if callable(given) and not awaited and not (is_class and hasattr(given, "rows")):
        return FunctionRows(given)
    raise wrong(f"source {name!r}", given, "a function that returns rows, or a source such as SqliteRows")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
