"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.crash.advice import Advice, explain, warnings
from chaoskit.explore.crash.cut import Cut
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.models import models_named
from chaoskit.explore.crash.moved import Moved
from chaoskit.explore.crash.naming import name_of, state_named
from chaoskit.explore.crash.order import lost_steps
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashStates, State, crash_states
from chaoskit.explore.crash.steps import mask_of, script
from chaoskit.explore.job import Planned, Recording
from chaoskit.explore.result import Advice as Told
from chaoskit.explore.result import Site
from chaoskit.faults import FaultSet
from chaoskit.faults.power import LIES

FAULT = "power_loss"
SYNCS = ("fsync", "fdatasync")


def told(advice: Advice, operation: Operation) -> Told:
    """Advice as a plain record for the result."""
    frame = operation.site
    site = None if frame is None else Site(frame.file, frame.line, frame.function)
    # Only Python leaves a stack; a fix in Python is no help to a shell.
    fix = advice.fix if operation.stack or not advice.anywhere else advice.anywhere
    return Told(advice.kind, advice.text, fix, str(operation), site, advice.models)


@dataclass(frozen=True)
class CrashWorld:
    """One crash state, as the world of a case."""

    strike: Strike
    recorded: RecordedRun = field(repr=False)
    state: State = field(repr=False)
    before: tuple[Receipt, ...] = ()
    """The strikes that the recording already holds, in order."""

    @property
    def run(self) -> int:
        """Which run it is, from 1."""
        return self.recorded.run

    @property
    def operation(self) -> Operation:
        """The operation of the recording after which the power went."""
        return self.recorded.originals[self.state.moment.operation]

    def promised(self, path: str) -> tuple[Any, ...]:
        """What the run had acknowledged before, as if it had worked in ``path``."""
        moved = Moved(self.recorded.roots, path)
        return tuple(map(moved.value, self.recorded.states.promised(self.state)))

    @property
    def missing(self) -> frozenset[Hashable]:
        """The steps that did not persist as a whole."""
        return frozenset(self.parts)

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """The same in the order in which they were made."""
        return tuple((id(self.recorded), index) for index in self.state.dropped)

    @property
    def content(self) -> Hashable:
        """Equal for worlds in which the test finds the same."""
        return (id(self.recorded), self.state.hash, self.state.moment.promises)

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow the state."""
        return self.state.models

    @property
    def ways(self) -> int:
        """How many enumerated sets of steps leave this content."""
        return self.state.ways

    def lacking(self, parts: Iterable[Hashable]) -> CrashWorld | None:
        """The same power cut with only these parts missing, and what cannot be there without them."""
        numbers = dict(zip(self.parts, self.state.dropped, strict=True))
        state = self.recorded.lacking(self.state, mask_of(numbers[part] for part in parts))
        return None if state is None else self.recorded.world(state, self.before)

    @cached_property
    def advice(self) -> Advice:
        """Why the state can come about, and how to prevent it; ``operation`` counts in this run."""
        return explain(self.recorded.states.script, self.state)

    @cached_property
    def reason(self) -> Advice:
        """The same, with a look at what is missing only because something else is."""
        implied = self.recorded.cut(self.state.moment.operation).implied(self.state)
        return explain(self.recorded.states.script, self.state, implied)

    @property
    def told(self) -> Told:
        """The reason, as the result has it."""
        return told(self.reason, self.guilty)

    @property
    def blamed(self) -> Operation:
        """The guilty call at a first look: an operation of the recording, at or before the power cut."""
        return self.recorded.originals[self.advice.operation]

    @property
    def guilty(self) -> Operation:
        """The guilty call at a second look."""
        return self.recorded.originals[self.reason.operation]

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of ``path``; return how much is missing of what was done."""
        self.recorded.materialiser.write(self.state, path)
        return (*self.before, Receipt(str(self.strike), self.operation, f"power lost{self._missing()}"))

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
        self._home = ""
        self._runs: dict[int, RecordedRun] = {}
        self._remarks: list[Told] = []
        self._caveats: list[Caveat] = []

    def before_run(self, run: int, path: str) -> None:
        """Note what the directory holds."""
        self._before[run] = Snapshot.take(path)
        self._home = path

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """One case for each distinct crash state, in the order of the trace."""
        for run in sorted({operation.place.run for operation in recording.trace}):
            if run in self._before:
                yield from self._cases_of(run, recording)

    def follow(self, before: Planned, recording: Recording) -> Iterator[Planned]:
        """After a failed fsync: the power losses that show what later ones did not write."""
        (strike,) = before.schedule if len(before.schedule) == 1 else (None,)
        if LIES not in self._faults.names or strike is None or before.world is not None:
            return
        if (
            strike.point.call not in SYNCS
            or strike.fault != Fault("EIO")
            or strike.point not in recording.points
        ):
            return
        hit = recording.trace[recording.points.index(strike.point)]
        run = self._recorded(hit.place.run, recording, [self._models] * len(recording.trace), fresh=False)
        lost = lost_steps(run.states.script)
        for state in run.states:
            later = run.originals[state.moment.operation].index > hit.index
            if later and not lost.isdisjoint(state.dropped):
                yield run.planned(state, (strike,), self._struck(before, recording))

    def _struck(self, before: Planned, recording: Recording) -> tuple[Receipt, ...]:
        """The receipt of the failed fsync that a recording holds."""
        (strike,) = before.schedule
        hit = recording.trace[recording.points.index(strike.point)]
        return (Receipt(str(strike), hit, "answered EIO, its data counts as clean"),)

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The crash state that the last strike names, listed or not; None if no model allows it."""
        *earlier, strike = wanted.strikes
        at = _found(strike.point, wanted, recording)
        if strike.fault.name != FAULT or at is None:
            return None
        hit = recording.trace[at]
        if before is None:
            offered = [self._offered(operation, recording.trace) for operation in recording.trace]
            receipts: tuple[Receipt, ...] = ()
        else:
            offered = [self._models] * len(recording.trace)
            receipts = self._struck(before, recording)
        if not offered[at] or (before is None and hit.place.run not in self._before):
            return None
        known = self._runs.get(hit.place.run) if before is None else None
        recorded = known or self._recorded(hit.place.run, recording, offered, fresh=before is None)
        index = next(i for i, one in enumerate(recorded.originals) if one.index == at)
        state = state_named(recorded.states.script, index, strike.fault.argument)
        models = tuple(model for model in state.models if model in offered[at])
        if not models:
            return None
        world = CrashWorld(strike, recorded, replace(state, models=models), receipts)
        return Planned(Schedule((*earlier, strike)), world)

    def refuse(self, wanted: Strike) -> None:
        """Say what is wrong with a power loss that is none of the cases.

        Raises:
            ScheduleError: for a name that means nothing, steps that are not there, and a state that no
                model that was asked for allows.
        """
        run = self._runs.get(wanted.point.place.run)
        if wanted.fault.name != FAULT or run is None or wanted.point not in run.points:
            return
        at = run.points.index(wanted.point)
        state = state_named(run.states.script, at, wanted.fault.argument)
        if set(state.models).isdisjoint(self._models):
            allowed = ", ".join(state.models) or "none that can be told without enumerating all states"
            raise ScheduleError(
                f"{wanted}: no model that was asked for ({', '.join(self._models)}) allows this state; "
                f"models that do: {allowed}."
            )

    def remarks(self) -> tuple[Told, ...]:
        """Renames, promises and syncs that look wrong in the recording."""
        return tuple(dict.fromkeys(self._remarks))

    def caveats(self) -> tuple[Caveat, ...]:
        """Data that was not recorded, directories that are not known."""
        return tuple(dict.fromkeys(self._caveats))

    def _cases_of(self, run: int, recording: Recording) -> Iterator[Planned]:
        offered = [self._offered(operation, recording.trace) for operation in recording.trace]
        if not any(offered[o.index] for o in recording.trace if o.place.run == run):
            return
        recorded = self._runs[run] = self._recorded(run, recording, offered)
        split = recorded.states.script
        self._remarks += [told(a, recorded.originals[a.operation]) for a in warnings(split)]
        self._caveats += split.caveats
        for state in recorded.states:
            at = recorded.originals[state.moment.operation].index
            if not set(state.models).isdisjoint(offered[at]):
                yield recorded.planned(state)

    def _recorded(
        self, run: int, recording: Recording, offered: Sequence[tuple[str, ...]], *, fresh: bool = True
    ) -> RecordedRun:
        """One run of a recording with its crash states; ``fresh``: it is the one that was snapshot."""
        originals = tuple(o for o in recording.trace if o.place.run == run)
        models = tuple(dict.fromkeys(name for o in originals for name in offered[o.index]))
        alone = tuple(replace(operation, index=i) for i, operation in enumerate(originals))
        trace = Trace(alone, recording.trace.caveats, recording.trace.root)
        before = self._before[run] if fresh else self._before[run].elsewhere()
        states = crash_states(script(trace, before), models)
        points = tuple(recording.points[operation.index] for operation in originals)
        roots = tuple(dict.fromkeys((recording.trace.root, self._home)))
        return RecordedRun(run, originals, points, states, models, Materialiser(states, roots), roots)

    def _offered(self, operation: Operation, trace: Trace) -> tuple[str, ...]:
        """The models under which the power may go after ``operation``."""
        found: list[str] = []
        for fault in self._faults.offers(operation, trace):
            if fault.name == FAULT:
                found += fault.argument.split(",") if fault.argument else self._models
        return tuple(dict.fromkeys(found))


def _found(point: Point, wanted: Schedule, recording: Recording) -> int | None:
    """Where in the recording a point is, under its own names or under the wildcards of ``wanted``."""
    for points in (
        recording.points,
        Naming(patterns_with(recording.patterns, wanted)).points(recording.trace.operations),
    ):
        if point in points:
            return points.index(point)
    return None


@dataclass(frozen=True)
class RecordedRun:
    """One ``chaos.run`` of a recording: its operations as recorded, their points, its crash states.

    ``models`` are the names of those that were enumerated, ``roots`` the directories in which it ran.
    """

    run: int
    originals: tuple[Operation, ...]
    points: tuple[Point, ...]
    states: CrashStates
    models: tuple[str, ...]
    materialiser: Materialiser
    roots: tuple[str, ...]
    _cuts: dict[int, Cut] = field(default_factory=dict, repr=False, compare=False)

    def strike(self, state: State) -> Strike:
        """What a schedule says for ``state``."""
        return Strike(self.points[state.moment.operation], Fault(FAULT, name_of(self.states.script, state)))

    def planned(
        self, state: State, strikes: tuple[Strike, ...] = (), receipts: tuple[Receipt, ...] = ()
    ) -> Planned:
        """The case in which ``state`` is left, after ``strikes``."""
        world = self.world(state, receipts)
        return Planned(Schedule((*strikes, world.strike)), world)

    def world(self, state: State, receipts: tuple[Receipt, ...] = ()) -> CrashWorld:
        """``state`` as a world, named by its own strike."""
        return CrashWorld(self.strike(state), self, state, receipts)

    def lacking(self, state: State, wanted: int) -> State | None:
        """See :meth:`Cut.lacking`."""
        return self.cut(state.moment.operation).lacking(state, wanted, self.states.tables)

    def cut(self, operation: int) -> Cut:
        """The power cut after an operation of this run; each is worked out once."""
        if operation not in self._cuts:
            self._cuts[operation] = Cut(self.states.script, models_named(self.models), operation)
        return self._cuts[operation]
