"""The cases that follow from offering faults at operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.core.schedule import Schedule, Strike
from chaoskit.explore.job import Planned, Recording
from chaoskit.faults import FaultSet

ELSEWHERE = frozenset({"power_loss"})
"""Faults that have a source of their own, since no backend strikes with them."""


@dataclass(frozen=True, slots=True)
class Offers:
    """One case for each operation and each fault that can happen there.

    ``before`` are strikes that come first in every schedule; only operations behind the index
    ``after`` are then struck.
    """

    faults: FaultSet
    before: tuple[Strike, ...] = ()
    after: int = -1

    def before_run(self, run: int, path: str) -> None:
        """Nothing needs to be noted."""

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """All cases, in the order of the trace."""
        for operation, point in zip(recording.trace, recording.points, strict=True):
            if operation.index <= self.after:
                continue
            for fault in self.faults.offers(operation, recording.trace):
                if fault.name not in ELSEWHERE:
                    yield Planned(Schedule((*self.before, Strike(point, fault))))
