"""A strike that waits for its call, and counts equal operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chaoskit.core.schedule import Strike, fits, plain_name
from chaoskit.faults.shapes import Shape
from chaoskit.inject.base import Plan


class Armed:
    """One strike of a plan, and how many equal operations have gone by.

    ``shape`` is that of its fault. ``patterns`` are the scenario's. Those without a wildcard are literal
    names, which do not count under a wildcard that fits them, too.
    """

    def __init__(self, strike: Strike, shape: Shape, patterns: Iterable[str] = ()) -> None:
        point = strike.point
        self.shape = shape
        self.strike = strike
        self.text = str(strike)
        self.family = point.call
        self.place = point.place
        self.ordinal = point.ordinal
        self.seen = 0
        self.name = plain_name(point.target) if point.second is None else None
        """The only name that the target can have; None for a wildcard or a pair of names."""
        # Compiled once: it is used for each call of the family.
        literal = frozenset(name for one in patterns if (name := plain_name(one)) is not None)
        self._target = _except(point.target, literal)
        self._second = None if point.second is None else _except(point.second, literal)

    def due(self, target: str, second: str | None) -> bool:
        """Count a call of the right family and place; return True if it is the one to strike."""
        if not self._target(target):
            return False
        # A rename never counts for a point with only one name.
        if self._second is None:
            if second is not None:
                return False
        elif second is None or not self._second(second):
            return False
        self.seen += 1
        return self.seen == self.ordinal


def waiting(plan: Plan) -> list[Armed]:
    """The strikes of a plan, none of which has met a call yet."""
    return [Armed(one, shape, plan.patterns) for one, shape in zip(plan.strikes, plan.shapes, strict=True)]


def _except(pattern: str, literal: frozenset[str]) -> Callable[[str], object]:
    """A predicate for names that fit ``pattern``; a wildcard does not fit ``literal`` names."""
    fitting = fits(pattern)
    if not literal or plain_name(pattern) is not None:
        return fitting
    return lambda name: name not in literal and fitting(name)
