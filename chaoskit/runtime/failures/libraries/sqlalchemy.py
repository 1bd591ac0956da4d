"""Rules for SQLAlchemy's errors. A driver's error is in ``orig`` and judged by the table of the driver."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "sqlalchemy.exc"

LIBRARY = Library(
    name="sqlalchemy",
    source="sqlalchemy.exc, and the manual's page on error messages",
    # Its ``code`` is a key of its manual, not a status.
    code_of=lambda error: "",
    rules=(
        Rule(
            name="sqlalchemy.pool",
            verdict=t.ResourceError,
            types=classes(_MODULE, "TimeoutError"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="sqlalchemy.disconnected",
            verdict=t.TransientError,
            types=classes(_MODULE, "DisconnectionError"),
            why="a connection of the pool was dead",
        ),
        Rule(
            name="sqlalchemy.rolled-back",
            verdict=t.TransientError,
            types=classes(_MODULE, "PendingRollbackError"),
            why="the transaction is dead already: roll back and begin again",
        ),
        Rule(
            name="sqlalchemy.rows",
            verdict=t.ValidationError,
            types=classes(_MODULE, "NoResultFound", "MultipleResultsFound"),
            why="not exactly the one row that was asked for",
        ),
        Rule(
            name="sqlalchemy.stale",
            verdict=t.RecoverableError,
            types=("sqlalchemy.orm.exc.StaleDataError", "sqlalchemy.orm.exc.ObjectDeletedError"),
            why="another transaction changed or removed the row: read it again",
        ),
        Rule(
            name="sqlalchemy.set-up",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE,
                "NoSuchModuleError",
                "NoDBAPILoaded",
                "NoSuchTableError",
                "ArgumentError",
                "UnboundExecutionError",
            ),
            why="address, driver or mapping is wrong",
        ),
    ),
    vague=(
        Rule(
            name="sqlalchemy.connection",
            verdict=t.TransientError,
            types=classes(_MODULE, "OperationalError"),
            why="the database failed, and the driver's own error is missing",
        ),
        Rule(
            name="sqlalchemy.constraint",
            verdict=t.ValidationError,
            types=classes(_MODULE, "IntegrityError", "DataError"),
            why="this row is wrong",
        ),
        Rule(
            name="sqlalchemy.other",
            verdict=t.PermanentError,
            types=classes(_MODULE, "SQLAlchemyError"),
            why="the program uses it in a way that cannot work",
        ),
    ),
)
