"""Names of crash states: the argument of ``power_loss[…]`` in a schedule, written and read.

The point of the schedule says after which operation the power failed; the argument says which of the unsynced
steps are missing. Steps are counted backwards from the power loss (1 is the last), so that earlier changes of
the run do not change the name::

    argument  =  "all" | "only-synced" model | clause *( " " clause )
    clause    =  "drop" list              these steps did not persist
              |  "zero" list              the same, but the file has grown: zeroes are there
              |  "keep" list model        only what was synced, and these
              |  "torn" number "@" bytes *( "," … )    of these writes only the first bytes did
              |  "garbage" list           the file has grown, but holds something else there
    list      =  number | number "-" number *( "," … )
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from chaoskit.core.errors import ScheduleError
from chaoskit.explore.crash.aftermath import allows
from chaoskit.explore.crash.image import Image
from chaoskit.explore.crash.models import MODELS, STRICT
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play_all
from chaoskit.explore.crash.states import CrashState, Moment, grown_over, moment_of
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits, mask_of
from chaoskit.explore.crash.tables import Tables

# Every form, since a name that was typed by hand may be wrong anywhere.
_EXPECTED = (
    "expected 'all', 'only-synced ext4', 'drop 1,3-5', 'zero 2', 'keep 2 xfs', 'torn 2@512' or 'garbage 2', "
    "as printed by a failing test"
)


def name_of(script: Script, state: CrashState) -> str:
    """The shortest argument that names ``state``."""
    if state.complete:
        return "all"
    rest = _torn_clause(script, state) + _listed("garbage", state.moment, state.garbage)
    # The whole steps that persisted only as a torn rest.
    torn = mask_of(origin for step in _torn(script, state) if (origin := step.torn_from) is not None)
    dropped = state.moment.pending & ~state.persisted & ~state.garbage & ~torn
    zero = mask_of(index for index in bits(dropped) if _is_zeroes(script, state, index))
    clauses = [*rest, *_listed("zero", state.moment, zero), *_listed("drop", state.moment, dropped & ~zero)]
    names = [" ".join(clauses)]
    whole = state.persisted & state.moment.present & ~state.garbage
    # From the other end, "only what was synced, and these", if that is shorter.
    for model, durable in state.moment.durable:
        # "keep" lists whole steps only, so it cannot express torn and garbage ones.
        if not durable & ~whole and not rest:
            kept = whole & ~durable
            names.append(
                f"only-synced {model}" if not kept else f"{_listed('keep', state.moment, kept)[0]} {model}"
            )
    synced = [name for name in names if name.startswith("only-synced")]
    # "only-synced ext4" says what it means, even where "drop 1" would be shorter.
    return synced[0] if synced else min(names, key=len)


def _is_zeroes(script: Script, state: CrashState, index: int) -> bool:
    """True if the growth that came with a data step persisted, so that zeroes replace the data."""
    step = script.steps[index]
    return step.kind is StepKind.DATA and grown_over(script, step, state.persisted)


def _listed(word: str, moment: Moment, steps: int) -> list[str]:
    return [f"{word} {_ranges(_number(moment, i) for i in bits(steps))}"] if steps else []


def _number(moment: Moment, index: int) -> int:
    """The number of a pending step, counted backwards from the power loss."""
    return (moment.pending >> index).bit_count()


def _torn_clause(script: Script, state: CrashState) -> list[str]:
    parts = []
    for step in _torn(script, state):
        # Torn growth is named by its data, which has the same number of bytes.
        data = step if step.partner is None else script.steps[step.partner]
        if step.torn_from is not None:
            parts.append(f"{_number(state.moment, step.torn_from)}@{data.length}")
    return [f"torn {','.join(parts)}"] if parts else []


def _torn(script: Script, state: CrashState) -> list[Step]:
    """The torn rests that persisted, each in place of a whole step."""
    return [script.steps[index] for index in bits(state.persisted & ~state.moment.present)]


def _ranges(numbers: Iterable[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def state_named(script: Script, operation: int, argument: str) -> CrashState:
    """The state that ``argument`` names after ``operation`` (an index in the trace).

    The same state for the same trace, whichever models are enumerated. Its ``models`` are all that allow it;
    empty if no model does.

    Raises:
        ScheduleError: if the argument does not parse or names steps that this trace does not have.
    """
    # All models, so that a name means the same state whichever models a scenario asks for.
    orders = [Order(script, model) for model in MODELS.values()]
    strict = next(order for order in orders if order.model is STRICT)
    effect = None
    for effect in script.effects[: operation + 1]:
        play_all(effect, orders, strict)
    if effect is None or effect.operation != operation:
        raise ScheduleError(
            f"operation {operation} is not in the trace; expected 0 to {len(script.effects) - 1}."
        )
    moment = moment_of(effect, orders, strict)
    persisted, garbage = _Parser(script, moment, argument).read()
    tables = Tables(script)
    digest = Image(tables).look(tables.with_garbage(persisted, garbage))
    models = tuple(order.model.name for order in orders if allows(order, persisted, garbage))
    return CrashState(moment, persisted, garbage, digest, models)


class _Parser:
    """Reads one argument, against the unsynced steps of one moment."""

    def __init__(self, script: Script, moment: Moment, argument: str) -> None:
        self.script = script
        self.moment = moment
        self.argument = argument
        # Number 1 is the last one.
        self.pending = list(bits(moment.pending))[::-1]
        self.durable = dict(moment.durable)

    def _error(self, what: str) -> ScheduleError:
        return ScheduleError(f"power_loss[{self.argument}]: {what}; {_EXPECTED}.")

    def read(self) -> tuple[int, int]:
        """The steps that persisted, and the steps that hold garbage."""
        words = self.argument.split()
        persisted, garbage = self.moment.present, 0
        while words:
            word = words.pop(0)
            # Alone or not at all: "all drop 1" contradicts itself.
            if word == "all" and self.argument.strip() == "all":
                return persisted, 0
            if word == "only-synced":
                persisted = self._model(words)
            elif word == "keep":
                kept = mask_of(self._steps(words))
                persisted = self._model(words) | kept
            elif word in ("drop", "zero"):
                persisted &= ~mask_of(self._steps(words))
            elif word == "garbage":
                garbage |= mask_of(self._steps(words))
                persisted &= ~garbage
            elif word == "torn":
                persisted = self._tear(persisted, words)
            else:
                raise self._error(f"{word!r} means nothing here")
        if not self.argument.strip():
            raise self._error("nothing is named")
        return persisted, garbage

    def _next(self, words: list[str], wanted: str) -> str:
        if not words:
            raise self._error(f"{wanted} is missing at the end")
        return words.pop(0)

    def _model(self, words: list[str]) -> int:
        name = self._next(words, "the name of a model")
        if name not in self.durable:
            raise self._error(f"{name!r} is not a model ({', '.join(MODELS)})")
        return self.durable[name]

    def _steps(self, words: list[str]) -> Iterator[int]:
        for part in self._next(words, "a list of steps").split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if match is None:
                raise self._error(f"{part!r} is not the number of a step")
            for number in range(int(match[1]), int(match[2] or match[1]) + 1):
                yield self._step(number)

    def _step(self, number: int) -> int:
        if not 1 <= number <= len(self.pending):
            raise self._error(f"there is no step {number}: {len(self.pending)} are unsynced at this point")
        return self.pending[number - 1]

    def _tear(self, persisted: int, words: list[str]) -> int:
        for part in self._next(words, "a torn step").split(","):
            match = re.fullmatch(r"(\d+)@(\d+)", part)
            if match is None:
                raise self._error(f"{part!r} is not a torn step")
            index = self._step(int(match[1]))
            # The torn rest replaces the whole step.
            rest = self._rest(index, int(match[2]))
            persisted = persisted & ~(1 << index) | 1 << rest
        return persisted

    def _rest(self, index: int, length: int) -> int:
        """The number of the torn rest of ``length`` bytes of step ``index``, with its growth if it grew."""
        for step in self.script.steps[index + 1 :]:
            data = step if step.partner is None else self.script.steps[step.partner]
            if step.torn_from == index and data.length == length:
                return step.index
        raise self._error(f"that step cannot be torn after {length} bytes")
