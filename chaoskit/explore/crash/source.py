"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.crash.advice import Advice, explain, warnings
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.moved import Moved
from chaoskit.explore.crash.naming import name_of, state_named
from chaoskit.explore.crash.order import lost_steps
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashStates, State, crash_states
from chaoskit.explore.crash.steps import script
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
    """One crash state, as the world of a case.

    ``originals`` are the run's operations as recorded, ``roots`` the directories in which they were.
    """

    run: int
    strike: Strike
    operation: Operation
    states: CrashStates = field(repr=False)
    state: State = field(repr=False)
    materialiser: Materialiser = field(repr=False)
    originals: tuple[Operation, ...] = field(repr=False)
    roots: tuple[str, ...] = ()
    before: tuple[Receipt, ...] = ()
    """The strikes that the recording already holds, in order."""

    def promised(self, path: str) -> tuple[Any, ...]:
        """What the run had acknowledged before, as if it had worked in ``path``."""
        moved = Moved(self.roots, path)
        return tuple(map(moved.value, self.states.promised(self.state)))

    @property
    def missing(self) -> frozenset[Hashable]:
        """The steps that did not persist as a whole."""
        return frozenset((id(self.states), index) for index in self.state.dropped)

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

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of ``path``; return how much is missing of what was done."""
        self.materialiser.write(self.state, path)
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
        self._runs: dict[int, _Run] = {}
        self._home = ""
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
        self._runs[run.run] = run
        lost = lost_steps(run.states.script)
        receipt = Receipt(str(strike), hit, "answered EIO, its data counts as clean")
        for state in run.states:
            later = run.originals[state.moment.operation].index > hit.index
            if later and not lost.isdisjoint(state.dropped):
                yield run.planned(state, (strike,), (receipt,))

    def refuse(self, wanted: Strike) -> None:
        """Say what is wrong with a power loss that is none of the cases.

        Raises:
            ScheduleError: for a name that means nothing, steps that are not there, a state that no
                asked model allows, and one that leaves the same as another.
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
        promised = run.states.promised(state)
        alike = (other for other in run.states if other.hash == state.hash)
        same = next((other for other in alike if run.states.promised(other) == promised), None)
        if same is not None:
            raise ScheduleError(
                f"{wanted}: this leaves the same on the disk as another state, and each is checked once; "
                f"expected {str(run.strike(same))!r}."
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
        recorded = self._recorded(run, recording, offered)
        self._runs[run] = recorded
        split = recorded.states.script
        self._remarks += [told(a, recorded.originals[a.operation]) for a in warnings(split)]
        self._caveats += split.caveats
        for state in recorded.states:
            at = recorded.originals[state.moment.operation].index
            if not set(state.models).isdisjoint(offered[at]):
                yield recorded.planned(state)

    def _recorded(
        self, run: int, recording: Recording, offered: Sequence[tuple[str, ...]], *, fresh: bool = True
    ) -> _Run:
        """One run of a recording with its crash states; ``fresh``: it is the one that was snapshot."""
        originals = tuple(o for o in recording.trace if o.place.run == run)
        models = tuple(dict.fromkeys(name for o in originals for name in offered[o.index]))
        alone = tuple(replace(operation, index=i) for i, operation in enumerate(originals))
        trace = Trace(alone, recording.trace.caveats, recording.trace.root)
        before = self._before[run] if fresh else self._before[run].elsewhere()
        states = crash_states(script(trace, before), models)
        points = tuple(recording.points[operation.index] for operation in originals)
        roots = tuple(dict.fromkeys((recording.trace.root, self._home)))
        return _Run(run, originals, points, states, Materialiser(states, roots), roots)

    def _offered(self, operation: Operation, trace: Trace) -> tuple[str, ...]:
        """The models under which the power may go after ``operation``."""
        found: list[str] = []
        for fault in self._faults.offers(operation, trace):
            if fault.name == FAULT:
                found += fault.argument.split(",") if fault.argument else self._models
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Run:
    """One ``chaos.run`` of a recording, with its operations as recorded and their points."""

    run: int
    originals: tuple[Operation, ...]
    points: tuple[Point, ...]
    states: CrashStates
    materialiser: Materialiser
    roots: tuple[str, ...]

    def strike(self, state: State) -> Strike:
        """What a schedule says for ``state``."""
        return Strike(self.points[state.moment.operation], Fault(FAULT, name_of(self.states.script, state)))

    def planned(
        self, state: State, strikes: tuple[Strike, ...] = (), receipts: tuple[Receipt, ...] = ()
    ) -> Planned:
        """The case in which ``state`` is left, after ``strikes``."""
        at, strike = state.moment.operation, self.strike(state)
        world = CrashWorld(
            self.run,
            strike,
            self.originals[at],
            self.states,
            state,
            self.materialiser,
            self.originals,
            self.roots,
            receipts,
        )
        return Planned(Schedule((*strikes, strike)), world)
