"""Memory that runs out: a failed allocation, a full address space, the kernel's last resort."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.errors import wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults.calls import FAMILIES, changes
from chaoskit.faults.facts import facts
from chaoskit.faults.sets import FaultSet


@dataclass(frozen=True, slots=True, repr=False)
class Shortage:
    """MemoryError at allocations of the program's lines; the kernel's kill if there are several processes.

    The first and the last execution of each line that allocates, and in each the allocations 1, 2, 4, 8 … and
    the last: a line that handles its first and its fourth allocation handles its third. ``packages`` are
    those whose lines count besides the project's.
    """

    packages: tuple[str, ...] = ()
    names: ClassVar[frozenset[str]] = frozenset({"MemoryError", "oom"})

    def __repr__(self) -> str:
        return f"faults.memory({', '.join(map(repr, self.packages))})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        for nth in sparse(operation.allocations):
            yield Fault("MemoryError", str(nth))
        # With one process it is the same as a kill.
        if operation.place.run in facts(trace).forking_runs and changes(operation):
            yield Fault("oom")


@dataclass(frozen=True, slots=True, repr=False)
class LastingShortage:
    """From one allocation on, all large ones fail: memory stays short, as in the real world."""

    packages: tuple[str, ...] = ()
    names: ClassVar[frozenset[str]] = frozenset({"MemoryError"})

    def __repr__(self) -> str:
        return f"faults.memory({', '.join(map(repr, self.packages))}).lasting()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.allocations:
            yield Fault("MemoryError", f"1,{PERSISTENT}")


@dataclass(frozen=True, slots=True, repr=False)
class Limited:
    """From the first call of each Python stack on, the address space may grow only by a few MiB."""

    mebibytes: tuple[int, ...]
    names: ClassVar[frozenset[str]] = frozenset({"memory_limit"})

    def __repr__(self) -> str:
        return f"faults.memory().limited({', '.join(map(repr, self.mebibytes))})"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.index in facts(trace).firsts and not FAMILIES[operation.call].remote:
            for mebibytes in self.mebibytes:
                yield Fault("memory_limit", str(mebibytes))


class MemoryFaults(FaultSet):
    """What ``faults.memory()`` returns: a set of faults, and methods that add what costs more cases."""

    __slots__ = ()

    def lasting(self) -> FaultSet:
        """Add a lasting shortage: from a line's first allocation on, all of 64 KiB or more fail.

        It costs one more case for each line and execution.
        """
        packages = (family.packages for one in self.entries if isinstance(family := one.family, Shortage))
        return self | FaultSet.of(LastingShortage(next(packages, ())))

    def limited(self, *mebibytes: int) -> FaultSet:
        """Add an address space that is nearly full, with this many MiB left (default: 8).

        It costs one more case for each limit and each Python stack that makes a call. It is the limit of
        setrlimit(2), so C libraries, child processes and programs in other languages meet it, too.

        Raises:
            UsageError: for anything but a whole number above zero.
        """
        for one in mebibytes:
            if isinstance(one, bool) or not isinstance(one, int) or one < 1:
                raise wrong("memory().limited", one, "whole MiB from 1")
        return self | FaultSet.of(Limited(mebibytes or (8,)))


def sparse(count: int) -> tuple[int, ...]:
    """1, 2, 4, 8 … below ``count``, and ``count`` itself; nothing for 0."""
    powers = [1 << bit for bit in range(count.bit_length()) if 1 << bit < count]
    return (*powers, count) if count else ()
