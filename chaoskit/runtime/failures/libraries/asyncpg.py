"""The errors of asyncpg."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.libraries.sqlstates import SQLSTATES, sqlstate
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_BASE = "asyncpg.exceptions._base"

LIBRARY = Library(
    name="asyncpg",
    source="PostgreSQL's manual, appendix A; asyncpg.exceptions",
    code_of=sqlstate,
    rules=(
        Rule(
            # Before the codes: asyncpg raises it with 0A000, and repeats the call itself outside
            # transactions.
            name="asyncpg.cached-statement",
            verdict=t.TransientError,
            types=(
                "asyncpg.exceptions.InvalidCachedStatementError",
                f"{_BASE}.OutdatedSchemaCacheError",
            ),
            why="the schema changed under a prepared statement; a new one is made on the next call",
        ),
        *SQLSTATES,
        Rule(
            name="asyncpg.set-up",
            verdict=t.ConfigurationError,
            types=(
                f"{_BASE}.ClientConfigurationError",
                f"{_BASE}.UnsupportedServerFeatureError",
                f"{_BASE}.UnsupportedClientFeatureError",
                f"{_BASE}.TargetServerAttributeNotMatched",
            ),
            why="options and server do not fit",
        ),
        Rule(
            name="asyncpg.data",
            verdict=t.ValidationError,
            types=(f"{_BASE}.DataError",),
            why="this value cannot be encoded, so it was not sent",
        ),
        Rule(
            name="asyncpg.closed",
            verdict=t.TransientError,
            types=(f"{_BASE}.InterfaceError",),
            message=r"connection (is|was) closed|connection has been released|pool is (closing|closed)",
            why="the connection was lost earlier: take a new one",
        ),
        Rule(
            name="asyncpg.busy",
            verdict=t.PermanentError,
            types=(f"{_BASE}.InterfaceError", f"{_BASE}.InternalClientError"),
            why="the program uses a connection in a way that cannot work, such as twice at once",
        ),
    ),
)
