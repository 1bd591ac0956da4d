"""Checks for numbers: not text, not True, not NaN, and not beyond a float's range.

A check like ``not value > 0`` raises a bare TypeError for text, and ``value < 1`` accepts NaN, which then is
not a limit at all. Fractions and NumPy's numbers are accepted.
"""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard, TypeVar

from chaoskit.core.errors import wrong

__all__ = ["is_number", "is_whole", "whole"]

T = TypeVar("T")


def is_number(value: object) -> TypeGuard[float]:
    """Return True for a real number that a float can hold, including infinity."""
    if type(value) is float:
        # The usual case, answered first: every deadline that starts asks this.
        return not math.isnan(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Return True for a whole number of any size."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def whole(what: str, value: T, least: int, *, none: str = "", hint: str = "") -> T:
    """``value`` if it is a whole number of ``least`` or more.

    ``none`` says what None stands for, which is refused without it. ``hint`` is the next step, as a sentence.

    Raises:
        UsageError: it is not.
    """
    if (none and value is None) or (is_whole(value) and value >= least):
        return value
    expected = f"a whole number of {least} or more" + (f", or None for {none}" if none else "")
    raise wrong(what, value, expected, hint)
