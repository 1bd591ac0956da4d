"""Apply the effects of a script, one after the other, under one model or several."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.explore.crash import syncs
from chaoskit.explore.crash.models import STRICT, ModelRule
from chaoskit.explore.crash.needs import is_in_one, needs_of, written_out
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.steps import Effect, Script, Step, StepKind, bits


def play(order: Order, effect: Effect) -> None:
    """Apply ``effect``, after what the test itself did before it."""
    for earlier in effect.outside:
        play(order, earlier)
    for index in range(effect.first, effect.last):
        step = order.script.steps[index]
        if step.torn_from is None:
            _add(order, step, effect)
        else:
            # The rest of a torn write needs nothing here: see Order.need_of_torn.
            order.need.append(1 << index)
    if effect.sync is not None:
        syncs.apply(order, effect.sync)
    if effect.closed is not None:
        _close(order, order.files[effect.closed])


def play_all(effect: Effect, orders: Sequence[Order], strict: Order | None = None) -> None:
    """Apply an effect to all orders; ``strict`` may be among them."""
    for order in orders:
        play(order, effect)
    if strict is not None and all(order is not strict for order in orders):
        play(strict, effect)


def lost_steps(script: Script) -> frozenset[int]:
    """The data of ``script`` that a failed sync left unwritten and marked as clean."""
    # The same under every model: none restores what a failed sync loses.
    order = Order(script, STRICT)
    for effect in script.effects:
        play(order, effect)
    return frozenset(bits(order.lost))


def _add(order: Order, step: Step, effect: Effect) -> None:
    need = 1 << step.index | needs_of(order, step, effect)
    order.need.append(need)
    order.present |= 1 << step.index
    if step.unless is not None and step.unless in order.model:
        order.implied |= 1 << step.index
    partner = step.partner
    # The second of two halves ties both together: the first could not name a later step.
    if partner is not None and partner < step.index and is_in_one(order, step):
        order.need[partner] |= need
        order.need[step.index] |= order.need[partner]
    _remember(order, step, order.need[step.index])


def _remember(order: Order, step: Step, need: int) -> None:
    if step.optional:
        # It may not have happened, so no later step can need it.
        order.optional |= 1 << step.index
        return
    bit, file = 1 << step.index, order.files[step.owner]
    file.owned |= bit
    if step.is_metadata:
        order.chain |= need
    if step.kind is StepKind.ENTRY:
        _remember_entry(order, step, bit)
    elif step.kind is StepKind.ATTRIBUTE:
        file.attributes |= bit
    elif step.kind is StepKind.RESIZE:
        # This one covers earlier, larger sizes: data beyond those is beyond this one, too.
        if step.cuts:
            file.cuts = [(size, known) for size, known in file.cuts if size < step.size]
            file.cuts.append((step.size, need))
        if step.size == 0:
            file.fresh = file.emptied = True
    elif step.kind in (StepKind.DATA, StepKind.GROW):
        _remember_data(order, step, file, bit, need)


def _remember_entry(order: Order, step: Step, bit: int) -> None:
    # Before the cells are updated: the log depends on the inode that had the name until now.
    if order.logged and _goes_into_log(order, step):
        order.noted |= bit if step.partner is None else bit | 1 << step.partner
    before = order.latest(step)
    if before is not None:
        order.files[before].taken |= bit
        order.files[before].removals |= bit if step.child is None else 0
    order.cells[step.owner, step.name] |= bit
    if step.child is not None:
        child = order.files[step.child]
        child.names |= bit
        child.births |= bit if step.creates else 0


def _goes_into_log(order: Order, step: Step) -> bool:
    """True if btrfs adds this change of a name to the log of an earlier sync.

    fs/btrfs/tree-log.c: btrfs_log_new_name for a rename or link, if the inode or the directory that it leaves
    is in the log; btrfs_del_inode_ref_in_log for an unlink. The next sync of any file writes that out,
    without what changed in between (measured).
    """
    if step.child is None:
        return step.partner is None and order.latest(step) in order.logged
    left = order.script.steps[step.partner].owner if step.partner is not None else None
    return not step.creates and (step.child in order.logged or left in order.logged)


def _remember_data(order: Order, step: Step, file: FileRecord, bit: int, need: int) -> None:
    file.pending |= bit
    if step.kind is StepKind.GROW:
        # Growth without data is incidental: it orders nothing.
        if step.unasked or step.partner is None:
            return
        file.last_grow = need
        if ModelRule.DATA_WITH_GROWTH in order.model:
            # Tied here: later writes to these pages need the growth as well.
            for page in order.script.steps[step.partner].pages:
                file.pages[page] = file.pages.get(page, 0) | need
        order.chains[step.index] = order.chain
        if not step.within_block:
            file.allocating |= need & (file.pending | bit)
        return
    # Pages that keep their blocks are overwritten in place, whether or not the journal has their zeroes by
    # then.
    for page in step.pages if not step.keeps_blocks else ():
        file.pages[page] = need


def _close(order: Order, file: FileRecord) -> None:
    """Let ext4 write out the new content of an emptied file when its last descriptor is closed.

    fs/ext4/file.c, ext4_release_file: called for the last descriptor, not for each (measured).
    """
    if file.emptied and ModelRule.CLOSE_FLUSHES in order.model:
        order.chain |= written_out(order, file.pending)
    file.emptied = False
