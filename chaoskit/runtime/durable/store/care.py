"""An operator's tools for a store: backup, verification and statistics. All of them work while a job runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.files.names import unfinished_name
from chaoskit.runtime.durable.files.syncing import sync_directory, sync_file
from chaoskit.runtime.durable.store.core import Core
from chaoskit.runtime.durable.store.files import free_bytes, typed_errors
from chaoskit.runtime.durable.store.protocol import Statistics, VerifyReport
from chaoskit.runtime.durable.store.reading import as_text
from chaoskit.runtime.durable.store.sqlite import SqliteReader, failure, has_wal_reset_bug
from chaoskit.runtime.durable.store.walking import look_at_all
from chaoskit.runtime.failures.taxonomy import ResilienceError

__all__ = ["back_up", "statistics", "verify"]

_ROLLBACK_MODE, _MODE_AT = b"\x01\x01", 18
"""The file format versions for writing and reading, and their offset: sqlite.org/fileformat.html, 1.3.3."""
WAL_WARNING = 10
"""A WAL of this many times its limit gets a warning: some reader is not ending its transaction."""


def back_up(source: sqlite3.Connection, path: Path, target: Path) -> None:
    """Copy the database to ``target`` with SQLite's backup API, completely or not at all, and synced.

    The file is never read directly: closing it would drop the locks that SQLite holds in this process.
    Writers need not wait.

    Raises:
        UsageError: ``target`` is the store itself.
        DiskFull, StoreCorrupt, StorageError: the backup failed; an older file at ``target`` is unchanged.
    """
    with typed_errors("write the backup", target):
        if target.exists() and path.exists() and target.samefile(path):
            raise wrong("target", str(target), "a path other than the store's", "Give it a name to itself.")
        # Each call has a different name, so two threads never share one, and clean_leftovers knows its form.
        staged = unfinished_name(target)
        try:
            with closing(sqlite3.connect(staged, isolation_level=None)) as copy:
                # Without a journal, which a kill would leave behind. An incomplete copy is never published,
                # so it need not be recoverable.
                copy.execute("pragma journal_mode = off").fetchall()
                source.backup(copy)
            # Synced before the rename: a power loss must not leave the new name with half of the content.
            _finish(staged)
            os.replace(staged, target)
            sync_directory(target.parent)
        except sqlite3.Error as error:
            raise failure(error, target) from error
        finally:
            # A copy that cannot be removed does no harm; clean_leftovers removes it later.
            with suppress(OSError):
                os.unlink(staged)


def verify(core: Core, *, deep: bool) -> VerifyReport:
    """Have SQLite check the structure of the file, and compare every record with its checksum.

    ``deep`` also compares the indexes with the records, and takes about 2.5 times as long. Of 150 bits
    flipped in a file, the quick check noticed 3, the deep one 8, and the checksums 124.
    """
    return core.readers.read(lambda reader: _verified(reader, deep))


def _verified(reader: SqliteReader, deep: bool) -> VerifyReport:
    try:
        said = [str(row[0]) for row in reader.rows(f"pragma {'integrity' if deep else 'quick'}_check")]
    except ResilienceError as error:
        said = [error.message]
    problems = [line for line in said if line != "ok"]
    walked = look_at_all(reader)
    return VerifyReport(walked.records, (*problems, *walked.problems), walked.damaged, deep)


def statistics(core: Core) -> Statistics:
    """Numbers of records by status, counted now, and the work of this process since it opened the store."""
    rows = core.readers.read(
        lambda reader: reader.rows("select kind, status, count(*) from record group by kind, status")
    )
    with typed_errors("look at the files of", core.files.database):
        return Statistics(
            records={(as_text(kind), as_text(status)): count for kind, status, count in rows},
            size=os.stat(core.files.database).st_size,
            wal=core.files.wal_size(),
            operations=core.operations,
            commits=core.commits,
            checkpoints=core.upkeep.checkpoints,
            waited=core.lock.longest,
            damaged=core.damaged,
            reserve=core.upkeep.reserve.there,
            warnings=tuple(_warnings(core)),
        )


def _warnings(core: Core) -> Iterator[str]:
    wal, limit = core.files.wal_size(), core.upkeep.limit
    if wal > WAL_WARNING * limit:
        yield (
            f"The WAL has {wal:,} bytes, {WAL_WARNING} times its limit: some process has kept a read open"
            " for a long time. Find it and end its transaction."
        )
    if core.settings.reserve and not core.upkeep.reserve.there:
        yield "The reserve is used up. Free disk space; it is set aside again at the next checkpoint."
    free = free_bytes(core.files.database.parent)
    if free < core.settings.reserve:
        yield f"The disk has {free:,} bytes left. Free some before writes fail."
    if core.upkeep.last_error:
        yield f"The last upkeep failed: {core.upkeep.last_error}."
    if has_wal_reset_bug():
        yield (
            f"SQLite {sqlite3.sqlite_version} may damage a file when two connections checkpoint at once. The"
            " store prevents that among its processes: keep other programs from writing to the file."
        )


def _finish(path: Path) -> None:
    """Sync a copy that SQLite has closed, and make it one self-contained file.

    The copy of a store is in WAL mode: SQLite would create two more files beside it as soon as it is opened.
    SQLite itself can change the mode, but creates those two files first, and a kill would leave them behind.
    So the mode is changed directly in the header.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(fd, _ROLLBACK_MODE, _MODE_AT)
        sync_file(fd)
    finally:
        os.close(fd)
