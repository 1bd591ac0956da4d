"""What a sync makes durable, by the rules of a model."""

from __future__ import annotations

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.snapshot import TOP, Inode
from chaoskit.explore.crash.steps import Step, StepKind, Sync, bits


def apply(order: Order, sync: Sync) -> None:
    """Let ``sync`` take effect: make durable what it covers, or lost what it failed to write."""
    if sync.inode is None:
        saved = order.present & ~order.lost & ~order.optional
        order.durable |= saved | (_same_pages(order, saved & ~order.durable) if order.lost else 0)
        _forget_what_is_clean(order)
    elif sync.failed:
        # Marked clean without having been written: no later sync has a reason to write them.
        pending = order.files[sync.inode].pending & ~order.durable
        order.lost |= order.of_kind(pending, StepKind.DATA)
    else:
        _make_durable(order, _asked_for(order, sync.inode, sync), sync.inode, sync)


def _forget_what_is_clean(order: Order) -> None:
    order.logged.clear()
    order.noted = 0
    for file in order.files.values():
        file.pending = file.allocating = 0
        file.fresh = file.emptied = False


def _asked_for(order: Order, inode: Inode, sync: Sync) -> int:
    """The steps that the call itself is asked to make durable."""
    if sync.only is not None:
        whole = order.present & ~order.optional
        return whole & ((1 << sync.only.stop) - (1 << sync.only.start))
    file = order.files[inode]
    own = file.owned & ~file.attributes if sync.data_only else file.owned
    return own & ~order.durable


def _make_durable(order: Order, own: int, inode: Inode, sync: Sync) -> None:
    file, saved = order.files[inode], own & ~order.lost
    result = saved
    if ModelRule.COHERENT_PAGES in order.model:
        result |= _same_pages(order, saved)
    names = file.births if sync.data_only and not _logs_all_names(order, file) else file.names
    if ModelRule.NAMES_SYNC in order.model:
        result |= _names(order, names)
        result |= _consistent(order, own)
    if ModelRule.JOURNAL_SYNC in order.model:
        # Data that was lost is not saved by the journal; pages written again are.
        result |= _journalled(order, own | names & ~order.durable) & ~order.lost
    if ModelRule.DIRECTORY_COMMITS in order.model and order.is_directory(inode):
        result |= order.chain & ~order.lost
    order.durable |= result
    if ModelRule.LOOSE_LOG in order.model:
        _loosen(order, inode)
        steps = order.script.steps
        order.logged |= {child for i in bits(result) if (child := steps[i].child) is not None}
    # A synchronous write covers its own range: whatever else is pending in the file stays so.
    if sync.only is None:
        file.pending = file.allocating = 0
        file.fresh = False


def _same_pages(order: Order, saved: int) -> int:
    """The earlier data of the same files that goes to the disk in the pages of ``saved``."""
    steps = order.script.steps
    mask = 0
    for index in bits(order.of_kind(saved, StepKind.DATA)):
        needed = order.of_kind(order.need[index] & ~order.durable, StepKind.DATA)
        mask |= sum(1 << i for i in bits(needed) if steps[i].owner == steps[index].owner)
    return mask


# --- journals ------------------------------------------------------------------------------------


def _journalled(order: Order, own: int) -> int:
    """What the journal holds once these steps are in it."""
    mask = own
    for index in bits(own):
        # Growth of other parts of the file is not in the journal before they are written out.
        mask |= order.chains.get(index, order.need[index])
    return mask


# --- names ---------------------------------------------------------------------------------------


def _names(order: Order, entries: int) -> int:
    """The entries by which a synced inode is found, and those that made the directories above.

    Only names that stand need their directories: one that was moved away from, or to where the
    former owner of a name went, may be missing (seen on btrfs; elsewhere the journal has it).
    """
    steps = order.script.steps
    standing = sum(1 << i for i in bits(entries) if order.stands(steps[i]))
    seen, waiting = 0, entries | _directories_of(order, standing)
    while waiting:
        index = waiting.bit_length() - 1
        seen |= 1 << index
        waiting = (waiting | _beside(order, steps[index])) & ~seen
    return seen


def _beside(order: Order, step: Step) -> int:
    """What comes along with one entry: its rename, and earlier uses of the name."""
    mask = order.cells[step.owner, step.name] & ((1 << step.index) - 1)
    if step.partner is not None:
        mask |= 1 << step.partner
    return mask & ~order.durable


def _directories_of(order: Order, entries: int) -> int:
    """What made the directories in which ``entries`` are, and those above, and is not durable.

    btrfs looks for them where they are now (fs/btrfs/tree-log.c, log_new_ancestors; measured).
    """
    steps = order.script.steps
    found, waiting = 0, entries
    while waiting:
        index = waiting.bit_length() - 1
        waiting &= ~(1 << index)
        owner = steps[index].owner
        directory = order.files[owner] if owner != TOP else None
        if directory is None or not directory.births & ~order.durable:
            continue
        names = directory.names if ModelRule.LOOSE_LOG in order.model else directory.births
        more = names & ~order.durable & ~found
        found |= more
        waiting |= sum(1 << i for i in bits(more) if order.stands(steps[i]))
    return found


def _consistent(order: Order, own: int) -> int:
    """Entries of a synced directory: a name taken away by a rename is not gone before the new one."""
    steps, mask = order.script.steps, 0
    for index in bits(order.of_kind(own, StepKind.ENTRY)):
        step = steps[index]
        mask |= order.cells[step.owner, step.name] & ((1 << index) - 1)
        if step.partner is not None and step.child is None:
            mask |= 1 << step.partner
    return mask


# --- the log tree of btrfs -----------------------------------------------------------------------


def _logs_all_names(order: Order, file: FileRecord) -> bool:
    """fdatasync covers later names too: a new inode is logged with all that it has."""
    return ModelRule.LOOSE_LOG in order.model and bool(file.births & ~order.durable)


def _loosen(order: Order, inode: Inode) -> None:
    """Let the sync of ``inode`` have brought along what belongs to it and was not asked for.

    It may: the log tree holds the whole inode, for a directory its new entries and what they
    name; and the names that were noted in it since an earlier sync, with their directories. None of
    that is durable for sure, but it no longer needs what changed elsewhere before.
    """
    noted = order.noted & ~order.durable
    touched, waiting, seen = noted | _directories_of(order, noted), [inode], {inode}
    while waiting:
        known = order.files[waiting.pop()]
        more = (known.owned | known.names | known.removals) & ~order.durable & ~touched
        touched |= more
        for index in bits(more):
            for other in _named(order, order.script.steps[index]) - seen:
                seen.add(other)
                waiting.append(other)
    order.logged |= seen
    for index in bits(touched):
        order.need[index] &= touched | order.durable
    order.forget_users()


def _named(order: Order, step: Step) -> set[Inode]:
    """The inodes that a log of this step has to mention: all that ever had the name."""
    if step.kind is not StepKind.ENTRY:
        return set()
    cell = order.cells[step.owner, step.name]
    children = {order.script.steps[index].child for index in bits(cell)}
    return {child for child in children if child is not None}
