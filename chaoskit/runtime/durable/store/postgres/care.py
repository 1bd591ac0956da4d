"""An operator's statistics for a store on a server, and the upkeep that keeps its tables small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from chaoskit.runtime.durable.store.postgres.pool import APPLICATION
from chaoskit.runtime.durable.store.protocol import Statistics
from chaoskit.runtime.durable.store.reading import RowReader
from chaoskit.runtime.durable.store.upkeep import LEDGER_DAYS

__all__ = ["EVERY", "statistics", "sweep"]

EVERY = 3600.0
"""Seconds between two removals of old ledger entries."""
SWEEP = 1000
LONG = 60
"""Seconds after which an open transaction gets a warning: nothing in a store takes that long."""
OWNER_DAYS = 30


def statistics(reader: RowReader, operations: int, commits: int, waited: float, damaged: int) -> Statistics:
    """Numbers of records by status, counted now, and the work of this process since it opened the store."""
    rows = reader.rows("select kind, status, count(*) from record group by kind, status")
    size = reader.rows(
        "select sum(pg_total_relation_size(t))"
        " from unnest(array['record', 'operation', 'owner']::regclass[]) as t"
    )
    return Statistics(
        records={(kind, status): count for kind, status, count in rows},
        size=int(size[0][0]),
        wal=0,
        operations=operations,
        commits=commits,
        waited=waited,
        damaged=damaged,
        warnings=tuple(_warnings(reader)),
    )


def _warnings(reader: RowReader) -> Iterator[str]:
    rows = reader.rows(
        "select pid from pg_stat_activity where left(application_name, ?) = ? and state <> 'idle'"
        " and xact_start < clock_timestamp() - make_interval(secs => ?) order by pid",
        (len(APPLICATION), APPLICATION, LONG),
    )
    if rows:
        pids = ", ".join(str(row[0]) for row in rows)
        yield (
            f"Transactions have been open for more than {LONG} s in the server's processes {pids}. Others"
            " wait for what they have locked: find out whose they are, and end them."
        )


def sweep(connection: psycopg.Connection[tuple[Any, ...]], now: float) -> bool:
    """Remove some old entries of the ledger, and old owners; return False if more entries may be left."""
    gone = connection.execute(
        "delete from operation where id in (select id from operation where at < %s limit %s)",
        (now - LEDGER_DAYS * 86400, SWEEP),
    ).rowcount
    # An owner that no record names is no longer needed.
    connection.execute(
        "delete from owner where at < %s and not exists (select 1 from record where record.owner = owner.id)",
        (now - OWNER_DAYS * 86400,),
    )
    return gone < SWEEP
