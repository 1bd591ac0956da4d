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
        ├── SecurityError                     somebody may be trying something
        │   └── UnsafeArchive
        │       └── ArchiveTooBig
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

import enum
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from chaoskit.core.errors import ChaoskitError

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


class Category(enum.StrEnum):
    """What kind of answer a failure asks for."""

    TRANSIENT = "transient"
    RESOURCE = "resource"
    RECOVERABLE = "recoverable"
    VALIDATION = "validation"
    CONFIGURATION = "configuration"
    PERMANENT = "permanent"
    SECURITY = "security"
    DATA_INTEGRITY = "data-integrity"

    @property
    def retryable(self) -> bool:
        """Whether the same call, made again later, may succeed."""
        return self in _RETRYABLE


_RETRYABLE = frozenset({Category.TRANSIENT, Category.RESOURCE})


class ResilienceError(ChaoskitError):
    """A failure with what is known about it.

    ``hint`` is the next step for whoever reads it, in a sentence; a class brings its own, an instance
    may replace it. ``context`` holds free fields. ``at`` is seconds since the epoch.

    Pickling keeps everything but ``__cause__`` and ``__context__`` (as for any exception); a context
    value that cannot be pickled arrives as its ``repr``.
    """

    category: ClassVar[Category] = Category.PERMANENT
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        stage: str | None = None,
        operation: str | None = None,
        retry_count: int = 0,
        context: Mapping[str, Any] | None = None,
        at: float | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = self.default_hint if hint is None else hint
        self.stage = stage
        self.operation = operation
        self.retry_count = retry_count
        self.context: dict[str, Any] = dict(context or {})
        self.at = time.time() if at is None else at

    @property
    def message(self) -> str:
        """The first argument, without what a base class adds when the error is printed."""
        return str(self.args[0]) if self.args else ""

    def to_dict(self) -> dict[str, Any]:
        """Everything known, as values that JSON can hold; the chain of causes included, once each."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "category": self.category.value,
            "retryable": self.category.retryable,
            "hint": self.hint,
            "stage": self.stage,
            "operation": self.operation,
            "retry_count": self.retry_count,
            "at": _utc(self.at),
            "context": {str(key): _plain(value) for key, value in self.context.items()},
            "causes": _causes(self),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        context = {key: _picklable(value) for key, value in self.context.items()}
        return (rebuild, arguments, {**state, "context": context})


class RetryableError(ResilienceError):
    """The same call may succeed later."""

    category = Category.TRANSIENT


class TransientError(RetryableError):
    """It passes by itself."""

    default_hint = "Try again later."


class ResourceError(RetryableError):
    """It passes when something is freed."""

    category = Category.RESOURCE
    default_hint = "Free the resource, or ask for less, and try again."


class RecoverableError(ResilienceError):
    """The same call will fail again, but another approach may work."""

    category = Category.RECOVERABLE
    default_hint = "Use another approach."


class NonRetryableError(ResilienceError):
    """The same call will fail again."""


class ValidationError(NonRetryableError):
    """This item is wrong, its siblings may be right."""

    category = Category.VALIDATION
    default_hint = "Skip this item and correct its source."


class ConfigurationError(NonRetryableError):
    """The set-up is wrong, and so everything that depends on it will fail."""

    category = Category.CONFIGURATION
    default_hint = "Correct the configuration and start again."


class PermanentError(NonRetryableError):
    """It will not pass without somebody's action."""

    default_hint = "Do not repeat the call; look at the cause."


class SecurityError(ResilienceError):
    """Somebody may be trying something: never retried, never passed over in silence."""

    category = Category.SECURITY
    default_hint = "Quarantine the input and tell whoever is responsible."


class DataIntegrityError(ResilienceError):
    """What was read is not what was written, or what was promised together is not there together."""

    category = Category.DATA_INTEGRITY
    default_hint = "Do not use the data; restore it from its source."


class _After(ResilienceError):
    """Knows how long to wait: ``retry_after`` seconds from ``at``, or None."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "retry_after": self.retry_after}


class Unreachable(TransientError):
    """No connection came about: refused, no route, no name, or not in time."""

    default_hint = "Check that the service is up and can be reached; wait longer between tries."


class Overloaded(TransientError):
    """The other side took the connection and did not answer in time, or said that it is busy."""

    default_hint = "Send less, or slower."


class RateLimited(_After, Overloaded):
    """The other side asked to be left alone for ``retry_after`` seconds."""

    default_hint = "Wait for as long as the service asked, and lower the rate."


class BreakerOpen(_After, TransientError):
    """Rejected without a call, since recent calls failed; reopens in ``retry_after`` seconds."""

    default_hint = "Wait until the breaker lets a probe through, or use the fallback."


class Throttled(_After, TransientError):
    """Rejected by this client itself, because the other side rejects most of what it is sent."""

    default_hint = "The service is rejecting calls; send less until it accepts more."


class OutOfMemory(ResourceError):
    """Memory ran out, here or in a child process (exit code 137)."""

    default_hint = "Make the batch smaller or raise the memory limit."


class BulkheadFull(ResourceError):
    """Rejected without a call: as many calls as are allowed at the same time are in progress."""

    default_hint = "Send fewer calls at the same time, or let them wait longer for a place."


class _AlsoOSError(ResilienceError, OSError):
    """Carries ``errno`` and ``filename`` like the OSError that it stands for."""

    def __init__(
        self, message: str = "", *, errno: int | None = None, filename: Any = None, **known: Any
    ) -> None:
        super().__init__(message, **known)
        self.errno = errno
        self.filename = filename

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError keeps these two outside of __dict__.
        rebuild, arguments, state = super().__reduce__()
        return (rebuild, arguments, {**state, "errno": self.errno, "filename": _picklable(self.filename)})

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "errno": self.errno, "filename": _plain(self.filename)}


class StaleHandle(_AlsoOSError, TransientError):
    """A file on a network share is no longer what was opened."""

    default_hint = "Close the file and open it again by its path."


class DiskFull(_AlsoOSError, ResourceError):
    """No space left on the device."""

    default_hint = "Free space on the device or write elsewhere."


class QuotaExceeded(_AlsoOSError, ResourceError):
    """The user's share of the device is used up."""

    default_hint = "Delete files or ask for a higher quota."


class TooManyFiles(_AlsoOSError, ResourceError):
    """The process or the machine has no descriptor left."""

    default_hint = "Close files, or raise the limit (ulimit -n)."


class FilesystemError(_AlsoOSError, PermanentError):
    """The file system refused, for a reason that has no class of its own; see ``errno``."""


class PermissionRefused(FilesystemError):
    """The file system's permissions do not allow it."""

    default_hint = "Check owner and mode of the path and of the directories above it."


class FileMissing(FilesystemError):
    """The path, or a directory on the way to it, does not exist."""

    default_hint = "Check the path, and that the share is mounted."


class ReadOnlyFilesystem(FilesystemError):
    """Mounted read-only, perhaps by the system after an error of the device."""

    default_hint = "Look into the system log for device errors, then remount."


class _AlsoTimeout(ResilienceError, TimeoutError):
    def __str__(self) -> str:
        return self.message


class AttemptTimedOut(_AlsoTimeout, TransientError):
    """One attempt took longer than it may, and was cut."""

    default_hint = "The next attempt may be quicker; else raise the attempt's timeout."


class DeadlineExceeded(_AlsoTimeout, PermanentError):
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
        return (rebuild, arguments, {**state, "value": _picklable(self.value)})


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
        part.stage, part.operation, part.retry_count = self.stage, self.operation, self.retry_count
        return part


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def _picklable(value: object) -> object:
    import pickle  # only whoever pickles an error pays for it

    try:
        pickle.dumps(value)
    except Exception:
        return _shown(value)
    return value


def _plain(value: object, depth: int = 8) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    # A context may hold itself; nobody reads eight levels down.
    if depth and isinstance(value, Mapping):
        return {str(key): _plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in value]
    return _shown(value)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__qualname__}, which cannot be shown: {type(error).__name__}>"


def _causes(error: BaseException) -> list[dict[str, str]]:
    causes: list[dict[str, str]] = []
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        causes.append({"type": type(cause).__qualname__, "message": _text(cause)})
        cause = cause.__cause__ or cause.__context__
    return causes


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<{type(failure).__name__} while it was turned into text>"
