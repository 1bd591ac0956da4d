"""What a local disk can do to a program that keeps running."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import PERSISTENT, Fault
from chaoskit.faults.calls import FAMILIES, extends, happened, transferred
from chaoskit.faults.contention import contended
from chaoskit.faults.errnos import TABLE, ErrnoRow, lost, possible
from chaoskit.faults.facts import facts

# Errors caused by other processes are included, since a run may have several.
_ERRNOS = frozenset(row.name for rows in TABLE.values() for row in rows if row.fault_class != "share")

MAKES_NO_ROOM = 0x02 | 0x08
"""FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE (fallocate(2))."""


@dataclass(frozen=True, slots=True, repr=False)
class Disk:
    """Transient and persistent errors, short transfers, a disk that fills up, late errors.

    Errors that contradict the state of the disk are offered only if another process of the same run could
    cause that state: see :mod:`chaoskit.faults.contention`.

    Only calls that succeeded in the baseline are struck: replacing one error by another shows nothing new.
    """

    names: ClassVar[frozenset[str]] = _ERRNOS | {"short", "lost", "full"}

    def __repr__(self) -> str:
        return "faults.disk()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if not happened(operation):
            return
        # Most closes have no pending data that could fail; see keeps_failing().
        if operation.call != "close" or operation.index in facts(trace).late_closes:
            yield from errors(_rows(operation))
        yield from errors(
            row for row in possible(operation, "interference") if contended(row, operation, trace)
        )
        yield from (Fault("short", str(n)) for n in _parts(operation))
        # From this call on: a disk that is full stays full for every later call.
        yield from (Fault("full", str(n)) for n in _room_left(operation))
        yield from (Fault("lost", row.name) for row in lost(operation, "local"))
        for row in lost(operation, "interference"):
            if contended(row, operation, trace):
                yield Fault("lost", row.name)


def _rows(operation: Operation) -> Iterator[ErrnoRow]:
    rows = possible(operation, "local")
    # Programs look names up all the time, and one error is enough to tell "absent" from "unknown".
    return islice(rows, 1) if FAMILIES[operation.call].looks else rows


def errors(rows: Iterable[ErrnoRow]) -> Iterator[Fault]:
    """The faults of some rows: each as a single error, and persistent where possible."""
    for row in rows:
        yield Fault(row.name)
        if row.lasting:
            yield Fault(row.name, PERSISTENT)


def _parts(operation: Operation) -> tuple[int, ...]:
    """Lengths 1 and half: the shortest short transfer, and one that ends mid-record."""
    length = transferred(operation) if FAMILIES[operation.call].partial else 0
    return tuple(sorted({1, length // 2})) if length > 1 else ()


def _room_left(operation: Operation) -> tuple[int, ...]:
    """Bytes still free at a call that needs room: none, and half of what it needs.

    The end of one such call is the beginning of the next, so these are all the thresholds that a program can
    distinguish.
    """
    row = FAMILIES[operation.call]
    if row.room != "data":
        return ()
    # A reservation succeeds whole or not at all, and how much a splice moves is not known in advance.
    if not row.transfers:
        return (0,) if _reserves(operation) else ()
    if row.unseen:
        return (0,)
    if not extends(operation):
        return ()
    growth = _growth(operation)
    return (0, growth // 2) if growth > 1 else (0,) if growth == 1 else ()


def _reserves(operation: Operation) -> bool:
    """Return True if the call reserves room beyond the end of the file: a full disk refuses no other room."""
    detail = operation.file
    if detail.length is None:
        return True
    beyond = (detail.offset or 0) + detail.length > (detail.size_before or 0)
    return beyond and not (detail.mode or 0) & MAKES_NO_ROOM


def _growth(operation: Operation) -> int:
    detail = operation.file
    length = transferred(operation)
    if detail.offset is None or detail.size_before is None:
        return length
    # Only data beyond the end needs room: overwriting keeps the blocks that the file has.
    return min(length, detail.offset + length - detail.size_before)
