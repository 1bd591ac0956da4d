"""The base classes of failures: each has a category, a hint and a place, and can be reported and pickled.

:mod:`chaoskit.runtime.failures.taxonomy` derives all its classes from these.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from chaoskit.core.errors import ChaoskitError
from chaoskit.runtime.clock import utc

__all__ = [
    "TRANSIENT_ERRORS",
    "AlsoOSError",
    "AlsoTimeout",
    "Category",
    "ConfigurationError",
    "DataIntegrityError",
    "KnowsWhen",
    "NonRetryableError",
    "PermanentError",
    "ReadLate",
    "RecoverableError",
    "ResilienceError",
    "ResourceError",
    "RetryableError",
    "SecurityError",
    "TransientError",
    "ValidationError",
    "picklable",
]


class Category(enum.StrEnum):
    """The response that a failure calls for."""

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
        """True if the same call may succeed when it is made again later."""
        return self in _RETRYABLE


TRANSIENT_ERRORS = (Category.TRANSIENT, Category.RESOURCE)
"""The errors after which the same call may succeed later: for ``on`` of a retry or breaker."""

_RETRYABLE = frozenset(TRANSIENT_ERRORS)


class ResilienceError(ChaoskitError):
    """A failure with its category, its place and the next step.

    ``hint`` tells the reader what to do next, in a sentence; each class has one, which an instance may
    replace. ``context`` holds free fields. ``at`` is in seconds since the epoch.

    Pickling keeps everything except ``__cause__`` and ``__context__`` (as for any exception); a context value
    that cannot be pickled arrives as its ``repr``.
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
        # A copy, because errors are kept and the caller may go on using its mapping.
        self.context: dict[str, Any] = dict(context or {})
        self.at = time.time() if at is None else at

    @property
    def message(self) -> str:
        """The first argument, without the text that a base class adds when the error is printed."""
        return str(self.args[0]) if self.args else ""

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON types, with the chain of causes, each listed once."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "category": self.category.value,
            "retryable": self.category.retryable,
            "hint": self.hint,
            "stage": self.stage,
            "operation": self.operation,
            "retry_count": self.retry_count,
            "at": utc(self.at),
            "context": {str(key): _plain(value) for key, value in self.context.items()},
            "causes": _causes(self),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        context = {key: picklable(value) for key, value in self.context.items()}
        return (rebuild, arguments, {**state, "context": context})


class RetryableError(ResilienceError):
    """The same call may succeed later."""

    category = Category.TRANSIENT


class TransientError(RetryableError):
    """It passes by itself."""

    default_hint = "Try again later."


class ResourceError(RetryableError):
    """It passes once something is freed."""

    category = Category.RESOURCE
    default_hint = "Free the resource, or ask for less, and try again."


class RecoverableError(ResilienceError):
    """The same call will fail again, but another approach may work."""

    category = Category.RECOVERABLE
    default_hint = "Use another approach."


class NonRetryableError(ResilienceError):
    """The same call will fail again."""


class ValidationError(NonRetryableError):
    """This item is wrong, but others may be right."""

    category = Category.VALIDATION
    default_hint = "Skip this item and correct its source."


class ConfigurationError(NonRetryableError):
    """The set-up is wrong, so everything that depends on it will fail."""

    category = Category.CONFIGURATION
    default_hint = "Correct the configuration and start again."


class PermanentError(NonRetryableError):
    """It will not pass until a person acts."""

    default_hint = "Do not repeat the call; look at the cause."


class SecurityError(ResilienceError):
    """It may be an attack: it is never retried and never ignored."""

    category = Category.SECURITY
    default_hint = "Quarantine the input and report it to the person responsible."


class DataIntegrityError(ResilienceError):
    """Data that was read differs from what was written, or belongs together and is incomplete."""

    category = Category.DATA_INTEGRITY
    default_hint = "Do not use the data; restore it from its source."


class KnowsWhen(ResilienceError):
    """A failure that says how long to wait: ``retry_after`` seconds from ``at``; None if that is unknown."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "retry_after": self.retry_after}


class ReadLate(KnowsWhen):
    """An error that is raised often and rarely read: its text and fields are made when they are first read.

    Create it with ``cls.__new__(cls, make, *arguments)``, without ``__init__``, which would cost more than
    raising and catching it. ``make(*arguments)`` returns the message and the other fields.
    """

    def __getattr__(self, name: str) -> Any:
        # Python calls this for missing attributes, which at first are all the fields.
        if "at" in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        make, *arguments = _ARGS.__get__(self)
        message, known = make(*arguments)
        made = type(self)(message, **known)
        # A single update, because another thread may read at the same time.
        self.__dict__.update({**made.__dict__, "_args": made.args})
        return getattr(self, name)

    @property
    def args(self) -> tuple[Any, ...]:
        """The message only, as for every error of the runtime."""
        _ = self.at
        given: tuple[Any, ...] = self.__dict__.get("_args") or _ARGS.__get__(self)
        return given

    @args.setter
    def args(self, given: tuple[Any, ...]) -> None:
        # During unpickling the message is set before any field.
        if "at" in self.__dict__ or any(map(callable, _ARGS.__get__(self)[:1])):
            _ = self.at
            self.__dict__["_args"] = given
        _ARGS.__set__(self, given)

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        _ = self.at
        return super().__reduce__()


# The args that C code has set, which the property of the same name hides.
_ARGS: Any = BaseException.__dict__["args"]


class AlsoOSError(ResilienceError, OSError):
    """Has ``errno`` and ``filename`` like the OSError that it stands for."""

    def __init__(
        self, message: str = "", *, errno: int | None = None, filename: Any = None, **known: Any
    ) -> None:
        super().__init__(message, **known)
        self.errno = errno
        self.filename = filename

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # ``args`` cannot carry these: OSError would take two arguments for errno and message. It keeps both
        # outside ``__dict__``.
        rebuild, arguments, state = super().__reduce__()
        return (rebuild, arguments, {**state, "errno": self.errno, "filename": picklable(self.filename)})

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "errno": self.errno, "filename": _plain(self.filename)}


class AlsoTimeout(ResilienceError, TimeoutError):
    """A failure that ``except TimeoutError`` also catches."""

    def __str__(self) -> str:
        return self.message


def picklable(value: object) -> object:
    """``value`` itself, or its ``repr`` if it cannot be pickled."""
    import pickle  # loaded late: most errors never leave their process

    try:
        pickle.dumps(value)
    except Exception:
        return _shown(value)
    return value


def _plain(value: object, depth: int = 8) -> object:
    # JSON has these; everything else becomes text.
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    # A context may contain itself; a reader does not look at more than eight levels.
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
    # A chain of causes may lead back to itself.
    seen = {id(error)}
    # In the order of a traceback, but with suppressed contexts.
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
