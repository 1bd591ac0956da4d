"""The connections of this process to one file, kept so that a forked child never closes any of them.

In the child SQLite believes that it holds the locks of an inherited connection, although these are the
parent's. So the child keeps inherited connections until it ends, and never uses them.
"""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Iterable

from chaoskit.runtime.forks import survive_fork

__all__ = ["Connections", "keep_forever"]


def keep_forever(objects: Iterable[object]) -> None:
    """Never finalize these objects, not even when the interpreter ends."""
    for one in objects:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


class Connections:
    """All open connections. A connection that is not closed here stays open until the process ends."""

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
        """Close all of them, even if some fail to close; return the errors."""
        errors = []
        for connection in list(self._all):
            try:
                self.close(connection)
            except sqlite3.Error as error:
                errors.append(error)
        return errors

    def abandon(self) -> None:
        """Leave them open until the process ends; not even the interpreter finalizes them."""
        keep_forever(self._all)
        self._all.clear()

    def _after_fork(self) -> None:
        self.abandon()
