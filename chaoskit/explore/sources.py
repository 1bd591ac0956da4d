"""The cases that follow from offering faults at operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat
from chaoskit.core.schedule import Schedule, Strike
from chaoskit.explore.job import CaseSource, Planned, Recording
from chaoskit.faults import FaultSet

ELSEWHERE = frozenset({"power_loss"})
"""Faults that have a source of their own, since no backend strikes with them."""


def sources_of(faults: FaultSet, models: Sequence[str]) -> tuple[CaseSource, ...]:
    """All sources that a set of faults needs, each to be used for one exploration.

    ``models`` are the names of the persistence models for power loss.
    """
    sources: list[CaseSource] = [Offers(faults)]
    if not faults.names.isdisjoint(("power_loss", "fsync_lies")):
        from chaoskit.explore.crash import PowerLoss

        sources.append(PowerLoss(faults, tuple(models)))
    return tuple(sources)


@dataclass(frozen=True, slots=True)
class Offers:
    """One case for each operation and each fault that can happen there."""

    faults: FaultSet

    def before_run(self, run: int, path: str) -> None:
        """Nothing needs to be noted."""

    def after_run(self, run: int, path: str) -> None:
        """Nothing needs to be noted."""

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """All cases, in the order of the trace."""
        yield from self.second(Planned(Schedule()), recording, -1)

    def follow(self, before: Planned, recording: Recording) -> tuple[Planned, ...]:
        """None here: what a fault brings to light is no reason for another."""
        return ()

    def second(self, before: Planned, recording: Recording, after: int) -> Iterator[Planned]:
        """All cases behind ``after``."""
        for operation, point in zip(recording.trace, recording.points, strict=True):
            if operation.index <= after:
                continue
            for fault in self.faults.offers(operation, recording.trace):
                if fault.name not in ELSEWHERE:
                    yield Planned(Schedule((*before.schedule, Strike(point, fault))), before.world)

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> None:
        """None: whatever is offered is listed."""

    def refuse(self, wanted: Strike) -> None:
        """Nothing: what is not offered may be struck all the same, on purpose."""

    def remarks(self) -> tuple[Advice, ...]:
        """None: what a fault brings to light is seen only when it strikes."""
        return ()

    def caveats(self) -> tuple[Caveat, ...]:
        """None: the backend says by itself what it could not follow."""
        return ()
