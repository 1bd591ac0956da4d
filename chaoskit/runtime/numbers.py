"""Checks for numbers: not text, not True, not NaN, and not beyond a float's range.

A check like ``not value > 0`` raises a bare TypeError for text, and ``value < 1`` accepts NaN, which then is
not a limit at all. Fractions and NumPy's numbers are accepted.
"""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard

__all__ = ["is_number", "is_whole"]


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
