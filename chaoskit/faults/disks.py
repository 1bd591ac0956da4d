"""What a disk or a network share can do to a program that keeps running."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults.calls import FAMILIES, extends, happened, transferred
from chaoskit.faults.errnos import LOST, TABLE, possible
from chaoskit.faults.facts import facts

_ERRNOS = frozenset(row.name for rows in TABLE.values() for row in rows)


@dataclass(frozen=True, slots=True, repr=False)
class Disk:
    """Errors once and for good, short transfers, lost replies, a disk that fills up, late errors.

    Only calls that succeeded in the baseline are struck: another errno in the place of an error that
    the program already met teaches nothing.
    """

    names: ClassVar[frozenset[str]] = _ERRNOS | {"short", "lost", "full"}

    def __repr__(self) -> str:
        return "faults.disk()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if not happened(operation):
            return
        # Most closes have nothing on its way that could fail; see keeps_failing().
        if operation.call != "close" or operation.index in facts(trace).late_closes:
            yield from _errors(operation)
        yield from (Fault("short", str(n)) for n in _parts(operation) if operation.call in ("read", "write"))
        # From this call on: a disk that is full stays full for every later call.
        yield from (Fault("full", str(n)) for n in _room_left(operation))
        for row in LOST.get(operation.call, ()):
            if row.when(operation):
                yield Fault("lost", row.name)


def _errors(operation: Operation) -> Iterator[Fault]:
    rows = possible(operation)
    if FAMILIES[operation.call].looks:
        # Programs ask for names all the time, and one error tells "is not there" from "cannot be known".
        rows = islice(rows, 1)
    for row in rows:
        yield Fault(row.name)
        if row.lasting:
            yield Fault(row.name, PERSISTENT)


def _parts(operation: Operation) -> tuple[int, ...]:
    """Lengths 1 and half: the shortest short transfer, and one that ends mid-record."""
    length = transferred(operation)
    return tuple(sorted({1, length // 2})) if length > 1 else ()


def _room_left(operation: Operation) -> tuple[int, ...]:
    """Bytes still free at a call that takes some: none, and half of what it takes.

    The end of one such call is the beginning of the next, so these are all the thresholds between
    which a program can tell disks apart.
    """
    row = FAMILIES[operation.call]
    if row.room != "data":
        return ()
    # A reservation is given whole or not at all, and how much a splice moves is not known beforehand.
    if not row.transfers or row.unseen:
        return (0,)
    if not extends(operation):
        return ()
    growth = _growth(operation)
    return (0, growth // 2) if growth > 1 else (0,) if growth == 1 else ()


def _growth(operation: Operation) -> int:
    detail = operation.file
    length = transferred(operation)
    if detail.offset is None or detail.size_before is None:
        return length
    # Only what lies behind the end takes room: overwriting keeps the blocks that the file has.
    return min(length, detail.offset + length - detail.size_before)
