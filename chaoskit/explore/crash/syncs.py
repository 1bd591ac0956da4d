"""What a sync makes durable, by the rules of a model."""

from __future__ import annotations

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.snapshot import TOP, Inode
from chaoskit.explore.crash.steps import Step, StepKind, Sync, bits, mask_of


def apply(order: Order, sync: Sync) -> None:
    """Let ``sync`` take effect: make durable what it covers, or lost what it failed to write."""
    if sync.inode is None:
        saved = order.present & ~order.lost & ~order.optional
        order.durable |= saved | (_same_pages(order, saved & ~order.durable) if order.lost else 0)
        _forget_what_is_clean(order)
    elif sync.failed:
        # The kernel marks these pages clean without writing them, so no later sync writes them.
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
    """The steps that the call itself has to make durable."""
    if sync.only is not None:
        whole = order.present & ~order.optional
        return whole & ((1 << sync.only.stop) - (1 << sync.only.start))
    file = order.files[inode]
    own = file.owned & ~file.attributes if sync.data_only else file.owned
    # The release of a file without a name is not part of its content, but may be in a journal (see below).
    return own & ~order.of_kind(own, StepKind.FREE) & ~order.durable & ~_left_out(order, file, sync)


def _left_out(order: Order, file: FileRecord, sync: Sync) -> int:
    """The data that a sync of a part of the file need not write, and the growth that comes with it.

    A file system that never writes in place leaves nothing out: it logs the whole file (fs/btrfs/file.c,
    btrfs_sync_file; measured).
    """
    if sync.within is None or ModelRule.COPY_ON_WRITE in order.model:
        return 0
    # In whole pages, as msync(2) takes them, however small the blocks of the file system are.
    first, end = sync.within.start // PAGE * PAGE, -(-sync.within.stop // PAGE) * PAGE
    pending, steps = file.pending & ~order.durable, order.script.steps
    data = (i for i in bits(order.of_kind(pending, StepKind.DATA)) if not steps[i].is_metadata)
    left = mask_of(i for i in data if steps[i].end <= first or steps[i].offset >= end)
    # Growth without data may be that of any write, so a part does not promise it.
    grown = ((i, steps[i].partner) for i in bits(order.of_kind(pending, StepKind.GROW)))
    return left | mask_of(i for i, of in grown if of is None or left >> of & 1)


def _make_durable(order: Order, own: int, inode: Inode, sync: Sync) -> None:
    file, saved = order.files[inode], own & ~order.lost
    left = _left_out(order, file, sync)
    loose = ModelRule.LOOSE_LOG in order.model
    if _nameless(order, inode) and (loose or ModelRule.JOURNAL_SYNC not in order.model):
        if loose:
            _loosen(order, inode)
        return
    result = saved
    if ModelRule.COHERENT_PAGES in order.model:
        result |= _same_pages(order, saved)
    names = file.births if sync.data_only and not _logs_all_names(order, file) else file.names
    names = names if ModelRule.NAMES_SYNC in order.model else 0
    if loose:
        result |= _logged_names(order, inode, names) | _logged_directory(order, own)
    if ModelRule.JOURNAL_SYNC in order.model:
        if not sync.data_only or ModelRule.DATASYNC_REMOVES in order.model:
            own |= order.of_kind(file.owned, StepKind.FREE)
        # The journal does not save lost data, but it saves pages that were written again.
        result |= _journalled(order, own | names & ~order.durable) & ~order.lost
    if ModelRule.DIRECTORY_COMMITS in order.model and order.is_directory(inode):
        result |= order.chain & ~order.lost
    order.durable |= result
    if loose:
        steps = order.script.steps
        named = {child for i in bits(result) if (child := steps[i].child) is not None}
        _log_attributes(order, named - {inode})
        _loosen(order, inode)
        order.logged |= named
    # A synchronous write covers its own range: the other pending steps of the file stay pending.
    if sync.only is None:
        file.pending &= left
        file.allocating &= left
        file.fresh &= bool(left)


def _same_pages(order: Order, saved: int) -> int:
    """The earlier data of the same files that is written with the pages of ``saved``."""
    steps = order.script.steps
    mask = 0
    for index in bits(order.of_kind(saved, StepKind.DATA)):
        needed = order.of_kind(order.need[index] & ~order.durable, StepKind.DATA)
        mask |= sum(1 << i for i in bits(needed) if steps[i].owner == steps[index].owner)
    return mask


# --- journals ------------------------------------------------------------------------------------


def _journalled(order: Order, own: int) -> int:
    """All steps that the journal holds once ``own`` is in it."""
    mask = own
    for index in bits(own):
        # Growth of other parts of the file enters the journal only when they are written out.
        mask |= order.chains.get(index, order.need[index])
    return mask


# --- the log tree of btrfs -----------------------------------------------------------------------


def _nameless(order: Order, inode: Inode) -> bool:
    """True if every name of the inode was taken from it.

    A log could not find it again, so its sync makes neither its data nor the removal of its names durable
    (measured). Only a journal of all changes includes both.
    """
    file = order.files[inode]
    if not file.taken:
        return False
    first = sum(
        child == inode for names in order.script.snapshot.entries.values() for child in names.values()
    )
    return first + file.names.bit_count() <= file.taken.bit_count()


def _logged_names(order: Order, inode: Inode, names: int) -> int:
    """The names that lead to a synced inode, and the other names in its log.

    Only names that still stand are logged. A log that gives a name to another inode than the disk does
    includes the former owner, too, with those of its names that still stand, if any. It does not include what
    the names meant in between, nor what those inodes replaced (measured).
    """
    standing = order.standing(names)
    reached = standing | _directories_of(order, standing)
    mask = _replayed(order, reached)
    for index in bits(reached):
        former = order.durable_owner(order.script.steps[index])
        if former is not None and former != inode:
            mask |= _replayed(order, order.standing(order.files[former].names))
    return mask


def _replayed(order: Order, entries: int) -> int:
    """These entries, older entries of the same names, and the removal of names that the disk still has."""
    steps, mask = order.script.steps, 0
    for index in bits(entries):
        step = steps[index]
        mask |= order.cells[step.owner, step.name] & ((2 << index) - 1)
        assert step.child is not None
        for other in bits(order.files[step.child].removals):
            if order.durable_owner(steps[other]) == step.child:
                mask |= 1 << other
    return mask & ~order.durable


def _logged_directory(order: Order, own: int) -> int:
    """What the log of a synced directory has beside its entries: new names of files renamed out of it."""
    steps, mask = order.script.steps, 0
    for index in bits(order.of_kind(own, StepKind.ENTRY)):
        step = steps[index]
        if step.partner is None or step.child is not None:
            continue
        moved = steps[step.partner].child
        assert moved is not None
        mask |= _replayed(order, order.standing(order.files[moved].names))
    return mask


def _directories_of(order: Order, entries: int) -> int:
    """The entries that name the directories of ``entries``, and those above, if they are not durable.

    btrfs looks for directories where they are now (fs/btrfs/tree-log.c, log_new_ancestors; measured).
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
        more = order.standing(directory.names) & ~found
        found |= more
        waiting |= more
    return found


def _logs_all_names(order: Order, file: FileRecord) -> bool:
    """True if fdatasync covers later names, too: a new inode is logged completely."""
    return ModelRule.LOOSE_LOG in order.model and bool(file.births & ~order.durable)


def _loosen(order: Order, inode: Inode) -> None:
    """Allow that the sync of ``inode`` included more than it was asked for.

    The log tree holds the whole inode, for a directory its new entries and what they name, and the names that
    were added since an earlier sync, with their directories. None of that is certainly durable, but it no
    longer needs earlier changes elsewhere.
    """
    noted = order.noted & ~order.durable
    noted |= _directories_of(order, noted)
    touched, seen = _touched(order, noted, {inode})
    order.logged |= seen
    # A second pass, since what is included through a directory needs no less than the rest.
    beside, seen = _touched(order, touched, seen | _renamed_in(order, inode))
    order.logged |= seen
    for index in bits(beside):
        order.need[index] &= (touched if touched >> index & 1 else beside) | order.durable
    order.forget_users()


def _log_attributes(order: Order, named: set[Inode]) -> None:
    """Let the log have the modes and attributes of inodes that it only names, out of turn.

    Their sizes and data are not in it: a new file that was given a size and then a mode may have the mode
    alone after the sync of its directory (LOG_INODE_EXISTS in fs/btrfs/tree-log.c; measured).
    """
    for inode in named:
        attributes = order.files[inode].attributes
        for index in bits(attributes & ~order.durable):
            order.need[index] &= attributes | order.durable


def _touched(order: Order, touched: int, seen: set[Inode]) -> tuple[int, set[Inode]]:
    """All unsynced changes of these inodes and of those that their names have meant; also the inodes."""
    seen, waiting = set(seen), list(seen)
    while waiting:
        known = order.files[waiting.pop()]
        more = (known.owned | known.names | known.removals) & ~order.durable & ~touched
        touched |= more
        for index in bits(more):
            for other in _named(order, order.script.steps[index]) - seen:
                seen.add(other)
                waiting.append(other)
    return touched, seen


def _renamed_in(order: Order, inode: Inode) -> set[Inode]:
    """The directories whose entries are logged with an inode that was renamed, linked or unlinked in them.

    Their other changes are included, out of order (measured).
    """
    file, steps = order.files[inode], order.script.steps
    return {steps[index].owner for index in bits(file.names & ~file.births | file.taken)}


def _named(order: Order, step: Step) -> set[Inode]:
    """The inodes that a log of this step must mention: all that ever had its name."""
    if step.kind is not StepKind.ENTRY:
        return set()
    cell = order.cells[step.owner, step.name]
    children = {order.script.steps[index].child for index in bits(cell)}
    children.add(order.script.snapshot.entries.get(step.owner, {}).get(step.name))
    return {child for child in children if child is not None}
