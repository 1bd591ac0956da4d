"""The source of cases for faults at operations, and the sources that a set of faults needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaoskit.core.schedule import Schedule, Strike
from chaoskit.explore.border import CaseSource, Planned, Recording
from chaoskit.faults import FaultSet
from chaoskit.faults.shapes import is_afterwards

# By name, so that the package is imported only if one of them is asked for.
_OF_THE_CRASH_PACKAGE = frozenset({"power_loss", "fsync_lies"})


def sources_of(
    faults: FaultSet, models: Sequence[str], replay: Schedule | None = None
) -> tuple[CaseSource, ...]:
    """All sources that a set of faults needs, for one exploration.

    ``models`` are the names of the persistence models for power loss. The faults in ``replay`` add their
    sources, too, so that the right source says what is wrong with a schedule.
    """
    names = faults.names | {strike.fault.name for strike in replay or ()}
    sources: list[CaseSource] = [Offers(faults)]
    if not names.isdisjoint(_OF_THE_CRASH_PACKAGE):
        # Loaded on demand: most scenarios lose no power, and the package is a third of the explorer.
        from chaoskit.explore.crash import CrashSource

        sources.append(CrashSource(faults, tuple(models)))
    return tuple(sources)


@dataclass(frozen=True, slots=True)
class Offers(CaseSource):
    """One case for each operation and each fault that can happen there."""

    faults: FaultSet

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """All cases, in the order of the trace."""
        yield from self.second(Planned(Schedule()), recording, -1)

    def second(self, before: Planned, recording: Recording, behind: int) -> Iterator[Planned]:
        """All cases after ``behind``."""
        for operation, point in zip(recording.trace, recording.points, strict=True):
            if operation.index <= behind:
                continue
            for fault in self.faults.offers(operation, recording.trace):
                # A fault that no backend injects has a source that builds it from the recording.
                if not is_afterwards(fault):
                    yield Planned(Schedule((*before.schedule, Strike(point, fault))), before.world)
