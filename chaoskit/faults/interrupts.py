"""Ctrl-C where Python looks for it, SIGINT in the middle of a call, and tasks that are cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.facts import facts

_WITHIN = {"line": "KeyboardInterrupt", "returned": "KeyboardInterrupt", "await": "cancel"}


@dataclass(frozen=True, slots=True, repr=False)
class Interrupt:
    """One case for each place in the program's own code where an interrupt can occur.

    KeyboardInterrupt when a function begins, when a loop turns, and when a call of something not written in
    Python has returned but its result is not stored yet: only there does CPython check for signals. SIGINT at
    the first system call of each Python stack. Cancellation where a task first waits. ``packages`` are those
    whose lines count besides the project's.
    """

    packages: tuple[str, ...] = ()
    names: ClassVar[frozenset[str]] = frozenset({"KeyboardInterrupt", "SIGINT", "cancel"})

    def __repr__(self) -> str:
        return f"faults.interrupt({', '.join(map(repr, self.packages))})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.call in _WITHIN:
            yield Fault(_WITHIN[operation.call])
        elif operation.index in facts(trace).firsts - facts(trace).survivors:
            yield Fault("SIGINT")
