"""The tables of a store in SQLite, and how an older store is brought up to date.

A migration is a function of the connection. Migrations are numbered from 1, never change once released, and
run in one transaction under the store's lock, so an interruption leaves the store as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from chaoskit.runtime.failures.stored import StoreCorrupt, StoreTooNew
from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["APPLICATION", "MIGRATIONS", "Migration", "migrate", "version_of"]

Migration = Callable[[sqlite3.Connection], None]

APPLICATION = 0x63686B73
"""``chks`` in the file's header: distinguishes a store from any other database."""


def _records(connection: sqlite3.Connection) -> None:
    connection.execute(
        "create table record("
        " kind text not null, scope text not null, key text not null, status text not null,"
        " payload text not null, format integer not null, crc integer not null,"
        " version integer not null default 1, operation_id text not null,"
        " attempts integer not null default 0, fence integer not null default 0,"
        " owner text, due real, created real not null, updated real not null,"
        # Not "without rowid": a row of more than a quarter of a page would take a second page, and twice as
        # long to write (measured for 1.2 kB: 45 µs instead of 20 µs).
        " primary key(kind, scope, key))"
    )
    # A partial index of live records, so that settled ones never slow down a claim.
    connection.execute("create index record_live on record(kind, scope, due) where due is not null")
    connection.execute("create index record_status on record(kind, status)")
    # ``n`` grows with time, so the oldest rows are found without an index on the time.
    connection.execute(
        "create table operation(n integer primary key, id text not null unique, at real not null)"
    )
    connection.execute(
        "create table owner(machine text not null, byte integer not null, id text not null unique,"
        " boot text not null, pid integer not null, started text not null, primary key(machine, byte))"
        " without rowid"
    )
    connection.execute("create table settled(n integer not null)")
    connection.execute("insert into settled values(0)")


MIGRATIONS: Sequence[Migration] = (_records,)


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The number of the last migration that was run on the file; 0 for an empty file.

    Raises:
        ConfigurationError: the file is a database, but not a store.
    """
    version = int(connection.execute("pragma user_version").fetchall()[0][0])
    application = connection.execute("pragma application_id").fetchall()[0][0]
    tables = connection.execute("select count(*) from sqlite_master").fetchall()[0][0]
    if application != APPLICATION and (tables or version or application):
        raise ConfigurationError(
            f"{path} is a database of another program (application id {application:#x}); expected a store of"
            " chaoskit or no file. Give the store a path to itself."
        )
    return version


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
    backup: Callable[[int], object] = lambda version: None,
) -> None:
    """Bring the store up to date. Call with the lock of the store held, outside a transaction.

    ``backup(version)`` is called before a store that has tables is changed.

    Raises:
        StoreCorrupt: no chaoskit has ever written this version.
        StoreTooNew: a later chaoskit has migrated the store further than this one knows.
    """
    version = version_of(connection, path)
    if version < 0:
        raise StoreCorrupt(
            f"{path} says that its version is {version}; expected 0 to {len(migrations)}. Its header was"
            " damaged, or written by another program: keep a copy, then restore the latest backup."
        )
    if version > len(migrations):
        raise StoreTooNew(
            f"{path} has version {version}; expected at most {len(migrations)}, which is what this chaoskit"
            " knows. Use the chaoskit that wrote it, or a later one."
        )
    if version == len(migrations):
        return
    if version:
        backup(version)
    connection.execute("begin immediate")
    for step in migrations[version:]:
        step(connection)
    connection.execute(f"pragma application_id = {APPLICATION}")
    connection.execute(f"pragma user_version = {len(migrations)}")
    connection.execute("commit")
