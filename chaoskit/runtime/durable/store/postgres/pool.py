"""Connections to the server: their time-outs, how many there are, and what becomes of them.

A connection is used by one thread at a time. There are as many as there were threads at once, eight at most;
a thread that finds none free waits. One on which anything went wrong is closed, and not used again.
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
"""Connections of one store at most. More would share the same disk: 8 commit 1.9 times as much as one."""
OLDEST = 120_000
"""PostgreSQL 12, as ``server_version`` counts."""
APPLICATION = "chaoskit-"
STATEMENT = 60.0
"""Seconds that one statement may take at most: far more than any of a store, far less than for ever."""
GRACE = 5.0
"""Seconds more after which the server is not waited for any longer."""


class Session:
    """One connection, with a name of its session that no other ever has."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], token: str) -> None:
        self.connection, self.token = connection, token
        self._numbers = itertools.count(1)

    def next_id(self) -> str:
        """An operation id that no other operation ever has, and that tells which session it was in."""
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
        """A session for the block, in no transaction. ``fresh``: not one of those that were idle.

        Raises:
            StoreBusy: all of them were in use all the time.
            psycopg.Error: there was no connection, and none could be made.
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
                # They are of the server that has just gone.
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
        """Close what no thread uses."""
        with suppress(IndexError):
            while True:
                self._drop(self._idle.pop())

    def _taken(self) -> Session:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, session: Session) -> None:
        # Whatever cut the block short, Ctrl-C too: if the session is not where it was, it is not used again.
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
            # libpq takes less than 2 seconds for 2.
            connect_timeout=max(int(self._timeout), 2),
            application_name=f"{APPLICATION}{token}",
            client_encoding="UTF8",
            keepalives_idle=10,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=wait,
            # At connect, and not by SET: that would be undone by the roll-back of a transaction, and is one
            # more thing that can fail half way.
            options=(
                f"{asked} -c search_path={self._target.schema} -c lock_timeout={wait}"
                f" -c statement_timeout={statement}"
                f" -c idle_in_transaction_session_timeout={wait}"
                " -c default_transaction_isolation=read\\ committed"
                f"{' -c synchronous_commit=off' if self._durability == 'memory' else ''}"
            ),
        )
        # Longer than what the server itself is to keep: its own answer says more.
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
        # Closing one of them would end the session of the parent: both have the one socket.
        keep_forever(self._all)
        self._all = set()
        self._idle.clear()


def check_server(
    connection: psycopg.Connection[tuple[Any, ...]], target: ServerTarget, durability: Durability
) -> None:
    """Refuse a server on which the store would not keep what it promises.

    Raises:
        ConfigurationError: another encoding than UTF-8, too old, or it does not sync at ``power-loss``.
    """
    if connection.info.server_version < OLDEST:
        raise ConfigurationError(
            f"{target.shown} is PostgreSQL {connection.info.server_version // 10_000}; expected"
            f" {OLDEST // 10_000} or later. Use another server."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        # With SQL_ASCII the server takes any bytes, and gives bytes back.
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
