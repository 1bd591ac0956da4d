"""Rules for PostgreSQL's SQLSTATE codes: every class, and the codes that differ from their class.

Source: appendix A of PostgreSQL's manual, "PostgreSQL Error Codes". The drivers share this table.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule

__all__ = ["SQLSTATES", "sqlstate"]


def sqlstate(error: BaseException) -> object:
    """The code that psycopg and asyncpg call ``sqlstate``, and psycopg2 ``pgcode``."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""


# Single codes come before their classes, because the first matching rule decides.
SQLSTATES: tuple[Rule, ...] = (
    Rule(
        name="postgres.conflict",
        verdict=t.TransientError,
        codes=("40*",),
        why="serialization failure or deadlock: the manual says to repeat the whole transaction",
    ),
    Rule(
        name="postgres.locked",
        verdict=t.TransientError,
        codes=("55P03", "55006"),
        why="another transaction holds the lock, or uses the object",
    ),
    Rule(
        name="postgres.disk-full",
        verdict=t.DiskFull,
        codes=("53100",),
        why="the server's disk is full",
    ),
    Rule(
        name="postgres.memory",
        verdict=t.OutOfMemory,
        codes=("53200", "HV001"),
        why="the server ran out of memory",
    ),
    Rule(
        name="postgres.resources",
        verdict=t.ResourceError,
        codes=("53*", "HV014"),
        why="too many connections, or a limit of the server",
    ),
    Rule(
        name="postgres.too-complex",
        verdict=t.ValidationError,
        codes=("54*",),
        why="this statement exceeds a fixed limit of the program",
    ),
    Rule(
        name="postgres.rejected",
        verdict=t.ConfigurationError,
        codes=("08004", "08P01"),
        why="the server refuses this client, or speaks another protocol",
    ),
    Rule(
        name="postgres.outcome-unknown",
        verdict=t.RecoverableError,
        codes=("08007",),
        why="the connection broke during the commit: look whether it took effect",
    ),
    Rule(
        name="postgres.connection",
        verdict=t.Unreachable,
        codes=("08*", "HV00N"),
        why="the connection failed",
    ),
    Rule(
        name="postgres.dropped",
        verdict=t.ConfigurationError,
        codes=("57P04",),
        why="the database was dropped",
    ),
    Rule(
        name="postgres.cancelled",
        verdict=t.Overloaded,
        codes=("57014", "57P05"),
        why="the statement or session exceeded its time limit, or a person cancelled it",
    ),
    Rule(
        name="postgres.shutdown",
        verdict=t.Unreachable,
        codes=("57*",),
        why="the server is stopping or starting",
    ),
    Rule(
        name="postgres.corrupt",
        verdict=t.DataIntegrityError,
        codes=("XX001", "XX002"),
        why="the server found damage in a table or an index",
    ),
    Rule(
        name="postgres.io",
        verdict=t.StorageError,
        codes=("58000", "58030", "58P01", "58P03"),
        why="the server's disk or files failed",
    ),
    Rule(
        name="postgres.credentials",
        verdict=t.ConfigurationError,
        codes=("28*",),
        why="user or password is wrong",
    ),
    Rule(
        name="postgres.idle",
        verdict=t.TransientError,
        codes=("25P02", "25P03", "25P04"),
        why="the transaction is dead already: roll back and begin again",
    ),
    Rule(
        name="postgres.read-only",
        verdict=t.RecoverableError,
        codes=("25006",),
        why="this is a standby or a read-only transaction; the primary would take it",
    ),
    Rule(
        name="postgres.privilege",
        verdict=t.PermissionRefused,
        codes=("42501", "0L*", "0P*", "38002", "38004", "2F002", "2F004"),
        why="the user lacks permission",
    ),
    Rule(
        name="postgres.no-such-thing",
        verdict=t.ConfigurationError,
        codes=("3D*", "3F*", "42P01", "42703", "42704", "42883", "42P02"),
        why="database, schema, table, column or function does not exist: a migration is missing",
    ),
    Rule(
        name="postgres.exists",
        verdict=t.ValidationError,
        codes=("42701", "42710", "42723", "42P03", "42P04", "42P05", "42P06", "42P07", "58P02"),
        why="it exists already",
    ),
    Rule(
        name="postgres.cached-plan",
        verdict=t.TransientError,
        codes=("0A000",),
        message=r"cached plan must not change result type",
        why="the table changed under a prepared statement; a new one is made on the next call",
    ),
    Rule(
        name="postgres.constraint",
        verdict=t.ValidationError,
        codes=("23*", "27*", "44*"),
        why="this row breaks a constraint",
    ),
    Rule(
        name="postgres.data",
        verdict=t.ValidationError,
        codes=("22*", "21*", "02*", "20*", "P0002", "P0003"),
        why="this value does not fit, or the wrong number of rows came",
    ),
    Rule(
        name="postgres.raised",
        verdict=t.ValidationError,
        codes=("P0001", "09*"),
        why="a function or trigger of the database refused this item",
    ),
    Rule(
        name="postgres.snapshot",
        verdict=t.TransientError,
        codes=("72*",),
        why="the snapshot was too old: a new transaction gets a new one",
    ),
    Rule(
        name="postgres.server-set-up",
        verdict=t.ConfigurationError,
        codes=("F0*", "HV*", "55*"),
        why="the server or a foreign server is not set up for it",
    ),
    Rule(
        name="postgres.dependent",
        verdict=t.PermanentError,
        codes=("2B*",),
        why="something else depends on what was to be removed",
    ),
    Rule(
        name="postgres.statement",
        verdict=t.PermanentError,
        codes=(
            *("03*", "0A*", "0B*", "0F*", "0Z*", "10*", "24*", "25*", "26*", "2D*", "2F*"),
            *("34*", "38*", "39*", "3B*", "42*", "P0*"),
        ),
        why="the program sends a statement that cannot work, or at the wrong time",
    ),
    Rule(
        name="postgres.internal",
        verdict=t.PermanentError,
        codes=("XX*",),
        why="an error of the server itself",
    ),
)
