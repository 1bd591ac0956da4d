"""The taxonomy of failures: categories that say what to do, and one class for each named failure.

::

    ChaoskitError
    └── ResilienceError                       category · hint · context · to_dict()
        ├── RetryableError                    the same call may succeed later
        │   ├── TransientError                it passes by itself
        │   │   ├── Unreachable               refused, no route, no name, no connection in time
        │   │   ├── Overloaded                answered too slowly, or said that it is busy
        │   │   │   └── RateLimited           said how long to wait: ``retry_after``
        │   │   ├── StaleHandle               (OSError) the share moved away under an open file
        │   │   ├── AttemptTimedOut           (TimeoutError) one attempt was cut
        │   │   ├── BreakerOpen               rejected without a call; ``retry_after``
        │   │   └── Throttled                 this client holds itself back; ``retry_after``
        │   └── ResourceError                 it passes when something is freed
        │       ├── DiskFull                  (OSError)
        │       ├── QuotaExceeded             (OSError)
        │       ├── TooManyFiles              (OSError)
        │       ├── BulkheadFull              too many calls are in progress already
        │       └── OutOfMemory
        ├── RecoverableError                  another approach may work
        │   └── PartialFailure                (ExceptionGroup) some of a batch failed
        ├── NonRetryableError                 the same call will fail again
        │   ├── ValidationError               this item is wrong: skip it
        │   ├── ConfigurationError            the set-up is wrong: stop
        │   └── PermanentError
        │       ├── PermissionRefused         (OSError)
        │       ├── FileMissing               (OSError)
        │       ├── ReadOnlyFilesystem        (OSError)
        │       ├── FilesystemError           (OSError) any other answer of the file system
        │       ├── ServiceVersionMismatch
        │       ├── DeadlineExceeded          (TimeoutError)
        │       ├── NoCandidate               a fallback chain has nothing acceptable to offer
        │       ├── ResultRejected            the attempts are used up, the last result is still bad
        │       └── StorageError
        ├── SecurityError                     the input looks like an attack
        │   └── UnsafeArchive
        │       └── ArchiveTooBig
        └── DataIntegrityError                what was read is not what was written
            ├── CorruptArchive
            ├── MalformedData                 located: ``file``, ``line``, ``column``
            ├── CheckpointError
            └── TransactionError
                ├── TransactionValidationError
                └── RollbackError

The category decides what to do; the class names the failure. Classes that are also an OSError or a
TimeoutError keep working in code that already catches those.
"""

from __future__ import annotations

from typing import Any, Self

from chaoskit.runtime.failures.base import (
    AlsoOSError,
    AlsoTimeout,
    Category,
    ConfigurationError,
    DataIntegrityError,
    KnowsWhen,
    NonRetryableError,
    PermanentError,
    ReadLate,
    RecoverableError,
    ResilienceError,
    ResourceError,
    RetryableError,
    SecurityError,
    TransientError,
    ValidationError,
    picklable,
)

__all__ = [
    "ArchiveTooBig",
    "AttemptTimedOut",
    "BreakerOpen",
    "BulkheadFull",
    "Category",
    "CheckpointError",
    "ConfigurationError",
    "CorruptArchive",
    "DataIntegrityError",
    "DeadlineExceeded",
    "DiskFull",
    "FileMissing",
    "FilesystemError",
    "MalformedData",
    "NoCandidate",
    "NonRetryableError",
    "OutOfMemory",
    "Overloaded",
    "PartialFailure",
    "PermanentError",
    "PermissionRefused",
    "QuotaExceeded",
    "RateLimited",
    "ReadOnlyFilesystem",
    "RecoverableError",
    "ResilienceError",
    "ResourceError",
    "ResultRejected",
    "RetryableError",
    "RollbackError",
    "SecurityError",
    "ServiceVersionMismatch",
    "StaleHandle",
    "StorageError",
    "Throttled",
    "TooManyFiles",
    "TransactionError",
    "TransactionValidationError",
    "TransientError",
    "Unreachable",
    "UnsafeArchive",
    "ValidationError",
]


class Unreachable(TransientError):
    """No connection was made: refused, no route, no name, or timed out."""

    default_hint = "Check that the service is up and can be reached; wait longer between tries."


class Overloaded(TransientError):
    """The other side accepted the connection but did not answer in time, or said that it is busy."""

    default_hint = "Send less, or slower."


class RateLimited(KnowsWhen, Overloaded):
    """The other side asked for a pause of ``retry_after`` seconds."""

    default_hint = "Wait for as long as the service asked, and lower the rate."


class BreakerOpen(ReadLate, TransientError):
    """Rejected without a call, since recent calls failed; reopens in ``retry_after`` seconds."""

    default_hint = "Wait until the breaker lets a probe through, or use the fallback."


class Throttled(KnowsWhen, TransientError):
    """Rejected by this client itself, because the other side rejects most of its calls."""

    default_hint = "The service is rejecting calls; send less until it accepts more."


class OutOfMemory(ResourceError):
    """Memory ran out, here or in a child process (exit code 137)."""

    default_hint = "Make the batch smaller or raise the memory limit."


class BulkheadFull(ResourceError):
    """Rejected without a call: the allowed number of calls is in progress already."""

    default_hint = "Send fewer calls at the same time, or let them wait longer for a place."


class StaleHandle(AlsoOSError, TransientError):
    """The file that was opened on a network share no longer exists there."""

    default_hint = "Close the file and open it again by its path."


class DiskFull(AlsoOSError, ResourceError):
    """No space left on the device."""

    default_hint = "Free space on the device or write elsewhere."


class QuotaExceeded(AlsoOSError, ResourceError):
    """The user's share of the device is used up."""

    default_hint = "Delete files or ask for a higher quota."


class TooManyFiles(AlsoOSError, ResourceError):
    """The process or the machine has no descriptor left."""

    default_hint = "Close files, or raise the limit (ulimit -n)."


class FilesystemError(AlsoOSError, PermanentError):
    """The file system refused, for a reason that no other class covers; see ``errno``."""


class PermissionRefused(FilesystemError):
    """The file system's permissions do not allow it."""

    default_hint = "Check owner and mode of the path and of the directories above it."


class FileMissing(FilesystemError):
    """The path, or a directory above it, does not exist."""

    default_hint = "Check the path, and that the share is mounted."


class ReadOnlyFilesystem(FilesystemError):
    """The file system is mounted read-only, perhaps because of a device error."""

    default_hint = "Look into the system log for device errors, then remount."


class AttemptTimedOut(AlsoTimeout, TransientError):
    """One attempt took longer than allowed, and was cut off."""

    default_hint = "The next attempt may be quicker; else raise the attempt's timeout."


class DeadlineExceeded(AlsoTimeout, PermanentError):
    """The total deadline has passed, or passed during the attempt."""

    default_hint = "Give the call more time, or find out what used it up."


class ServiceVersionMismatch(PermanentError):
    """The service speaks another version of the protocol."""

    default_hint = "Install the version that both sides speak."


class NoCandidate(PermanentError):
    """Every candidate of a fallback chain was rejected; the context's ``rejections`` say why, in order."""

    default_hint = "Look at the rejections: provide another candidate or accept less."


class ResultRejected(PermanentError):
    """The attempts are used up, and the last result is still not acceptable: see ``value``.

    ``value`` arrives as its ``repr`` if it cannot be pickled.
    """

    def __init__(self, message: str = "", *, value: Any = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        # A result may be a socket or a frame; the error must still pass through a process pool.
        return (rebuild, arguments, {**state, "value": picklable(self.value)})


class StorageError(PermanentError):
    """The object store or database refused, and will refuse again."""


class UnsafeArchive(SecurityError):
    """A member that would leave the target directory, is a device, or expands beyond the limits."""


class ArchiveTooBig(UnsafeArchive):
    """It contains or unpacks to more than its limits allow, as a bomb does."""

    default_hint = "If it may be that big, raise the limits."


class CorruptArchive(DataIntegrityError):
    """The archive is truncated, or its checksums do not match."""

    default_hint = "Fetch the archive again."


class MalformedData(DataIntegrityError):
    """Text without the promised form; ``line`` and ``column`` count from 1."""

    default_hint = "Correct the file at the named place."

    def __init__(
        self,
        message: str = "",
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        **known: Any,
    ) -> None:
        super().__init__(message, **known)
        self.file, self.line, self.column = file, line, column

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "file": self.file, "line": self.line, "column": self.column}


class CheckpointError(DataIntegrityError):
    """A checkpoint cannot be saved, or cannot be trusted."""

    default_hint = "Resume from the checkpoint before it."


class TransactionError(DataIntegrityError):
    """Changes that belong together were not all made."""

    default_hint = "Run recovery: it completes or undoes the transaction."


class TransactionValidationError(TransactionError):
    """A validator refused the staged content; nothing was committed."""

    category = Category.VALIDATION
    default_hint = "Nothing was committed; correct the content and run the transaction again."


class RollbackError(TransactionError):
    """An undo step failed; the context names the state, which can be repaired."""


class PartialFailure(RecoverableError, ExceptionGroup[Exception]):
    """Some items of a batch failed: a group of their errors, in order.

    Matches ``except*`` like any group. ``split`` and ``subgroup`` return PartialFailures too, with the same
    hint and context.
    """

    default_hint = "Correct and repeat the failed items; the others are done."

    # The two bases differ in the signature of __new__; that of the group fills the object.
    def __new__(cls, message: str, errors: Any, **known: Any) -> Self:
        return ExceptionGroup.__new__(cls, message, errors)

    def __init__(self, message: str, errors: Any, **known: Any) -> None:
        super().__init__(message, **known)
        # A group prints and rebuilds itself from both arguments.
        self.args = (message, list(errors))

    def derive(self, errors: Any, /) -> PartialFailure:  # type: ignore[override]
        part = PartialFailure(self.message, errors, hint=self.hint, context=self.context, at=self.at)
        # derive() makes a new object without the notes on this one.
        part.stage, part.operation, part.retry_count = self.stage, self.operation, self.retry_count
        return part
