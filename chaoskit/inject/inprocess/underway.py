"""An operation that takes longer than one call, such as a request: it begins, is struck, and ends."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any, Protocol

from chaoskit.core.operation import Detail, Operation, Receipt
from chaoskit.faults.shapes import Shape
from chaoskit.inject.armed import Armed

_KILL = int(getattr(signal, "SIGKILL", 9))


class Striking(Protocol):
    """The run that an operation belongs to."""

    operations: list[Operation]
    receipts: list[Receipt]

    def caveat(self, kind: str, target: str, text: str) -> None: ...

    def die(self, signal: int) -> None: ...


class LongOperation:
    """``shape`` is what strikes it, or None. ``place`` is its position in the record, or None."""

    def __init__(self, run: Striking, operation: Operation, armed: Armed | None, place: int | None) -> None:
        self.shape: Shape | None = None if armed is None else armed.shape
        self._run = run
        self._operation = operation
        self._armed = armed
        self._place = place

    def prove(self, effect: str) -> None:
        """Note that the fault took effect now; without this the case counts as not injected."""
        if self._armed is not None:
            shown = replace(self._operation, ordinal=self._armed.ordinal)
            self._run.receipts.append(Receipt(self._armed.text, str(shown), effect))

    def kill(self, effect: str) -> None:
        """End the workload as SIGKILL does.

        Raises:
            ProcessKilled: always.
        """
        self.prove(f"the workload counts as killed, {effect}")
        self._run.die(_KILL)

    def impossible(self, why: str) -> None:
        """Note that the fault cannot be injected here after all."""
        self.shape = None
        if self._armed is not None:
            text = f"{self._armed.text} could not be injected: {why}"
            self._run.caveat("not-injected", self._armed.text, text)

    def known(self, result: int | None, detail: Detail) -> None:
        """Note the outcome; a recording keeps it."""
        if self._place is not None:
            made: list[Any] = self._run.operations
            made[self._place] = replace(made[self._place], result=result, detail=detail)
