"""Connections for reading, kept for the next reader: each read is one short transaction.

Only one thread at a time uses a connection. There are as many as there were readers at the same time;
connections that were idle for a minute are closed. Closing the last connection of a file would checkpoint it,
but none of these is ever the last: the connection that writes outlives them.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.store.connections import Connections
from chaoskit.runtime.durable.store.files import typed_errors
from chaoskit.runtime.durable.store.sqlite import SqliteReader, connect_reader, failure

__all__ = ["Readers"]

T = TypeVar("T")

IDLE = 60.0
"""Seconds after which an unused connection is closed."""


class Readers:
    """The reading connections of one file. ``look`` raises if the path no longer names that file."""

    def __init__(self, path: Path, clock: Clock, look: Callable[[], None], connections: Connections) -> None:
        self._path, self._clock, self._look, self._connections = path, clock, look, connections
        self._idle: deque[tuple[sqlite3.Connection, float]] = deque()

    def read(self, look: Callable[[SqliteReader], T]) -> T:
        """Return the result of ``look``. Each of its statements is a transaction, unless it begins one."""
        try:
            connection, _ = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            found = look(SqliteReader(connection, self._path))
        except BaseException:
            # The connection itself may be at fault.
            self._connections.close(connection)
            raise
        self._idle.append((connection, self._clock.monotonic()))
        self._close_idle()
        return found

    def _connect(self) -> sqlite3.Connection:
        with typed_errors("read from", self._path):
            self._look()
            try:
                connection = connect_reader(self._path)
            except sqlite3.Error as error:
                raise failure(error, self._path) from error
        return self._connections.keep(connection)

    def _close_idle(self) -> None:
        try:
            while self._idle[0][1] < self._clock.monotonic() - IDLE:
                self._connections.close(self._idle.popleft()[0])
        except IndexError:
            pass
