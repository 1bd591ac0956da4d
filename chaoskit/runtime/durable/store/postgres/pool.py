"""The connections to the server: their number, their time-outs, and when they are closed.

Only one thread at a time uses a connection. There are as many as there were threads at the same time, but at
most eight; further threads wait. A connection that is not idle after its use, for example since it broke, is
closed.
"""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.connections import keep_forever
from chaoskit.runtime.durable.store.postgres.target import ServerTarget
from chaoskit.runtime.durable.store.postgres.waiting import BoundedConnection
from chaoskit.runtime.failures.stored import StoreBusy
from chaoskit.runtime.failures.taxonomy import ConfigurationError
from chaoskit.runtime.forks import survive_fork

__all__ = ["MOST", "Pool", "Session"]

MOST = 8
"""The most connections of one store. More would share the same disk: 8 commit only 1.9 times as much as 1."""
OLDEST = 120_000
"""PostgreSQL 12, in the form of ``server_version``."""
APPLICATION = "chaoskit-"
STATEMENT = 60.0
"""Seconds that a statement may take: far longer than any statement of a store does."""
GRACE = 5.0
"""Seconds that this side waits beyond the server's time-out for a statement, to get the server's answer."""


class Session:
    """One connection, with a token that no other session ever gets."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], token: str) -> None:
        self.connection, self.token = connection, token
        self._numbers = itertools.count(1)

    def next_id(self) -> str:
        """An operation id that no other operation ever has. It names the session that makes the operation."""
        return f"{self.token}-{next(self._numbers)}"


class Pool:
    """The connections of one store. ``timeout`` bounds every wait, in seconds."""

    def __init__(self, target: ServerTarget, durability: Durability, timeout: float, clock: Clock) -> None:
        self._target, self._durability, self._timeout, self._clock = target, durability, timeout, clock
        self._places = threading.BoundedSemaphore(MOST)
        self._idle: deque[Session] = deque()
        self._all: set[psycopg.Connection[tuple[Any, ...]]] = set()
        self._lock = threading.RLock()
        self.longest = 0.0
        survive_fork(self)

    @contextmanager
    def lent(self, *, fresh: bool = False) -> Iterator[Session]:
        """Lend the block a session that is outside a transaction; with ``fresh``, over a new connection.

        Raises:
            StoreBusy: all connections were in use for the whole timeout.
            psycopg.Error: there was no idle connection, and no new one could be made.
        """
        begun = self._clock.monotonic()
        if not self._places.acquire(timeout=self._timeout):
            raise StoreBusy(
                f"all {MOST} connections to {self._target.shown} were in use for {self._timeout:.3g} s;"
                " expected one sooner. Nothing was changed; keep transactions short, or raise lock_timeout."
            )
        session = None
        try:
            self.longest = max(self.longest, self._clock.monotonic() - begun)
            if fresh:
                # The idle ones lead to the server that has just gone.
                self.close_idle()
            session = self._taken()
            yield session
        finally:
            try:
                if session is not None:
                    self._give_back(session)
            finally:
                self._places.release()

    def close_idle(self) -> None:
        """Close the connections that no thread uses."""
        with suppress(IndexError):
            while True:
                self._drop(self._idle.pop())

    def _taken(self) -> Session:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, session: Session) -> None:
        # By its state, whatever happened: after an interrupt too, a session may still be in a transaction.
        if session.connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(session)
        else:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        with self._lock:
            self._all.discard(session.connection)
        with suppress(psycopg.Error, OSError):
            session.connection.close()

    def _connect(self) -> Session:
        token = f"{os.getpid()}.{uuid.uuid4().hex[:16]}"
        wait = f"{max(int(self._timeout * 1000), 1)}"
        asked = conninfo_to_dict(self._target.uri).get("options", "")
        statement = max(int(STATEMENT * 1000), 2 * int(wait))
        connection = BoundedConnection.connect(
            self._target.uri,
            autocommit=True,
            # libpq treats anything below 2 as 2.
            connect_timeout=max(int(self._timeout), 2),
            application_name=f"{APPLICATION}{token}",
            client_encoding="UTF8",
            keepalives_idle=10,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=wait,
            # Set when connecting, not by SET: the rollback of its transaction would undo that, and a failure
            # could leave only some of them set.
            options=(
                f"{asked} -c search_path={self._target.schema} -c lock_timeout={wait}"
                f" -c statement_timeout={statement}"
                f" -c idle_in_transaction_session_timeout={wait}"
                " -c default_transaction_isolation=read\\ committed"
                f"{' -c synchronous_commit=off' if self._durability == 'memory' else ''}"
            ),
        )
        # Longer than the server's own time-outs, since the server's error says more.
        connection.patience = statement / 1000 + GRACE
        try:
            check_server(connection, self._target, self._durability)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._all.add(connection)
        return Session(connection, token)

    def _after_fork(self) -> None:
        # Not closed: parent and child share the socket, so closing it here would end the parent's session.
        keep_forever(self._all)
        self._all = set()
        self._idle.clear()


def check_server(
    connection: psycopg.Connection[tuple[Any, ...]], target: ServerTarget, durability: Durability
) -> None:
    """Refuse a server on which the store would not keep its promises.

    Raises:
        ConfigurationError: it is too old, its encoding is not UTF-8, or at ``power-loss`` it does not sync.
    """
    if connection.info.server_version < OLDEST:
        raise ConfigurationError(
            f"{target.shown} is PostgreSQL {connection.info.server_version // 10_000}; expected"
            f" {OLDEST // 10_000} or later. Use another server."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        # With SQL_ASCII the server accepts any bytes, and psycopg returns bytes.
        raise ConfigurationError(
            f"{target.shown} has the encoding {encoding}; expected UTF8. Create the database with it:"
            " createdb -E UTF8 -T template0."
        )
    if durability != "power-loss":
        return
    rows = connection.execute(
        "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit')"
    ).fetchall()
    off = [name for name, setting in rows if setting == "off"]
    if off:
        raise ConfigurationError(
            f"{target.shown} runs with {' and '.join(sorted(off))} off; expected a server that syncs what it"
            " has committed. Switch it on, or name the durability that you have: 'process-crash' or 'memory'."
        )
