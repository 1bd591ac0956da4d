"""The errors of psycopg 3 and psycopg 2, and of psycopg's pool."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.libraries.sqlstates import SQLSTATES, sqlstate
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    return (*classes("psycopg", *names), *classes("psycopg2", *names))


# There is no SQLSTATE before a connection is established; libpq has only a text.
_REFUSED = Rule(
    name="psycopg.credentials",
    verdict=t.ConfigurationError,
    types=_both("OperationalError"),
    message=r"authentication failed|no pg_hba\.conf entry|no password supplied|role \"[^\"]*\" does not exist"
    r"|database \"[^\"]*\" does not exist|invalid (connection option|dsn|port)",
    why="user, password or database is wrong: libpq says so only in words",
)
_FULL = Rule(
    name="psycopg.too-many",
    verdict=t.ResourceError,
    types=_both("OperationalError"),
    message=r"too many (clients|connections)|remaining connection slots",
    why="every connection of the server is in use",
)
_TLS = Rule(
    name="psycopg.certificate",
    verdict=t.SecurityError,
    types=_both("OperationalError"),
    message=r"certificate verify failed|server certificate for .* does not match",
    why="the other side could not prove its identity",
)

LIBRARY = Library(
    name="psycopg",
    source="PostgreSQL's manual, appendix A; psycopg's classes; libpq's texts",
    code_of=sqlstate,
    rules=(
        *SQLSTATES,
        _REFUSED,
        _FULL,
        _TLS,
        Rule(
            name="psycopg.pool",
            verdict=t.ResourceError,
            types=("psycopg_pool.errors.PoolTimeout", "psycopg_pool.errors.TooManyRequests"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="psycopg.pool-closed",
            verdict=t.PermanentError,
            types=("psycopg_pool.errors.PoolClosed",),
            why="the program closed the pool",
        ),
    ),
    vague=(
        Rule(
            name="psycopg.connection",
            verdict=t.Unreachable,
            types=_both("OperationalError"),
            why="no SQLSTATE: the connection failed, or broke",
        ),
        Rule(
            name="psycopg.constraint",
            verdict=t.ValidationError,
            types=_both("IntegrityError", "DataError"),
            why="this row is wrong",
        ),
        Rule(
            name="psycopg.closed",
            verdict=t.TransientError,
            types=_both("InterfaceError"),
            message=r"(connection|cursor) (is |already |was )?(closed|lost)",
            why="the connection was lost earlier: take a new one",
        ),
        Rule(
            name="psycopg.other",
            verdict=t.PermanentError,
            types=_both("Error"),
            why="the program uses the driver in a way that cannot work",
        ),
    ),
)
