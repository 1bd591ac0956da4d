"""Convert records to plain dictionaries and back, so that they cross processes and become JSON.

A record here is a frozen dataclass whose fields are text, numbers, None, tuples, mappings, further records,
and schedules, which are written as the one line of text that they parse back from.
"""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar, Union

from chaoskit.core.schedule import Point, Schedule

ADDED = MappingProxyType({"added": True})
"""Metadata of a field that older reports lack: the schema does not require it."""

_T = TypeVar("_T")
_readers: dict[type, dict[str, Callable[[Any], Any]]] = {}
_fields: dict[type, tuple[str, ...] | None] = {}


def to_plain(value: Any, brief: frozenset[type] = frozenset()) -> Any:
    """``value`` as dictionaries, lists, text and numbers, ready for ``json.dumps``.

    Records of the classes in ``brief`` omit fields that have their default value; :func:`from_plain` restores
    them.
    """
    if isinstance(value, Schedule):
        return str(value)
    if (names := _names(type(value))) is not None:
        if type(value) in brief:
            names = tuple(f.name for f in fields(value) if getattr(value, f.name) != default_of(f))
        return {name: to_plain(getattr(value, name), brief) for name in names}
    if isinstance(value, tuple | list):
        return [to_plain(item, brief) for item in value]
    if isinstance(value, Mapping):
        # Keys are text in every record, so JSON keeps them as they are.
        return {key: to_plain(item, brief) for key, item in value.items()}
    return value


def default_of(one: Field[Any]) -> Any:
    """The default of a field; ``MISSING`` if it has none."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def from_plain(cls: type[_T], plain: Mapping[str, Any]) -> _T:
    """Rebuild the record that :func:`to_plain` converted. Ignore unknown keys; missing ones take defaults.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: if ``plain`` is not such a record.
    """
    readers = _readers.get(cls)
    if readers is None:
        # Worked out once per class: a report has thousands of records of a dozen classes.
        hints = typing.get_type_hints(cls)
        readers = {f.name: _reader(hints[f.name]) for f in fields(cls)}  # type: ignore[arg-type]
        _readers[cls] = readers
    return cls(**{name: read(plain[name]) for name, read in readers.items() if name in plain})


def with_text(value: Any, change: Callable[[str], str], in_schedules: Callable[[str], str]) -> Any:
    """``value`` with ``change`` applied to every text in it, the keys of mappings included.

    A schedule is escaped when it is written, so the names in its points need a separate change. A value in
    which nothing changes is returned itself.
    """
    return _Retold(change, in_schedules).of(value)


class _Retold:
    """One change of all texts in a value; an object that occurs many times is visited once."""

    def __init__(self, change: Callable[[str], str], in_schedules: Callable[[str], str]) -> None:
        self._change = change
        self._schedules = self if change is in_schedules else None
        self._in_schedules = in_schedules
        # By identity, while the whole value lives: the same frames stand in thousands of points.
        self._known: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._change(value)
        names = _names(type(value))
        if names is None and not isinstance(value, tuple | Mapping):
            return value
        if id(value) not in self._known:
            self._known[id(value)] = self._rebuilt(value, names)
        return self._known[id(value)]

    def _rebuilt(self, value: Any, names: tuple[str, ...] | None) -> Any:
        if isinstance(value, tuple):
            items = tuple(map(self.of, value))
            return value if all(map(operator.is_, items, value)) else items
        if names is None:
            return {self._change(key): self.of(item) for key, item in value.items()}
        change: Callable[[Any], Any] = self.of
        # Before the records in general, since a point is one.
        if isinstance(value, Point):
            names, change = ("target", "second"), lambda name: name and self._in_schedules(name)
        elif isinstance(value, Schedule):
            self._schedules = self._schedules or _Retold(self._in_schedules, self._in_schedules)
            change = self._schedules.of
        changed = {name: change(getattr(value, name)) for name in names}
        same = all(part is getattr(value, name) for name, part in changed.items())
        return value if same else replace(value, **changed)


def _names(cls: type) -> tuple[str, ...] | None:
    """The fields of a record, worked out once for each class; None for a class that is not a record."""
    if cls not in _fields:
        _fields[cls] = tuple(f.name for f in fields(cls)) if is_dataclass(cls) else None
    return _fields[cls]


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
