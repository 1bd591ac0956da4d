"""SIGKILL: before each change, at each promise, at the end, and in the middle of large writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import FAMILIES, changes, transferred
from chaoskit.faults.facts import facts

PAGE = 4096
"""A kernel that copies a write into the page cache looks for a fatal signal between pages (mm/filemap.c,
``generic_perform_write``), so a write can end at these borders of the file and nowhere else."""


@dataclass(frozen=True, slots=True, repr=False)
class Kill:
    """Kills that leave different states.

    Before each operation that changes the disk: kills between two changes leave the same. At each promise and
    at the end. Inside a write of more than a page. Of the calling process alone if the run has several.
    Before a request has arrived, and once it was answered: the outside world has seen it, or has not.
    """

    names: ClassVar[frozenset[str]] = frozenset({"kill"})

    def __repr__(self) -> str:
        return "faults.kill()"

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if FAMILIES[operation.call].pseudo:
            yield Fault("kill")
        elif FAMILIES[operation.call].talks:
            if operation.call != "greeting":
                yield Fault("kill", "request")
            if operation.network.received:
                yield Fault("kill", "answer")
        elif changes(operation):
            yield Fault("kill")
            if operation.place.run in facts(trace).forking_runs:
                yield Fault("kill", "process")
            for length in torn_lengths(operation):
                yield Fault("kill", f"torn {length}")


def torn_lengths(operation: Operation) -> tuple[int, ...]:
    """How many bytes of a write may have reached the file when it is killed: first, middle, last border.

    Borders are multiples of :data:`PAGE` in the file, not in the buffer. Empty for anything but a
    write of more than a page.
    """
    length = transferred(operation)
    if operation.call != "write" or length <= PAGE:
        return ()
    first = PAGE - (operation.file.offset or 0) % PAGE
    borders = range(first, length, PAGE)
    return tuple(sorted({borders[0], borders[len(borders) // 2], borders[-1]}))
