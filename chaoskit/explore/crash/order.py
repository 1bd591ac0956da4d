"""Which steps may persist without which, and which must have persisted, under one model.

A crash state is a set of steps. It is legal if it contains every durable step, and for each of its steps
everything that this step needs. Both checks are a few operations on whole sets.

This module has the records and the questions. What a step needs is worked out in
:mod:`chaoskit.explore.crash.needs`, what a sync makes durable in :mod:`chaoskit.explore.crash.syncs`, and
:func:`chaoskit.explore.crash.playing.play` applies one operation after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from chaoskit.explore.crash.models import Model, ModelRule
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.snapshot import Inode, NodeKind
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits, mask_of


@dataclass(slots=True)
# One record for files and directories: half of the rules concern both.
class FileRecord:
    """What is remembered about one inode while effects are played. Sets of steps, unless said otherwise."""

    owned: int = 0
    attributes: int = 0
    pending: int = 0
    """Data and growth since the last sync."""
    allocating: int = 0
    """The part of ``pending`` that ext4 writes out early: growth into new blocks, with its data."""
    fresh: bool = False
    """True if the file was created or emptied since the last sync."""
    emptied: bool = False
    last_grow: int = 0
    pages: dict[int, int] = field(default_factory=dict)
    """By page number, what the latest data in it needs."""
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Sizes to which the file was cut, ascending, each with the needs of the step that cut it."""
    names: int = 0
    """Entries that give this inode a name."""
    removals: int = 0
    """Entries that remove a name of this inode."""
    taken: int = 0
    """The removals, and the entries that give a name of this inode to another inode."""
    births: int = 0
    """Those of ``names`` that came with the inode."""


class Order:
    """The part of a script played so far; the questions concern a power loss right now.

    ``need[s]`` is the set of steps without which step ``s`` cannot have persisted, itself included;
    ``durable`` is the set of steps that must have persisted, ``lost`` those that no sync can save,
    ``present`` all whole steps. The other attributes are the state of the playing modules.
    """

    def __init__(self, script: Script, model: Model) -> None:
        self.script = script
        self.model = model
        self.need: list[int] = []
        self.durable = 0
        self.lost = 0
        self.present = 0
        self.optional = 0
        """Steps that may not have happened; no other step needs them."""
        self.implied = 0
        """Steps that this file system does not make separately: they persist with the steps that they
        need."""
        self.chain = 0
        """All metadata so far, with what it needs."""
        self.chains: dict[int, int] = {}
        """For each growth, the metadata that had changed before it."""
        self.files: defaultdict[Inode, FileRecord] = defaultdict(FileRecord)
        self.cells: defaultdict[tuple[Inode, str], int] = defaultdict(int)
        """For each name in a directory the entries that set or removed it."""
        self.logged: set[Inode] = set()
        """The inodes that a sync brought into the log of btrfs since everything was synced."""
        self.noted = 0
        """Entries that went into that log at once because their inode was in it."""
        self._users: dict[int, tuple[int, int]] = {}
        for inode, node in enumerate(script.nodes[len(script.snapshot.nodes) :], len(script.snapshot.nodes)):
            self.files[inode].fresh = node.kind is NodeKind.FILE

    # --- questions -------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """The steps that may or may not have persisted."""
        return self.present & ~self.durable

    def users(self, index: int) -> int:
        """The steps that cannot have persisted without step ``index``, itself included."""
        # New needs are only for older steps, so the result of the last call still holds.
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

    def forget_users(self) -> None:
        """Call this when a step has lost one of its needs: the kept answers no longer hold."""
        self._users.clear()

    def without(self, index: int) -> int:
        """Everything but step ``index`` and what depends on it."""
        return self.present & ~(self.users(index) & ~self.durable)

    def with_only(self, index: int) -> int:
        """Only what was synced, and step ``index`` with what it needs."""
        return self.settled(self.durable | self.need[index])

    def settled(self, state: int) -> int:
        """A legal set plus the implied steps that add nothing to it, so that equal trees are equal sets."""
        for index in bits(self.implied & ~state):
            if not self.need[index] & ~state & ~(1 << index):
                state |= 1 << index
        return state

    def allows(self, state: int) -> bool:
        """True if a set of whole (not torn) steps is legal now."""
        if self.durable & ~state or state & ~self.present:
            return False
        # Durable steps are in every legal set, so they need no check.
        kept, dropped = state & ~self.durable, self.present & ~state
        # The same question from either side; the shorter list is checked faster.
        if kept.bit_count() <= dropped.bit_count():
            return all(not self.need[index] & ~state for index in bits(kept))
        return all(not self.users(index) & kept for index in bits(dropped))

    def need_of_torn(self, torn: Step, growth: Step | None) -> int | None:
        """The needs of the rest of a torn write, itself included; None if the write cannot be torn there.

        ``growth`` is the torn growth that comes with it. Under every model but ``strict`` a file grows only
        by whole writes of the kernel: to a page border.
        """
        assert torn.torn_from is not None
        if ModelRule.WHOLE_BLOCKS in self.model and torn.end % PAGE:
            return None
        need = self.need[torn.torn_from] & ~self._write_of(torn.torn_from) | 1 << torn.index
        if growth is None:
            return need
        if ModelRule.COHERENT_PAGES in self.model and torn.end % PAGE:
            return None
        assert growth.torn_from is not None
        whole = self.need[growth.torn_from] & ~self._write_of(torn.torn_from)
        return need | whole | 1 << growth.index

    def _write_of(self, index: int) -> int:
        """Data step ``index``, and its growth if there is any, which is the next step of the script."""
        steps = self.script.steps
        grown = index + 1 < len(steps) and steps[index + 1].partner == index
        return 1 << index | (1 << index + 1 if grown else 0)

    # --- what was played -------------------------------------------------------------------------

    def of_kind(self, steps: int, kind: StepKind) -> int:
        """Those of ``steps`` that are of one kind."""
        return sum(1 << index for index in bits(steps) if self.script.steps[index].kind is kind)

    def is_directory(self, inode: Inode) -> bool:
        """True if the inode is a directory."""
        return self.script.nodes[inode].kind is NodeKind.DIRECTORY

    def latest(self, step: Step) -> Inode | None:
        """The inode that had the name before the entry ``step``."""
        known = self.cells[step.owner, step.name]
        if known:
            return self.script.steps[known.bit_length() - 1].child
        return self.script.snapshot.entries.get(step.owner, {}).get(step.name)

    def durable_owner(self, step: Step) -> Inode | None:
        """The inode that the name of the entry ``step`` has on the disk, by the durable steps."""
        known = self.cells[step.owner, step.name] & self.durable
        if known:
            return self.script.steps[known.bit_length() - 1].child
        return self.script.snapshot.entries.get(step.owner, {}).get(step.name)

    def standing(self, entries: int) -> int:
        """Those of ``entries`` that are not durable, and whose name has not changed since."""
        return mask_of(i for i in bits(entries & ~self.durable) if self.stands(self.script.steps[i]))

    def stands(self, step: Step) -> bool:
        """True if the name has not changed since the entry ``step``."""
        return self.cells[step.owner, step.name] >> step.index == 1
