"""Operations and receipts of what was seen and struck inside the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chaoskit.core.operation import Caveat, InsideDetail, Operation, Place, Receipt
from chaoskit.core.schedule import Fault, Strike
from chaoskit.faults.inner import AllocationFails, Cancelled, Inner
from chaoskit.inject.base import Plan
from chaoskit.inject.interpreter.recording import Noted
from chaoskit.inject.interpreter.words import BESIDE, SharedWords


def merged(
    operations: Sequence[Operation], noted: Sequence[Noted], run: int, pid: int
) -> tuple[Operation, ...]:
    """Merge the operations inside the interpreter into those of the run, in order of time."""
    if not noted:
        return tuple(operations)
    together: list[Operation] = []
    waiting = iter(noted)
    following = next(waiting, None)
    for position, operation in enumerate(operations):
        while following is not None and following.position <= position:
            together.append(_operation(following, run, pid))
            following = next(waiting, None)
        together.append(operation)
    # Nothing follows the end of the function: a larger position was not written by us.
    return tuple(replace(one, index=index) for index, one in enumerate(together))


def _operation(noted: Noted, run: int, pid: int) -> Operation:
    return Operation(
        index=0,
        call=noted.call,
        target=noted.target,
        ordinal=noted.ordinal,
        place=Place(run),
        result=0,
        detail=InsideDetail(noted.allocations),
        stack=noted.stack,
        pid=pid,
        tid=pid,
    )


def receipts(plan: Plan, words: SharedWords | None) -> tuple[Receipt, ...]:
    """The proofs of faults that struck inside the interpreter."""
    if words is None:
        return ()
    found = []
    for position, (strike, shape) in enumerate(zip(plan.strikes, plan.shapes, strict=True)):
        proof = words.proof(position)
        if isinstance(shape, Inner) and proof:
            found.append(Receipt(str(strike), str(strike.point), _effect(shape, proof)))
    return tuple(found)


def nearest(plan: Plan, words: SharedWords | None) -> dict[str, Strike]:
    """For each strike at an allocation that the line never reached: a strike at its last allocation."""
    made = {} if words is None else {one: words.made(at) for at, one in enumerate(plan.strikes)}
    return {str(one): replace(one, fault=Fault(one.fault.name, str(n))) for one, n in made.items() if n}


def caveats(words: SharedWords | None) -> tuple[Caveat, ...]:
    """Caveats about what was not watched inside the interpreter."""
    if words is None or not words.words[BESIDE]:
        return ()
    text = (
        "lines of the program ran in a thread other than the main one, where no allocation is made to fail. "
        "Call what the thread runs from a scenario's function, or use faults.memory().limited(8)"
    )
    return (Caveat("threads", "", text),)


def _effect(shape: Inner, proof: int) -> str:
    if isinstance(shape, AllocationFails):
        more = f", {proof} in all" if proof > 1 else ""
        return f"allocation {shape.nth} failed{more}"
    return "the task was cancelled" if isinstance(shape, Cancelled) else "KeyboardInterrupt"
