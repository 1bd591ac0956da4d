"""Which cases to run first, and which ones if a budget does not allow all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from chaoskit.core.operation import Operation
from chaoskit.explore.border import Planned
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.shapes import shape_of

__all__ = ["choose", "ranked"]


def ranked(planned: Sequence[Planned], operations: Sequence[Operation | None], seed: int) -> list[int]:
    """The indices of all cases, the most telling first; ``operations[i]`` is struck by ``planned[i]``.

    First one fault of each kind at every call stack, changes of the disk before the rest, then the other
    faults of that kind there, and so on: most programs handle all errors of a call alike, so the second one
    at a place tells less than the first one at another. The seed decides among equals, so that other seeds
    try other cases.
    """
    chance = random.Random(seed)
    kinds: Counter[tuple[object, ...]] = Counter()
    names: Counter[tuple[object, ...]] = Counter()
    order = []
    # Shuffled before counting, so that the seed also decides which of the equals comes first.
    shuffled = list(range(len(planned)))
    chance.shuffle(shuffled)
    for position, index in enumerate(shuffled):
        operation = operations[index]
        fault = planned[index].schedule.strikes[-1].fault
        where = operation and (operation.stack or (operation.call, operation.target))
        kind = (where, type(shape_of(fault)))
        kinds[kind] += 1
        names[where, fault.name] += 1
        # Calls that change or sync the disk lose data; calls that only read rarely do.
        row = FAMILIES.get(operation.call) if operation is not None else None
        reads = row is not None and not (row.changes or row.syncs)
        order.append((kinds[kind] > 1, names[where, fault.name], reads, position, index))
    return [index for *_, index in sorted(order)]


def choose(
    planned: Sequence[Planned], operations: Sequence[Operation | None], limit: int | None, seed: int
) -> list[int]:
    """The indices of at most ``limit`` cases, ascending: those that :func:`ranked` has first."""
    # In their original order, so that a budget that is not reached changes nothing.
    if limit is None or len(planned) <= limit:
        return list(range(len(planned)))
    return sorted(ranked(planned, operations, seed)[:limit])
