"""What a store can answer besides yes: the taxonomy's errors for all that stands on a store.

::

    TransientError
    └── StoreBusy            not in time: names the process that holds the store. Nothing was changed
    RecoverableError
    └── OutcomeUnknown       the commit was cut by an I/O error: ask ``store.outcome(operation_id)``
    DataIntegrityError
    ├── StoreCorrupt         the file as a whole cannot be trusted
    └── RecordCorrupt        one record is not what was written; its neighbours are unaffected
    ConfigurationError
    └── StoreTooNew          written by a later version of chaoskit
    UsageError
    └── StoreForked          the object was carried across a fork
    PermanentError
    ├── StoreGone            the file was removed or replaced behind the store
    └── LeaseLost            the claim was taken over by another process

``DiskFull``, ``StorageError`` and ``CheckpointError`` (a value that cannot be kept) are the taxonomy's own.
"""

from __future__ import annotations

from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    DataIntegrityError,
    PermanentError,
    RecoverableError,
    TransientError,
)

__all__ = [
    "LeaseLost",
    "OutcomeUnknown",
    "RecordCorrupt",
    "StoreBusy",
    "StoreCorrupt",
    "StoreForked",
    "StoreGone",
    "StoreTooNew",
]


class StoreBusy(TransientError):
    """The store could not be had in time; certainly nothing was changed.

    ``pid`` is the process that holds it, where the system says so: it may be this one.
    """

    default_hint = "Try again; if it stays busy, look at what the named process is doing."

    def __init__(self, message: str = "", *, pid: int | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.pid = pid

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "pid": self.pid}


class OutcomeUnknown(RecoverableError):
    """The commit was interrupted: it may be there after the next opening, or may not.

    ``operation_id`` is what ``store.outcome`` answers for.
    """

    default_hint = "Ask store.outcome(operation_id); do the operation again if it says 'absent'."

    def __init__(self, message: str = "", *, operation_id: str = "", **known: Any) -> None:
        super().__init__(message, **known)
        self.operation_id = operation_id

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "operation_id": self.operation_id}


class StoreCorrupt(DataIntegrityError):
    """The file is not a database any more, or its structure is damaged."""

    default_hint = "Stop writing; keep a copy of the files, then restore the latest backup."


class RecordCorrupt(DataIntegrityError):
    """One record does not match its checksum, or its text does not parse."""

    default_hint = "Only this record is affected: write it again, or restore it from a backup."


class StoreTooNew(ConfigurationError):
    """Written by a later version of chaoskit than this one."""

    default_hint = "Use the version of chaoskit that wrote it, or a later one."


class StoreForked(UsageError):
    """A store that was opened before a fork was used in the child: its locks belong to the parent."""


class StoreGone(PermanentError):
    """The file under the store's path is no longer the one that was opened."""

    default_hint = "What is written from now on would be lost: find out what removed the file, and reopen."


class LeaseLost(PermanentError):
    """The claim is no longer this owner's: its fence is stale. Nothing was changed."""

    default_hint = "Drop the result: the work is, or was, done by another owner."
