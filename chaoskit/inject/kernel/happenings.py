"""Operations without a call: they begin where a domain sees them, and are struck there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from chaoskit.core.operation import Detail, Operation, Receipt
from chaoskit.faults.shapes import Delayed, Shape
from chaoskit.inject.armed import Armed
from chaoskit.inject.kernel.border import Answer, CannotExecute, FaultEffect
from chaoskit.inject.kernel.log import Call, Log, Where
from chaoskit.inject.kernel.strike import Strikes


@dataclass(frozen=True, slots=True)
class _KeptInView:
    """A condition that answers nothing itself: its domain does."""

    families: frozenset[str]

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """Leave it to the domain."""
        return None, ""


class Started:
    """One operation that has begun; see :class:`chaoskit.inject.kernel.border.Happening`."""

    def __init__(
        self,
        strikes: Strikes,
        log: Log,
        begun: Callable[[], Operation],
        index: int | None,
        reached: Callable[[], None],
    ) -> None:
        self._strikes = strikes
        self._reached = reached
        self._log = log
        self._begun = begun
        self._index = index
        self.armed: Armed | None = None
        self.shape: Shape | None = None

    @property
    def text(self) -> str:
        """The strike as the schedule spells it."""
        return self.armed.text if self.armed is not None else ""

    def prove(self, effect: str) -> None:
        """The fault took effect."""
        # One receipt is enough, although a partition takes effect again and again.
        if self.armed is not None:
            shown = replace(self._begun(), ordinal=self.armed.ordinal, result=None)
            self._strikes.receipts.append(Receipt(self.armed.text, str(shown), effect))
            self.armed = None

    def kill(self, effect: str) -> None:
        """SIGKILL to all."""
        if self._strikes.kill_all():
            self.prove(effect)

    def impossible(self, why: str) -> None:
        """Note that the point was reached and the fault could not happen."""
        if self.armed is not None:
            self._strikes.not_injected(self.armed, CannotExecute(why))
            self.armed = self.shape = None

    def watch(self, families: frozenset[str]) -> None:
        """Have calls of these families stop from now on, so that the domain can answer them."""
        self._strikes.standing.append(_KeptInView(families))
        self._reached()

    def known(self, result: int | None, detail: Detail) -> None:
        """Record the result and detail that are known so far."""
        if self._index is not None:
            self._log.amend(self._index, result, detail)


class Begun:
    """Counts, records and strikes; see :class:`chaoskit.inject.kernel.border.Happenings`.

    ``settle`` completes what other domains have under way; ``reached`` is called when a strike's point is
    reached.
    """

    def __init__(
        self, log: Log, strikes: Strikes, settle: Callable[[], None], reached: Callable[[], None]
    ) -> None:
        self._log = log
        self._strikes = strikes
        self._settle = settle
        self._reached = reached

    def begin(self, call: Call, detail: Detail, where: Where | None = None) -> Started:
        """Count, record and strike an operation."""
        index = None
        if self._log.recording:
            self._settle()
            # Recorded when it begins and completed when it is over: it stands before what comes between.
            index = len(self._log.operations)
            self._log.record(call, None, detail, where)
        # Made only for a receipt: of a thousand requests one is struck.
        begun = partial(Operation, 0, call.family, call.target, call.second, detail=detail)
        if index is not None:
            # Bound to the record of this moment, since ``known`` replaces it by later ones.
            begun = partial(replace, self._log.operations[index])
        started = Started(self._strikes, self._log, begun, index, self._reached)
        armed = self._strikes.due(call.family, call.target, call.second, call.task)
        if armed is not None:
            started.armed, started.shape = armed, armed.shape
            self._strikes.reached += 1
            self._reached()
            self._common(started, call)
        return started

    def near(self, family: str, within: int) -> bool:
        """True if one of the next ``within`` operations of a family may be struck."""
        return self._strikes.near(family, within)

    def _common(self, started: Started, call: Call) -> None:
        """Kills and signals are the same whatever they strike; a delay is the domain's to keep."""
        assert started.shape is not None
        if isinstance(started.shape, Delayed):
            return
        try:
            effect: FaultEffect | None = self._strikes.common(started.shape, call.task)
        except CannotExecute as why:
            started.impossible(str(why))
            return
        if effect is None:
            return
        started.shape = None
        if effect.kill:
            started.kill(effect.text)
        else:
            started.prove(effect.text)
