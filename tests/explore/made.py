"""Operations and traces, made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from chaoskit.core.operation import MAIN, Frame, Operation, OrdinalCounter, Place, Trace
from chaoskit.core.schedule import Fault
from chaoskit.faults import FaultSet


@dataclass(frozen=True)
class Everywhere:
    """A family that offers one kill at everything but fsync, whatever the catalogue thinks of it."""

    names: ClassVar[frozenset[str]] = frozenset({"kill"})

    def offers(self, operation: Operation, trace: Trace) -> Iterator[Fault]:
        if operation.call != "fsync":
            yield Fault("kill")


KILL = FaultSet.of(Everywhere())


def operation(
    call: str,
    target: str,
    second: str | None = None,
    *,
    place: Place = MAIN,
    line: int = 0,
    result: int = 0,
    file: str = "/app/store.py",
) -> Operation:
    """One operation; with a ``line``, its stack is one frame there."""
    stack = (Frame(file, line, "save"),) if line else ()
    return Operation(0, call, target, second, place=place, result=result, stack=stack)


def trace(*operations: Operation) -> Trace:
    """A trace of these operations, with indices and ordinals set."""
    ordinals = OrdinalCounter()
    numbered = (replace(one, index=i, ordinal=ordinals.next(one.key)) for i, one in enumerate(operations))
    return Trace(tuple(numbered), root="/case")


def saving(name: str, *more: Operation) -> Trace:
    """A temporary file of this name, renamed to ``final``."""
    return trace(
        operation("open", name, line=1),
        operation("write", name, line=2),
        operation("fsync", name, line=3),
        operation("rename", name, "final", line=4),
        *more,
        operation("end", ""),
    )
