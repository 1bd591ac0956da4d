"""Errors of databases and their drivers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from known_errors.case import Case, caused, group, made, one

# Every class of PostgreSQL's appendix A, with codes that stand for it, and what they ask for.
SQLSTATES: list[tuple[str, str, str]] = [
    ("transient", "repeat the transaction: the manual says so", "40000 40001 40002 40003 40P01"),
    ("transient", "another holds it for now", "55P03 55006"),
    ("transient", "no connection", "08000 08001 08003 08006"),
    ("transient", "the server stops or starts", "57000 57P01 57P02 57P03"),
    ("transient", "ran into a time limit", "57014 57P05"),
    ("transient", "the transaction is dead: begin again", "25P02 25P03 25P04"),
    ("transient", "a new transaction has a new snapshot", "72000"),
    ("resource", "used up until something is freed", "53000 53100 53200 53300 53400"),
    ("recoverable", "look whether the commit took effect", "08007"),
    ("recoverable", "the primary would take it", "25006"),
    ("configuration", "refused: user, password, protocol", "28000 28P01 08004 08P01"),
    ("configuration", "not there: a migration is missing", "3D000 3F000 42P01 42703 42704 42883"),
    ("configuration", "dropped", "57P04"),
    ("configuration", "the server or a foreign server is not set up", "F0000 F0001 HV000 HV005 55000 55P02"),
    ("validation", "a constraint", "23000 23001 23502 23503 23505 23514 23P01 27000 44000"),
    ("validation", "this value does not fit", "22000 22001 22003 22007 22012 22P02 21000 02000 20000"),
    ("validation", "is there already", "42701 42710 42P04 42P06 42P07"),
    ("validation", "a trigger refused it", "P0001 09000"),
    ("validation", "too complex", "54000 54001 54011 54023"),
    ("data-integrity", "the server found damage", "XX001 XX002"),
    ("permanent", "may not", "42501 0L000 0P000"),
    (
        "permanent",
        "the program's statement cannot work",
        "03000 0A000 0B000 0F000 0Z000 24000 25000 25001 26000 2D000 2F000 34000 38000 39000 "
        "3B000 42000 42601 P0000",
    ),
    ("permanent", "something depends on it", "2B000 2BP01"),
    ("permanent", "the server's disk or the server itself", "58000 58030 XX000"),
]


def _postgres(code: str) -> BaseException:
    """psycopg's class for the code, as its cursor raises it."""
    with contextlib.suppress(ImportError):
        from psycopg import errors

        with contextlib.suppress(KeyError):
            return errors.lookup(code)("x")
    return made("psycopg.DatabaseError", "x", sqlstate=code)


MYSQL: list[tuple[str, str, str, tuple[int, ...]]] = [
    (
        "transient",
        "deadlock or lock: repeat the transaction",
        "OperationalError",
        (1205, 1213, 1614, 3572, 1412),
    ),
    ("transient", "no connection, or lost", "OperationalError", (2002, 2003, 2005, 2006, 2013, 2055)),
    ("transient", "the server stops or cut it", "OperationalError", (1053, 1927, 4031, 1158)),
    ("transient", "ran into a time limit", "OperationalError", (1317, 3024, 1969)),
    ("resource", "used up", "OperationalError", (1021, 1037, 1040, 1041, 1114, 1203, 1226)),
    ("recoverable", "the primary would take it", "OperationalError", (1290, 1792, 1836)),
    ("configuration", "user, password or database", "OperationalError", (1044, 1045, 1049, 1130, 2059)),
    ("configuration", "a migration is missing", "ProgrammingError", (1146, 1054, 1305)),
    ("validation", "a constraint", "IntegrityError", (1048, 1062, 1216, 1451, 1452)),
    ("validation", "this value does not fit", "DataError", (1264, 1292, 1366, 1406)),
    ("validation", "is there already", "ProgrammingError", (1007, 1050)),
    ("permanent", "may not", "OperationalError", (1142, 1227)),
    ("permanent", "the statement cannot work", "ProgrammingError", (1064, 1149)),
    ("data-integrity", "damage in a table", "InternalError", (1034, 1194)),
]

MONGO: list[tuple[str, str, tuple[int, ...]]] = [
    ("transient", "PyMongo repeats it itself", (6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436)),
    ("transient", "write conflict", (112,)),
    ("transient", "ran into a time limit", (50,)),
    ("validation", "this key is there already", (11000,)),
    ("validation", "this document is wrong", (121, 2)),
    ("configuration", "user or password", (18,)),
    ("permanent", "may not", (13,)),
    ("resource", "more memory than it may", (146, 292)),
    ("recoverable", "not on as many members as was asked", (64,)),
]

_REDIS = "redis.exceptions"
_SA = "sqlalchemy.exc"
_PG = "psycopg.OperationalError"


def _sqlite(work: Callable[[sqlite3.Connection], Any], path: str = ":memory:") -> BaseException:
    """What SQLite itself raises."""
    connection = sqlite3.connect(path, timeout=0)
    try:
        work(connection)
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError("SQLite did not refuse")


def _script(text: str) -> Callable[[], BaseException]:
    return lambda: _sqlite(lambda connection: connection.executescript(text))


def _locked() -> BaseException:
    # A database in memory that two connections share, so that no file is needed.
    place = "file:known-errors?mode=memory&cache=shared"
    with contextlib.closing(sqlite3.connect(place, uri=True)) as first:
        first.executescript("create table t(a); begin exclusive;")
        second = sqlite3.connect(place, uri=True, timeout=0)
        try:
            second.execute("insert into t values (1)")
        except sqlite3.Error as error:
            return error
        finally:
            second.close()
    raise AssertionError("SQLite did not lock")


def _alchemy(name: str, inner: BaseException) -> BaseException:
    """As SQLAlchemy wraps a driver's error."""
    error = made(f"{_SA}.{name}", "insert", {}, inner)
    error.orig = inner  # type: ignore[attr-defined]
    return caused(error, inner)


CASES: list[Case] = [
    *[
        Case(f"postgres {code}", lambda code=code: _postgres(code), category, why)  # type: ignore[misc]
        for category, why, codes in SQLSTATES
        for code in codes.split()
    ],
    one("transient", "no server", _PG, "connection failed: Connection refused"),
    one("transient", "lost", _PG, "server closed the connection unexpectedly"),
    one(
        "configuration",
        "password",
        _PG,
        'connection failed: FATAL:  password authentication failed for user "x"',
    ),
    one("configuration", "no such database", _PG, 'connection failed: FATAL:  database "x" does not exist'),
    one("configuration", "host not allowed", _PG, "FATAL:  no pg_hba.conf entry for host"),
    one("resource", "every connection is in use", _PG, "FATAL:  sorry, too many clients already"),
    one("security", "certificate", _PG, "SSL error: certificate verify failed"),
    one("transient", "lost earlier", "psycopg.InterfaceError", "the connection is closed"),
    one("permanent", "misused", "psycopg.ProgrammingError", "the query has 1 placeholder"),
    one("resource", "the pool is used up", "psycopg_pool.errors.PoolTimeout", "x"),
    # asyncpg has classes of its own, with the same codes.
    *[
        one(category, why, f"asyncpg.exceptions.{name}", "x", **({"sqlstate": code} if code else {}))
        for category, why, name, code in [
            ("transient", "deadlock", "DeadlockDetectedError", "40P01"),
            ("transient", "serialization", "SerializationError", "40001"),
            ("transient", "lost", "ConnectionDoesNotExistError", "08003"),
            ("transient", "time limit", "QueryCanceledError", "57014"),
            ("transient", "the schema changed under it", "InvalidCachedStatementError", "0A000"),
            ("resource", "connections", "TooManyConnectionsError", "53300"),
            ("resource", "disk", "DiskFullError", "53100"),
            ("configuration", "password", "InvalidPasswordError", "28P01"),
            ("configuration", "no such table", "UndefinedTableError", "42P01"),
            ("validation", "unique", "UniqueViolationError", "23505"),
            ("validation", "value", "NumericValueOutOfRangeError", "22003"),
            ("data-integrity", "damage", "DataCorruptedError", "XX001"),
            ("permanent", "syntax", "PostgresSyntaxError", "42601"),
        ]
    ],
    one("transient", "lost earlier", "asyncpg.exceptions._base.InterfaceError", "connection is closed"),
    one(
        "permanent",
        "twice at once",
        "asyncpg.exceptions._base.InterfaceError",
        "another operation is in progress",
    ),
    # PyMySQL and mysqlclient by turns: both put the server's number first.
    *[
        one(category, why, f"{home}.{name}", number, "x")
        for category, why, name, numbers in MYSQL
        for position, number in enumerate(numbers)
        for home in [("pymysql.err", "MySQLdb._exceptions")[position % 2]]
    ],
    one("transient", "lost earlier", "pymysql.err.InterfaceError", 0, ""),
    one("resource", "disk", "pymysql.err.InternalError", 1030, "Got error 28 from storage engine"),
    one(
        "transient", "not ready yet", "pymysql.err.OperationalError", 1047, "WSREP has not yet prepared node"
    ),
    # PyMongo
    *[
        Case(f"mongo {number}", lambda number=number: _mongo(number), category, why)  # type: ignore[misc]
        for category, why, numbers in MONGO
        for number in numbers
    ],
    *group(
        "transient",
        "connection",
        "pymongo.errors",
        ["AutoReconnect", "NetworkTimeout"],
        "x",
    ),
    *group(
        "transient", "no server", "pymongo.errors", ["ServerSelectionTimeoutError", "ConnectionFailure"], "x"
    ),
    one(
        "transient", "no primary", "pymongo.errors.NotPrimaryError", "x", base="pymongo.errors.AutoReconnect"
    ),
    one("resource", "the pool is used up", "pymongo.errors.WaitQueueTimeoutError", "x"),
    one("configuration", "options", "pymongo.errors.ConfigurationError", "x"),
    one("validation", "this document", "bson.errors.InvalidDocument", "x"),
    one(
        "validation", "too large", "pymongo.errors.DocumentTooLarge", "x", base="bson.errors.InvalidDocument"
    ),
    one("data-integrity", "no BSON", "bson.errors.InvalidBSON", "x"),
    one("permanent", "misused", "pymongo.errors.InvalidOperation", "x", base="pymongo.errors.PyMongoError"),
    # redis
    *group(
        "transient",
        "no connection or loading",
        _REDIS,
        ["ConnectionError", "TimeoutError", "BusyLoadingError"],
        "x",
    ),
    *group(
        "transient",
        "fails over",
        _REDIS,
        ["ReadOnlyError", "ClusterDownError", "MasterDownError", "TryAgainError"],
        "CLUSTERDOWN",
    ),
    *group("transient", "another was quicker", _REDIS, ["WatchError", "LockError"], "x"),
    *group("resource", "used up", _REDIS, ["MaxConnectionsError", "OutOfMemoryError"], "x"),
    *group("configuration", "password", _REDIS, ["AuthenticationError"], "x"),
    *group("permanent", "may not", _REDIS, ["NoPermissionError", "AuthorizationError"], "x"),
    *group(
        "permanent",
        "wrong command",
        _REDIS,
        ["ResponseError", "PubSubError", "ExecAbortError"],
        "x",
        base=f"{_REDIS}.RedisError",
    ),
    *group("recoverable", "send the script again", _REDIS, ["NoScriptError"], "x"),
    *group("validation", "cannot be sent", _REDIS, ["DataError"], "x"),
    one(
        "resource",
        "maxmemory",
        f"{_REDIS}.ResponseError",
        "OOM command not allowed when used memory > 'maxmemory'",
    ),
    one(
        "resource",
        "cannot save",
        f"{_REDIS}.ResponseError",
        "MISCONF Redis is configured to save RDB snapshots",
    ),
    one("resource", "connections", f"{_REDIS}.ConnectionError", "Too many connections"),
    # SQLAlchemy
    one(
        "resource",
        "the pool is used up",
        f"{_SA}.TimeoutError",
        "QueuePool limit of size 5 overflow 10 reached",
    ),
    one("validation", "unwrapped", f"{_SA}.IntegrityError", "insert", {}, None),
    one("transient", "unwrapped", f"{_SA}.OperationalError", "insert", {}, None),
    one("permanent", "misused", f"{_SA}.InvalidRequestError", "x", base=f"{_SA}.SQLAlchemyError"),
    one("validation", "not one row", f"{_SA}.NoResultFound", "x"),
    one("transient", "begin again", f"{_SA}.PendingRollbackError", "x"),
    one("configuration", "no such driver", f"{_SA}.NoSuchModuleError", "x"),
    Case(
        "sqlalchemy deadlock",
        lambda: _alchemy("OperationalError", _postgres("40P01")),
        "transient",
        "the driver's",
    ),
    Case(
        "sqlalchemy unique",
        lambda: _alchemy("IntegrityError", _postgres("23505")),
        "validation",
        "the driver's",
    ),
    Case(
        "sqlalchemy disk",
        lambda: _alchemy("OperationalError", _postgres("53100")),
        "resource",
        "the driver's",
    ),
    Case(
        "sqlalchemy mysql login",
        lambda: _alchemy("OperationalError", made("pymysql.err.OperationalError", 1045, "x")),
        "configuration",
        "the driver's",
    ),
    # SQLite itself
    Case("sqlite locked", _locked, "transient", "another holds the lock"),
    Case(
        "sqlite unique",
        _script("create table t(a unique); insert into t values(1),(1)"),
        "validation",
        "a constraint",
    ),
    Case(
        "sqlite not null",
        _script("create table t(a not null); insert into t values(null)"),
        "validation",
        "a constraint",
    ),
    Case("sqlite no table", _script("select * from t"), "configuration", "a migration is missing"),
    Case("sqlite syntax", _script("selct 1"), "permanent", "the statement cannot work"),
    Case(
        "sqlite full",
        _script("pragma max_page_count=1; create table t(a); create table u(a)"),
        "resource",
        "full",
    ),
    Case("sqlite closed", lambda: _sqlite(lambda c: (c.close(), c.execute("x"))), "permanent", "misused"),
    Case(
        "sqlite no directory",
        lambda: _opened(Path(__file__).parent / "no-such-directory" / "x.db"),
        "permanent",
        "the directory is missing",
    ),
    Case("sqlite not one", lambda: _opened(Path(__file__)), "data-integrity", "no database"),
    one("permanent", "the disk below it fails", "sqlite3.OperationalError", "disk I/O error"),
    one("permanent", "cannot be written", "sqlite3.OperationalError", "attempt to write a readonly database"),
    one("data-integrity", "damaged", "sqlite3.DatabaseError", "database disk image is malformed"),
]


def _opened(path: Path) -> BaseException:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        with contextlib.closing(connection):
            connection.execute("select * from sqlite_master").fetchall()
    except sqlite3.Error as error:
        return error
    raise AssertionError("SQLite opened it")


def _mongo(number: int) -> BaseException:
    with contextlib.suppress(ImportError):
        from pymongo.errors import OperationFailure

        return OperationFailure("x", number)
    return made("pymongo.errors.OperationFailure", "x", code=number)
