"""Operations that are not system calls: a domain reports that they begin, and strikes them."""

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
    """A condition that answers no call itself: its domain does."""

    families: frozenset[str]

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """Leave the answer to the domain."""
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
        """The strike as the schedule writes it."""
        return self.armed.text if self.armed is not None else ""

    def prove(self, effect: str) -> None:
        """Note that the fault took effect."""
        # One receipt is enough: a partition takes effect many times.
        if self.armed is not None:
            shown = replace(self._begun(), ordinal=self.armed.ordinal, result=None)
            self._strikes.receipts.append(Receipt(self.armed.text, str(shown), effect))
            self.armed = None

    def kill(self, effect: str) -> None:
        """Kill every process of the workload."""
        if self._strikes.kill_all():
            self.prove(effect)

    def impossible(self, why: str) -> None:
        """Note that the point was reached but the fault was impossible."""
        if self.armed is not None:
            self._strikes.not_injected(self.armed, CannotExecute(why))
            self.armed = self.shape = None

    def watch(self, families: frozenset[str]) -> None:
        """From now on stop calls of these families, so that the domain can answer them."""
        self._strikes.standing.append(_KeptInView(families))
        self._reached()

    def known(self, result: int | None, detail: Detail) -> None:
        """Record the result and detail known so far."""
        if self._index is not None:
            self._log.amend(self._index, result, detail)


class Begun:
    """Counts, records and strikes operations; see :class:`chaoskit.inject.kernel.border.Happenings`.

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
            # Recorded now, so that it stands before the operations made until it ends; completed then.
            index = len(self._log.operations)
            self._log.record(call, None, detail, where)
        # Built only for a receipt: of a thousand requests one is struck.
        begun = partial(Operation, 0, call.family, call.target, call.second, detail=detail)
        if index is not None:
            # Bind the present record: ``known`` replaces it later.
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
        """Kills and signals, which are the same for all domains. A delay is left to the domain."""
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
