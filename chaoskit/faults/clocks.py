"""Clocks that are set while a program runs, and waits that take longer than they should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.facts import facts

NAMES: frozenset[str] = frozenset({"step", "same", "freeze", "set", "drift", "suspend", "late"})
"""The faults that need virtual time."""

_HOUR = 3600
_STEPS = (Fault("step", f"-{_HOUR}"), Fault("step", str(_HOUR)), Fault("step", "-0.000001"))
"""An hour covers changes by people and time zones; a time server may take back a microsecond, which reverses
the order of two successive moments."""
_AT_READS = (
    Fault("same"),
    Fault("freeze"),
    Fault("set", "2038-01-19T03:14:07Z"),
    Fault("set", "1970-01-01T00:00:00Z"),
    Fault("drift", "500"),
    Fault("drift", "-500"),
)
_SUSPENDED = Fault("suspend", str(_HOUR))
_AT_SLEEPS = (Fault("step", f"-{_HOUR}"), Fault("step", str(_HOUR)), Fault("late", "60"), Fault("EINTR"))
_NO_EINTR = "futex"
"""The C library continues to wait (futex(2), "EINTR")."""


@dataclass(frozen=True, slots=True, repr=False)
class Clocks:
    """The wall clock is set. With ``whole``, also rarer faults of clocks and waits."""

    whole: bool = False
    names: ClassVar[frozenset[str]] = NAMES | {"EINTR"}

    def __repr__(self) -> str:
        return "faults.clock(whole=True)" if self.whole else "faults.clock()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # A loop reads a clock, or sleeps, a thousand times at one line: the first time stands for all. But a
        # comparison with an earlier read at the same line goes wrong only at the second.
        known = facts(trace)
        first = operation.index in known.first_at_site
        if not first and (operation.call != "clock" or operation.index not in known.second_at_site):
            return
        if operation.call == "clock":
            yield from _STEPS
            if self.whole:
                again = operation.ordinal > 1
                yield from (one for one in _AT_READS if (again if one.name == "same" else first))
        elif operation.call == "sleep":
            yield _SUSPENDED
            if self.whole:
                yield from (
                    one for one in _AT_SLEEPS if one.name != "EINTR" or operation.syscall != _NO_EINTR
                )
