"""Power loss as a source of cases: one for each distinct crash state of each run of a recording."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.operation import Caveat, Operation, Receipt, Trace
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.crash.advice import Advice, explain, warnings
from chaoskit.explore.crash.between import Unknown, history
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.moved import Moved
from chaoskit.explore.crash.naming import name_of
from chaoskit.explore.crash.order import lost_steps
from chaoskit.explore.crash.snapshot import Snapshot
from chaoskit.explore.crash.states import CrashStates, State, crash_states
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
    return Told(advice.kind, advice.text, advice.fix, str(operation), site)


@dataclass(frozen=True)
class CrashWorld:
    """One crash state, as the world of a case.

    ``originals`` are the operations as recorded, up to and with this run, ``roots`` the directories in
    which they were. ``earlier`` is how many promises the runs before this one had made.
    """

    run: int
    strike: Strike
    operation: Operation
    states: CrashStates = field(repr=False)
    state: State = field(repr=False)
    materialiser: Materialiser = field(repr=False)
    originals: tuple[Operation, ...] = field(repr=False)
    roots: tuple[str, ...] = ()
    earlier: int = 0
    before: tuple[Receipt, ...] = ()
    """The strikes that the recording already holds, in order."""

    def promised(self, path: str) -> tuple[Any, ...]:
        """What the run had acknowledged before, as if it had worked in ``path``."""
        moved = Moved(self.roots, path)
        return tuple(map(moved.value, self.states.promised(self.state)[self.earlier :]))

    @property
    def missing(self) -> frozenset[Hashable]:
        """The steps that did not persist as a whole."""
        return frozenset((id(self.states), index) for index in self.state.dropped)

    @property
    def content(self) -> Hashable:
        """The run, the tree, and what had been promised by then."""
        return self.run, self.state.hash, repr(self.states.promised(self.state))

    @property
    def models(self) -> tuple[str, ...]:
        """The persistence models that allow the state."""
        return self.state.models

    @cached_property
    def advice(self) -> Advice:
        """Why the state can come about, and how to prevent it."""
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
        self._after: dict[int, Snapshot] = {}
        self._home = ""
        self._remarks: list[Told] = []
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
        offered = [self._offered(operation, recording.trace) for operation in recording.trace]
        places = {index for index, models in enumerate(offered) if models}
        if not places:
            return
        recorded = self._history(recording, offered, places)
        split = recorded.states.script
        self._remarks += [told(a, split.trace[a.operation]) for a in warnings(split)]
        self._caveats += split.caveats
        for state in recorded.states:
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
        hit = recording.trace[recording.points.index(strike.point)]
        later = range(hit.index + 1, len(recording.trace))
        recorded = self._history(recording, [self._models] * len(recording.trace), later)
        lost = lost_steps(recorded.states.script)
        receipt = Receipt(str(strike), hit, "answered EIO, its data counts as clean")
        for state in recorded.states:
            if not lost.isdisjoint(state.dropped):
                yield recorded.planned(state, strike, receipt)

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
        recorded = self._history(recording, offered, places)
        hit = next(
            (o for o, p in zip(recording.trace, recording.points, strict=True) if p == strike.point), None
        )
        receipt = None if hit is None else Receipt(str(strike), hit, "struck in the recording")
        for state in recorded.states:
            at = state.moment.operation
            if receipt is None and recording.trace[at].place.run == strike.point.place.run:
                continue
            if not set(state.models).isdisjoint(offered[at]):
                yield recorded.planned(state, strike, receipt)

    def remarks(self) -> tuple[Told, ...]:
        """Renames, promises and syncs that look wrong in the recording."""
        return tuple(dict.fromkeys(self._remarks))

    def caveats(self) -> tuple[Caveat, ...]:
        """Data that was not recorded, directories that are not known."""
        return tuple(dict.fromkeys(self._caveats))

    def _history(
        self, recording: Recording, offered: Sequence[tuple[str, ...]], places: Container[int]
    ) -> _History:
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
        return _History(recording.points, begins, states, Materialiser(states, roots), roots)

    def _known(self, states: CrashStates, unknown: Sequence[Unknown]) -> CrashStates:
        """Without those states in which a file is whose content is not known."""
        tables = states.tables
        for file in unknown:
            names = tables.names_of(file.inode)
            kept = tuple(
                state
                for state in states
                if state.moment.operation not in file.after
                or not any(tables.child(*name, state.persisted) == file.inode for name in names)
            )
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


@dataclass(frozen=True)
class _History:
    """The operations of all runs with their points; ``begins`` is where each run does."""

    points: tuple[Point, ...]
    begins: Mapping[int, int]
    states: CrashStates
    materialiser: Materialiser
    roots: tuple[str, ...]

    def planned(self, state: State, struck: Strike | None = None, receipt: Receipt | None = None) -> Planned:
        """The case in which ``state`` is left, perhaps after another strike.

        A case executes the runs before the one that loses power, so there ``struck`` strikes anew; its
        ``receipt`` belongs to the world only if both are in the same run.
        """
        split, at = self.states.script, state.moment.operation
        operation = split.trace[at]
        run = operation.place.run
        strike = Strike(self.points[at], Fault(FAULT, name_of(split, state)))
        begin = self.begins[run]
        together = receipt is not None and receipt.operation.place.run == run
        world = CrashWorld(
            run,
            strike,
            operation,
            self.states,
            state,
            self.materialiser,
            split.trace.operations,
            self.roots,
            split.moves[begin - 1].promises if begin else 0,
            (receipt,) if receipt is not None and together else (),
        )
        return Planned(Schedule((strike,) if struck is None else (struck, strike)), world)
