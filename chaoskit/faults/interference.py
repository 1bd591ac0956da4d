"""What other processes do to the names and locks that a program uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import happened
from chaoskit.faults.disks import errors
from chaoskit.faults.errnos import TABLE, lost, possible

_ERRNOS = frozenset(row.name for rows in TABLE.values() for row in rows if row.fault_class == "interference")


@dataclass(frozen=True, slots=True, repr=False)
class Interference:
    """A file has vanished, a name is taken, a directory is not empty, a lock is held.

    What is on the disk contradicts these errors: only another process could have caused them, and the
    recording need not have one. So they are for programs that are not alone with their files.
    """

    names: ClassVar[frozenset[str]] = _ERRNOS | {"lost"}

    def __repr__(self) -> str:
        return "faults.interference()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if happened(operation):
            yield from errors(possible(operation, "interference"))
            yield from (Fault("lost", row.name) for row in lost(operation, "interference"))
