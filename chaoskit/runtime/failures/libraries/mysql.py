"""The errors of PyMySQL, mysqlclient, MySQL Connector, aiomysql and asyncmy: by the server's numbers."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _all(*names: str) -> tuple[str, ...]:
    homes = ("pymysql.err", "MySQLdb", "MySQLdb._exceptions", "mysql.connector.errors", "asyncmy.errors")
    return tuple(full for home in homes for full in classes(home, *names))


LIBRARY = Library(
    name="mysql",
    source="MySQL's and MariaDB's error references: server errors, and client errors from 2000 on",
    # Every driver puts the error number first.
    code_of=lambda error: error.args[0],
    rules=(
        Rule(
            name="mysql.conflict",
            verdict=t.TransientError,
            codes=("1205", "1213", "1614", "3058", "3572", "1412", "1020"),
            why="deadlock, lock wait or changed row: the manual says to repeat the transaction",
        ),
        Rule(
            name="mysql.unreachable",
            verdict=t.Unreachable,
            codes=("2001", "2002", "2003", "2004", "2005", "2006", "2012", "2013", "2055"),
            why="no connection, or it was lost",
        ),
        Rule(
            name="mysql.stopping",
            verdict=t.Unreachable,
            codes=(
                "1053",
                "1077",
                "1079",
                "1080",
                "1152",
                "1158",
                "1159",
                "1160",
                "1161",
                "1184",
                "1927",
                "4031",
            ),
            why="the server stops, or cut the connection",
        ),
        Rule(
            name="mysql.not-prepared",
            verdict=t.TransientError,
            codes=("1047",),
            message=r"wsrep",
            why="this node of the cluster is not ready yet",
        ),
        Rule(
            name="mysql.disk-full",
            verdict=t.DiskFull,
            codes=("1021", "1114"),
            why="the server's disk, or the table, is full",
        ),
        Rule(
            name="mysql.disk-full-below",
            verdict=t.DiskFull,
            codes=("1030", "3", "1026"),
            message=r"(errno:?|error) 28\b",
            why="the storage engine says ENOSPC",
        ),
        Rule(
            name="mysql.memory",
            verdict=t.OutOfMemory,
            codes=("1037", "1038", "1041", "2008"),
            why="memory ran out, here or in the server",
        ),
        Rule(
            name="mysql.resources",
            verdict=t.ResourceError,
            codes=("1040", "1135", "1203", "1206", "1226", "1637"),
            why="too many connections, threads, locks or transactions",
        ),
        Rule(
            name="mysql.too-slow",
            verdict=t.Overloaded,
            codes=("1317", "1969", "3024"),
            why="the statement exceeded its time limit, or a person cancelled it",
        ),
        Rule(
            name="mysql.read-only",
            verdict=t.RecoverableError,
            codes=("1290", "1792", "1836"),
            why="this is a replica or a read-only transaction; the primary would take it",
        ),
        Rule(
            name="mysql.credentials",
            verdict=t.ConfigurationError,
            codes=(
                *("1044", "1045", "1049", "1129", "1130", "1251", "1698", "1862", "3118", "3159"),
                *("2049", "2054", "2059", "2061"),
            ),
            why="user, password, host or database is wrong",
        ),
        Rule(
            name="mysql.privilege",
            verdict=t.PermissionRefused,
            codes=("1142", "1143", "1227", "1370", "1410"),
            why="the user lacks permission",
        ),
        Rule(
            name="mysql.no-such-thing",
            verdict=t.ConfigurationError,
            codes=("1051", "1054", "1091", "1146", "1305"),
            why="table, column or function does not exist: a migration is missing",
        ),
        Rule(
            name="mysql.constraint",
            verdict=t.ValidationError,
            codes=(
                "1048",
                "1062",
                "1169",
                "1216",
                "1217",
                "1364",
                "1451",
                "1452",
                "1557",
                "1586",
                "3819",
                "4025",
            ),
            why="this row breaks a constraint",
        ),
        Rule(
            name="mysql.data",
            verdict=t.ValidationError,
            codes=("1153", "1264", "1265", "1292", "1365", "1366", "1406", "1411", "1690", "2020", "3140"),
            why="this value does not fit",
        ),
        Rule(
            name="mysql.exists",
            verdict=t.ValidationError,
            codes=("1007", "1050", "1060", "1061"),
            why="it exists already",
        ),
        Rule(
            name="mysql.corrupt",
            verdict=t.DataIntegrityError,
            codes=("126", "127", "1034", "1035", "1194", "1195", "1712"),
            why="the server found damage in a table or an index",
        ),
        Rule(
            name="mysql.certificate",
            verdict=t.SecurityError,
            codes=("2026",),
            message=r"certificate.verify.failed|hostname mismatch",
            why="the other side could not prove its identity",
        ),
        Rule(
            name="mysql.packet",
            verdict=t.TransientError,
            codes=("2026", "2027"),
            why="the handshake or a packet broke: take a new connection",
        ),
        Rule(
            name="mysql.timeout",
            verdict=t.Overloaded,
            types=classes(
                "mysql.connector.errors", "ConnectionTimeoutError", "ReadTimeoutError", "WriteTimeoutError"
            ),
            why="no progress in time",
        ),
        Rule(
            name="mysql.pool",
            verdict=t.ResourceError,
            types=classes("mysql.connector.errors", "PoolError"),
            message=r"exhausted",
            why="every connection of the pool is in use",
        ),
        Rule(
            name="mysql.closed",
            verdict=t.TransientError,
            types=_all("InterfaceError"),
            codes=("0", "-1"),
            why="the connection was lost earlier: take a new one",
        ),
        Rule(
            name="mysql.constraint.type",
            verdict=t.ValidationError,
            types=_all("IntegrityError", "DataError"),
            why="this row is wrong",
        ),
        Rule(
            name="mysql.statement",
            verdict=t.PermanentError,
            types=_all("ProgrammingError", "NotSupportedError", "InterfaceError"),
            why="the program sends a statement that cannot work, or at the wrong time",
        ),
    ),
)
