"""The context of a log line: a correlation id, the current operation, and free fields.

It is held in a context variable. asyncio tasks inherit it; threads and executors do not, unless Python 3.14
or later runs with ``thread_inherit_context``: wrap their functions in :func:`carry`. A child process gets it
through its environment (:func:`to_environment`, :func:`adopt`), a worker of a pool as text (:func:`dumps`,
:func:`loads`).
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.redact import is_secret_name

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "Context",
    "adopt",
    "adopted",
    "bind",
    "carry",
    "correlation_id",
    "current",
    "dumps",
    "loads",
    "new_correlation_id",
    "operation",
    "to_environment",
]

ENVIRONMENT_VARIABLE = "CHAOSKIT_CONTEXT"

# Large enough for any honest context. An environment block has to hold everything else that a child needs
# (Linux allows 128 KiB for a variable), and a reader must not be made to parse megabytes.
_MAX_TEXT = 8192
_MAX_VALUE = 512
_MAX_DEPTH = 64

# No control characters, quotes or spaces: an id ends up in log lines, file names and HTTP headers.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,128}\Z")
# A field with one of these names would hide what chaoskit itself writes into the log line.
_RESERVED = frozenset({"correlation_id", "operation", "operations"})

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Shared by all contexts without fields: most have none, and each operation makes a context.
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Context:
    """The context at one moment. ``operations`` are names from the outermost to the innermost.

    ``started`` is the monotonic time, in seconds, at which the innermost operation began.
    """

    correlation_id: str
    operations: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=lambda: _NO_FIELDS)
    started: float | None = None

    @property
    def operation(self) -> str | None:
        """The name of the innermost operation."""
        return self.operations[-1] if self.operations else None

    def to_dict(self) -> dict[str, Any]:
        """Flat, as a log line needs it: ``correlation_id``, ``operation`` and the fields."""
        return {"correlation_id": self.correlation_id, "operation": self.operation, **self.fields}


_current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("chaoskit_context", default=None)


def current() -> Context | None:
    """The context in force here, or None outside all operations."""
    return _current.get()


def correlation_id() -> str | None:
    """The correlation id in force here, or None."""
    context = _current.get()
    return None if context is None else context.correlation_id


def new_correlation_id() -> str:
    """32 hexadecimal digits from the system's random source, without touching the state of ``random``."""
    return os.urandom(16).hex()


class _Entered:
    """A guard that puts a context in force; leaving the block always restores the previous one."""

    __slots__ = ("_make", "_tokens")

    def __init__(self, make: Callable[[Context | None], Context]) -> None:
        self._make = make
        # A stack, so that a guard may be entered again before it is left.
        self._tokens: list[contextvars.Token[Context | None]] = []

    def __enter__(self) -> Context:
        context = self._make(_current.get())
        self._tokens.append(_current.set(context))
        return context

    def __exit__(self, *exc: object) -> None:
        try:
            _current.reset(self._tokens.pop())
        except ValueError:
            # The block was entered in one context and is left in another (an async generator closed by the
            # loop's finaliser): the variable was never set here, so there is nothing to restore.
            pass


def operation(name: str, /, *, correlation_id: str | None = None, **fields: Any) -> _Entered:
    """Return a guard (``with``) under which ``name`` is the current operation.

    ``fields`` are added to those of the enclosing operation. ``correlation_id`` is used if it is given;
    otherwise the enclosing id is kept, or a new one is made. Raises ``UsageError`` for a name or an id that
    could not be written safely into a log line.
    """
    _check_name("operation name", name)
    _check_fields(fields)
    if correlation_id is not None:
        _check_id(correlation_id)

    def make(outer: Context | None) -> Context:
        base = outer or Context(correlation_id or new_correlation_id())
        return Context(
            correlation_id or base.correlation_id,
            (*base.operations, name),
            MappingProxyType({**base.fields, **fields}) if fields else base.fields,
            time.monotonic(),
        )

    return _Entered(make)


def bind(**fields: Any) -> _Entered:
    """Return a guard (``with``) under which ``fields`` are added; the operation stays the same.

    Raises ``UsageError`` for a field whose name chaoskit uses.
    """
    _check_fields(fields)

    def make(outer: Context | None) -> Context:
        base = outer or Context(new_correlation_id())
        return replace(base, fields=MappingProxyType({**base.fields, **fields}))

    return _Entered(make)


def carry(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return ``fn`` bound to all context variables as they are now, for a thread or an executor.

    Every call gets a fresh copy, so many threads may run the result at once, and no call sees what another
    one sets.
    """
    # Context.run() cannot be entered twice at the same time, so only copies of the captured one are run.
    captured = contextvars.copy_context()

    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return captured.copy().run(fn, *args, **kwargs)

    return carried


def dumps(context: Context | None = None) -> str | None:
    """``context`` (default: the one in force) as ASCII text for another process; None if there is none.

    Fields that are not text, numbers, booleans or None are left out, and so are those with secret names,
    since others may read the environment of a process. Fields that would make the text longer than 8192
    characters are left out as well, the last ones first.
    """
    context = context or _current.get()
    if context is None:
        return None
    fields = {k: v for k, v in context.fields.items() if _may_travel(k, v)}
    operations = list(context.operations[-_MAX_DEPTH:])
    while True:
        # The number lets a later version recognise this format; a reader refuses a format that it does not
        # know.
        record = {"v": 1, "id": context.correlation_id, "op": operations, "fields": fields}
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        if len(text) <= _MAX_TEXT:
            return text
        if fields:
            fields.popitem()
        else:
            # The innermost names say most, so the outermost are dropped first.
            operations.pop(0)


def loads(text: str) -> Context | None:
    """The context that :func:`dumps` wrote; None if ``text`` is anything else. Never raises.

    The text comes from outside: its size, its form and every character of the ids are checked, and a refusal
    is logged (logger ``chaoskit``) without the text.
    """
    try:
        return _parse(text)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}" if not isinstance(error, _CannotTravel) else str(error)
        logging.getLogger("chaoskit").warning("context from outside refused: %s", reason)
        return None


def to_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """A child's environment: ``base`` (default ``os.environ``) plus the context in force.

    Without a context the variable is removed, so that a grandparent's is not mistaken for ours.
    """
    environment = dict(os.environ if base is None else base)
    text = dumps()
    if text is None:
        environment.pop(ENVIRONMENT_VARIABLE, None)
    else:
        environment[ENVIRONMENT_VARIABLE] = text
    return environment


def adopt(environment: Mapping[str, str] | None = None) -> Context | None:
    """Put the parent process's context in force for the rest of the program; return it, or None.

    Call it once, when the program starts. If the variable is missing or malformed, nothing changes.
    """
    text = (os.environ if environment is None else environment).get(ENVIRONMENT_VARIABLE)
    context = loads(text) if text is not None else None
    if context is not None:
        _current.set(context)
    return context


def adopted(environment: Mapping[str, str] | None = None) -> _Entered | AbstractContextManager[None]:
    """Return a guard (``with``) under which the context that the parent passed on is in force."""
    text = (os.environ if environment is None else environment).get(ENVIRONMENT_VARIABLE)
    context = loads(text) if text is not None else None
    return nullcontext() if context is None else _Entered(lambda outer: context)


class _CannotTravel(ValueError):
    """Says why a text is not a context. The message does not quote the text, which may be hostile."""


def _parse(text: str) -> Context:
    if len(text) > _MAX_TEXT:
        raise _CannotTravel(f"{len(text)} characters, at most {_MAX_TEXT}")
    record = json.loads(text, parse_constant=_no_constant)
    if not isinstance(record, dict) or record.get("v") != 1:
        raise _CannotTravel("not a context of format 1")
    ident, operations, fields = record["id"], record["op"], record["fields"]
    if not (isinstance(ident, str) and _ID.match(ident)):
        raise _CannotTravel("the correlation id has characters that are not allowed")
    if not (
        isinstance(operations, list) and len(operations) <= _MAX_DEPTH and all(map(_good_name, operations))
    ):
        raise _CannotTravel("the operation names have characters that are not allowed")
    if not (isinstance(fields, dict) and all(_may_travel(k, v) for k, v in fields.items())):
        raise _CannotTravel("a field is not allowed")
    # Without ``started``: monotonic times of two processes cannot be compared.
    return Context(ident, tuple(operations), MappingProxyType(fields), None)


def _no_constant(name: str) -> float:
    raise _CannotTravel(f"{name} is not a number of JSON")


def _good_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.match(name) is not None


def _may_travel(key: str, value: object) -> bool:
    """Return True if a field is plain, small, and harmless enough for other processes to see."""
    if not key.isidentifier() or key in _RESERVED or is_secret_name(key):
        return False
    if isinstance(value, str):
        return value == "" or (len(value) <= _MAX_VALUE and _plain(value))
    if isinstance(value, float):
        return value - value == 0  # neither infinite nor NaN: JSON has no such numbers
    return value is None or (isinstance(value, int) and abs(value) < 2**63)


def _plain(text: str) -> bool:
    # A value may be longer than a name; the same characters are allowed.
    return all(_NAME.match(text[i : i + 128]) for i in range(0, len(text), 128))


def _check_name(what: str, name: str) -> None:
    if not _good_name(name):
        raise wrong(what, name, "1 to 128 characters without control characters")


def usable_id(*told: object) -> str:
    """The first of these that can be a correlation id; if none can, one that is made from the last.

    For ids that other programs have sent, and for keys, which are often paths. Made from equal ones, ids are
    equal: the attempts of a run are found under one.
    """
    for value in told:
        if isinstance(value, str) and _ID.match(value):
            return value
    import hashlib  # Needed here only, and rarely.

    return hashlib.sha256(ascii(told[-1]).encode()).hexdigest()[:32]


def _check_id(value: str) -> None:
    if not (isinstance(value, str) and _ID.match(value)):
        raise wrong(
            "correlation_id", value, "1 to 128 of the characters A-Z a-z 0-9 . _ : -, a letter or digit first"
        )


def _check_fields(fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name in _RESERVED:
            raise wrong(
                "field name", name, f"any name but {', '.join(sorted(_RESERVED))}: these are set by chaoskit"
            )
