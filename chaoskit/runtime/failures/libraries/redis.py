"""The errors of redis-py and valkey."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    return (*classes("redis.exceptions", *names), *classes("valkey.exceptions", *names))


LIBRARY = Library(
    name="redis",
    source="redis.exceptions; Redis's error prefixes (LOADING, READONLY, CLUSTERDOWN, TRYAGAIN, OOM …)",
    code_of=lambda error: "",
    rules=(
        Rule(
            name="redis.pool",
            verdict=t.ResourceError,
            types=_both("MaxConnectionsError"),
            why="every connection of the pool is in use",
        ),
        Rule(
            name="redis.pool.text",
            verdict=t.ResourceError,
            types=_both("ConnectionError"),
            message=r"too many connections|no connection available",
            why="every connection of the pool, or of the server, is in use",
        ),
        Rule(
            name="redis.credentials",
            verdict=t.ConfigurationError,
            types=_both(
                "AuthenticationError", "AuthenticationWrongNumberOfArgsError", "ExternalAuthProviderError"
            ),
            why="user or password is wrong",
        ),
        Rule(
            name="redis.denied",
            verdict=t.PermissionRefused,
            types=_both("AuthorizationError", "NoPermissionError"),
            why="the user lacks permission",
        ),
        Rule(
            name="redis.loading",
            verdict=t.Overloaded,
            types=_both("BusyLoadingError"),
            why="the server is reading its data",
        ),
        Rule(
            name="redis.timeout",
            verdict=t.Overloaded,
            types=_both("TimeoutError"),
            why="connected, but no answer in time",
        ),
        Rule(
            name="redis.memory",
            verdict=t.OutOfMemory,
            types=_both("OutOfMemoryError"),
            why="the server reached maxmemory",
        ),
        Rule(
            name="redis.failover",
            verdict=t.TransientError,
            types=_both(
                "ReadOnlyError",
                "ClusterDownError",
                "MasterDownError",
                "TryAgainError",
                "SlotNotCoveredError",
                "MovedError",
                "AskError",
            ),
            why="the cluster is choosing a primary, or moving slots",
        ),
        Rule(
            name="redis.watched",
            verdict=t.TransientError,
            types=_both("WatchError"),
            why="another client changed a watched key: repeat the transaction",
        ),
        Rule(
            name="redis.lock",
            verdict=t.TransientError,
            types=_both("LockError"),
            message=r"unable to acquire|timed? ?out|not acquired",
            why="another client holds the lock",
        ),
        Rule(
            name="redis.lock-lost",
            verdict=t.PermanentError,
            types=_both("LockNotOwnedError"),
            why="the lock expired, and another client may hold it: do not repeat blindly what it guarded",
        ),
        Rule(
            name="redis.lock.use",
            verdict=t.TransientError,
            types=_both("LockError"),
            why="another client holds the lock, or it was never taken",
        ),
        Rule(
            name="redis.busy",
            verdict=t.TransientError,
            types=_both("ResponseError"),
            message=r"^(BUSY |MASTERDOWN|NOREPLICAS|UNKILLABLE|LOADING|TRYAGAIN)",
            why="a script runs, or replicas are missing for now",
        ),
        Rule(
            name="redis.memory.text",
            verdict=t.OutOfMemory,
            types=_both("ResponseError"),
            message=r"^OOM |used memory > 'maxmemory'",
            why="the server reached maxmemory",
        ),
        Rule(
            name="redis.cannot-save",
            verdict=t.ResourceError,
            types=_both("ResponseError"),
            message=r"MISCONF",
            why="the server cannot write its snapshot, most often because its disk is full",
        ),
        Rule(
            name="redis.no-script",
            verdict=t.RecoverableError,
            types=_both("NoScriptError"),
            why="the server has forgotten the script: send it again",
        ),
        Rule(
            name="redis.data",
            verdict=t.ValidationError,
            types=_both("DataError"),
            why="this value cannot be sent",
        ),
        Rule(
            name="redis.connection",
            verdict=t.Unreachable,
            types=_both("ConnectionError"),
            why="no connection, or it was lost",
        ),
        Rule(
            name="redis.cluster",
            verdict=t.TransientError,
            types=_both("ClusterError"),
            why="the cluster cannot answer for now",
        ),
        Rule(
            name="redis.protocol",
            verdict=t.DataIntegrityError,
            types=_both("InvalidResponse"),
            why="the answer does not belong to this protocol",
        ),
        Rule(
            name="redis.command",
            verdict=t.PermanentError,
            types=_both("RedisError", "RedisClusterException"),
            why="the program sends a command that cannot work",
        ),
    ),
)
