"""What a step cannot persist without, by the rules of a model."""

from __future__ import annotations

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.steps import Effect, Step, StepKind, bits


def needs_of(order: Order, step: Step, effect: Effect) -> int:
    """The steps that must have persisted for ``step`` to do so, by what was played before it."""
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
        # The page cache holds one copy of each page: what is written out has all earlier writes in it.
        for page in step.pages:
            need |= file.pages.get(page, 0)
        for size, resize in file.resizes:
            # Blocks that were given back are given out again only after that has persisted.
            need |= resize if step.end > size else 0
    if ModelRule.COPY_ON_WRITE in order.model:
        need |= order.chain
    return need


def _of_growth(order: Order, step: Step, file: FileRecord) -> int:
    need = order.chain if ModelRule.ORDERED_METADATA in order.model else 0
    # No block has to be allocated for a tail, so no journal waits for its data.
    tail = step.within_block and ModelRule.TAIL_UNORDERED in order.model
    if ModelRule.DATA_BEFORE_SIZE in order.model and not tail:
        assert step.partner is not None
        need |= order.need[step.partner]
    if ModelRule.GROWS_IN_ORDER in order.model:
        need |= file.last_grow
    return need


def _of_release(order: Order, step: Step) -> int:
    assert step.partner is not None
    # A rename swaps the inode behind a name: the old file never shows there without its content.
    swapped = order.script.steps[step.partner].child is not None
    return order.need[step.partner] if swapped or ModelRule.FREED_LAST in order.model else 0


def _of_flushing_rename(order: Order, file: FileRecord) -> int:
    """What ext4 writes before a rename over another file: all of a new one, else new blocks only."""
    if ModelRule.RENAME_FLUSHES not in order.model:
        return 0
    return written_out(order, file.pending if file.fresh else file.allocating)


def written_out(order: Order, steps: int) -> int:
    """What the journal waits for when the kernel writes these steps out on its own."""
    if ModelRule.DATA_BEFORE_SIZE not in order.model:
        # It starts the write and does not wait for it: the size may be journalled first.
        steps &= ~order.of_kind(steps, StepKind.DATA)
    need = steps
    for index in bits(steps):
        need |= order.need[index]
    return need


def is_one_rename(order: Order, step: Step) -> bool:
    """Both halves of this rename persist together."""
    return step.exchange or ModelRule.RENAME_IN_ONE in order.model
