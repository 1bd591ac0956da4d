"""The crash states of a script: what a power loss after each operation may leave on the disk.

The families follow ALICE and CrashMonkey (Mohan et al., OSDI 2018): everything that was done so far;
only what was synced; every unsynced step dropped with what depends on it, and kept alone with what it
needs; the same for whole operations and for the unsynced content of a file; torn writes; garbage in
space that was never written. Where a model allows few enough states, all of them are taken.
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

# Every state of a short program, and no more than the families give for a long one.
EXHAUSTIVE = 64
"""All states after an operation are taken if a model allows at most this many; torn ones come on top."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a power loss: right after ``operation``, an index in the trace.

    ``pending`` are the steps that an fsync of exactly their file or directory did not cover: the
    numbers in names count these, from the last one back. ``durable`` says for each model what must
    have persisted. ``promises`` is how many promises had been acknowledged.
    """

    operation: int
    promises: int
    present: int
    pending: int
    durable: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class CrashState:
    """What the disk holds after a power loss. ``hash`` is that of the tree; equal trees have equal hashes.

    ``persisted`` is the set of steps whose effect is there; ``garbage`` the part of it whose place on
    the disk is there but holds something else. ``models`` are those that allow the state. ``ways`` is
    how many of the enumerated sets of steps, after whichever operation, leave this tree.
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
        """The same as a set."""
        return self.moment.present & (~self.persisted | self.garbage)

    @property
    def complete(self) -> bool:
        """Everything up to the operation is there, as after the kill of a process."""
        return self.persisted == self.moment.present and not self.garbage


@dataclass(frozen=True, slots=True)
class Counts:
    """``possible``: states that the families made; ``distinct``: of different content or promises."""

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
        """What had been promised to the outside before the power went."""
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

    ``at`` are the operations after which the power may go (None: all). Equal states of two runs are
    two, since the test goes on from different places.

    With ``prefixes_only`` only the complete state after each operation and what was synced by then
    are taken: their number grows with the length of the trace, all others with its square.

    Raises:
        UsageError: for a model that does not exist.
    """
    return _Enumeration(script, models_named(models), exhaustive, prefixes_only, at).run()


@dataclass(slots=True)
class _Found:
    """A distinct state while more models that allow it may turn up."""

    moment: Moment
    persisted: int
    garbage: int
    models: int
    ways: int = 1


# A pair and not a record: a long trace makes very many of them.
_Candidate = tuple[int, int]
"""The steps that persisted, and those of them that hold garbage."""


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
        # Two, since candidates lie near one of two trees: all that was done, and all that was synced.
        self.images = (Image(self.tables), Image(self.tables))
        self.found: dict[tuple[int, int, int], _Found] = {}
        self.possible = 0

    def run(self) -> CrashStates:
        for effect in self.script.effects:
            play_all(effect, self.orders, self.strict)
            # Played in any case: what comes later rests on it.
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
        """The effect can leave something new: it changed or synced something, or promised.

        A sync does add states: btrfs may then have a file without what was done to others before it.
        """
        if self.at is not None and effect.operation not in self.at:
            return False
        if not effect.quiet or effect.sync is not None:
            return True
        return FAMILIES[self.script.trace[effect.operation].call].witnessed

    def _visit(self, effect: Effect) -> None:
        moment = moment_of(effect, self.orders, self.strict)
        # By candidate the models that made it, so that one state is hashed once for all of them.
        candidates: defaultdict[_Candidate, int] = defaultdict(int)
        for number, order in enumerate(self.orders):
            for candidate in self._candidates(order):
                candidates[candidate] |= 1 << number
        self.possible += len(candidates)
        # Neighbours in the order of their bits differ by a few steps, so that each hash is a small change.
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
        # Counted although it is not a new state: the share that was checked is told by this number.
        found.ways += 1
        if found.moment is moment and persisted.bit_count() > found.persisted.bit_count():
            # Of several sets that leave the same tree, the one that misses least has the shortest name.
            found.persisted, found.garbage = persisted, garbage
            found.models |= self._others(candidate, found.models)

    def _others(self, candidate: _Candidate, models: int) -> int:
        """The models that allow the state although their own families did not make it."""
        persisted, garbage = candidate
        # Garbage is told by the model that made it: Order.allows knows whole steps only.
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
        # The two that every program must survive, and the two ends between which all others lie.
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
    """The power loss right after ``effect``, when all orders have played it."""
    durable = tuple((order.model.name, order.durable) for order in orders)
    return Moment(effect.operation, effect.promises, strict.present, strict.free, durable)


def all_legal(order: Order, limit: int) -> set[int] | None:
    """All legal sets of whole steps, or None if there are more than ``limit``.

    A set is legal if and only if it is a union of what its steps need; so all are found by uniting.
    """
    sets = {order.durable}
    for index in bits(order.free & ~order.implied):
        sets |= {known | order.need[index] for known in sets}
        if len(sets) > limit:
            return None
    return {order.settled(state) for state in sets} if order.implied else sets


def _families(order: Order) -> Iterator[int]:
    """The sets that stand for all legal ones when there are too many of these."""
    by_operation: defaultdict[int, list[int]] = defaultdict(list)
    by_file: defaultdict[int, list[int]] = defaultdict(list)
    for index in bits(order.free):
        yield order.without(index)
        yield order.with_only(index)
        step = order.script.steps[index]
        by_operation[step.operation].append(index)
        if step.kind is not StepKind.ENTRY:
            by_file[step.owner].append(index)
    # What one call changed, and what one file lacks, mostly goes together: a journal commits in groups.
    for group in (*by_operation.values(), *by_file.values()):
        if len(group) > 1:
            kept, dropped = order.durable, 0
            for index in group:
                kept |= order.need[index]
                dropped |= order.users(index)
            yield order.present & ~(dropped & ~order.durable)
            yield order.settled(kept)


def _torn_and_garbage(order: Order) -> Iterator[_Candidate]:
    """Each unsynced write torn, or replaced by garbage, while all that can be there is there."""
    for index in bits(order.free):
        if order.script.steps[index].kind is StepKind.DATA:
            yield from variations(order, order.without(index), index)
            yield from _torn(order, order.durable | order.need[index] & ~(1 << index), index)


def variations(order: Order, state: int, only: int | None = None) -> Iterator[_Candidate]:
    """What a legal set becomes if one write that is missing in it was torn, or left garbage."""
    missing = order.present & ~state if only is None else 1 << only
    for index in bits(missing):
        step = order.script.steps[index]
        # Holes have no payload: half a hole reads like the whole one or like none.
        if step.kind is StepKind.DATA and step.payload is not None:
            yield from _torn(order, state, index)
            if ModelRule.NO_GARBAGE not in order.model and grown_over(order.script, step, state):
                yield state, 1 << index


def grown_over(script: Script, step: Step, state: int) -> bool:
    """The file has grown by this write although its data is missing."""
    # The growth of a write is the step right behind its data: see FileTree.put.
    grow = step.index + 1
    steps = script.steps
    return grow < len(steps) and steps[grow].partner == step.index and bool(state >> grow & 1)


def _torn(order: Order, state: int, index: int) -> Iterator[_Candidate]:
    """``state`` with what may be left of write ``index``, without and with the growth to that length."""
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
    """What may be left of data step ``index`` when it is torn: they follow it in the script."""
    for later in steps[index + 1 :]:
        # The next piece of the same write begins with data that is not torn.
        if later.operation != steps[index].operation or (
            later.torn_from is None and later.kind is StepKind.DATA
        ):
            return
        if later.torn_from == index:
            yield later
