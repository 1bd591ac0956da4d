"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.operation import Caveat, Operation, Trace
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.crash.advice import Advice, explain, warnings
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.naming import name_of
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashStates, State, crash_states
from chaoskit.explore.crash.steps import script
from chaoskit.explore.job import Planned, Recording
from chaoskit.explore.result import Advice as Told
from chaoskit.explore.result import Site
from chaoskit.faults import FaultSet

FAULT = "power_loss"


def told(advice: Advice, operation: Operation) -> Told:
    """Advice as a plain record for the result."""
    frame = operation.site
    site = None if frame is None else Site(frame.file, frame.line, frame.function)
    return Told(advice.kind, advice.text, advice.fix, str(operation), site)


@dataclass(frozen=True)
class CrashWorld:
    """One crash state, as the world of a case. ``originals`` are the run's operations as recorded."""

    run: int
    strike: Strike
    operation: Operation
    states: CrashStates = field(repr=False)
    state: State = field(repr=False)
    materialiser: Materialiser = field(repr=False)
    originals: tuple[Operation, ...] = field(repr=False)

    @property
    def promised(self) -> tuple[Any, ...]:
        """What the run had acknowledged before."""
        return self.states.promised(self.state)

    @property
    def missing(self) -> frozenset[int]:
        """The steps that did not persist as a whole."""
        return frozenset(self.state.dropped)

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow the state."""
        return self.state.models

    @cached_property
    def advice(self) -> Advice:
        """Why the state can come about, and how to prevent it; ``operation`` counts in this run."""
        return explain(self.states.script, self.state)

    @property
    def told(self) -> Told:
        """The advice, as the result has it."""
        return told(self.advice, self.blamed)

    @property
    def blamed(self) -> Operation:
        """The guilty call: an operation of the recording, at or before the power cut."""
        return self.originals[self.advice.operation]

    def build(self, path: str) -> str:
        """Replace the content of ``path``; return how much is missing of what was done."""
        self.materialiser.write(self.state, path)
        return f"power lost{self._missing()}"

    def _missing(self) -> str:
        missing = len(self.state.dropped)
        if not missing:
            return ", everything before it was on the disk"
        pending = self.state.moment.pending.bit_count()
        return f" with {missing} of {pending} unsynced steps missing or torn"


class PowerLoss:
    """Enumerates the crash states of all runs of a test. Used for one exploration."""

    def __init__(self, faults: FaultSet, models: tuple[str, ...]) -> None:
        self._faults = faults
        self._models = models
        self._before: dict[int, Snapshot] = {}
        self._remarks: list[Told] = []
        self._caveats: list[Caveat] = []

    def before_run(self, run: int, path: str) -> None:
        """Note what the directory holds."""
        self._before[run] = Snapshot.take(path)

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """One case for each distinct crash state, in the order of the trace."""
        for run in sorted({operation.place.run for operation in recording.trace}):
            if run in self._before:
                yield from self._cases_of(run, recording)

    def remarks(self) -> tuple[Told, ...]:
        """Renames, promises and syncs that look wrong in the recording."""
        return tuple(dict.fromkeys(self._remarks))

    def caveats(self) -> tuple[Caveat, ...]:
        """Data that was not recorded, directories that are not known."""
        return tuple(dict.fromkeys(self._caveats))

    def _cases_of(self, run: int, recording: Recording) -> Iterator[Planned]:
        indexes = [o.index for o in recording.trace if o.place.run == run]
        originals = tuple(recording.trace[i] for i in indexes)
        offered = [self._offered(operation, recording.trace) for operation in originals]
        models = tuple(dict.fromkeys(name for names in offered for name in names))
        if not models:
            return
        alone = tuple(replace(operation, index=i) for i, operation in enumerate(originals))
        trace = Trace(alone, recording.trace.caveats, recording.trace.root)
        split = script(trace, self._before[run])
        self._remarks += [told(advice, originals[advice.operation]) for advice in warnings(split)]
        self._caveats += split.caveats
        states = crash_states(split, models)
        materialiser = Materialiser(states)
        points = [recording.points[index] for index in indexes]
        for state in states:
            if not set(state.models).isdisjoint(offered[state.moment.operation]):
                yield self._planned(run, points, originals, states, state, materialiser)

    def _offered(self, operation: Operation, trace: Trace) -> tuple[str, ...]:
        """The models under which the power may go after ``operation``."""
        found: list[str] = []
        for fault in self._faults.offers(operation, trace):
            if fault.name == FAULT:
                found += fault.argument.split(",") if fault.argument else self._models
        return tuple(dict.fromkeys(found))

    def _planned(
        self,
        run: int,
        points: list[Point],
        originals: tuple[Operation, ...],
        states: CrashStates,
        state: State,
        materialiser: Materialiser,
    ) -> Planned:
        operation = state.moment.operation
        strike = Strike(points[operation], Fault(FAULT, name_of(states.script, state)))
        world = CrashWorld(run, strike, originals[operation], states, state, materialiser, originals)
        return Planned(Schedule((strike,)), world)
