"""How many cases a sweep runs: a sample by default, all on request.

``BUDGET=all`` runs every case. ``BUDGET=few`` leaves scenarios out in which a mistake is planted, which show
that a sweep can fail, and half of the sweeps over the five systems; long sweeps are a quarter as long. Any
sample sees every call once before it sees one twice, and the report says how many cases were left out. ``make
test`` asks for few on every Python but the oldest: what does the same many times does it less often, of long
lists the half is tried that the oldest has left, and what only reads the sources has been read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

import pytest

T = TypeVar("T")

_ASKED = os.environ.get("BUDGET")
FEW, ALL = _ASKED == "few", _ASKED == "all"


def bounded(cases: int) -> int | None:
    """The budget of one scenario: ``cases``, or half of 80 or more; None for all cases.

    With ``BUDGET=few`` it is a quarter of 40 or more.
    """
    if ALL:
        return None
    if FEW:
        return cases // 4 if cases >= 40 else cases
    return cases // 2 if cases >= 80 else cases


def tried(most: int) -> int:
    """How many of ``most`` examples, programs or rounds: all of them, two fifths by default, or a seventh."""
    return {"all": most, "few": max(2, most // 7)}.get(_ASKED or "", max(2, most * 2 // 5))


def some(items: Iterable[T]) -> list[T]:
    """One half, with ``BUDGET=few`` the other, and all of them with ``BUDGET=all``.

    Pairs stay together, since a bug and its corrected twin mostly follow each other.
    """
    return [one for number, one in enumerate(items) if ALL or number // 2 % 2 == FEW]


planted = pytest.mark.skipif(
    FEW, reason="programs with planted mistakes are left to `make scenarios`, without BUDGET=few"
)
"""Marks a test that explores programs with planted mistakes."""

at_length = pytest.mark.skipif(
    FEW, reason="with BUDGET=few each family of faults strikes some of the five systems, not all"
)
"""Marks a sweep over one of the systems, of which each case is seconds of work."""

once = pytest.mark.skipif(FEW, reason="no interpreter shows in it, and the oldest Python has run it")
"""Marks a test that only reads the sources, or watches programs that are the same everywhere."""
