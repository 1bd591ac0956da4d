"""Inject faults inside the interpreter, at the places that a schedule names."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType

from chaoskit.core.schedule import fits
from chaoskit.faults.inner import LARGE, AllocationFails, Inner
from chaoskit.inject.base import Plan
from chaoskit.inject.interpreter import tasks
from chaoskit.inject.interpreter.freelists import settle
from chaoskit.inject.interpreter.places import CodePlaces
from chaoskit.inject.interpreter.recording import spent_on
from chaoskit.inject.interpreter.words import ARMED, COUNTDOWN, HITS, LEAST, NEVER, SharedWords


@dataclass(slots=True)
class _Cell:
    """A place whose execution strikes wait for: the count of executions, and the strikes by number."""

    due: Mapping[int, tuple[int, Inner]]
    count: int = 0


class Striker:
    """Counts executions of the places in a plan, and strikes at those due; an ``EventListener``."""

    def __init__(self, shared: SharedWords, places: CodePlaces, plan: Plan) -> None:
        self._shared = shared
        self._words = shared.words
        self._places = places
        self._waiting: dict[str, dict[str, _Cell]] = {}
        self._cells: dict[tuple[str, int, int], _Cell | None] = {}
        self._armed = 0
        self._nth = 0
        self._lasting = False
        self._spent = {0: 0}
        for position, (strike, shape) in enumerate(zip(plan.strikes, plan.shapes, strict=True)):
            if isinstance(shape, Inner):
                point = strike.point
                cell = self._waiting.setdefault(point.call, {}).setdefault(point.target, _Cell({}))
                cell.due = {**cell.due, point.ordinal: (position, shape)}

    def calibrated(self, spent: dict[int, int]) -> None:
        """Set how many allocations the report of a line takes, by the least line number that takes them."""
        self._spent = spent

    def line(self, code: CodeType, number: int, told: int) -> None:
        """A line begins or resumes: the previous one is over, and this one may be the one to strike."""
        # First, and without an allocation: the code below must not fail.
        self._disarm(told)
        found = self._due("alloc", code, number, None)
        if found is not None:
            position, shape = found
            assert isinstance(shape, AllocationFails)
            self._lasting = shape.lasting
            self._words[LEAST] = LARGE if shape.lasting else NEVER
            self._words[HITS] = 0
            self._words[ARMED] = self._armed = position + 1
            self._nth = nth = shape.nth
            settle()
            # Last: from here on allocations are the line's.
            self._words[COUNTDOWN] = nth

    def left(self, told: int = 0) -> None:
        """The line stops for now."""
        self._disarm(told)

    def looked(self, code: CodeType, number: int) -> None:
        """Python looks for signals."""
        self._interrupt(self._due("line", code, number, None))

    def returned(self, code: CodeType, offset: int, callee: object) -> None:
        """A call has returned."""
        self._interrupt(self._due("returned", code, offset, callee))

    def waits(self, code: CodeType, number: int) -> None:
        """A task waits."""
        if "await" not in self._waiting:
            return
        found = self._due("await", code, number, None, only_in_tasks=True)
        if found is not None:
            position, _ = found
            cancel = tasks.canceller(lambda: self._shared.prove(position))
            if cancel is not None:
                cancel()

    def _disarm(self, number: int) -> None:
        """End the line that was to be struck, since the line with this number is reported."""
        if not self._armed:
            return
        # Once begun, a shortage lasts until the run is over.
        if self._lasting and self._words[HITS]:
            self._shared.prove(self._armed - 1)
        else:
            left = self._words[COUNTDOWN]
            self._words[COUNTDOWN] = NEVER
            self._shared.prove(self._armed - 1, self._words[HITS])
            if not self._words[HITS]:
                made = self._nth - left - spent_on(number, self._spent)
                self._shared.fell_short(self._armed - 1, max(0, made))
        self._words[ARMED] = self._armed = 0

    def _due(
        self, call: str, code: CodeType, where: int, callee: object, *, only_in_tasks: bool = False
    ) -> tuple[int, Inner] | None:
        """Count an execution; return what strikes in it, if that is the next strike of the plan."""
        key = (call, id(code), where)
        if key not in self._cells:
            # A call site may call different things, so compute the name each time.
            if call == "returned":
                return self._struck(self._cell(call, self._places.called(code, callee)))
            self._cells[key] = self._cell(call, self._places.line(code, where))
        cell = self._cells[key]
        if cell is not None and only_in_tasks and tasks.canceller(_nothing) is None:
            return None
        return self._struck(cell)

    def _cell(self, call: str, target: str) -> _Cell | None:
        return next((cell for one, cell in self._waiting.get(call, {}).items() if fits(one)(target)), None)

    def _struck(self, cell: _Cell | None) -> tuple[int, Inner] | None:
        if cell is None:
            return None
        cell.count += 1
        found = cell.due.get(cell.count)
        if found is None or found[0] != self._shared.reached:
            return None
        self._shared.reached += 1
        return found

    def _interrupt(self, found: tuple[int, Inner] | None) -> None:
        if found is not None:
            self._shared.prove(found[0])
            # Through the program's handler: that of an event loop cancels its task first.
            if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)


def _nothing() -> None:
    """Called for no strike."""
