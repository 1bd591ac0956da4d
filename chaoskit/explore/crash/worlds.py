"""A crash state as the world of a case, and the recording that it comes from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chaoskit.core.finding import Advice
from chaoskit.core.operation import Operation, Receipt
from chaoskit.core.schedule import Fault, Point, Schedule, Strike
from chaoskit.explore.border import Planned, World
from chaoskit.explore.crash.aftermath import Aftermath
from chaoskit.explore.crash.between import Unknown
from chaoskit.explore.crash.explanations import Explainer
from chaoskit.explore.crash.fixes import Explanation
from chaoskit.explore.crash.materialise import Materialiser
from chaoskit.explore.crash.models import models_named
from chaoskit.explore.crash.naming import name_of
from chaoskit.explore.crash.states import CrashState, CrashStates
from chaoskit.explore.crash.steps import Witnessed, mask_of

FAULT = "power_loss"
SYNCS = ("fsync", "fdatasync")


def told(why: Explanation, operation: Operation) -> Advice:
    """An explanation, as a record of the result."""
    # Only Python has a stack; a fix in Python does not help a shell script.
    fix = why.fix if operation.stack or not why.anywhere else why.anywhere
    return Advice(why.kind, why.text, fix, str(operation), operation.site, why.models)


@dataclass(frozen=True)
class CrashWorld(World):
    """One crash state, as the world of a case. ``spelled`` is the strike that names it in schedules."""

    spelled: Strike
    recorded: CrashHistory = field(repr=False)
    state: CrashState = field(repr=False)
    before: tuple[Receipt, ...] = ()
    """Receipts of the strikes that the recording already contains, in order."""

    @property
    def strike(self) -> Strike:
        """The strike that the schedule names."""
        return self.spelled

    @property
    def run(self) -> int:
        """Which run it is, from 1."""
        return self.operation.place.run

    @property
    def operation(self) -> Operation:
        """The operation of the recording after which the power failed."""
        return self.recorded.states.script.trace[self.state.moment.operation]

    @property
    def past(self) -> Sequence[Operation]:
        """The operations of this run up to the power loss."""
        operations = self.recorded.states.script.trace.operations[: self.operation.index + 1]
        return [operation for operation in operations if operation.place.run == self.run]

    @property
    def home(self) -> str:
        """The directory in which the run was recorded."""
        return self.recorded.home

    @property
    def tells_of_home(self) -> bool:
        """True if the recording contains :attr:`home` anywhere, whether or not this state keeps it."""
        return self.recorded.tells_of_home

    @property
    def promised(self) -> tuple[Any, ...]:
        """What the run had promised by then."""
        # Of this run alone: the case executes the earlier runs and has their promises.
        promised = self.recorded.states.promised(self.state)[self.recorded.promised_before(self.run) :]
        return tuple(one for one in promised if not isinstance(one, Witnessed))

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """The steps that did not persist as a whole, in the order of the trace."""
        return tuple((id(self.recorded), index) for index in self.state.dropped)

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers, in the script, of the missing steps."""
        return self.state.dropped

    @property
    def content(self) -> Hashable:
        """The run, the tree, and what had been promised by then."""
        # With the promises: the same tree is right before a promise and wrong after it.
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
        """The same power loss with only these parts missing, and those that need them."""
        # Parts of another recording are not keys here: shrinking must not mix two histories.
        numbers = dict(zip(self.parts, self.state.dropped, strict=True))
        state = self.recorded.lacking(self.state, mask_of(numbers[part] for part in parts))
        return None if state is None else self.recorded.world(state, self.before)

    @cached_property
    def advice(self) -> Explanation:
        """Why the state is possible, and how to prevent it."""
        return self.recorded.explainer.explain(self.state)

    @cached_property
    def reason(self) -> Explanation:
        """As :attr:`advice`, but without blame for steps that are missing only because others are."""
        implied = self.recorded.aftermath(self.state.moment.operation).implied(self.state)
        return self.recorded.explainer.explain(self.state, implied)

    @property
    def told(self) -> Advice:
        """The reason, as a record of the result."""
        return told(self.reason, self.guilty)

    @property
    def blamed(self) -> Operation:
        """The guilty call by a first look: an operation of the recording, at or before the power loss."""
        return self.recorded.states.script.trace[self.advice.operation]

    @property
    def guilty(self) -> Operation:
        """The guilty call by a second look."""
        return self.recorded.states.script.trace[self.reason.operation]

    def build(self, path: str) -> tuple[Receipt, ...]:
        """Replace the content of ``path``; return receipts that say how much is missing."""
        self.recorded.materialiser.write(self.state, path)
        return (*self.before, Receipt(str(self.strike), str(self.operation), f"power lost{self._missing()}"))

    def _missing(self) -> str:
        missing = len(self.state.dropped)
        if not missing:
            return ", everything before it was on the disk"
        pending = self.state.moment.pending.bit_count()
        return f" with {missing} of {pending} unsynced steps missing or torn"


@dataclass(frozen=True)
class CrashHistory:
    """The operations of all runs of a recording as one history: their points and their crash states.

    ``begins`` maps each run to its first operation, ``models`` are the names of the enumerated models,
    ``home`` is the directory of the recording, ``unknown`` are the files whose content is not always known.
    """

    points: tuple[Point, ...]
    begins: Mapping[int, int]
    states: CrashStates
    models: tuple[str, ...]
    materialiser: Materialiser
    home: str = ""
    tells_of_home: bool = False
    unknown: tuple[Unknown, ...] = ()
    _aftermaths: dict[int, Aftermath] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def explainer(self) -> Explainer:
        """Explains its crash states."""
        return Explainer(self.states.script)

    def promised_before(self, run: int) -> int:
        """How many promises the earlier runs had made."""
        begin = self.begins[run]
        return self.states.script.effects[begin - 1].promises if begin else 0

    def is_unknown(self, state: CrashState) -> bool:
        """Return True if a state contains a file whose content is unknown at that moment."""
        return any(holds(self.states, state, file) for file in self.unknown)

    def planned(
        self,
        state: CrashState,
        struck: Strike | None = None,
        hit: Operation | None = None,
        strike: Strike | None = None,
    ) -> Planned:
        """The case that leaves ``state``, perhaps after another strike; ``strike`` overrides its name.

        A case executes the runs before the one that loses power, so ``struck`` strikes again there. The
        recording proves that it struck the operation ``hit`` only if both are in the same run.
        """
        run = self.states.script.trace[state.moment.operation].place.run
        proofs = (_proof(struck, hit),) if struck is not None and hit is not None else ()
        world = self.world(state, proofs if hit is not None and hit.place.run == run else ())
        world = world if strike is None else replace(world, spelled=strike)
        return Planned(Schedule((world.strike,) if struck is None else (struck, world.strike)), world)

    def world(self, state: CrashState, receipts: tuple[Receipt, ...] = ()) -> CrashWorld:
        """``state`` as a world, named by its own strike."""
        at = state.moment.operation
        strike = Strike(self.points[at], Fault(FAULT, name_of(self.states.script, state)))
        return CrashWorld(strike, self, state, receipts)

    def lacking(self, state: CrashState, wanted: int) -> CrashState | None:
        """See :meth:`Aftermath.lacking`; also None if a file's content would be unknown."""
        found = self.aftermath(state.moment.operation).lacking(state, wanted, self.states.tables)
        return None if found is None or self.is_unknown(found) else found

    def aftermath(self, operation: int) -> Aftermath:
        """What a power loss after an operation can leave; computed once for each."""
        # Kept, since shrinking and blaming return to the same few operations.
        if operation not in self._aftermaths:
            self._aftermaths[operation] = Aftermath(self.states.script, models_named(self.models), operation)
        return self._aftermaths[operation]


def holds(states: CrashStates, state: CrashState, file: Unknown) -> bool:
    """Return True if a state has a file under any name at a moment when its content is unknown."""
    names = states.tables.names_of(file.inode)
    return state.moment.operation in file.after and any(
        states.tables.child(*name, state.persisted) == file.inode for name in names
    )


def _proof(strike: Strike, hit: Operation) -> Receipt:
    """The receipt of a fault that the recording contains: the case does not execute its run again."""
    effect = "answered EIO, its data counts as clean" if lies(strike) else "struck in the recording"
    return Receipt(str(strike), str(hit), effect)


def lies(strike: Strike) -> bool:
    """Return True if a strike is a sync that fails once and leaves unwritten data marked as clean."""
    return strike.point.call in SYNCS and strike.fault == Fault("EIO")
