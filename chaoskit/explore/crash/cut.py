"""One power cut, and the states near one that it left: which models allow a state, what a smaller one lacks.

The enumeration lists states; here a single one is looked at, so that it can be made smaller or be
built from its name although it was never listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.explore.crash.image import Image, Tables
from chaoskit.explore.crash.models import Model, Rule
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.states import State, grown_over, play_all
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits


class Cut:
    """The power cut right after one operation, an index in the trace, under each of ``models``.

    Making one plays the script up to there: its cost grows with the length of the trace.
    """

    def __init__(self, script: Script, models: Sequence[Model], operation: int) -> None:
        self.script = script
        self.orders = [Order(script, model) for model in models]
        for move in script.moves[: operation + 1]:
            play_all(move, self.orders)

    def allowing(self, persisted: int, garbage: int) -> tuple[str, ...]:
        """The models that allow this set of steps, torn rests and garbage included."""
        return tuple(order.model.name for order in self.orders if allows(order, persisted, garbage))

    def lacking(self, state: State, wanted: int, tables: Tables) -> State | None:
        """What is left if of the steps missing in ``state`` only those in ``wanted`` are missing.

        And those that cannot be there without them under one of the models that allow ``state``: what
        comes back is allowed by all of these, perhaps by others too. None if there is no such state.
        """
        known = self._allowing(state)
        missing = self._closed(wanted, known)
        if missing & ~_missing(state):
            return None
        torn = state.persisted & ~state.moment.present
        persisted = state.moment.present & ~missing | self._rests(torn, missing)
        garbage = state.garbage & missing
        models = self.allowing(persisted, garbage)
        if not known or not set(known) <= set(models):
            return None
        digest = Image(tables).look(tables.with_garbage(persisted, garbage))
        return State(state.moment, persisted, garbage, digest, models)

    def implied(self, state: State) -> int:
        """The missing steps that no power cut can leave when another missing one is missing.

        They are no reason for anything: what keeps them from being there is the other one. Of steps
        that only come together the first is not implied.
        """
        missing, found = _missing(state), 0
        for order in self._of(self._allowing(state)):
            for index in bits(missing & order.present):
                others = order.need[index] & missing & ~(1 << index)
                if any(other < index or not order.need[other] >> index & 1 for other in bits(others)):
                    found |= 1 << index
        return found if found != missing else 0

    def _allowing(self, state: State) -> tuple[str, ...]:
        """The models of a state under which these very steps may be there, not only others like them."""
        allowing = self.allowing(state.persisted, state.garbage)
        return tuple(model for model in state.models if model in allowing)

    def _of(self, models: Iterable[str]) -> list[Order]:
        return [order for order in self.orders if order.model.name in models]

    def _closed(self, wanted: int, models: Iterable[str]) -> int:
        """These steps and all that needs them under one of the models."""
        orders, missing, waiting = self._of(models), 0, wanted
        while waiting:
            missing |= waiting
            needing = 0
            for index in bits(waiting):
                for order in orders:
                    needing |= order.users(index) & ~order.durable
            waiting = needing & ~missing
        return missing

    def _rests(self, torn: int, missing: int) -> int:
        """What of the torn rests is left when only ``missing`` is missing: growth goes with its data."""
        kept = 0
        for index in bits(torn):
            step = self.script.steps[index]
            assert step.torn_from is not None
            with_data = step.kind is StepKind.DATA or bool(step.partner and kept >> step.partner & 1)
            if missing >> step.torn_from & 1 and with_data:
                kept |= 1 << index
        return kept


def _missing(state: State) -> int:
    """The steps that did not persist as a whole."""
    return state.moment.present & (~state.persisted | state.garbage)


def allows(order: Order, persisted: int, garbage: int) -> bool:
    """Whether a set of steps is legal now: whole ones, torn rests, and data in whose place is garbage."""
    whole = persisted & order.present
    if not order.allows(whole) or whole & garbage:
        return False
    steps = order.script.steps
    if garbage and Rule.NO_GARBAGE in order.model:
        return False
    return all(_torn_so(order, steps, persisted, index) for index in bits(persisted & ~whole)) and all(
        grown_over(order, steps[index], persisted) for index in bits(garbage)
    )


def _torn_so(order: Order, steps: Sequence[Step], persisted: int, index: int) -> bool:
    """Whether the torn rest ``index`` can be there together with the others."""
    step = steps[index]
    if step.torn_from is None or persisted >> step.torn_from & 1:
        return False
    if step.kind is not StepKind.DATA:
        return step.partner is not None and bool(persisted >> step.partner & 1)
    growth = steps[index + 1] if index + 1 < len(steps) else None
    if growth is None or growth.partner != index or not persisted >> growth.index & 1:
        growth = None
    need = order.need_of_torn(step, growth)
    return need is not None and not need & ~persisted
