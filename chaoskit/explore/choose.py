"""Which cases to run when a budget does not allow all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from chaoskit.core.operation import Operation
from chaoskit.explore.border import Planned

# What changes the disk, or promises that it has changed, loses data; what reads rarely does.
_SUSPICIOUS = frozenset(
    {
        "write", "rename", "fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "link", "symlink",
        "unlink", "truncate", "fallocate", "copy_file_range", "sendfile", "splice", "clone", "msync",
        "promise", "end",
    }
)  # fmt: skip


def choose(
    planned: Sequence[Planned], operations: Sequence[Operation | None], limit: int | None, seed: int
) -> list[int]:
    """The indices of at most ``limit`` cases, ascending; ``operations[i]`` is struck by ``planned[i]``.

    First every kind of fault once at every call stack, changes of the disk before the rest; then
    each a second time, and so on. The seed decides among equals, so that other seeds see others.
    """
    # In their own order, so that a budget which is not reached changes nothing.
    if limit is None or len(planned) <= limit:
        return list(range(len(planned)))
    chance = random.Random(seed)
    seen: Counter[tuple[object, ...]] = Counter()
    ranked = []
    # Shuffled before counting, so that the seed also decides which of the equals comes first.
    shuffled = list(range(len(planned)))
    chance.shuffle(shuffled)
    for order, index in enumerate(shuffled):
        operation = operations[index]
        fault = planned[index].schedule.strikes[-1].fault.name
        where = operation and (operation.stack or (operation.call, operation.target))
        seen[where, fault] += 1
        dull = operation is not None and operation.call not in _SUSPICIOUS
        ranked.append((seen[where, fault], dull, order, index))
    return sorted(index for *_, index in sorted(ranked)[:limit])
