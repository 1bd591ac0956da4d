"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.errors import ScheduleError
from chaoskit.core.finding import Advice
from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.align import Naming, patterns_with
from chaoskit.explore.crash.aftermath import Aftermath
from chaoskit.explore.crash.between import Unknown, history
from chaoskit.explore.crash.explanations import explain
from chaoskit.explore.crash.fixes import Explanation
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.models import models_named
from chaoskit.explore.crash.moved import Moved
from chaoskit.explore.crash.naming import name_of, state_named
from chaoskit.explore.crash.playing import lost_steps
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashState, CrashStates, crash_states
from chaoskit.explore.crash.steps import mask_of
from chaoskit.explore.crash.suspicions import warnings
from chaoskit.explore.job import Planned, Recording
from chaoskit.faults import FaultSet
from chaoskit.faults.power import LIES

# The name in schedules; the family of faults offers it, and here it becomes cases.
FAULT = "power_loss"
SYNCS = ("fsync", "fdatasync")


def told(why: Explanation, operation: Operation) -> Advice:
    """An explanation as the result has it."""
    # Only Python leaves a stack; a fix in Python is no help to a shell.
    fix = why.fix if operation.stack or not why.anywhere else why.anywhere
    return Advice(why.kind, why.text, fix, str(operation), operation.site, why.models)


@dataclass(frozen=True)
class CrashWorld:
    """One crash state, as the world of a case."""

    strike: Strike
    recorded: History = field(repr=False)
    state: CrashState = field(repr=False)
    before: tuple[Receipt, ...] = ()
    """The strikes that the recording already holds, in order."""

    @property
    def run(self) -> int:
        """Which run it is, from 1."""
        return self.operation.place.run

    @property
    def operation(self) -> Operation:
        """The operation of the recording after which the power went."""
        return self.recorded.states.script.trace[self.state.moment.operation]

    def promised(self, path: str) -> tuple[Any, ...]:
        """What the run had acknowledged before, as if it had worked in ``path``."""
        moved = Moved(self.recorded.roots, path)
        promised = self.recorded.states.promised(self.state)[self.recorded.promised_before(self.run) :]
        return tuple(map(moved.value, promised))

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
        """The run, the tree, and what had been promised by then."""
        return self.run, self.state.hash, repr(self.recorded.states.promised(self.state))

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow the state."""
        return self.state.models

    @property
    def ways(self) -> int:
        """How many enumerated sets of steps leave this content."""
        return self.state.ways

    def lacking(self, parts: Iterable[Hashable]) -> CrashWorld | None:
        """The same power loss with only these parts missing, and what cannot be there without them."""
        numbers = dict(zip(self.parts, self.state.dropped, strict=True))
        state = self.recorded.lacking(self.state, mask_of(numbers[part] for part in parts))
        return None if state is None else self.recorded.world(state, self.before)

    @cached_property
    def advice(self) -> Explanation:
        """Why the state can come about, and how to prevent it."""
        return explain(self.recorded.states.script, self.state)

    @cached_property
    def reason(self) -> Explanation:
        """The same, with a look at what is missing only because something else is."""
        implied = self.recorded.aftermath(self.state.moment.operation).implied(self.state)
        return explain(self.recorded.states.script, self.state, implied)

    @property
    def told(self) -> Advice:
        """The reason, as the result has it."""
        return told(self.reason, self.guilty)

    @property
    def blamed(self) -> Operation:
        """The guilty call at a first look: an operation of the recording, at or before the power loss."""
        return self.recorded.states.script.trace[self.advice.operation]

    @property
    def guilty(self) -> Operation:
        """The guilty call at a second look."""
        return self.recorded.states.script.trace[self.reason.operation]

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of ``path``; return how much is missing of what was done."""
        self.recorded.materialiser.write(self.state, path)
        return (*self.before, Receipt(str(self.strike), str(self.operation), f"power lost{self._missing()}"))

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
        self._after: dict[int, Snapshot] = {}
        self._home = ""
        self._undisturbed: History | None = None
        self._remarks: list[Advice] = []
        self._caveats: list[Caveat] = []

    def before_run(self, run: int, path: str) -> None:
        """Note what the directory holds."""
        self._before[run] = Snapshot.take(path)
        self._home = path

    def after_run(self, run: int, path: str) -> None:
        """Note what the run has left."""
        self._after[run] = Snapshot.take(path)

    def cases(self, recording: Recording) -> Iterator[Planned]:
        """One case for each distinct crash state, in the order of the trace."""
        # The set of faults may narrow the places, and name other models at each.
        offered = [self._offered(operation, recording.trace) for operation in recording.trace]
        places = {index for index, models in enumerate(offered) if models}
        if not places:
            return
        recorded = self._undisturbed = self._history(recording, offered, places)
        split = recorded.states.script
        self._remarks += [told(a, split.trace[a.operation]) for a in warnings(split)]
        self._caveats += split.caveats
        for state in recorded.states:
            # Equal states after several operations are one; the place that is kept may not be offered.
            if not set(state.models).isdisjoint(offered[state.moment.operation]):
                yield recorded.planned(state)

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
        hit = _hit(strike, recording)
        assert hit is not None
        recorded = self._behind(recording, hit.index)
        lost = lost_steps(recorded.states.script)
        for state in recorded.states:
            if not lost.isdisjoint(state.dropped):
                yield recorded.planned(state, strike, hit)

    def _behind(self, recording: Recording, index: int) -> History:
        """The recording of a case, with the states that a power loss behind an operation leaves."""
        later = range(index + 1, len(recording.trace))
        return self._history(recording, [self._models] * len(recording.trace), later)

    def second(self, before: Planned, recording: Recording, after: int) -> Iterator[Planned]:
        """The power losses behind another fault, after which the program trusts what it finds in memory.

        None after another power loss: what that has left is durable, and its recovery a program of its
        own, to be tested by a scenario of its own.
        """
        offered = [
            self._offered(operation, recording.trace) if operation.index > after else ()
            for operation in recording.trace
        ]
        places = {index for index, models in enumerate(offered) if models}
        if before.world is not None or len(before.schedule) != 1 or not places:
            return
        (strike,) = before.schedule
        recorded, hit = self._history(recording, offered, places), _hit(strike, recording)
        for state in recorded.states:
            at = state.moment.operation
            if hit is None and recording.trace[at].place.run == strike.point.place.run:
                continue
            if not set(state.models).isdisjoint(offered[at]):
                yield recorded.planned(state, strike, hit)

    def named(self, wanted: Schedule, recording: Recording, before: Planned | None = None) -> Planned | None:
        """The crash state that the last strike names, listed or not; None if no model allows it."""
        *earlier, strike = wanted.strikes
        at = _found(strike.point, wanted, recording)
        if strike.fault.name != FAULT or at is None or len(earlier) > 1:
            return None
        struck, hit = (earlier[0], _hit(earlier[0], recording)) if earlier else (None, None)
        if before is None:
            recorded, offered = self._undisturbed, self._offered(recording.trace[at], recording.trace)
        else:
            recorded, offered = self._behind(recording, at - 1), self._models
        if recorded is None:
            return None
        state = state_named(recorded.states.script, at, strike.fault.argument)
        models = tuple(model for model in state.models if model in offered)
        if not models or recorded.is_unknown(state):
            return None
        return recorded.planned(replace(state, models=models), struck, hit, strike)

    def refuse(self, wanted: Strike) -> None:
        """Say what is wrong with a power loss that is none of the cases.

        Raises:
            ScheduleError: for a name that means nothing, steps that are not there, and a state that no
                model that was asked for allows.
        """
        known = self._undisturbed
        if wanted.fault.name != FAULT or known is None or wanted.point not in known.points:
            return
        state = state_named(known.states.script, known.points.index(wanted.point), wanted.fault.argument)
        if set(state.models).isdisjoint(self._models):
            allowed = ", ".join(state.models) or "none that can be told without enumerating all states"
            raise ScheduleError(
                f"{wanted}: no model that was asked for ({', '.join(self._models)}) allows this state; "
                f"models that do: {allowed}."
            )

    def remarks(self) -> tuple[Advice, ...]:
        """Renames, promises and syncs that look wrong in the recording."""
        return tuple(dict.fromkeys(self._remarks))

    def caveats(self) -> tuple[Caveat, ...]:
        """Data that was not recorded, directories that are not known."""
        return tuple(dict.fromkeys(self._caveats))

    def _history(
        self, recording: Recording, offered: Sequence[tuple[str, ...]], places: Container[int]
    ) -> History:
        """All runs of a recording as one history, with the crash states that these operations can leave.

        What the test did before the first run is durable, and what it did between two runs; what runs
        have left unsynced can be lost in every later one.
        """
        models = tuple(dict.fromkeys(name for models in offered for name in models))
        before = recording.before or self._before
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for operation in recording.trace:
            begins.setdefault(operation.place.run, operation.index)
            ends[operation.place.run] = operation.index
        first, *later = begins
        between = {begins[run]: before[run] for run in later}
        # Other recordings were made elsewhere; what cannot be followed is the same in them.
        after = {ends[run]: self._after[run] for run in begins if run in self._after and not recording.before}
        split, unknown = history(recording.trace, before[first], between, after)
        states = self._known(crash_states(split, models, at=places), unknown)
        roots = tuple(dict.fromkeys((recording.trace.root, self._home)))
        materialiser = Materialiser(states, roots)
        return History(recording.points, begins, states, models, materialiser, roots, tuple(unknown))

    def _known(self, states: CrashStates, unknown: Sequence[Unknown]) -> CrashStates:
        """Without those states in which a file is whose content is not known."""
        for file in unknown:
            kept = tuple(state for state in states if not _holds(states, state, file))
            text = (
                f"{file.name} was changed in a way that no call shows: "
                f"{len(states) - len(kept)} crash states with it were left out"
            )
            self._caveats.append(Caveat("content-unknown", file.name, text))
            states = replace(states, states=kept)
        return states

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


def _hit(strike: Strike, recording: Recording) -> Operation | None:
    """The operation of a recording at which a fault struck; None if it is not in it."""
    if strike.point not in recording.points:
        return None
    return recording.trace[recording.points.index(strike.point)]


def _proof(strike: Strike, hit: Operation) -> Receipt:
    """The receipt of a fault that a recording holds: the case does not execute its run again."""
    effect = "answered EIO, its data counts as clean" if _lies(strike) else "struck in the recording"
    return Receipt(str(strike), str(hit), effect)


def _lies(strike: Strike) -> bool:
    """Whether a strike is a sync that fails once, after which what it did not write counts as clean."""
    return strike.point.call in SYNCS and strike.fault == Fault("EIO")


def _holds(states: CrashStates, state: CrashState, file: Unknown) -> bool:
    """Whether a state has a file under some name at a time when its content is not known."""
    names = states.tables.names_of(file.inode)
    return state.moment.operation in file.after and any(
        states.tables.child(*name, state.persisted) == file.inode for name in names
    )


@dataclass(frozen=True)
class History:
    """The operations of all runs of a recording as one history: their points and their crash states.

    ``begins`` is where each run does, ``models`` are the names of those that were enumerated, ``roots``
    the directories in which it ran, ``unknown`` the files whose content is not known all the time.
    """

    points: tuple[Point, ...]
    begins: Mapping[int, int]
    states: CrashStates
    models: tuple[str, ...]
    materialiser: Materialiser
    roots: tuple[str, ...]
    unknown: tuple[Unknown, ...] = ()
    _aftermaths: dict[int, Aftermath] = field(default_factory=dict, repr=False, compare=False)

    def promised_before(self, run: int) -> int:
        """How many promises the runs before this one had made."""
        begin = self.begins[run]
        return self.states.script.effects[begin - 1].promises if begin else 0

    def is_unknown(self, state: CrashState) -> bool:
        """Whether a state holds a file whose content is not known then."""
        return any(_holds(self.states, state, file) for file in self.unknown)

    def planned(
        self,
        state: CrashState,
        struck: Strike | None = None,
        hit: Operation | None = None,
        strike: Strike | None = None,
    ) -> Planned:
        """The case in which ``state`` is left, perhaps after another strike; ``strike`` is its own name.

        A case executes the runs before the one that loses power, so there ``struck`` strikes again; that it
        struck the operation ``hit`` is proven by the recording only if both are in the same run.
        """
        run = self.states.script.trace[state.moment.operation].place.run
        proofs = (_proof(struck, hit),) if struck is not None and hit is not None else ()
        world = self.world(state, proofs if hit is not None and hit.place.run == run else ())
        world = world if strike is None else replace(world, strike=strike)
        return Planned(Schedule((world.strike,) if struck is None else (struck, world.strike)), world)

    def world(self, state: CrashState, receipts: tuple[Receipt, ...] = ()) -> CrashWorld:
        """``state`` as a world, named by its own strike."""
        at = state.moment.operation
        strike = Strike(self.points[at], Fault(FAULT, name_of(self.states.script, state)))
        return CrashWorld(strike, self, state, receipts)

    def lacking(self, state: CrashState, wanted: int) -> CrashState | None:
        """See :meth:`Aftermath.lacking`; None, too, where a file's content would not be known."""
        found = self.aftermath(state.moment.operation).lacking(state, wanted, self.states.tables)
        return None if found is None or self.is_unknown(found) else found

    def aftermath(self, operation: int) -> Aftermath:
        """What a power loss after an operation can leave; each is worked out once."""
        if operation not in self._aftermaths:
            self._aftermaths[operation] = Aftermath(self.states.script, models_named(self.models), operation)
        return self._aftermaths[operation]
