"""The tables of a store on a server, and how an older store is brought up to date.

They are the tables of a store in a file, in PostgreSQL's dialect. Two things differ from its defaults: names
and keys are compared byte by byte (``collate "C"``), so that both kinds of store list in the same order; and
counts are ``bigint``, since ``integer`` ends at 2**31.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from chaoskit.runtime.durable.store.postgres.target import ServerTarget
from chaoskit.runtime.failures.stored import StoreTooNew
from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["MIGRATIONS", "ServerMigration", "migrate"]

Connection = psycopg.Connection[tuple[Any, ...]]
ServerMigration = Callable[[Connection], object]

# One advisory lock for all stores of a database, since migrations are rare and short. The number is "chks".
_LOCK = 0x63686B73

_RECORDS = """
create table version(n integer not null);
insert into version values(0);
create table record(
 kind text collate "C" not null, scope text collate "C" not null, key text collate "C" not null,
 status text collate "C" not null, payload text not null, format bigint not null, crc bigint not null,
 version bigint not null default 1, operation_id text collate "C" not null,
 attempts bigint not null default 0, fence bigint not null default 0,
 owner text collate "C", due double precision,
 created double precision not null, updated double precision not null,
 primary key(kind, scope, key)) with (fillfactor = 80);
create index record_live on record(kind, scope, due) where due is not null;
create index record_due on record(kind, due) where due is not null;
create index record_status on record(kind, status);
create index record_owner on record(owner) where owner is not null;
create table operation(id text collate "C" primary key, at double precision not null);
create index operation_at on operation(at);
create table owner(id text collate "C" primary key, process text not null, at double precision not null);
"""


def _records(connection: Connection) -> None:
    connection.execute(_RECORDS, prepare=False)


MIGRATIONS: Sequence[ServerMigration] = (_records,)


def migrate(
    connection: Connection,
    target: ServerTarget,
    *,
    create: bool,
    migrations: Sequence[ServerMigration] = MIGRATIONS,
) -> None:
    """Bring the store up to date, in one transaction and with a lock of the database held.

    Raises:
        StoreTooNew: a later chaoskit has migrated the store further than this one knows.
        ConfigurationError: the schema holds something else, or does not exist and ``create`` is False.
    """
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        version = _version(connection, target)
        if version is None:
            if not create:
                raise ConfigurationError(
                    f"there is no store in {target.shown}; expected one. Pass create=True to make it."
                )
            # Not "create schema if not exists": a role that owns a schema may lack the right to create one.
            there = "select 1 from pg_namespace where nspname = %s"
            if not connection.execute(there, (target.schema,)).fetchall():
                connection.execute(f"create schema {target.schema}".encode())
            version = 0
        if version > len(migrations):
            raise StoreTooNew(
                f"{target.shown} has version {version}; expected at most {len(migrations)}, which is what"
                " this chaoskit knows. Use the chaoskit that wrote it, or a later one."
            )
        if version == len(migrations):
            return
        for step in migrations[version:]:
            step(connection)
        connection.execute("update version set n = %s", (len(migrations),))


def _version(connection: Connection, target: ServerTarget) -> int | None:
    """The number of the last migration; None if the schema has no tables."""
    rows = connection.execute(
        "select table_name::text from information_schema.tables where table_schema = %s", (target.schema,)
    ).fetchall()
    tables = {row[0] for row in rows}
    if not tables:
        return None
    if not {"version", "record", "operation"} <= tables:
        raise ConfigurationError(
            f"{target.shown} holds tables of another program ({', '.join(sorted(tables)[:5])}); expected a"
            " store of chaoskit or none. Give the store a schema to itself: ?schema=NAME."
        )
    found = connection.execute("select n from version").fetchall()
    return int(found[0][0])
