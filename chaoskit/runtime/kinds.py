"""Checks for arguments other than numbers: texts, switches, clocks, signals, our own classes, collections.

Constructors call them and keep the value that they return. A later check would be too late: a clock is first
read at the first wait, a signal at the shutdown, and the text ``"no"`` given as a switch would mean yes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import is_async

__all__ = [
    "able",
    "chance",
    "clock",
    "errors",
    "event",
    "instance",
    "listed",
    "mapping",
    "path",
    "switch",
    "text",
]

T = TypeVar("T")


def text(what: str, value: T, *, optional: bool = False) -> T:
    """``value`` if it is a text (or None, if that is ``optional``).

    Raises:
        UsageError: it is not. All other checks here raise it likewise.
    """
    if isinstance(value, str) or (optional and value is None):
        return value
    raise wrong(what, value, "a text, or None" if optional else "a text")


def switch(what: str, value: T) -> T:
    """``value`` if it is True or False. Any other object is true or false as well: the text "no" is true."""
    if isinstance(value, bool):
        return value
    raise wrong(what, value, "True or False")


def instance(what: str, value: T, *classes: type, optional: bool = False) -> T:
    """``value`` if it is an instance of one of ``classes``."""
    if isinstance(value, classes) or (optional and value is None):
        return value
    raise wrong(what, value, _named(classes, optional), _not_the_class(value))


def path(what: str, value: T, *, optional: bool = False) -> T:
    """``value`` if it can be a path. The ``os`` module takes numbers as well, for open descriptors."""
    return instance(what, value, str, os.PathLike, optional=optional)


def able(what: str, value: T, expected: str, *methods: str, optional: bool = False) -> T:
    """``value`` if it has ``methods`` that are not async, whatever its class."""
    if optional and value is None:
        return value
    # A class given instead of an instance has the methods too, but they fail at the first call.
    if not isinstance(value, type) and all(_is_method(getattr(value, name, None)) for name in methods):
        return value
    raise wrong(what, value, expected + (", or None" if optional else ""), _not_the_class(value))


def clock(value: T, *, optional: bool = False) -> T:
    """``value`` if it is a :class:`~chaoskit.runtime.Clock`."""
    able("clock", value, _CLOCK, "monotonic", "time", "sleep", optional=optional)
    if value is None or callable(getattr(value, "asleep", None)):
        return value
    raise wrong("clock", value, _CLOCK)


def event(what: str, value: T) -> T:
    """``value`` if it is a ``threading.Event``, works like one, or is None.

    The events of asyncio and trio are refused: threads cannot wait for them.
    """
    if isinstance(value, threading.Event):
        return value
    return able(what, value, "a threading.Event, such as shutdown.wake", "is_set", "wait", optional=True)


def chance(value: T) -> T:
    """``value`` if it is a source of random numbers."""
    return able("random", value, "a source of numbers such as random.Random(7)", "random")


def errors(what: str, value: T) -> T:
    """``value`` if an except clause takes it; else a TypeError would hide the first failure of a call."""
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise wrong(what, value, "a class of exceptions, or a tuple of them")
    return value


def mapping(what: str, value: T, expected: str) -> T:
    """``value`` if it is a mapping."""
    if isinstance(value, Mapping):
        return value
    raise wrong(what, value, expected)


def listed(what: str, values: Iterable[T], *classes: type) -> tuple[T, ...]:
    """``values`` as a tuple, each of them an instance of one of ``classes``."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise wrong(what, values, f"{_named(classes).partition(' ')[2]}s in a list")
    return tuple(instance(f"one of {what}", one, *classes) for one in values)


_CLOCK = "a clock, such as SystemClock() or VirtualClock()"


def _is_method(value: Any) -> bool:
    return callable(value) and not is_async(value)


def _named(classes: tuple[type, ...], optional: bool = False) -> str:
    name = " or ".join(one.__name__ for one in classes)
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}{', or None' if optional else ''}"


def _not_the_class(value: object) -> str:
    return f"This is the class; make one: {value.__name__}(...)." if isinstance(value, type) else ""
