"""Calls that take longer: a slow disk, a stalled network share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from chaoskit.core.errors import wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import FAMILIES


@dataclass(frozen=True, slots=True, repr=False)
class Delay:
    """Every system call may take ``seconds`` longer."""

    seconds: float
    names: ClassVar[frozenset[str]] = frozenset({"delay"})

    def __repr__(self) -> str:
        return f"faults.delay({self.seconds!r})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        row = FAMILIES[operation.call]
        # A slow look-up adds nothing: the call that follows it may be as slow.
        if not (row.pseudo or row.looks or row.inside):
            # Schedules write seconds without an exponent, as people do.
            yield Fault("delay", format(Decimal(str(self.seconds)), "f"))


def checked(seconds: float) -> float:
    """Return ``seconds`` if that is a finite number above zero.

    Raises:
        UsageError: for anything else.
    """
    # bool is an int: delay(True) would pass for one second.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise wrong("delay", seconds, "a number of seconds")
    if not (math.isfinite(seconds) and seconds > 0):
        raise wrong("delay", seconds, "a finite number of seconds above zero")
    return seconds
