"""The steps without which a step cannot persist, by the rules of a model."""

from __future__ import annotations

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.steps import Effect, Step, StepKind, bits


def needs_of(order: Order, step: Step, effect: Effect) -> int:
    """The steps that must have persisted for ``step`` to persist, given what was played before it."""
    need = 0
    if step.is_metadata and ModelRule.ORDERED_METADATA in order.model:
        need |= order.chain
    if step.kind is StepKind.DATA:
        need |= _of_data(order, step, order.files[step.owner])
    elif step.kind is StepKind.GROW:
        need |= _of_growth(order, step, order.files[step.owner])
    elif step.kind is StepKind.FREE:
        need |= _of_release(order, step)
    elif step.kind is StepKind.ENTRY and step.child == effect.flushed and effect.flushed is not None:
        need |= _of_flushing_rename(order, order.files[effect.flushed])
    return need


def _of_data(order: Order, step: Step, file: FileRecord) -> int:
    need = 0
    if ModelRule.COHERENT_PAGES in order.model:
        # The page cache holds one copy of each page: writing it out includes all earlier writes to it.
        for page in step.pages:
            need |= file.pages.get(page, 0)
        for size, cut in file.cuts:
            # Freed blocks are reused only after the cut has persisted. A block that was cut in the middle is
            # kept, and so are the blocks of a file that only became longer.
            need |= cut if step.end > -(-size // PAGE) * PAGE else 0
    if ModelRule.COPY_ON_WRITE in order.model:
        need |= order.chain
    return need


def _of_growth(order: Order, step: Step, file: FileRecord) -> int:
    need = order.chain if ModelRule.ORDERED_METADATA in order.model else 0
    if step.unless is not None:
        return need | _of_growth_in_passing(order, step, file)
    # A tail needs no new block, so the journal does not wait for its data.
    tail = step.within_block and ModelRule.TAIL_UNORDERED in order.model
    if ModelRule.DATA_BEFORE_SIZE in order.model and not tail:
        assert step.partner is not None
        need |= order.need[step.partner]
    if ModelRule.GROWS_IN_ORDER in order.model:
        need |= file.last_grow
    return need


def _of_growth_in_passing(order: Order, step: Step, file: FileRecord) -> int:
    """The needs of growth that is not the write's own: it came with other data, or with none."""
    assert step.unless is not None
    if step.unless in order.model:
        # This file system does not make it: nothing is added to the growth that came with the data.
        return file.last_grow
    if step.unless is ModelRule.FILLS_APART and ModelRule.DATA_BEFORE_SIZE in order.model:
        assert step.partner is not None
        return order.need[step.partner]
    if step.unless is not ModelRule.GROWS_APART or ModelRule.DATA_BEFORE_SIZE not in order.model:
        return 0
    # Any data that is being written will do. The first stands for all: needs have no "or", and write-back
    # begins at the front.
    first = next((i for i in bits(file.pending) if order.script.steps[i].kind is StepKind.DATA), None)
    return 0 if first is None else order.need[first]


def _of_release(order: Order, step: Step) -> int:
    """A file is released only after losing all its names: no program could guard against the opposite."""
    need = 0
    for index in bits(order.files[step.owner].taken):
        need |= order.need[index]
    assert step.partner is not None
    return need | order.need[step.partner]


def _of_flushing_rename(order: Order, file: FileRecord) -> int:
    """What ext4 writes before a rename over another file: all data of a new file, else only new blocks."""
    if ModelRule.RENAME_FLUSHES not in order.model:
        return 0
    return written_out(order, file.pending if file.fresh else file.allocating)


def written_out(order: Order, steps: int) -> int:
    """What the journal waits for when the kernel writes these steps out on its own."""
    if ModelRule.DATA_BEFORE_SIZE not in order.model:
        # The kernel starts the write but does not wait for it: the size may be journalled first.
        steps &= ~order.of_kind(steps, StepKind.DATA)
    need = steps
    for index in bits(steps):
        need |= order.need[index]
    return need


def is_in_one(order: Order, step: Step) -> bool:
    """True if this step and its partner, which came before it, persist together."""
    if step.kind is StepKind.GROW and not step.unasked:
        return ModelRule.DATA_WITH_GROWTH in order.model
    return step.kind is StepKind.ENTRY and (step.exchange or ModelRule.RENAME_IN_ONE in order.model)
