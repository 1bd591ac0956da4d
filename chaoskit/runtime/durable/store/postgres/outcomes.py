"""Finding out whether an operation was committed when its commit got no answer."""

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
    """True if the operation was committed. The answer is final.

    ``token`` names the session that made it, if that is known. The session is ended, since its last statement
    may still be on its way, or waiting for a lock.

    Raises:
        StoreBusy: the session does not end within ``timeout`` seconds.
        psycopg.Error: the server cannot be asked now.
    """
    found = _TOKEN.fullmatch(id)
    # First without ending any session: if a record names the operation, it was committed.
    if not token and _noted(connection, id):
        return True
    if token or found:
        _end(connection, token or found[1], timeout, clock)  # type: ignore[index]
    # If an undecided transaction has entered this id into the ledger, the insert waits for its end.
    with connection.transaction(force_rollback=True):
        new = connection.execute(
            "insert into operation(id, at) values(%s, 0) on conflict do nothing", (id,)
        ).rowcount
    return not new or _noted(connection, id)


def _noted(connection: psycopg.Connection[tuple[Any, ...]], id: str) -> bool:
    """True if a record names the operation, which is then entered into the ledger.

    The record may be overwritten later, and the answer must stay the same.
    """
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
                f"the session {token} of the server has not ended for {timeout:.3g} s; expected it to end, so"
                " that nothing more can be committed in it. Ask again later."
            )
        clock.sleep(PAUSE)
