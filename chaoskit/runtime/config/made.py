"""Checks a record that code has made, as ``load`` checks one that comes from files.

Type checkers see most of this, but a value that was itself read from somewhere passes them as ``Any``. What
is wrong with it would be told by the strategy that the settings make, hours later, or by nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.config.convert import Unfit, convert, expected
from chaoskit.runtime.config.hints import hints_of, mapping_values, members_of
from chaoskit.runtime.config.options import OptionInfo, info_of
from chaoskit.runtime.numbers import is_number, is_whole

__all__ = ["check"]


def check(record: Any) -> None:
    """Give each option of ``record`` the value that ``load`` would give it: a tuple for a list, for instance.

    Records of options call this first in ``__post_init__``. Infinity and the numbers of other libraries are
    accepted as well, which no file can hold.

    Raises:
        UsageError: the type or the bounds of an option exclude its value.
    """
    kind: Any = type(record)
    hints = hints_of(kind)
    for spec in dataclasses.fields(record):
        value = getattr(record, spec.name)
        found = _checked(spec.name, value, hints[spec.name], info_of(spec.metadata))
        if found is not value:
            object.__setattr__(record, spec.name, found)  # in the frozen record that is being made


def _checked(what: str, value: Any, kind: Any, info: OptionInfo) -> Any:
    values = mapping_values(kind)
    if values is not None:
        return _table(what, value, values, info)
    if isinstance(value, float) and math.isinf(value):
        if float in members_of(kind) and not info.refuses(value):
            return value
    elif is_whole(value):
        value = int(value)
    elif type(value) is not float and is_number(value):
        value = float(value)
    try:
        return convert(value, kind, info)
    except Unfit as unfit:
        records = [getattr(one, "__name__", "") for one in members_of(kind) if dataclasses.is_dataclass(one)]
        hint = f" Make one: {records[0]}(...)." if records else ""
        raise UsageError(f"{what} {unfit.what}; {unfit.allowed}.{hint}") from None


def _table(what: str, value: Any, kind: Any, info: OptionInfo) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong(what, value, f"a dict whose values are each {_one(kind)}")
    for name in value:
        if not isinstance(name, str):
            raise wrong(f"a name in {what}", name, "a text")
    return {name: _checked(f"{what}[{name!r}]", one, kind, info) for name, one in value.items()}


def _one(kind: Any) -> str:
    return expected(kind).removeprefix("expected ")
