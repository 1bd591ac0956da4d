"""The types that a record's fields are declared with."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from typing import Any

from chaoskit.runtime.config.convert import MAPPINGS

__all__ = ["hints_of", "mapping_values", "members_of"]


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """The types of a record's fields; Any if only type checkers know a name."""
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):
        return {f.name: _hint(kind, f) for f in dataclasses.fields(kind)}


def _hint(kind: type, spec: dataclasses.Field[Any]) -> Any:
    if not isinstance(spec.type, str):
        return spec.type
    scope = {**vars(typing), **(vars(inspect.getmodule(kind)) if inspect.getmodule(kind) else {})}
    try:
        return eval(spec.type, scope)  # the annotation of a class in this program, not a value from outside
    except (NameError, TypeError, SyntaxError):
        return Any


def members_of(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def mapping_values(kind: Any) -> Any:
    """The type of the values, if ``kind`` is a table or may be one; else None."""
    for member in members_of(kind):
        if typing.get_origin(member) in MAPPINGS:
            return typing.get_args(member)[1]
        if member in MAPPINGS:
            return Any
    return Any if kind is Any else None
