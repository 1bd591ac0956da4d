"""Turning records into plain dictionaries and back, so that they cross processes and become JSON.

A record here is a frozen dataclass whose fields are text, numbers, None, tuples, mappings, further records,
and schedules, which are written as the one line of text that they parse back from.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar, Union

from chaoskit.core.schedule import Point, Schedule

ADDED = MappingProxyType({"added": True})
"""Metadata of a field that reports written before it existed do not have: the schema does not require it."""

_T = TypeVar("_T")
_readers: dict[type, dict[str, Callable[[Any], Any]]] = {}


def to_plain(value: Any) -> Any:
    """``value`` as dictionaries, lists, text and numbers, ready for ``json.dumps``."""
    if isinstance(value, Schedule):
        return str(value)
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        # Keys are text in every record, so JSON keeps them as they are.
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(cls: type[_T], plain: Mapping[str, Any]) -> _T:
    """Rebuild the record that :func:`to_plain` gave. Unknown keys are ignored, missing ones take defaults.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: for what is no such record.
    """
    readers = _readers.get(cls)
    if readers is None:
        # Worked out once per class: a report has thousands of records of a dozen classes.
        hints = typing.get_type_hints(cls)
        readers = {f.name: _reader(hints[f.name]) for f in fields(cls)}  # type: ignore[arg-type]
        _readers[cls] = readers
    return cls(**{name: read(plain[name]) for name, read in readers.items() if name in plain})


def with_text(value: Any, change: Callable[[str], str], in_schedules: Callable[[str], str]) -> Any:
    """``value`` with ``change`` made to every text in it, the keys of mappings included.

    A schedule escapes what it spells when it is written, so it needs a separate change: of the names in
    its points.
    """
    if isinstance(value, str):
        return change(value)
    # Before the records in general, since a point is one.
    if isinstance(value, Point):
        second = None if value.second is None else in_schedules(value.second)
        return Point(value.call, in_schedules(value.target), second, value.ordinal, value.place)
    if isinstance(value, Schedule):
        change = in_schedules
    if isinstance(value, tuple):
        return tuple(with_text(item, change, in_schedules) for item in value)
    if isinstance(value, Mapping):
        return {change(key): with_text(item, change, in_schedules) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: with_text(getattr(value, f.name), change, in_schedules) for f in fields(value)}
        return type(value)(**changed)
    return value


def _reader(hint: Any) -> Callable[[Any], Any]:
    # From the annotation, so that a record needs no second description of itself.
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Schedule:
        return Schedule.parse
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: from_plain(hint, value)
    if origin in (Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _reader(args[0])
        return lambda value: tuple(item(each) for each in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    return lambda value: value
