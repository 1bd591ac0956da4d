"""The states near a given one, after the same power loss: the models that allow it, and smaller states.

The enumeration lists states; this module examines a single one, to make it smaller, or to build it from its
name although it was never listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.explore.crash.image import Image
from chaoskit.explore.crash.models import Model, ModelRule
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play_all
from chaoskit.explore.crash.states import CrashState, grown_over
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits
from chaoskit.explore.crash.tables import Tables


class Aftermath:
    """What a power loss right after one operation (an index in the trace) can leave, under each model.

    Constructing one plays the script up to that operation: the cost grows with the length of the trace.
    """

    def __init__(self, script: Script, models: Sequence[Model], operation: int) -> None:
        self.script = script
        self.orders = [Order(script, model) for model in models]
        for effect in script.effects[: operation + 1]:
            play_all(effect, self.orders)

    def allowing(self, persisted: int, garbage: int) -> tuple[str, ...]:
        """The models that allow this set of steps, torn rests and garbage included."""
        return tuple(order.model.name for order in self.orders if allows(order, persisted, garbage))

    def lacking(self, state: CrashState, wanted: int, tables: Tables) -> CrashState | None:
        """``state`` with every missing step put back except those in ``wanted``.

        Steps that need one of these under a model that allows ``state`` are missing, too. All of those models
        allow the result, and perhaps others; None if there is no such state.
        """
        # A model that reaches the same tree only by other steps says nothing about these.
        known = self._allowing(state)
        missing = self._closed(wanted, known)
        if missing & ~_missing(state):
            return None
        torn = state.persisted & ~state.moment.present
        persisted = state.moment.present & ~missing | self._rests(torn, missing)
        # A step that is no longer missing is there as it was written.
        garbage = state.garbage & missing
        models = self.allowing(persisted, garbage)
        if not known or not set(known) <= set(models):
            return None
        # Hashed for all of them: a smaller state must not be shown for a model that does not allow it.
        digest = Image(tables).look(tables.with_garbage(persisted, garbage))
        return CrashState(state.moment, persisted, garbage, digest, models)

    def implied(self, state: CrashState) -> int:
        """The missing steps that cannot persist while another missing step is missing.

        They are not to blame, since the other step prevents them. Of steps that only persist together, the
        first counts as the one to blame.
        """
        missing, found = _missing(state), 0
        for order in self._of(self._allowing(state)):
            for index in bits(missing & order.present):
                others = order.need[index] & missing & ~(1 << index)
                if any(other < index or not order.need[other] >> index & 1 for other in bits(others)):
                    found |= 1 << index
        return found if found != missing else 0

    def _allowing(self, state: CrashState) -> tuple[str, ...]:
        """Those models of a state that allow exactly its steps."""
        # A state has the models of every set of steps that leaves the same tree.
        allowing = self.allowing(state.persisted, state.garbage)
        return tuple(model for model in state.models if model in allowing)

    def _of(self, models: Iterable[str]) -> list[Order]:
        return [order for order in self.orders if order.model.name in models]

    def _closed(self, wanted: int, models: Iterable[str]) -> int:
        """These steps and all steps that need them, directly or not, under one of the models."""
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
        """The torn rests that remain if only ``missing`` is missing: growth goes with its data."""
        kept = 0
        for index in bits(torn):
            step = self.script.steps[index]
            assert step.torn_from is not None
            with_data = step.kind is StepKind.DATA or bool(step.partner and kept >> step.partner & 1)
            if missing >> step.torn_from & 1 and with_data:
                kept |= 1 << index
        return kept


def _missing(state: CrashState) -> int:
    """The steps that did not persist as a whole."""
    return state.moment.present & (~state.persisted | state.garbage)


def allows(order: Order, persisted: int, garbage: int) -> bool:
    """True if a set of steps is legal now, including torn rests and data replaced by garbage."""
    whole = persisted & order.present
    if not order.allows(whole) or whole & garbage:
        return False
    steps = order.script.steps
    # No other rule concerns garbage: if a model allows it, any unwritten block may hold some.
    if garbage and ModelRule.NO_GARBAGE in order.model:
        return False
    return all(_torn_so(order, steps, persisted, index) for index in bits(persisted & ~whole)) and all(
        grown_over(order.script, steps[index], persisted) for index in bits(garbage)
    )


def _torn_so(order: Order, steps: Sequence[Step], persisted: int, index: int) -> bool:
    """True if the torn rest ``index`` can be there together with the other steps."""
    step = steps[index]
    # A step cannot be whole and torn at once.
    if step.torn_from is None or persisted >> step.torn_from & 1:
        return False
    if step.kind is not StepKind.DATA:
        return step.partner is not None and bool(persisted >> step.partner & 1)
    growth = steps[index + 1] if index + 1 < len(steps) else None
    if growth is None or growth.partner != index or not persisted >> growth.index & 1:
        growth = None
    need = order.need_of_torn(step, growth)
    return need is not None and not need & ~persisted
