"""Opening a store's file: it is created, switched to WAL and migrated under its lock, and then shared."""

from __future__ import annotations

import os
import sqlite3
import threading
from functools import partial
from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.files import make_directories
from chaoskit.runtime.durable.files.names import check_length
from chaoskit.runtime.durable.reserve import Reserve
from chaoskit.runtime.durable.store.care import back_up
from chaoskit.runtime.durable.store.core import Core
from chaoskit.runtime.durable.store.files import StoreFiles, refuse_network, refuse_other, typed_errors
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.migrations import migrate
from chaoskit.runtime.durable.store.settings import Settings
from chaoskit.runtime.durable.store.sqlite import check_library, connect_writer, failure, no_room
from chaoskit.runtime.durable.store.upkeep import Upkeep
from chaoskit.runtime.failures.taxonomy import FileMissing

__all__ = ["close", "open_core"]

LENT = 128 << 10
"""Bytes of the reserve that are lent at first: enough for the index of the WAL and a page or two."""
_open: dict[tuple[int, int], tuple[Core, int]] = {}
_guard = threading.Lock()


def open_core(path: Path, settings: Settings, *, create: bool) -> Core:
    """The core of this process for the file at ``path``. Give it back with :func:`close`.

    Raises:
        UsageError: this process has the file open with another durability.
        FileMissing: the file does not exist, and ``create`` is False.
        ResilienceError: the file cannot be opened, or is not a store.
    """
    check_library()
    with typed_errors("open the store", path), _guard:
        # Links are resolved, as SQLite does: its other files are beside the file that a link points to.
        files = StoreFiles(Path(os.path.realpath(path)))
        found = _shared(files)
        if found is None:
            found = _opened(files, settings, create=create)
        elif found.settings.durability != settings.durability:
            raise wrong(
                "durability",
                settings.durability,
                f"{found.settings.durability!r}, with which this process has {path} open",
                "One process writes to a file at one level.",
            )
        _open[found.identity] = (found, _open.get(found.identity, (found, 0))[1] + 1)
        return found


def close(core: Core) -> None:
    """Give a core back; the last user closes the file."""
    with _guard:
        for key, (one, users) in list(_open.items()):
            if one is core:
                if users > 1:
                    _open[key] = (one, users - 1)
                    return
                del _open[key]
        core.close()


def _shared(files: StoreFiles) -> Core | None:
    try:
        return _open[files.identity()][0]
    except (KeyError, FileNotFoundError):
        return None


def _opened(files: StoreFiles, settings: Settings, *, create: bool) -> Core:
    directory = files.database.parent
    # Before anything is created beside the path: SQLite would write a journal even beside a device.
    refuse_other(files.database)
    # The longest name beside the database is that of the backup before a migration.
    check_length(files.database, "NAME.before-99")
    if not create and not files.database.exists():
        raise FileMissing(
            f"{files.database} is not there; expected a store. Pass create=True to make one.",
            filename=str(files.database),
        )
    if create:
        make_directories(directory)
    refuse_network(directory)
    lock = LockFile.open(files.lock)
    try:
        lock.acquire(settings.lock_timeout, settings.clock)
        try:
            return _with_room(files, settings, lock, create=create)
        finally:
            lock.release()
    except sqlite3.Error as error:
        lock.close()
        raise failure(error, files.database) from error
    except BaseException:
        lock.close()
        raise


def _with_room(files: StoreFiles, settings: Settings, lock: LockFile, *, create: bool) -> Core:
    """Open the store, if necessary with space lent from the reserve.

    On a disk that is full to its last byte, the first process to open the store cannot even read: the index
    of the WAL takes 32 KiB, and pages that a killed process left in the WAL are copied to the database.
    """
    lent = LENT
    while True:
        try:
            return _prepared(files, settings, lock, create=create)
        except sqlite3.Error as error:
            # In steps, not all at once: whatever filled the disk also takes the space that is freed, and the
            # rest of the reserve may be needed again.
            if not no_room(error) or not Reserve(files.reserve, 0).lend(lent):
                raise
        lent *= 4


def _prepared(files: StoreFiles, settings: Settings, lock: LockFile, *, create: bool) -> Core:
    connection = connect_writer(files.database, settings.durability, create=create)
    try:
        migrate(connection, files.database, backup=partial(_keep_old, connection, files.database))
        upkeep = Upkeep(files, settings.wal_limit, settings.reserve)
        if files.wal_size():
            # The killed process may have failed to sync its WAL. The checkpoint writes the pages once more,
            # before anything builds on them.
            upkeep.checkpoint(connection, "passive")
        upkeep.reserve.lay_by()
        return Core(files, settings, lock, connection, files.identity())
    except BaseException:
        connection.close()
        raise


def _keep_old(connection: sqlite3.Connection, path: Path, version: int) -> None:
    back_up(connection, path, path.with_name(f"{path.name}.before-{version + 1}"))


def _forget() -> None:
    global _guard
    _guard = threading.Lock()
    _open.clear()


os.register_at_fork(after_in_child=_forget)
