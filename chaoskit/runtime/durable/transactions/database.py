"""A database transaction as a block: committed at its end, rolled back after an error."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import RollbackError
from chaoskit.runtime.numbers import is_whole

__all__ = ["database_transaction"]

PAUSE = 0.05
"""Seconds before the second attempt; doubled before each further one."""


class _Committing(Protocol):
    """The two methods of a PEP 249 connection that this module needs."""

    def commit(self) -> Any: ...

    def rollback(self) -> Any: ...


C = TypeVar("C", bound=_Committing)


@contextlib.contextmanager
def database_transaction(connection: C, *, attempts: int = 1) -> Iterator[C]:
    """One transaction of a PEP 249 connection; the block gets the connection.

    With ``sqlite3`` it begins with ``BEGIN IMMEDIATE``, so that it has the lock before it reads. While the
    database is busy, beginning and committing are attempted up to ``attempts`` times each. Any other
    connection must not be in autocommit mode, and its commit is attempted once.

    Raises:
        UsageError: this is not a connection, it commits by itself, or a transaction is already open.
        OutcomeUnknown: the commit failed, and may have taken effect.
        RollbackError: the block failed, and so did the rollback. Close the connection.
    """
    if not (is_whole(attempts) and attempts >= 1):
        raise wrong("attempts", attempts, "at least 1")
    # Checked before the block: after it, the missing method would lose its work, and be reported as an
    # unknown outcome.
    if not callable(getattr(connection, "commit", None)) or not callable(
        getattr(connection, "rollback", None)
    ):
        raise wrong("connection", connection, "a connection, with commit() and rollback()")
    lite = connection if isinstance(connection, sqlite3.Connection) else None
    if lite is not None:
        if lite.in_transaction:
            raise UsageError("the connection is in a transaction already; expected none. Commit it first.")
        _try(lite, "BEGIN IMMEDIATE", attempts)
    elif getattr(connection, "autocommit", False) is True:
        raise wrong("connection", "autocommit", "one that waits for commit()", "Set autocommit to False.")
    try:
        yield connection
    except BaseException as error:
        try:
            connection.rollback()
        except Exception as failed:
            raise RollbackError(
                f"rolling back failed: {failed!r}", context={"state": "rollback-failed"}
            ) from error
        raise
    try:
        if lite is None:
            connection.commit()
        else:
            _try(lite, "COMMIT", attempts)
    except Exception as error:
        # If SQLite is still in the transaction, it has refused the commit (busy, or full), and nothing took
        # effect.
        open_ = lite is not None and lite.in_transaction
        with contextlib.suppress(Exception):
            connection.rollback()
        if open_:
            raise
        raise OutcomeUnknown(f"the commit failed, and may have taken effect: {error}") from error


def _try(connection: sqlite3.Connection, statement: str, attempts: int) -> None:
    for attempt in range(1, attempts + 1):
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or attempt == attempts:
                raise
            time.sleep(PAUSE * 2 ** (attempt - 1))
