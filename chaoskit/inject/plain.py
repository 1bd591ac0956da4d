"""Serialise values that leave a workload, in a form that can be read without running code.

Data from a workload must not be trusted: it may have been damaged on purpose or by a fault, and a pickle runs
whatever it names. So values travel as JSON, with tags for types that JSON lacks:

- ``None``, booleans, numbers, text, bytes, tuples, lists, sets, dictionaries;
- dates, times, paths, ``Decimal``, ``Fraction``, ``UUID``, ``range``, results of ``os.stat``;
- members of enumerations, named tuples, dataclasses and ``SimpleNamespace``;
- exceptions, with their arguments and attributes.

The classes of the last two kinds must be importable by name. Reading imports nothing: it uses classes that
the reading process has, and fills their instances without calling their methods. An object that occurs twice
arrives as two objects, and one that contains itself cannot be sent.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import os
import pathlib
import sys
import time
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any


class NotPlain(Exception):
    """A value that cannot be sent; the argument names its type and says why."""


class Malformed(Exception):
    """A malformed message, which no sound workload sends; the argument says what is wrong with it."""


def dumps(value: Any) -> bytes:
    """Serialise ``value``.

    Raises:
        NotPlain: naming the type that cannot be sent.
    """
    if value is None:  # What most workloads return; making an encoder creates a hundred objects.
        return b"null"
    try:
        return _encode(_sent(value)).encode()
    except RecursionError:
        name = type(value).__qualname__
        raise NotPlain(f"{name}: it contains itself, or is nested too deeply") from None


def split(data: bytes) -> list[Any]:
    """The parts of a message, each for :func:`read`.

    Raises:
        Malformed: if it is not a list in JSON.
    """
    try:
        parts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if not isinstance(parts, list):
        raise Malformed(f"{type(parts).__name__}; expected a list")
    return parts


def read(part: Any) -> Any:
    """Restore the value that :func:`dumps` serialised as ``part``.

    Raises:
        Malformed: for anything else, and if this process lacks a class.
    """
    try:
        return _read(part)
    except Malformed:
        raise
    except Exception as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


_encode = json.JSONEncoder(separators=(",", ":")).encode
_AS_IT_IS = (str, int, float, bool, type(None))


def copied(value: Any) -> Any:
    """``value`` as it arrives in another process.

    Raises:
        NotPlain: if it cannot.
    """
    return read(split(b"[" + dumps(value) + b"]")[0])


def _sent(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is list:
        return [_sent(one) for one in value]
    writer = _WRITERS.get(kind)
    if writer is not None:
        tag, write = writer
        return {tag: write(value)}
    if isinstance(value, enum.Enum):
        return {"enum": [*_named(kind), value.name]}
    if isinstance(value, BaseException):
        return {"error": [*_named(kind), *_of_error(value)]}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"named": [*_named(kind), [_sent(one) for one in value]]}
    if dataclasses.is_dataclass(value):
        return {"record": [*_named(kind), _sent(_state(value))]}
    raise NotPlain(f"{kind.__qualname__}: it is neither plain data, nor a dataclass, nor an exception")


def _named(kind: type) -> tuple[str, str]:
    """The module and name that find a class again."""
    if _found(kind.__module__, kind.__qualname__) is not kind:
        raise NotPlain(f"{kind.__qualname__}: its class cannot be found by this name in {kind.__module__}")
    return kind.__module__, kind.__qualname__


def _state(value: Any) -> dict[str, Any]:
    state = dict(getattr(value, "__dict__", {}))
    names = (name for one in type(value).__mro__ for name in getattr(one, "__slots__", ()))
    return state | {name: getattr(value, name) for name in names if hasattr(value, name)}


def _of_error(error: BaseException) -> tuple[Any, Any]:
    """The arguments that recreate the error, and its attributes."""
    args = error.args
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        # OSError removes file names from its arguments (OSError.__reduce__ adds them again).
        second = () if error.filename2 is None else (None, error.filename2)
        args = (*args, error.filename, *second)
    return [_sent(one) for one in args], _sent(_what_travels(error.__dict__))


def _what_travels(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Drop attributes that cannot be sent: an error without one says more than a stand-in for the error."""
    kept = {}
    for name, value in attributes.items():
        with contextlib.suppress(NotPlain, RecursionError):
            _sent(value)
            kept[name] = value
    return kept


def _pairs(value: Mapping[Any, Any]) -> list[Any]:
    return [[_sent(key), _sent(one)] for key, one in value.items()]


def _items(value: Any) -> list[Any]:
    return [_sent(one) for one in value]


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _mapping(pairs: Any) -> dict[Any, Any]:
    return {_read(key): _read(one) for key, one in pairs}


def _list(items: Any) -> list[Any]:
    return [_read(one) for one in items]


def _namespace(state: Any) -> types.SimpleNamespace:
    made = types.SimpleNamespace()
    made.__dict__.update(_read(state))
    return made


_Both = tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]]

_PLAIN: tuple[_Both, ...] = (
    (dict, "dict", _pairs, _mapping),
    (tuple, "tuple", _items, lambda items: tuple(_list(items))),
    (set, "set", _items, lambda items: set(_list(items))),
    (frozenset, "frozenset", _items, lambda items: frozenset(_list(items))),
    (bytes, "bytes", _base64, base64.b64decode),
    (bytearray, "bytearray", _base64, lambda text: bytearray(base64.b64decode(text))),
    (complex, "complex", lambda one: [one.real, one.imag], lambda two: complex(*map(float, two))),
    (range, "range", lambda one: [one.start, one.stop, one.step], lambda three: range(*map(int, three))),
    (datetime.datetime, "datetime", datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    (datetime.date, "date", datetime.date.isoformat, datetime.date.fromisoformat),
    (datetime.time, "time", datetime.time.isoformat, datetime.time.fromisoformat),
    (
        datetime.timedelta,
        "timedelta",
        lambda one: [one.days, one.seconds, one.microseconds],
        lambda three: datetime.timedelta(*map(int, three)),
    ),
    (decimal.Decimal, "decimal", str, decimal.Decimal),
    (fractions.Fraction, "fraction", str, fractions.Fraction),
    (uuid.UUID, "uuid", str, uuid.UUID),
    (types.SimpleNamespace, "namespace", lambda one: _sent(vars(one)), _namespace),
    *(
        (kind, kind.__name__, str, kind)
        for kind in (pathlib.PurePosixPath, pathlib.PosixPath, pathlib.PureWindowsPath)
    ),
    *(
        (kind, f"{kind.__name__}", _items, lambda items, kind=kind: kind(_list(items)))
        for kind in (os.stat_result, os.terminal_size, time.struct_time)
    ),
)
"""Types with a tag, each with a writer and a reader."""

_WRITERS = {kind: (tag, write) for kind, tag, write, _ in _PLAIN}


def _read(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return _list(value)
    if kind is not dict:
        return value
    if len(value) != 1:
        raise Malformed(f"{len(value)} tags; expected one")
    ((tag, content),) = value.items()
    reader = _READERS.get(tag)
    if reader is None:
        raise Malformed(f"no type has the tag {tag!r}")
    return reader(content)


def _found(module: str, name: str) -> Any:
    """The object with this name in a loaded module; None if there is none."""
    place: Any = sys.modules.get(module)
    for part in name.split("."):
        # Not getattr: a module or class may answer it with code.
        place = getattr(place, "__dict__", {}).get(part)
    return place


def _class(module: str, name: str) -> type:
    kind = _found(module, name)
    if not isinstance(kind, type):
        raise Malformed(f"there is no class {module}.{name} in this process")
    # __del__ would run when the object is freed, with whatever attributes it was given.
    if any("__del__" in vars(one) for one in kind.__mro__):
        raise Malformed(f"{module}.{name} has a __del__ method")
    return kind


def _member(content: Any) -> Any:
    module, name, member = content
    kind = _class(module, name)
    if not issubclass(kind, enum.Enum):
        raise Malformed(f"{module}.{name} is not an enumeration")
    return kind.__members__[member]


def _named_tuple(content: Any) -> Any:
    module, name, items = content
    kind = _class(module, name)
    if not issubclass(kind, tuple) or not hasattr(kind, "_fields") or len(kind._fields) != len(items):
        raise Malformed(f"{module}.{name} is not a named tuple of {len(items)} fields")
    return tuple.__new__(kind, _list(items))


def _record(content: Any) -> Any:
    module, name, state = content
    kind = _class(module, name)
    if not dataclasses.is_dataclass(kind):
        raise Malformed(f"{module}.{name} is not a dataclass")
    return _filled(object.__new__(kind), _read(state))


def _error(content: Any) -> BaseException:
    module, name, args, state = content
    kind = _class(module, name)
    if not issubclass(kind, BaseException):
        raise Malformed(f"{module}.{name} is not an exception")
    # A class's Python methods are code: only those of its built-in ancestor are used.
    base: Any = next(one for one in kind.__mro__ if one.__module__ == "builtins")
    made = base.__new__(kind, *(given := _list(args)))
    base.__init__(made, *given)
    filled = _filled(made, _read(state))
    assert isinstance(filled, BaseException)
    return filled


def _filled(made: Any, state: Any) -> Any:
    for name, value in state.items():
        if not isinstance(name, str) or (name.startswith("__") and name != "__notes__"):
            raise Malformed(f"an attribute with the name {name!r}")
        object.__setattr__(made, name, value)
    return made


_READERS: Mapping[str, Callable[[Any], Any]] = {
    **{tag: read for _, tag, _, read in _PLAIN},
    "enum": _member,
    "named": _named_tuple,
    "record": _record,
    "error": _error,
}
