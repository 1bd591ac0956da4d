"""The failures of stored data: the part of the taxonomy that all durable parts share.

::

    ResilienceError
    ├── TransientError
    │   └── StoreBusy          another process holds the lock; the wait was bounded
    ├── RecoverableError
    │   └── OutcomeUnknown     the write failed where it may have taken effect: ``operation_id``
    ├── ConfigurationError
    │   └── StoreTooNew        written by a newer version than this one
    ├── PermanentError
    │   ├── StoreGone          the file was removed or replaced behind the store
    │   └── LeaseLost          the claim is another's by now
    └── DataIntegrityError
        ├── StoreCorrupt       the store as a whole cannot be trusted
        └── RecordCorrupt      one record is damaged; its neighbours can be read

    UsageError
    └── StoreForked            an object with locks was carried across a fork
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
    """Another process held the lock for longer than this one was willing to wait; nothing was changed."""

    default_hint = "Try again later, or end the process that holds the lock."


class OutcomeUnknown(RecoverableError):
    """The write failed at a point where it may nevertheless have taken effect.

    ``operation_id`` is the id under which the store can tell if it did, or None if the store cannot: then
    look at the data, or write again.
    """

    default_hint = "Look whether it took effect, or write the same again."

    def __init__(self, message: str = "", *, operation_id: str | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.operation_id = operation_id

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "operation_id": self.operation_id}


class StoreTooNew(ConfigurationError):
    """The data has a format of a newer version; it was left unchanged."""

    default_hint = "Install the version that wrote it, or a newer one."


class StoreGone(PermanentError):
    """The file was removed or replaced while the store, or the log, was open."""

    default_hint = "Open the store again; restore its file first if it is missed."


class LeaseLost(PermanentError):
    """The claim has passed to another worker; what this worker does from now on is not recorded."""

    default_hint = "Stop the work: another worker does it."


class StoreCorrupt(DataIntegrityError):
    """The store as a whole cannot be trusted."""

    default_hint = "Restore it from a backup."


class RecordCorrupt(DataIntegrityError):
    """One record differs from what was written; the others can still be read."""

    default_hint = "Do not use the record; take the one before it, or make it again."


class StoreForked(UsageError):
    """An object with locks or connections was used in a forked child of the process that opened it."""
