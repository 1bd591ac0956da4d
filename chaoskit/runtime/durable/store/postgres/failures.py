"""The meaning of PostgreSQL's errors for a store. The codes are those of the manual's appendix A."""

from __future__ import annotations

import psycopg

from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.failures.stored import StoreBusy, StoreCorrupt, StoreGone
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    DiskFull,
    OutOfMemory,
    PermissionRefused,
    ReadOnlyFilesystem,
    StorageError,
    Unreachable,
)

__all__ = ["failure", "first_line", "is_again", "is_lost"]

# serialization_failure, deadlock_detected: the server has undone the transaction, which may be run again.
_AGAIN = frozenset({"40001", "40P01"})
_BUSY = {
    "55P03": "another session held a lock for lock_timeout",
    "57014": "a statement took longer than its time-out, or was cancelled",
    "25P03": "the transaction sent nothing for longer than its time-out",
    "53300": "the server has no connection left",
    "55006": "an object is in use",
    **dict.fromkeys(_AGAIN, "it met another transaction each time that it was run"),
}
# The server is stopping or has stopped (admin_shutdown, crash_shutdown, cannot_connect_now), the database was
# dropped (database_dropped), or the server has ended the session after a time-out.
_LOST = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})
_REFUSED = frozenset({"28000", "28P01", "3D000"})
_GONE = frozenset({"3F000", "42P01", "42703"})


def is_again(error: psycopg.Error) -> bool:
    """True if the server has undone the transaction, and running it again may succeed."""
    return error.sqlstate in _AGAIN


def is_lost(error: psycopg.Error) -> bool:
    """True if the session is gone: the last statement may or may not have taken effect."""
    if error.sqlstate is None:
        # An error without a code comes from libpq, not from the server.
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate in _LOST or error.sqlstate.startswith("08")


def first_line(error: Exception) -> str:
    """The first line of an error's message, without the advice that libpq appends."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def failure(error: psycopg.Error, where: str) -> ResilienceError:
    """The store's error for one of psycopg's. The caller raises it from ``error``.

    Not to be used for a commit that got no answer: that is ``OutcomeUnknown``.
    """
    code = error.sqlstate
    text = f"{where}: {first_line(error)}"
    if code in _BUSY:
        return StoreBusy(f"{text}: {_BUSY[code]}; expected less. Nothing was changed; try again.")
    if is_lost(error):
        return Unreachable(f"{text}. Expected a server that answers. Nothing was changed; try again.")
    if code in _REFUSED or (code or "").startswith("0A"):
        return ConfigurationError(f"{text}. Expected access; check user, password and database.")
    if code in _GONE:
        return StoreGone(
            f"{text}: the tables of the store are gone; expected them to stay while it is open."
            " Find out what removed them, then open the store again."
        )
    if code == "53100":
        return DiskFull(
            f"{text}: the disk of the server is full. Nothing was changed; free space there, then try again."
        )
    if code == "53200":
        return OutOfMemory(f"{text}. Nothing was changed.")
    if code == "42501":
        return PermissionRefused(f"{text}. Expected a role that owns the schema of the store; grant it.")
    if code == "25006":
        return ReadOnlyFilesystem(f"{text}. Expected a server that can be written to: name the primary.")
    if code in ("XX001", "XX002"):
        return StoreCorrupt(f"{text}: the server found damage. Keep a copy, then restore its latest backup.")
    return StorageError(f"{text} ({code or type(error).__name__}).")
