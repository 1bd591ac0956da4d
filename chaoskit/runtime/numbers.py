"""What counts as a number where one is asked for: no text, not True, not NaN, and no more than a float holds.

A check such as ``not value > 0`` ends in a bare TypeError for a text, and ``value < 1`` lets NaN pass, which
then is no limit at all. Numbers of NumPy and fractions are numbers.
"""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard

__all__ = ["is_number", "is_whole"]


def is_number(value: object) -> TypeGuard[float]:
    """True for a real number that a float can hold; infinity is one."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """True for a whole number of any size."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
