"""Operations and traces made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chaoskit.core.operation import MAIN, FileDetail, Frame, Operation, Place, Trace
from chaoskit.faults import FaultSet


def operation(
    call: str,
    target: str = "f",
    second: str | None = None,
    *,
    index: int = 0,
    result: int | None = 0,
    place: Place = MAIN,
    stack: tuple[Frame, ...] = (),
    syscall: str = "",
    **detail: Any,
) -> Operation:
    return Operation(
        index, call, target, second, 1, place, syscall or call, result, FileDetail(**detail), stack
    )


def write(length: int, *, offset: int = 0, size_before: int | None = None, **more: Any) -> Operation:
    """A write that succeeded; at the end of its file unless told otherwise."""
    size = offset if size_before is None else size_before
    return operation("write", result=length, offset=offset, length=length, size_before=size, **more)


def trace(*operations: Operation) -> Trace:
    """A trace of ``operations``, numbered in order."""
    return Trace(tuple(replace(op, index=i) for i, op in enumerate(operations)))


def offered(faults: FaultSet, *operations: Operation, at: int = 0) -> list[str]:
    """What ``faults`` offers at one of ``operations``, as text."""
    whole = trace(*operations)
    return [str(fault) for fault in faults.offers(whole[at], whole)]
