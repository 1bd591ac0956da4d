"""A strike that waits for its call, and counts its equals."""

from __future__ import annotations

from chaoskit.core.schedule import Strike, fits, plain_name
from chaoskit.faults.shapes import shape_of


class Armed:
    """One strike of a plan, and how many equal operations have gone by."""

    def __init__(self, strike: Strike) -> None:
        point = strike.point
        self.shape = shape_of(strike.fault)
        self.strike = strike
        self.text = str(strike)
        self.family = point.call
        self.place = point.place
        self.ordinal = point.ordinal
        self.seen = 0
        self.name = plain_name(point.target) if point.second is None else None
        """The only name that the target can have; None for a wildcard or a pair of names."""
        # Compiled once: it is asked for each call of the family.
        self._target = fits(point.target)
        self._second = None if point.second is None else fits(point.second)

    def due(self, target: str, second: str | None) -> bool:
        """Count a call of the right family and place; True if it is the one to strike."""
        if not self._target(target):
            return False
        # A rename never counts for a point with one name, whatever that name is.
        if self._second is None:
            if second is not None:
                return False
        elif second is None or not self._second(second):
            return False
        self.seen += 1
        return self.seen == self.ordinal
