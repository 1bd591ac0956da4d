"""What a network file system can do to a program, beyond a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import happened
from chaoskit.faults.disks import errors
from chaoskit.faults.errnos import TABLE, lost, possible
from chaoskit.faults.facts import facts

_ERRNOS = frozenset(row.name for rows in TABLE.values() for row in rows if row.fault_class == "share")


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """Stale handles, lost replies, a server that gives up, names that appear late or vanish for a moment.

    In addition to :class:`~chaoskit.faults.disks.Disk`: the server has a disk, too.
    """

    names: ClassVar[frozenset[str]] = _ERRNOS | {"lost"}

    def __repr__(self) -> str:
        return "faults.share()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if not happened(operation):
            return
        if operation.call != "close" or operation.index in facts(trace).late_closes:
            yield from errors(possible(operation, "share"))
        yield from (Fault("lost", row.name) for row in lost(operation, "share"))
