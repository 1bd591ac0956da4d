"""Converts a value to a type, or says what is allowed instead.

Text from the environment is parsed by the type. Values in files must have the type already, with two
exceptions: a whole number is accepted as a float, and text with a unit as a number that has one.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import importlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from chaoskit.runtime.config.options import NO_INFO, OptionInfo

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SUFFIXES: Mapping[str, Mapping[str, float]] = {"s": _SECONDS, "bytes": _BYTES, "ratio": {"%": 0.01}}
# ASCII only: int() and float() would accept the digits of any script.
_QUANTITY = re.compile(r"\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)\s*\Z", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_SEQUENCES: dict[Any, type] = {
    tuple: tuple,
    list: list,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Set: frozenset,
    collections.abc.Collection: tuple,
    collections.abc.Iterable: tuple,
}
MAPPINGS = (dict, Mapping, collections.abc.MutableMapping)


class Unfit(Exception):
    """An option cannot have this value; says what the value is, and what is allowed."""

    def __init__(self, what: str, allowed: str) -> None:
        super().__init__(what, allowed)
        self.what = what
        self.allowed = allowed


def convert(value: Any, kind: Any, info: OptionInfo = NO_INFO, *, text: bool = False) -> Any:
    """Convert ``value`` to the type ``kind``. Records are read by ``load``.

    Raises :class:`Unfit` if the type or the bounds exclude the value.
    """
    # The type comes first, because only numbers can be compared with bounds.
    converted = _convert(value, kind, info, text)
    if info.refuses(converted):
        raise Unfit(_shown(value, info), expected(kind, info))
    return converted


def expected(kind: Any, info: OptionInfo = NO_INFO) -> str:
    """The values that an option allows, in words: type, unit, bounds."""
    unit = {"s": " of seconds", "ratio": " (a ratio)", "bytes": " of bytes"}.get(info.unit, "")
    bounds = info.allowed()
    return f"expected {type_name(kind)}{unit}{', ' if bounds else ''}{bounds}"


def type_name(kind: Any) -> str:
    """A type in the words of a configuration file instead of Python's: text, a list, a table."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return "anything"
    if kind is None or kind is type(None):
        return "nothing"
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments)
    if origin is type:
        return f"the name of a {getattr(arguments[0], '__name__', 'class')} class"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return "a list of " + ", ".join(type_name(a) for a in arguments)
    if origin in _SEQUENCES:
        return f"a list of {type_name(arguments[0])}" if arguments else "a list"
    if origin in MAPPINGS or kind in MAPPINGS:
        return "a table"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(repr(m.value) for m in kind)
    if dataclasses.is_dataclass(kind):
        return f"a table of options ({getattr(kind, '__name__', kind)})"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _shown(value: Any, info: OptionInfo) -> str:
    return "is a value that is not shown" if info.secret else f"is {short(value)}"


def short(value: Any) -> str:
    """``value`` as text of at most 80 characters."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _convert(value: Any, kind: Any, info: OptionInfo, text: bool) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if isinstance(kind, typing.NewType):
        return _convert(value, kind.__supertype__, info, text)
    if origin is typing.Annotated:
        return _convert(value, arguments[0], info, text)
    if origin in (typing.Union, types.UnionType):
        return _any_of(value, arguments, kind, info, text)
    if origin is typing.Literal:
        return _choice(value, {str(a): a for a in arguments}, arguments, kind, info, text)
    if origin in _SEQUENCES or (isinstance(kind, type) and kind in _SEQUENCES):
        return _sequence(value, kind, origin or kind, arguments, info, text)
    if origin is type:
        return _class(value, arguments[0], kind, info)
    return _scalar(value, kind, origin, info, text)


def _any_of(value: Any, kinds: tuple[Any, ...], kind: Any, info: OptionInfo, text: bool) -> Any:
    if type(None) in kinds:
        if value is None or (text and value.strip().lower() in ("", "none", "null")):
            return None
        # TOML has no null, so a file needs a word for it.
        if value == "none" and str not in kinds:
            return None
    # Exact types first: for int | float, 3 is an int, and True is neither. Text may be anything.
    for exact in (False,) if text else (True, False):
        for member in kinds:
            if exact and type(value) is not member:
                continue
            try:
                return _convert(value, member, info, text)
            except Unfit:
                continue
    raise Unfit(_shown(value, info), expected(kind, info))


def _choice(
    value: Any, by_text: dict[str, Any], values: tuple[Any, ...], kind: Any, info: OptionInfo, text: bool
) -> Any:
    if text and isinstance(value, str) and value in by_text:
        return by_text[value]
    for one in values:
        if type(one) is type(value) and one == value:
            return one
    raise Unfit(_shown(value, info), expected(kind, info))


def _sequence(
    value: Any, kind: Any, origin: Any, arguments: tuple[Any, ...], info: OptionInfo, text: bool
) -> Any:
    if text:
        value, text = _split(value, kind, info)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, collections.abc.Iterable):
        raise Unfit(_shown(value, info), expected(kind, info))
    items = list(value)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(items) != len(arguments):
            raise Unfit(f"has {len(items)} entries", expected(kind, info))
        return tuple(_convert(i, a, info, text) for i, a in zip(items, arguments, strict=True))
    inner = arguments[0] if arguments else Any
    return _SEQUENCES[origin](convert(i, inner, info, text=text) for i in items)


def _split(value: str, kind: Any, info: OptionInfo) -> tuple[list[Any], bool]:
    """The items of a variable (separated by commas, or JSON in brackets), and True if they are still text."""
    if value.lstrip().startswith("["):
        try:
            return json.loads(value), False
        except (ValueError, RecursionError):
            raise Unfit(_shown(value, info), expected(kind, info)) from None
    return [part.strip() for part in value.split(",") if part.strip()], True


def _class(value: Any, base: Any, kind: Any, info: OptionInfo) -> Any:
    found = _import(value) if isinstance(value, str) else value
    if isinstance(found, type) and (base is Any or issubclass(found, typing.get_origin(base) or base)):
        return found
    raise Unfit(_shown(value, info), f"{expected(kind, info)}: 'OSError', or 'package.module.Name'")


_PLACES = ("builtins", "chaoskit.runtime.failures.taxonomy", "chaoskit.core.errors", "chaoskit.runtime")
"""The modules in which a class without a module name is looked up, in this order."""


def _import(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    # Importing runs code. But a configuration may only name what its program could import anyway, so no
    # further check is made.
    for place in (module,) if module else _PLACES:
        try:
            found = getattr(importlib.import_module(place), attribute, None)
        except Exception:
            continue  # not there, no module's name, or a module that fails when it is imported
        if found is not None:
            return found
    return None


def _scalar(value: Any, kind: Any, origin: Any, info: OptionInfo, text: bool) -> Any:
    unfit = Unfit(_shown(value, info), expected(kind, info))
    if kind is bool:
        return _bool(value, text, unfit)
    if kind is int or kind is float:
        return _number(value, kind, info, text, unfit)
    if kind is str:
        if isinstance(value, str):
            return value
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        by_text = {str(m.value): m.value for m in kind} | {m.name: m.value for m in kind}
        values = tuple(m.value for m in kind)
        return value if isinstance(value, kind) else kind(_choice(value, by_text, values, kind, info, True))
    elif isinstance(kind, type) and issubclass(kind, PurePath):
        if isinstance(value, str | PurePath) and "\0" not in str(value) and str(value):
            return kind(value)
    elif kind is type(None):
        if value is None:
            return None
    elif kind in (collections.abc.Callable, typing.Callable) or origin is collections.abc.Callable:
        if callable(value):
            return value
    elif not text and _is_instance(value, kind):
        return value
    raise unfit


def _is_instance(value: Any, kind: Any) -> bool:
    """Check types that only code can provide. If isinstance cannot answer, accept any object."""
    if isinstance(value, str | int | float | bool | list | dict | None):
        return isinstance(kind, type) and type(value) is kind
    try:
        return isinstance(value, kind)
    except TypeError:
        return True  # a protocol that is not runtime_checkable


def _bool(value: Any, text: bool, unfit: Unfit) -> bool:
    if isinstance(value, bool):
        return value
    if text:
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise unfit


def _number(value: Any, kind: type, info: OptionInfo, text: bool, unfit: Unfit) -> Any:
    if isinstance(value, bool):
        raise unfit
    if isinstance(value, str):
        value = _quantity(value, kind, info, text, unfit)
    if isinstance(value, int):
        return _whole_as_float(value, unfit) if kind is float else value
    if isinstance(value, float) and kind is float and math.isfinite(value):
        return value
    raise unfit


def _whole_as_float(value: int, unfit: Unfit) -> float:
    try:
        return float(value)
    except OverflowError:
        raise unfit from None


def _quantity(value: str, kind: type, info: OptionInfo, text: bool, unfit: Unfit) -> int | float:
    found = _QUANTITY.match(value)
    # A quoted number in a file is a mistake, unless it has a unit, as in "1.5h".
    if not found or (not text and not info.unit) or len(value) > 100:
        raise unfit
    digits, suffix = found[1], found[2].lower()
    factor: float = 1
    if suffix:
        # The unit of the option decides what a suffix means: m is a minute in seconds, and invalid in bytes.
        table = _SUFFIXES.get(info.unit, {})
        if suffix not in table:
            raise unfit
        factor = table[suffix]
    number: int | float = int(digits) if re.fullmatch(r"[+-]?\d+", digits) else float(digits)
    # 10 % is 10 / 100 and not 10 × 0.01, which gives another float for some numbers.
    product = number / 100 if suffix == "%" else number * factor
    if kind is int and isinstance(product, float) and product.is_integer():
        return int(product)
    return product
