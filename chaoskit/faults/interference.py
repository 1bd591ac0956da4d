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
    """A file or its directory has vanished, a name is taken, a directory is not empty, a lock is held; or
    another process was quicker to do the same.

    These errors contradict the content of the disk: only another process could cause them, and the recording
    need not have one. So they are for programs that share their files with others.
    """

    names: ClassVar[frozenset[str]] = _ERRNOS | {"lost"}

    def __repr__(self) -> str:
        return "faults.interference()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if happened(operation):
            yield from errors(possible(operation, "interference"))
            yield from (Fault("lost", row.name) for row in lost(operation, "interference"))
