"""The steps of a script sorted by kind, as sets: made once, and used for thousands of crash states."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from chaoskit.core.operation import Operation
from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.steps import Script, Step, StepKind, mask_of


@dataclass(frozen=True)
class Traits:
    """Sets of steps, each with one property, and what had happened by each operation.

    A crash state is a few sets of steps; intersecting them with these shows what it lacks. Walking over the
    steps instead would take time for each state, and a long trace has as many steps as states.
    """

    asked: int
    """Steps that a call asked for: others may be missing, too, but no call is to blame for that."""
    visible: int
    """Steps that show that a file system wrote one thing before another."""
    torn: int
    """The rests of steps if the power fails in the middle of them."""
    data: int
    content: int
    """Data, and the growth that comes with it."""
    entries: int
    resizes: int
    published: int
    """Entries made by a rename or link that names a file."""
    cuts: int
    """Steps that take content from a file: it is emptied by opening it, or made shorter."""
    halves: int
    """The two entries that a rename changes."""
    content_of: Mapping[Inode, int]
    failed: Sequence[tuple[int, Inode]]
    """The failed syncs of files, in order: the operation and the file."""
    _latest: Sequence[int]
    """For each step, the latest operation among the steps up to it; ascending."""
    _strays: Mapping[int, int]
    """The operations of steps that come after steps of later operations: stores to a mapped file are seen
    late, and belong to the call that mapped it."""
    _promises: Sequence[Operation]

    def before(self, operation: int) -> int:
        """The steps of earlier operations."""
        strays = mask_of(index for index, made_by in self._strays.items() if made_by < operation)
        return (1 << bisect_left(self._latest, operation)) - 1 | strays

    def promise(self, operation: int) -> Operation | None:
        """The last promise made by the end of an operation."""
        # The last one covers most: an earlier one would blame fewer calls.
        number = bisect_left(self._promises, operation + 1, key=lambda promise: promise.index)
        return self._promises[number - 1] if number else None


def traits_of(script: Script) -> Traits:
    """Sort the steps of a script."""
    steps, trace = script.steps, script.trace

    def those(wanted: Callable[[Step], object]) -> int:
        return mask_of(step.index for step in steps if wanted(step))

    content_of: defaultdict[Inode, int] = defaultdict(int)
    for step in steps:
        if step.kind in (StepKind.DATA, StepKind.GROW):
            content_of[step.owner] |= 1 << step.index
    latest = list(accumulate((step.operation for step in steps), max))
    entries = [step for step in steps if step.kind is StepKind.ENTRY]
    return Traits(
        asked=those(lambda step: not step.unasked),
        # fallocate can journal a size before the write that made it, though no call asked for that.
        visible=those(lambda step: not step.unasked or step.unless is ModelRule.ALLOCATES_APART),
        torn=those(lambda step: step.torn_from is not None),
        data=those(lambda step: step.kind is StepKind.DATA),
        content=those(lambda step: step.kind in (StepKind.DATA, StepKind.GROW)),
        entries=mask_of(step.index for step in entries),
        resizes=those(lambda step: step.kind is StepKind.RESIZE),
        published=mask_of(
            step.index
            for step in entries
            if step.child is not None and trace[step.operation].call in ("rename", "link")
        ),
        cuts=those(lambda step: step.kind is StepKind.RESIZE and _cuts(trace[step.operation], step)),
        halves=mask_of(step.index for step in entries if step.partner is not None),
        content_of=content_of,
        failed=[
            (effect.operation, effect.sync.inode)
            for effect in script.effects
            if effect.sync is not None and effect.sync.failed and effect.sync.inode is not None
        ],
        _latest=latest,
        _strays={s.index: s.operation for s in steps if s.operation < latest[s.index]},
        _promises=[trace[e.operation] for e in script.effects if trace[e.operation].call == "promise"],
    )


def _cuts(operation: Operation, step: Step) -> bool:
    # A resize that only extends the file loses nothing.
    return operation.call == "open" or (operation.file.size_before or 0) > step.size
