"""What must be watched inside the interpreter so that a set of faults can strike there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.core.schedule import Schedule
from chaoskit.faults.calls import INSIDE_CALLS
from chaoskit.faults.interrupts import Interrupt
from chaoskit.faults.memories import LastingShortage, Shortage
from chaoskit.faults.sets import FaultSet


@dataclass(frozen=True, slots=True)
class Inward:
    """``families`` are those of :data:`~chaoskit.faults.calls.INSIDE_CALLS` that matter; usually none.

    They are the same in a recording and in its cases, since watching allocates memory, too. ``packages`` are
    importable names whose lines count besides the project's own.
    """

    families: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.families)


NOTHING_INWARD = Inward()
_AT: Mapping[str, tuple[str, ...]] = {
    "MemoryError": ("alloc",),
    "KeyboardInterrupt": ("line", "returned"),
    "cancel": ("await",),
}


def inside_of(faults: FaultSet, replay: Schedule | None = None) -> Inward:
    """What must be watched for the faults of a set, and for those of a schedule to replay."""
    named = {strike.point.call for strike in replay or ()} & INSIDE_CALLS
    wanted = {call for name in faults.names for call in _AT.get(name, ())}
    return Inward(frozenset(wanted | named), tuple(dict.fromkeys(_packages(faults))))


def _packages(faults: FaultSet) -> Iterable[str]:
    for entry in faults.entries:
        if isinstance(entry.family, Shortage | LastingShortage | Interrupt):
            yield from entry.family.packages


def checked_packages(function: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``packages`` if all are names that could be imported.

    Raises:
        UsageError: for anything else.
    """
    for one in packages:
        if not isinstance(one, str) or not all(part.isidentifier() for part in one.split(".")):
            raise wrong(f"faults.{function}", one, "names of packages whose lines count, such as 'diskcache'")
    return packages
