"""What became of an operation whose commit was not answered."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.store.postgres.pool import APPLICATION
from chaoskit.runtime.durable.store.postgres.transacting import NOW
from chaoskit.runtime.failures.stored import StoreBusy

__all__ = ["committed"]

_TOKEN = re.compile(r"(\d+\.[0-9a-f]{16})-\d+")
PAUSE = 0.01


def committed(
    connection: psycopg.Connection[tuple[Any, ...]],
    id: str,
    *,
    token: str = "",
    timeout: float,
    clock: Clock,
) -> bool:
    """True if the operation was committed; the answer never changes later.

    ``token`` is of the session that made it, if that is known. The session is ended: what it was sent last
    may be on its way still, or be waiting for a lock.

    Raises:
        StoreBusy: the session does not end within ``timeout`` seconds.
        psycopg.Error: it cannot be found out now.
    """
    found = _TOKEN.fullmatch(id)
    # Of a session that lives and is asked about in vain nothing is lost: what is there needs no end of it.
    if not token and _noted(connection, id):
        return True
    if token or found:
        _end(connection, token or found[1], timeout, clock)  # type: ignore[index]
    # An id in the ledger that is not committed yet makes this wait until it is decided.
    with connection.transaction(force_rollback=True):
        new = connection.execute(
            "insert into operation(id, at) values(%s, 0) on conflict do nothing", (id,)
        ).rowcount
    return not new or _noted(connection, id)


def _noted(connection: psycopg.Connection[tuple[Any, ...]], id: str) -> bool:
    """True if some record tells of it; into the ledger with it then, before the record is overwritten."""
    statement = (
        f"insert into operation(id, at) select %s, {NOW}"
        " where exists(select 1 from record where operation_id = %s) on conflict do nothing"
    )
    return connection.execute(statement.encode(), (id, id)).rowcount == 1


def _end(connection: psycopg.Connection[tuple[Any, ...]], token: str, timeout: float, clock: Clock) -> None:
    begun = clock.monotonic()
    while connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
        (f"{APPLICATION}{token}",),
    ).fetchall():
        if clock.monotonic() - begun >= timeout:
            raise StoreBusy(
                f"the session {token} of the server has not ended for {timeout:.3g} s; expected it to, so"
                " that nothing can be committed in it any more. Ask again later."
            )
        clock.sleep(PAUSE)
