"""Signals that a program may handle, sent at each point."""

from __future__ import annotations

import signal as _signal
from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.facts import facts
from chaoskit.faults.narrowing import unknown

# kill() sends SIGKILL, and only where it leaves something new; after SIGSTOP a workload never ends.
_REFUSED = {"SIGKILL": "Use faults.kill().", "SIGSTOP": "It would stop the workload forever."}


@dataclass(frozen=True, slots=True, repr=False)
class Sent:
    """One signal, sent to the workload's first process at every call and promise."""

    signal: _signal.Signals

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.signal.name})

    def __repr__(self) -> str:
        return f"faults.signal({self.signal.name!r})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        # From the end on no process is left to handle it. A look-up changes nothing, so a signal there finds
        # the disk as it is at the next call.
        row = FAMILIES[operation.call]
        passive = row.looks or row.inside
        if operation.call != "end" and not passive and operation.index not in facts(trace).survivors:
            yield Fault(self.signal.name)


def checked(signal: str | int) -> _signal.Signals:
    """The signal given by a name (``SIGTERM`` or ``TERM``), a number or a member.

    Raises:
        UsageError: for an unknown signal, and for one that no program can handle.
    """
    # By name in schedules: numbers differ between processors.
    member = _named(signal) if isinstance(signal, str) else _numbered(signal)
    if member.name in _REFUSED:
        raise wrong("signal", member.name, "one that a program can handle", _REFUSED[member.name])
    return member


def _named(name: str) -> _signal.Signals:
    known = [member.name for member in _signal.Signals]
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if full not in known:
        raise unknown("signal", name, known)
    return _signal.Signals[full]


def _numbered(number: int) -> _signal.Signals:
    try:
        return _signal.Signals(number)
    except (ValueError, TypeError):
        raise wrong("signal", number, "a signal's name, number or member, such as 'SIGTERM'") from None
