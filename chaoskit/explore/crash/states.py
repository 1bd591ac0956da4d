"""The crash states of a script: what a power loss after each operation may leave on the disk.

The families follow ALICE and CrashMonkey (Mohan et al., OSDI 2018): everything done so far; only what was
synced; every unsynced step dropped with what depends on it, and kept alone with what it needs; the same for
whole operations and for the unsynced content of a file; torn writes; garbage in space that was never written.
If a model allows few enough states, all of them are taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaoskit.explore.crash.image import Image
from chaoskit.explore.crash.models import STRICT, Model, ModelRule, models_named
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play_all
from chaoskit.explore.crash.steps import Effect, Script, Step, StepKind, bits
from chaoskit.explore.crash.tables import Tables
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.power import DEFAULT_MODELS

# Enough for every state of a short program; a long one has no more than the families give.
EXHAUSTIVE = 64
"""All states after an operation are taken if a model allows at most this many; torn ones are extra."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a power loss: right after ``operation``, an index in the trace.

    ``pending`` are the steps that an fsync of exactly their file or directory did not cover: the numbers in
    names count these backwards from the last. ``durable`` says for each model what must have persisted.
    ``promises`` counts the promises acknowledged by then.
    """

    operation: int
    promises: int
    present: int
    pending: int
    durable: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class CrashState:
    """The content of the disk after a power loss. ``hash`` is that of the tree, equal for equal trees.

    ``persisted`` is the set of steps whose effect is there; ``garbage`` the steps whose space on the disk is
    there but holds something else. ``models`` are those that allow the state. ``ways`` counts the enumerated
    sets of steps, after any operation, that leave this tree.
    """

    moment: Moment
    persisted: int
    garbage: int
    hash: int
    models: tuple[str, ...]
    ways: int = field(default=1, compare=False)

    @property
    def dropped(self) -> tuple[int, ...]:
        """The numbers in the script of the steps that did not persist, torn ones included."""
        return tuple(bits(self.lost))

    @property
    def lost(self) -> int:
        """:attr:`dropped` as a set."""
        return self.moment.present & (~self.persisted | self.garbage)

    @property
    def complete(self) -> bool:
        """True if everything up to the operation is there, as after the kill of a process."""
        return self.persisted == self.moment.present and not self.garbage


@dataclass(frozen=True, slots=True)
class Counts:
    """``possible``: states that were enumerated; ``distinct``: those that differ in content or promises."""

    possible: int
    distinct: int

    def __str__(self) -> str:
        return f"{self.distinct:,} distinct crash states of {self.possible:,}"


@dataclass(frozen=True, slots=True)
class CrashStates:
    """The distinct crash states of a script, in the order of the operations after which they occur."""

    script: Script
    tables: Tables = field(repr=False)
    states: tuple[CrashState, ...]
    counts: Counts

    def __iter__(self) -> Iterator[CrashState]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)

    def promised(self, state: CrashState) -> tuple[object, ...]:
        """What had been promised to the outside before the power failed."""
        return self.script.promised[: state.moment.promises]


def crash_states(
    script: Script,
    models: str | Iterable[str] = DEFAULT_MODELS,
    *,
    exhaustive: int = EXHAUSTIVE,
    prefixes_only: bool = False,
    at: Container[int] | None = None,
) -> CrashStates:
    """Enumerate the crash states of ``script`` that one of ``models`` allows.

    ``at`` are the operations after which the power may fail (None: all). Equal states of two runs count as
    two, since the test continues from different places.

    With ``prefixes_only`` only two states are taken after each operation: the complete one, and what was
    synced by then. Their number grows with the length of the trace, that of all states with its square.

    Raises:
        UsageError: for a model that does not exist.
    """
    return _Enumeration(script, models_named(models), exhaustive, prefixes_only, at).run()


@dataclass(slots=True)
class _Found:
    """A distinct state, while further models that allow it may still be found."""

    moment: Moment
    persisted: int
    garbage: int
    models: int
    ways: int = 1


# A pair, not a record: a long trace makes very many of them.
_Candidate = tuple[int, int]
"""The steps that persisted, and the steps that hold garbage."""


class _Enumeration:
    """Plays a script under all models at once, and collects the distinct states after each operation."""

    def __init__(
        self,
        script: Script,
        models: Sequence[Model],
        exhaustive: int,
        prefixes_only: bool,
        at: Container[int] | None,
    ) -> None:
        self.script = script
        self.models = models
        self.exhaustive = exhaustive
        self.prefixes_only = prefixes_only
        self.at = at
        # Shared by all models: what a step does to a file is the same under each of them.
        self.tables = Tables(script)
        self.orders = [Order(script, model) for model in models]
        # Names count the steps that strict leaves open, whichever models were asked for.
        self.strict = next((o for o in self.orders if o.model is STRICT), None) or Order(script, STRICT)
        # Two, since each candidate is near one of two trees: everything done, and everything synced.
        self.images = (Image(self.tables), Image(self.tables))
        self.found: dict[tuple[int, int, int], _Found] = {}
        self.possible = 0

    def run(self) -> CrashStates:
        for effect in self.script.effects:
            play_all(effect, self.orders, self.strict)
            # Whether it is worth a visit or not: later effects build on it.
            if self._worth(effect):
                self._visit(effect)
        names = [model.name for model in self.models]
        states = tuple(
            CrashState(
                found.moment,
                found.persisted,
                found.garbage,
                digest,
                tuple(name for i, name in enumerate(names) if found.models >> i & 1),
                found.ways,
            )
            for (digest, *_), found in self.found.items()
        )
        return CrashStates(self.script, self.tables, states, Counts(self.possible, len(states)))

    def _worth(self, effect: Effect) -> bool:
        """True if the effect can leave a new state: it changed or synced something, or made a promise.

        A sync can add states: btrfs may then have a file without earlier changes of others.
        """
        if self.at is not None and effect.operation not in self.at:
            return False
        if not effect.quiet or effect.sync is not None:
            return True
        return FAMILIES[self.script.trace[effect.operation].call].witnessed

    def _visit(self, effect: Effect) -> None:
        moment = moment_of(effect, self.orders, self.strict)
        # By candidate, the models that made it, so that a state is hashed once for all of them.
        candidates: defaultdict[_Candidate, int] = defaultdict(int)
        for number, order in enumerate(self.orders):
            for candidate in self._candidates(order):
                candidates[candidate] |= 1 << number
        self.possible += len(candidates)
        # In this order neighbours differ by few steps, so that each hash is a small change.
        for candidate in sorted(candidates):
            self._take(moment, candidate, candidates[candidate])

    def _take(self, moment: Moment, candidate: _Candidate, models: int) -> None:
        persisted, garbage = candidate
        digest = self._hash(self.tables.with_garbage(persisted, garbage))
        run = self.script.trace[moment.operation].place.run
        key = (digest, moment.promises, run)
        found = self.found.get(key)
        if found is None:
            self.found[key] = _Found(moment, persisted, garbage, models | self._others(candidate, models))
            return
        found.models |= models
        # Counted although it is not new: the report's share of checked states needs this number.
        found.ways += 1
        if found.moment is moment and persisted.bit_count() > found.persisted.bit_count():
            # Of several sets that leave the same tree, the one that lacks least has the shortest name.
            found.persisted, found.garbage = persisted, garbage
            found.models |= self._others(candidate, found.models)

    def _others(self, candidate: _Candidate, models: int) -> int:
        """The models that allow the state although their own families did not make it."""
        persisted, garbage = candidate
        # Only the model that made garbage allows it: Order.allows checks whole steps only.
        if garbage:
            return 0
        return sum(
            1 << number
            for number, order in enumerate(self.orders)
            if not models >> number & 1 and order.allows(persisted)
        )

    def _hash(self, state: int) -> int:
        first, second = self.images
        if (state ^ second.state).bit_count() < (state ^ first.state).bit_count():
            return second.move(state)
        return first.move(state)

    def _candidates(self, order: Order) -> Iterator[_Candidate]:
        yield order.present, 0
        yield order.settled(order.durable), 0
        # These two are the ends between which all other states lie, and every program must survive them.
        if self.prefixes_only:
            return
        everything = all_legal(order, self.exhaustive)
        if everything is not None:
            for state in everything:
                yield state, 0
                yield from variations(order, state)
            return
        for state in _families(order):
            yield state, 0
        yield from _torn_and_garbage(order)


def moment_of(effect: Effect, orders: Sequence[Order], strict: Order) -> Moment:
    """The moment right after ``effect``, when all orders have played it."""
    durable = tuple((order.model.name, order.durable) for order in orders)
    return Moment(effect.operation, effect.promises, strict.present, strict.free, durable)


def all_legal(order: Order, limit: int) -> set[int] | None:
    """All legal sets of whole steps, or None if there are more than ``limit``.

    A set is legal if and only if it is a union of the needs of its steps, so unions give all of them.
    """
    sets = {order.durable}
    for index in bits(order.free & ~order.implied):
        sets |= {known | order.need[index] for known in sets}
        if len(sets) > limit:
            return None
    return {order.settled(state) for state in sets} if order.implied else sets


def _families(order: Order) -> Iterator[int]:
    """The sets that represent all legal ones if there are too many of those."""
    by_operation: defaultdict[int, list[int]] = defaultdict(list)
    by_file: defaultdict[int, list[int]] = defaultdict(list)
    for index in bits(order.free):
        yield order.without(index)
        yield order.with_only(index)
        step = order.script.steps[index]
        by_operation[step.operation].append(index)
        if step.kind is not StepKind.ENTRY:
            by_file[step.owner].append(index)
    # The changes of one call, and the missing content of one file, usually go together: journals commit in
    # groups.
    for group in (*by_operation.values(), *by_file.values()):
        if len(group) > 1:
            kept, dropped = order.durable, 0
            for index in group:
                kept |= order.need[index]
                dropped |= order.users(index)
            yield order.present & ~(dropped & ~order.durable)
            yield order.settled(kept)


def _torn_and_garbage(order: Order) -> Iterator[_Candidate]:
    """Each unsynced write torn or replaced by garbage, once with everything else that is possible."""
    for index in bits(order.free):
        if order.script.steps[index].kind is StepKind.DATA:
            yield from variations(order, order.without(index), index)
            yield from _torn(order, order.durable | order.need[index] & ~(1 << index), index)


def variations(order: Order, state: int, only: int | None = None) -> Iterator[_Candidate]:
    """The variations of a legal set where one missing write was torn, or left garbage."""
    missing = order.present & ~state if only is None else 1 << only
    for index in bits(missing):
        step = order.script.steps[index]
        # Holes have no payload: half a hole reads like a whole one or like none.
        if step.kind is StepKind.DATA and step.payload is not None:
            yield from _torn(order, state, index)
            if ModelRule.NO_GARBAGE not in order.model and grown_over(order.script, step, state):
                yield state, 1 << index


def grown_over(script: Script, step: Step, state: int) -> bool:
    """True if the file grew by this write although its data is missing."""
    # The growth of a write is the step right after its data: see FileTree.put.
    grow = step.index + 1
    steps = script.steps
    return grow < len(steps) and steps[grow].partner == step.index and bool(state >> grow & 1)


def _torn(order: Order, state: int, index: int) -> Iterator[_Candidate]:
    """``state`` with each possible rest of write ``index``, without and with the growth to that length."""
    steps = order.script.steps
    for torn in torn_rests(steps, index):
        need = order.need_of_torn(torn, None)
        # The rest needs what the whole write needed, except for the write itself.
        if need is None or need & ~(state | 1 << torn.index):
            continue
        yield state | 1 << torn.index, 0
        following = torn.index + 1
        growth = steps[following] if following < len(steps) else None
        if growth is None or growth.torn_from is None or growth.partner != torn.index:
            continue
        assert growth.torn_from is not None
        need = order.need_of_torn(torn, growth)
        both = state | 1 << torn.index | 1 << growth.index
        if need is not None and not need & ~both and not state >> growth.torn_from & 1:
            yield both, 0


def torn_rests(steps: Sequence[Step], index: int) -> Iterator[Step]:
    """The possible rests of data step ``index`` if it is torn: they follow it in the script."""
    for later in steps[index + 1 :]:
        # The next piece of the same write begins with data that is not torn.
        if later.operation != steps[index].operation or (
            later.torn_from is None and later.kind is StepKind.DATA
        ):
            return
        if later.torn_from == index:
            yield later
