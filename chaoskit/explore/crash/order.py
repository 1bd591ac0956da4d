"""What may persist without what, and what must have persisted, under one model.

A crash state is a set of steps. It is legal when every durable step is in it, and when each of its
other steps has with it everything that it needs. Sets are integers, one bit for each step, so that
both questions are a few operations on whole words.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from chaoskit.explore.crash.models import STRICT, Model, Rule
from chaoskit.explore.crash.snapshot import TOP, Inode, NodeKind
from chaoskit.explore.crash.steps import PAGE, Move, Script, Step, StepKind, Sync, bits


@dataclass(slots=True)
class _File:
    """What is remembered of one inode while the moves are played."""

    owned: int = 0
    attributes: int = 0
    pending: int = 0
    """Data and growth since the last sync."""
    allocating: int = 0
    """The part of ``pending`` that ext4 writes out early: growth into new blocks, with its data."""
    fresh: bool = False
    """Whether the file was created or emptied since the last sync."""
    emptied: bool = False
    last_grow: int = 0
    pages: dict[int, int] = field(default_factory=dict)
    resizes: list[tuple[int, int]] = field(default_factory=list)
    names: int = 0
    """Entries that give this inode a name."""
    removals: int = 0
    """Entries that take a name away from this inode."""
    births: int = 0
    """Those of ``names`` that came with the inode."""


class Order:
    """Plays a script move by move; after each, the questions concern a power cut at that moment.

    ``need[s]`` is the set of steps without which step ``s`` cannot have persisted, itself included;
    ``durable`` the set of those that must have persisted, ``lost`` those that no sync can save.
    """

    def __init__(self, script: Script, model: Model) -> None:
        self.script = script
        self.model = model
        self.need: list[int] = []
        self.durable = 0
        self.lost = 0
        self.present = 0
        self._optional = 0
        self._chain = 0
        self._chains: dict[int, int] = {}
        """For each growth the metadata that had changed before it."""
        self._files: defaultdict[Inode, _File] = defaultdict(_File)
        self._cells: defaultdict[tuple[Inode, str], int] = defaultdict(int)
        self._users: dict[int, tuple[int, int]] = {}
        self._logged: set[Inode] = set()
        """What a sync has brought into the log of btrfs since everything was synced."""
        self._renamed = 0
        """Entries that went into that log at once, because the inode was in it."""
        for inode, node in enumerate(script.nodes[len(script.snapshot.nodes) :], len(script.snapshot.nodes)):
            self._files[inode].fresh = node.kind is NodeKind.FILE

    # --- questions -------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """The steps that may or may not have persisted."""
        return self.present & ~self.durable

    def users(self, index: int) -> int:
        """The steps that cannot have persisted without step ``index``, itself included."""
        known, mask = self._users.get(index, (index, 1 << index))
        bit = 1 << index
        for later in range(known, len(self.need)):
            if self.need[later] & bit:
                mask |= 1 << later
        # The other half of a rename is the only older step that may need this one.
        partner = self.script.steps[index].partner
        if partner is not None and self.need[partner] & bit:
            mask |= 1 << partner
        self._users[index] = (len(self.need), mask)
        return mask

    def without(self, index: int) -> int:
        """Everything but step ``index`` and what depends on it."""
        return self.present & ~(self.users(index) & ~self.durable)

    def with_only(self, index: int) -> int:
        """Only what was synced, and step ``index`` with what it needs."""
        return self.durable | self.need[index]

    def allows(self, state: int) -> bool:
        """Whether a set of whole (not torn) steps is legal now."""
        if self.durable & ~state or state & ~self.present:
            return False
        kept, dropped = state & ~self.durable, self.present & ~state
        if kept.bit_count() <= dropped.bit_count():
            return all(not self.need[index] & ~state for index in bits(kept))
        return all(not self.users(index) & kept for index in bits(dropped))

    def need_of_torn(self, torn: Step, growth: Step | None) -> int | None:
        """What the rest of a torn write needs, itself included; None where it cannot be torn so.

        ``growth`` is the torn growth that comes along. Under every model but ``strict`` a file grows
        only by what the kernel wrote as a whole: to the border of a page.
        """
        assert torn.torn_from is not None
        if Rule.WHOLE_BLOCKS in self.model and torn.end % PAGE:
            return None
        need = self.need[torn.torn_from] & ~(1 << torn.torn_from) | 1 << torn.index
        if growth is None:
            return need
        if Rule.COHERENT_PAGES in self.model and torn.end % PAGE:
            return None
        assert growth.torn_from is not None
        whole = self.need[growth.torn_from] & ~(1 << growth.torn_from | 1 << torn.torn_from)
        return need | whole | 1 << growth.index

    # --- playing ---------------------------------------------------------------------------------

    def play(self, move: Move) -> None:
        """Let the operation of ``move`` take effect, after what the test itself had done before it."""
        for earlier in move.outside:
            self.play(earlier)
        for index in range(move.first, move.last):
            step = self.script.steps[index]
            if step.torn_from is None:
                self._add(step, move)
            else:
                self.need.append(1 << index)
        if move.sync is not None:
            self._sync(move.sync)
        if move.closed is not None:
            self._closed(self._files[move.closed])

    def _add(self, step: Step, move: Move) -> None:
        need = 1 << step.index | self._needs_of(step, move)
        self.need.append(need)
        self.present |= 1 << step.index
        partner = step.partner
        if (
            step.kind is StepKind.ENTRY
            and partner is not None
            and partner < step.index
            and self._in_one(step)
        ):
            self.need[partner] |= need
            self.need[step.index] |= self.need[partner]
        self._remember(step, self.need[step.index])

    def _in_one(self, step: Step) -> bool:
        return step.exchange or Rule.RENAME_IN_ONE in self.model

    def _needs_of(self, step: Step, move: Move) -> int:
        file = self._files[step.owner]
        need = 0
        if step.is_metadata and Rule.ORDERED_METADATA in self.model:
            need |= self._chain
        if step.kind is StepKind.DATA:
            need |= self._needs_of_data(step, file)
        elif step.kind is StepKind.GROW:
            need |= self._needs_of_growth(step, file)
        elif step.kind is StepKind.FREE:
            need |= self._needs_of_release(step)
        elif step.kind is StepKind.ENTRY and step.child == move.flushed and move.flushed is not None:
            need |= self._flushed_by_rename(self._files[move.flushed])
        return need

    def _needs_of_data(self, step: Step, file: _File) -> int:
        need = 0
        if Rule.COHERENT_PAGES in self.model:
            for page in step.pages:
                need |= file.pages.get(page, 0)
            for size, resize in file.resizes:
                # Blocks that were given back are given out again only after that has persisted.
                need |= resize if step.end > size else 0
        if Rule.COPY_ON_WRITE in self.model:
            need |= self._chain
        return need

    def _needs_of_growth(self, step: Step, file: _File) -> int:
        need = self._chain if Rule.ORDERED_METADATA in self.model else 0
        tail = step.within_block and Rule.TAIL_UNORDERED in self.model
        if Rule.DATA_BEFORE_SIZE in self.model and not tail:
            assert step.partner is not None
            need |= self.need[step.partner]
        if Rule.GROWS_IN_ORDER in self.model:
            need |= file.last_grow
        return need

    def _needs_of_release(self, step: Step) -> int:
        assert step.partner is not None
        entry = self.script.steps[step.partner]
        # A rename swaps: nobody ever sees the old file under its name without its content.
        swapped = entry.child is not None
        return self.need[step.partner] if swapped or Rule.FREED_LAST in self.model else 0

    def _flushed_by_rename(self, file: _File) -> int:
        if Rule.RENAME_FLUSHES not in self.model:
            return 0
        return self._written_out(file.pending if file.fresh else file.allocating)

    def _written_out(self, steps: int) -> int:
        """What the journal waits for when the kernel writes these steps out by itself."""
        if Rule.DATA_BEFORE_SIZE not in self.model:
            steps &= ~sum(1 << i for i in bits(steps) if self.script.steps[i].kind is StepKind.DATA)
        return self._needs_of_all(steps)

    def _needs_of_all(self, steps: int) -> int:
        need = steps
        for index in bits(steps):
            need |= self.need[index]
        return need

    def _remember(self, step: Step, need: int) -> None:
        if step.optional:
            # It may not have happened, so nothing later can rest on it.
            self._optional |= 1 << step.index
            return
        bit, file = 1 << step.index, self._files[step.owner]
        file.owned |= bit
        if step.is_metadata:
            self._chain |= need
        if step.kind is StepKind.ENTRY:
            if self._logged and self._goes_into_log(step):
                self._renamed |= bit if step.partner is None else bit | 1 << step.partner
            self._remember_entry(step, bit)
        elif step.kind is StepKind.ATTRIBUTE:
            file.attributes |= bit
        elif step.kind is StepKind.RESIZE:
            self._remember_resize(step, file, need)
        elif step.kind in (StepKind.DATA, StepKind.GROW):
            self._remember_data(step, file, bit, need)

    def _remember_entry(self, step: Step, bit: int) -> None:
        if step.child is None:
            before = self._latest(step)
            if before is not None:
                self._files[before].removals |= bit
        self._cells[step.owner, step.name] |= bit
        if step.child is not None:
            child = self._files[step.child]
            child.names |= bit
            child.births |= bit if step.creates else 0

    def _goes_into_log(self, step: Step) -> bool:
        """Whether btrfs notes the change of a name in the log of a sync that is already over.

        fs/btrfs/tree-log.c: btrfs_log_new_name for a rename or link, where the inode or the directory
        that it leaves is in the log; btrfs_del_inode_ref_in_log for an unlink. The next sync of
        whatever file writes that out, without what changed in between (measured).
        """
        if step.child is None:
            return step.partner is None and self._latest(step) in self._logged
        left = self.script.steps[step.partner].owner if step.partner is not None else None
        return not step.creates and (step.child in self._logged or left in self._logged)

    def _latest(self, step: Step) -> Inode | None:
        """The inode that had the name before ``step``."""
        known = self._cells[step.owner, step.name]
        if known:
            return self.script.steps[known.bit_length() - 1].child
        return self.script.snapshot.entries.get(step.owner, {}).get(step.name)

    def _remember_resize(self, step: Step, file: _File, need: int) -> None:
        file.resizes = [(size, known) for size, known in file.resizes if size < step.size]
        file.resizes.append((step.size, need))
        if step.size == 0:
            file.fresh = file.emptied = True

    def _remember_data(self, step: Step, file: _File, bit: int, need: int) -> None:
        file.pending |= bit
        if step.kind is StepKind.GROW:
            file.last_grow = need
            self._chains[step.index] = self._chain
            if not step.within_block:
                file.allocating |= need & (file.pending | bit)
            return
        for page in step.pages:
            file.pages[page] = need

    def _closed(self, file: _File) -> None:
        """ext4 writes out what replaced the content of a file, when an opening of it has ended.

        fs/ext4/file.c, ext4_release_file: called for the last descriptor, not for each (measured).
        """
        if file.emptied and Rule.CLOSE_FLUSHES in self.model:
            self._chain |= self._written_out(file.pending)
        file.emptied = False

    # --- syncs -----------------------------------------------------------------------------------

    def _sync(self, sync: Sync) -> None:
        if sync.inode is None:
            saved = self.present & ~self.lost & ~self._optional
            self.durable |= saved | (self._same_pages(saved & ~self.durable) if self.lost else 0)
            self._clean()
        elif sync.failed:
            self.lost |= self._pending_data(self._files[sync.inode])
        else:
            self._make_durable(self._synced(sync), sync)

    def _clean(self) -> None:
        self._logged.clear()
        self._renamed = 0
        for file in self._files.values():
            file.pending = file.allocating = 0
            file.fresh = file.emptied = False

    def _pending_data(self, file: _File) -> int:
        steps = self.script.steps
        return sum(1 << i for i in bits(file.pending & ~self.durable) if steps[i].kind is StepKind.DATA)

    def _synced(self, sync: Sync) -> int:
        """The steps that the call itself is asked to make durable."""
        assert sync.inode is not None
        file = self._files[sync.inode]
        if sync.only is not None:
            whole = self.present & ~self._optional
            return whole & ((1 << sync.only.stop) - (1 << sync.only.start))
        own = file.owned & ~file.attributes if sync.data_only else file.owned
        return own & ~self.durable

    def _make_durable(self, own: int, sync: Sync) -> None:
        assert sync.inode is not None
        file, saved = self._files[sync.inode], own & ~self.lost
        result = saved
        if Rule.COHERENT_PAGES in self.model:
            result |= self._same_pages(saved)
        names = file.births if sync.data_only and not self._logs_all_names(file) else file.names
        if Rule.NAMES_SYNC in self.model:
            result |= self._names(names)
            result |= self._consistent(own)
        if Rule.JOURNAL_SYNC in self.model:
            # Data that was lost is not saved by the journal; pages written again are.
            result |= self._journalled(own | names & ~self.durable) & ~self.lost
        if Rule.DIRECTORY_COMMITS in self.model and self._is_directory(sync.inode):
            result |= self._chain & ~self.lost
        self.durable |= result
        if Rule.LOOSE_LOG in self.model:
            self._loosen(sync.inode)
            steps = self.script.steps
            self._logged |= {child for i in bits(result) if (child := steps[i].child) is not None}
        if sync.only is None:
            file.pending = file.allocating = 0
            file.fresh = False

    def _logs_all_names(self, file: _File) -> bool:
        """Whether fdatasync covers later names too: where a new inode is logged with all it has."""
        return Rule.LOOSE_LOG in self.model and bool(file.births & ~self.durable)

    def _loosen(self, inode: Inode) -> None:
        """Let the sync of ``inode`` have brought along what belongs to it and was not asked for.

        It may: the log tree holds the whole inode, for a directory its new entries and what they
        name; and the names that were noted in it since an earlier sync, with their directories. None of
        that is durable for sure, but it no longer needs what changed elsewhere before.
        """
        noted = self._renamed & ~self.durable
        touched, waiting, seen = noted | self._directories_of(noted), [inode], {inode}
        while waiting:
            known = self._files[waiting.pop()]
            more = (known.owned | known.names | known.removals) & ~self.durable & ~touched
            touched |= more
            for index in bits(more):
                for other in self._named(self.script.steps[index]) - seen:
                    seen.add(other)
                    waiting.append(other)
        self._logged |= seen
        for index in bits(touched):
            self.need[index] &= touched | self.durable
        self._users.clear()

    def _named(self, step: Step) -> set[Inode]:
        """The inodes that a log of this step has to mention."""
        if step.kind is not StepKind.ENTRY:
            return set()
        cell = self._cells[step.owner, step.name]
        children = {self.script.steps[index].child for index in bits(cell)}
        return {child for child in children if child is not None}

    def _journalled(self, own: int) -> int:
        """What the journal holds once these steps are in it."""
        mask = own
        for index in bits(own):
            # Growth of other parts of the file is not in the journal before they are written out.
            mask |= self._chains.get(index, self.need[index])
        return mask

    def _is_directory(self, inode: Inode) -> bool:
        return self.script.nodes[inode].kind is NodeKind.DIRECTORY

    def _same_pages(self, saved: int) -> int:
        steps = self.script.steps
        mask = 0
        for index in bits(saved):
            if steps[index].kind is StepKind.DATA:
                mask |= sum(
                    1 << i
                    for i in bits(self.need[index] & ~self.durable)
                    if steps[i].kind is StepKind.DATA and steps[i].owner == steps[index].owner
                )
        return mask

    def _names(self, entries: int) -> int:
        """The entries by which a synced inode is found, and those that made the directories above.

        Only names that stand need their directories: one that was moved away from, or to where the
        former owner of a name went, may be missing (seen on btrfs; elsewhere the journal has it).
        """
        standing = sum(1 << i for i in bits(entries) if self._stands(self.script.steps[i]))
        seen, waiting = 0, entries | self._directories_of(standing)
        while waiting:
            index = waiting.bit_length() - 1
            seen |= 1 << index
            waiting = (waiting | self._beside(self.script.steps[index])) & ~seen
        return seen

    def _stands(self, step: Step) -> bool:
        """Whether nothing has happened to the name of ``step`` since."""
        return self._cells[step.owner, step.name] >> step.index == 1

    def _directories_of(self, entries: int) -> int:
        """What made the directories in which ``entries`` are, and those above, and is not durable.

        btrfs looks for them where they are now (fs/btrfs/tree-log.c, log_new_ancestors; measured).
        """
        found, waiting = 0, entries
        while waiting:
            index = waiting.bit_length() - 1
            waiting &= ~(1 << index)
            owner = self.script.steps[index].owner
            directory = self._files[owner] if owner != TOP else None
            if directory is None or not directory.births & ~self.durable:
                continue
            names = directory.names if Rule.LOOSE_LOG in self.model else directory.births
            more = names & ~self.durable & ~found
            found |= more
            waiting |= sum(1 << i for i in bits(more) if self._stands(self.script.steps[i]))
        return found

    def _beside(self, step: Step) -> int:
        """What comes along with one entry: its rename, and earlier uses of the name."""
        mask = self._cells[step.owner, step.name] & ((1 << step.index) - 1)
        if step.partner is not None:
            mask |= 1 << step.partner
        return mask & ~self.durable

    def _consistent(self, own: int) -> int:
        """Entries of a synced directory: a name taken away by a rename is not gone before the new one."""
        steps, mask = self.script.steps, 0
        for index in bits(own):
            step = steps[index]
            if step.kind is not StepKind.ENTRY:
                continue
            mask |= self._cells[step.owner, step.name] & ((1 << index) - 1)
            if step.partner is not None and step.child is None:
                mask |= 1 << step.partner
        return mask


def lost_steps(script: Script) -> frozenset[int]:
    """The data of ``script`` that a failed sync has left unwritten and that counts as clean."""
    order = Order(script, STRICT)
    for move in script.moves:
        order.play(move)
    return frozenset(bits(order.lost))
