"""What can go wrong, and what to do about it: categories, and one class for each named failure.

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

The category decides; the class says which. The classes that are an OSError or a TimeoutError as well
keep working in code that already catches those.
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
    """No connection came about: refused, no route, no name, or not in time."""

    default_hint = "Check that the service is up and can be reached; wait longer between tries."


class Overloaded(TransientError):
    """The other side took the connection and did not answer in time, or said that it is busy."""

    default_hint = "Send less, or slower."


class RateLimited(KnowsWhen, Overloaded):
    """The other side asked to be left alone for ``retry_after`` seconds."""

    default_hint = "Wait for as long as the service asked, and lower the rate."


class BreakerOpen(ReadLate, TransientError):
    """Rejected without a call, since recent calls failed; reopens in ``retry_after`` seconds."""

    default_hint = "Wait until the breaker lets a probe through, or use the fallback."


class Throttled(KnowsWhen, TransientError):
    """Rejected by this client itself, because the other side rejects most of what it is sent."""

    default_hint = "The service is rejecting calls; send less until it accepts more."


class OutOfMemory(ResourceError):
    """Memory ran out, here or in a child process (exit code 137)."""

    default_hint = "Make the batch smaller or raise the memory limit."


class BulkheadFull(ResourceError):
    """Rejected without a call: as many calls as are allowed at the same time are in progress."""

    default_hint = "Send fewer calls at the same time, or let them wait longer for a place."


class StaleHandle(AlsoOSError, TransientError):
    """A file on a network share is no longer what was opened."""

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
    """The file system refused, for a reason that no other class stands for; see ``errno``."""


class PermissionRefused(FilesystemError):
    """The file system's permissions do not allow it."""

    default_hint = "Check owner and mode of the path and of the directories above it."


class FileMissing(FilesystemError):
    """The path, or a directory on the way to it, does not exist."""

    default_hint = "Check the path, and that the share is mounted."


class ReadOnlyFilesystem(FilesystemError):
    """Mounted read-only, perhaps by the system after an error of the device."""

    default_hint = "Look into the system log for device errors, then remount."


class AttemptTimedOut(AlsoTimeout, TransientError):
    """One attempt took longer than it may, and was cut."""

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

    ``value`` arrives as its ``repr`` where it cannot be pickled.
    """

    def __init__(self, message: str = "", *, value: Any = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        # A result may be a socket or a frame; an error has to come through a process pool all the same.
        return (rebuild, arguments, {**state, "value": picklable(self.value)})


class StorageError(PermanentError):
    """The object store or database refused for good."""


class UnsafeArchive(SecurityError):
    """A member that would leave the target directory, is a device, or expands beyond the limits."""


class ArchiveTooBig(UnsafeArchive):
    """It holds or unpacks to more than its limits allow, as a bomb does."""

    default_hint = "If it may be that big, raise the limits."


class CorruptArchive(DataIntegrityError):
    """Truncated, or not what its checksums say."""

    default_hint = "Fetch the archive again."


class MalformedData(DataIntegrityError):
    """Text that does not have the promised form; ``line`` and ``column`` count from 1."""

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
    """A checkpoint that cannot be saved, or cannot be trusted."""

    default_hint = "Resume from the checkpoint before it."


class TransactionError(DataIntegrityError):
    """What was to happen as one did not."""

    default_hint = "Run recovery: it completes or undoes the transaction."


class TransactionValidationError(TransactionError):
    """A validator refused the staged content; nothing was committed."""

    category = Category.VALIDATION
    default_hint = "Nothing was committed; correct the content and run the transaction again."


class RollbackError(TransactionError):
    """An undo step failed; the state is named in the context and can be repaired."""


class PartialFailure(RecoverableError, ExceptionGroup[Exception]):
    """Some items of a batch failed: a group of their errors, in order.

    Matches ``except*`` like any group. The sub-groups that ``split`` and ``subgroup`` make are
    PartialFailure too, with the same hint and context.
    """

    default_hint = "Correct and repeat the failed items; the others are done."

    # Two bases, two signatures of __new__: the group's is the one that fills the object.
    def __new__(cls, message: str, errors: Any, **known: Any) -> Self:
        return ExceptionGroup.__new__(cls, message, errors)

    def __init__(self, message: str, errors: Any, **known: Any) -> None:
        super().__init__(message, **known)
        # A group prints and rebuilds itself from both arguments.
        self.args = (message, list(errors))

    def derive(self, errors: Any, /) -> PartialFailure:  # type: ignore[override]
        part = PartialFailure(self.message, errors, hint=self.hint, context=self.context, at=self.at)
        # derive() makes a new object, which knows nothing of what was noted on this one.
        part.stage, part.operation, part.retry_count = self.stage, self.operation, self.retry_count
        return part
