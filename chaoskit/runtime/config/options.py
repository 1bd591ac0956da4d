"""Restrictions on an option of a configuration record, beyond its type."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from chaoskit.core.errors import wrong

_KEY = "chaoskit.option"
_UNITS = ("", "s", "ratio", "bytes")


@dataclasses.dataclass(frozen=True, slots=True)
class OptionInfo:
    """The metadata of one option; by default all values of its type are allowed."""

    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] = ()
    unit: str = ""
    secret: bool = False

    def allowed(self) -> str:
        """The bounds in words, without the type; empty if there are none."""
        parts = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.minimum),
                ("more than", self.above),
                ("at most", self.maximum),
            )
            if bound is not None
        ]
        if self.choices:
            parts.append("one of " + ", ".join(map(repr, self.choices)))
        return " and ".join(parts)

    def refuses(self, value: object) -> bool:
        """Return True if the bounds exclude ``value``. NaN is outside all bounds."""
        if self.choices and value not in self.choices:
            return True
        # True is an int, but no option uses it as a number.
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            math.isnan(value)
            or (self.minimum is not None and value < self.minimum)
            or (self.above is not None and value <= self.above)
            or (self.maximum is not None and value > self.maximum)
        )


NO_INFO = OptionInfo()


def option(
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    help: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[Any, ...] = (),
    unit: str = "",
    secret: bool = False,
) -> Any:
    """A field of a configuration record, with bounds: ``attempts: int = option(default=3, minimum=1)``.

    ``minimum`` and ``maximum`` are inclusive, ``above`` is exclusive. With unit ``s``, text like ``90``,
    ``1.5h`` or ``1d`` is read as seconds, with ``ratio``, ``10%`` as 0.1, with ``bytes``, ``2GiB`` as a
    number. A ``secret`` is never shown. Raises ``UsageError`` for an unknown unit.
    """
    if unit not in _UNITS:
        raise wrong("unit", unit, f"one of {', '.join(map(repr, _UNITS))}")
    info = OptionInfo(help, minimum, maximum, above, tuple(choices), unit, secret)
    # The repr of a record, say in a traceback, must not reveal a secret.
    given: dict[str, Any] = {"metadata": {_KEY: info}, "repr": not secret}
    if default is not dataclasses.MISSING:
        given["default"] = default
    if default_factory is not dataclasses.MISSING:
        given["default_factory"] = default_factory
    return dataclasses.field(**given)


def info_of(metadata: Mapping[Any, Any]) -> OptionInfo:
    """The option metadata of a field, if it has any; a bare ``unit`` counts if there is nothing else."""
    if "unit" in metadata:
        return OptionInfo(unit=metadata["unit"])
    info: OptionInfo = metadata.get(_KEY, NO_INFO)
    return info
