"""The classes registered with a codec, by the names that snapshots use.

A name in a snapshot never leads to an import: classes that are not registered are refused.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import synchronous

__all__ = ["Registered", "Registry"]


@dataclass(frozen=True)
class Registered:
    """How objects of one class are turned into a plain value and back."""

    name: str
    cls: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class Registry:
    """Registered classes by type and by name."""

    def __init__(self) -> None:
        self.by_type: dict[type, Registered] = {}
        self.by_name: dict[str, Registered] = {}

    def add(
        self,
        cls: type,
        name: str | None,
        encode: Callable[[Any], Any] | None,
        decode: Callable[[Any], Any] | None,
    ) -> None:
        """Add a class.

        Raises:
            UsageError: the class needs functions and none are given, or another class has the name.
        """
        if not isinstance(cls, type):
            raise wrong("cls", cls, "a class")
        name = name or cls.__name__
        there = self.by_name.get(name)
        if there is not None and there.cls is not cls:
            raise wrong("name", name, f"a name that {there.cls!r} does not have", "Give another: name='…'.")
        if (encode is None) != (decode is None):
            raise wrong("encode and decode", (encode, decode), "both or neither")
        if encode is None or decode is None:
            encode, decode = _functions(cls)
        synchronous("encode", encode)
        synchronous("decode", decode)
        found = Registered(name, cls, encode, decode)
        self.by_type[cls] = self.by_name[name] = found


def _functions(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if issubclass(cls, enum.Enum):
        # By the member's name, since values may be of any type, and change more often than names.
        return (lambda member: member.name), (lambda name: cls[name])
    if dataclasses.is_dataclass(cls):
        return _fields, lambda fields: _made(cls, fields)
    raise wrong(
        "cls", cls, "a dataclass or an enum", "For another class give encode= and decode=, two functions."
    )


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _made(cls: Any, fields: dict[str, Any]) -> Any:
    """Call the class, so that a field added since the snapshot gets its default."""
    later = {field.name for field in dataclasses.fields(cls) if not field.init}
    made = cls(**{name: value for name, value in fields.items() if name not in later})
    for name in later & fields.keys():
        object.__setattr__(made, name, fields[name])
    return made
