"""Where rows come from: a function, a table of SQLite, the files of a directory.

A source that can be changed changes a row only if it still is what was seen. That look and the change are
one step: one transaction, or one rename.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.files.directories import make_directories, paths_below
from chaoskit.runtime.durable.files.renaming import rename
from chaoskit.runtime.durable.files.syncing import sync_directory

__all__ = ["ChangeableRows", "FileRows", "FunctionRows", "RowSource", "SqliteRows", "Table"]

EVERYTHING = "**/*"
"""The pattern of all files below a directory."""

Table: TypeAlias = Mapping[str, Any]
"""One row: values by column."""


@runtime_checkable
class RowSource(Protocol):
    """Rows that can be read. ``key`` is the column that tells them apart."""

    key: str

    def rows(self) -> Iterable[Table]:
        """All rows, as they are now."""

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value, as they are now."""


@runtime_checkable
class ChangeableRows(RowSource, Protocol):
    """Rows that can be changed, if they are as they were seen."""

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Set columns, or remove the row for None; False, and nothing changes, if it is not as ``seen``."""


class FunctionRows:
    """The rows that a function returns at each call."""

    def __init__(self, read: Callable[[], Iterable[Table]], key: str = "id") -> None:
        self.key, self._read = key, read

    def rows(self) -> Iterable[Table]:
        return self._read()

    def find(self, column: str, value: Any) -> list[Table]:
        return [row for row in self._read() if row.get(column) == value]


class SqliteRows:
    """The rows of one table in a SQLite database, read and changed with a connection for each call.

    Do not use it on the file of a chaoskit store, which has locks that another connection breaks.
    """

    def __init__(
        self, database: str | os.PathLike[str], table: str, *, key: str = "id", timeout: float = 10.0
    ) -> None:
        """``timeout`` bounds the wait for other writers, in seconds."""
        self.key = key
        self._database, self._timeout = Path(database), timeout
        self._table, self._column = _quoted(table), _quoted(key)

    def rows(self) -> Iterator[Table]:
        """All rows.

        Raises:
            FileNotFoundError: there is no such database.
            sqlite3.Error: it cannot be read.
        """
        return iter(self._select("", ()))

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value; raises as ``rows``."""
        return self._select(f" WHERE {_quoted(column)} IS ?", (value,))

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Change the one row with the key of ``seen``, if nothing in it has changed; raises as ``rows``."""
        id = seen[self.key]
        with closing(self._connect()) as connection:
            # IMMEDIATE: the lock is there before the look, so that no other writer comes in between.
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
            # All at once: a read that is held open keeps the log of the database from being emptied.
            return [
                dict(row)
                for row in connection.execute(f"SELECT * FROM {self._table}{where}", values).fetchall()
            ]

    def _connect(self) -> sqlite3.Connection:
        # sqlite3 would make an empty database, and every file would be an orphan of it.
        if not self._database.is_file():
            raise FileNotFoundError(2, "there is no such database", str(self._database))
        connection = sqlite3.connect(self._database, timeout=self._timeout, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection


class FileRows:
    """The files below a directory, as rows with ``path`` (relative, with slashes), ``size`` and ``modified``.

    Removing one moves it to ``quarantine``, another directory of the same file system: what a rule has taken
    for an orphan by mistake can be put back.
    """

    key = "path"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        pattern: str = EVERYTHING,
        quarantine: str | os.PathLike[str] | None = None,
    ) -> None:
        self._directory, self._pattern = Path(directory), pattern
        self._quarantine = None if quarantine is None else Path(quarantine)

    def rows(self) -> Iterator[Table]:
        """All files whose path matches the pattern; hidden ones are not looked at.

        Raises:
            FileNotFoundError: the directory is not there.
            OSError: it cannot be read, or a folder below it that may hold such files.
        """
        # An unmounted disk must not look like a directory whose files are all missing.
        if not self._directory.is_dir():
            raise FileNotFoundError(2, "there is no such directory", str(self._directory))
        for path in self._matching():
            name = path.relative_to(self._directory)
            # What was put away once is not an orphan again.
            if self._quarantine is not None and path.is_relative_to(self._quarantine):
                continue
            if not any(part.startswith(".") for part in name.parts):
                row = self._row(name.as_posix())
                if row is not None:
                    yield row

    def _matching(self) -> list[Path]:
        # A glob takes a folder that cannot be read for an empty one, and its files would count as missing.
        if "/" not in self._pattern:
            os.listdir(self._directory)
        elif self._pattern == EVERYTHING:
            return paths_below(self._directory)
        else:
            paths_below(self._directory)
        return sorted(self._directory.glob(self._pattern))

    def find(self, column: str, value: Any) -> list[Table]:
        """The rows with this value; by path without reading the directory."""
        if column != "path":
            return [row for row in self.rows() if row.get(column) == value]
        row = self._row(str(value))
        return [] if row is None else [row]

    def change(self, seen: Table, columns: Mapping[str, Any] | None) -> bool:
        """Move the file to the quarantine, if it has not been written since.

        Raises:
            UsageError: there is no quarantine, or columns were to be set.
            OSError: it could not be moved.
        """
        if columns is not None or self._quarantine is None:
            raise UsageError(
                "files can be removed, and only into a quarantine=; expected one. Give a directory."
            )
        if self._row(str(seen["path"])) != dict(seen):
            return False
        source, target = self._directory / seen["path"], self._quarantine / seen["path"]
        make_directories(target.parent)
        if os.path.lexists(target):
            target = target.with_name(f"{target.name}.{seen['modified']}")
        rename(source, target)
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


def source_of(name: str, given: RowSource | Callable[[], Iterable[Table]]) -> RowSource:
    """A source as given, or around a function.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, RowSource):
        return given
    if callable(given):
        return FunctionRows(given)
    raise wrong(f"source {name!r}", given, "a function that returns rows, or a source such as SqliteRows")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
