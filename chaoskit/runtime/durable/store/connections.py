"""The connections of one file in this process, so that a forked child never closes one of them.

SQLite believes that it holds the locks of a connection, which in the child are the parent's. The child
keeps what it has inherited to its end, untouched.
"""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Iterable

from chaoskit.runtime.forks import survive_fork

__all__ = ["Connections", "keep_forever"]


def keep_forever(objects: Iterable[object]) -> None:
    """Never finalize them, not even at the interpreter's end."""
    for one in objects:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


class Connections:
    """All that are open. A connection that is not closed through this stays open to the end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._all: set[sqlite3.Connection] = set()
        survive_fork(self)

    def keep(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        with self._lock:
            self._all.add(connection)
        return connection

    def close(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._all.discard(connection)
        connection.close()

    def close_all(self) -> list[sqlite3.Error]:
        """Close each of them, whatever becomes of the others; what went wrong."""
        errors = []
        for connection in list(self._all):
            try:
                self.close(connection)
            except sqlite3.Error as error:
                errors.append(error)
        return errors

    def abandon(self) -> None:
        """Leave them open to the end of the process, past the interpreter's own clean-up."""
        keep_forever(self._all)
        self._all.clear()

    def _after_fork(self) -> None:
        self.abandon()
