"""Files that are damaged before a program reads them: cut, flipped, torn, or hostile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from chaoskit.core.errors import wrong
from chaoskit.core.operation import Operation, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults.calls import changes
from chaoskit.faults.sets import FaultSet

PER_FILE = 60
"""Damages offered for one file by default: one of each kind before a second of any."""

Narrowed = Literal["inputs", "detectable"]


@dataclass(frozen=True, slots=True, repr=False)
class Corruption:
    """Offers the damages of a file's format at the open that first reads its content.

    ``inputs``: only files that existed before the test's first run and have not changed since.
    ``detectable``: only damage that the format's own rules reveal, such as a checksum or a missing bracket.
    """

    per_file: int = PER_FILE
    narrowed: frozenset[Narrowed] = frozenset()
    names: ClassVar[frozenset[str]] = frozenset({"damage"})

    def __repr__(self) -> str:
        given = "" if self.per_file == PER_FILE else f"per_file={self.per_file}"
        return f"faults.corruption({given})" + "".join(f".{one}()" for one in sorted(self.narrowed))

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        held = operation.file.held
        if held is None or not operation.ok or not _is_read(operation, trace):
            return
        if "inputs" in self.narrowed and not _is_input(operation, trace):
            return
        # Imported here: the formats load archive and database modules, which most scenarios do not need.
        from chaoskit.faults.corrupt import formats

        chosen = formats.chosen(held.read(), self.per_file, detectable="detectable" in self.narrowed)
        yield from (Fault("damage", label) for label in chosen)


def _is_read(operation: Operation, trace: Trace) -> bool:
    """Return True if the run goes on to read the file: one that is only opened, as a lock is, stays whole."""
    run, inode = operation.place.run, operation.file.inode
    later = trace.operations[operation.index + 1 :]
    return any(one.call == "read" and one.file.inode == inode and one.place.run == run for one in later)


def _is_input(operation: Operation, trace: Trace) -> bool:
    """Return True if the trace neither made this file or its content, nor read it before."""
    inode = operation.file.inode
    for before in trace.operations[: operation.index]:
        if before.file.inode == inode and (changes(before) or before.file.held is not None):
            return False
    return True


class CorruptionFaults(FaultSet):
    """Damages of files. Each method gives a set with fewer of them."""

    __slots__ = ()

    def inputs(self) -> CorruptionFaults:
        """Only files that existed before the first run and have not changed since."""
        return self._with("inputs")

    def detectable(self) -> CorruptionFaults:
        """Only damage that the rules of the file's format reveal: what a strict reader refuses.

        A changed number or a missing row is not among them: only a checksum in the program's own data would
        reveal it. Nor are hostile members, which are well-formed.
        """
        return self._with("detectable")

    def _with(self, narrowed: Narrowed) -> CorruptionFaults:
        return self._each(Corruption, lambda family: replace(family, narrowed=family.narrowed | {narrowed}))


def checked_per_file(number: int) -> int:
    """The number of damages for one file.

    Raises:
        UsageError: for anything but a whole number from 1.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise wrong("per_file", number, "a whole number of damages, from 1")
    return number
