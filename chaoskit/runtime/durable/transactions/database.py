"""A transaction of a database in a block: committed at its end, rolled back by an error."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.failures.stored import OutcomeUnknown
from chaoskit.runtime.failures.taxonomy import RollbackError

__all__ = ["database_transaction"]

PAUSE = 0.05
"""Seconds before the second attempt; doubled for each that follows."""


class _Committing(Protocol):
    """What PEP 249 gives every connection."""

    def commit(self) -> Any: ...

    def rollback(self) -> Any: ...


C = TypeVar("C", bound=_Committing)


@contextlib.contextmanager
def database_transaction(connection: C, *, attempts: int = 1) -> Iterator[C]:
    """One transaction of a PEP 249 connection; the block gets the connection.

    With ``sqlite3`` it begins with ``BEGIN IMMEDIATE``, so that it holds the lock before it reads; beginning
    and committing are tried ``attempts`` times while the database is busy. Other connections must not be in
    autocommit mode, and commit once.

    Raises:
        UsageError: a transaction is open already, or the connection commits by itself.
        OutcomeUnknown: the commit failed in a way that may have committed.
        RollbackError: the block failed, and rolling back as well; close the connection.
    """
    if attempts < 1:
        raise wrong("attempts", attempts, "at least 1")
    if not all(callable(getattr(connection, name, None)) for name in ("commit", "rollback")):
        raise wrong("connection", connection, "one with commit() and rollback(), as PEP 249 says")
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
        # Busy and full are refusals; after anything else the database has the last word.
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
