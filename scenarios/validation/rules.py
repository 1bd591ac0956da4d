"""Programs that show one rule each, and the wrong rules that mounted file systems have refuted.

A wrong rule is planted again by :attr:`Wrong.plant`; what the program then leaves must be outside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from unittest import mock

from disk_programs import Program
from workloads import KEEP, ZERO

from chaoskit.explore.crash import MODELS, Model, ModelRule, needs, syncs
from chaoskit.explore.crash.order import FileRecord, Order
from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.steps import Step, StepKind, Sync, bits
from chaoskit.explore.crash.tree import FileTree

CREATE, APPEND = os.O_CREAT, os.O_APPEND
SLOW = 0.003
"""Seconds for a write that is still under way when the journal is committed."""


@dataclass(frozen=True)
class Wrong:
    """A rule that a model once had, the variants on which ``program`` refutes it, and how it is planted.

    ``rule`` is given to the model; ``plant`` is in force while the states are worked out.
    """

    program: Program
    variants: tuple[str, ...]
    rule: ModelRule | None = None
    plant: Callable[[], object] | None = None
    slow: float = 0.0

    def model(self, name: str) -> Model:
        """The model of that name with the rule in it."""
        model = MODELS[name]
        if self.rule is None:
            return model
        return replace(model, rules=MappingProxyType({**model.rules, self.rule: "planted"}))


def _without_wipes() -> object:
    return mock.patch.object(FileTree, "_wipe", return_value=None)


def _every_resize_counts() -> object:
    of_data = needs._of_data

    def waits(order: Order, step: Step, file: FileRecord) -> int:
        earlier = (s for s in order.script.steps[: step.index] if s.owner == step.owner)
        sizes = [s for s in earlier if s.kind is StepKind.RESIZE and step.end > s.size]
        return of_data(order, step, file) | sum_of(order.need[s.index] for s in sizes)

    return mock.patch.object(needs, "_of_data", waits)


def sum_of(masks: Iterable[int]) -> int:
    """The union of sets given as bits."""
    whole = 0
    for mask in masks:
        whole |= mask
    return whole


def _zeroes_free_blocks() -> object:
    zero = FileTree.zero
    return mock.patch.object(
        FileTree, "zero", lambda self, inode, offset, end, keeps=False: zero(self, inode, offset, end)
    )


def _moments_count() -> object:
    """What a name meant in between is durable with the sync of a file that was given another name."""

    def replayed(order: Order, entries: int) -> int:
        steps, mask = order.script.steps, 0
        for index in bits(entries):
            step = steps[index]
            mask |= order.cells[step.owner, step.name] & ((2 << index) - 1)
            mask |= order.files[step.child].removals if step.child is not None else 0
        for index in bits(mask):
            partner = steps[index].partner
            mask |= 1 << partner if partner is not None else 0
        return mask & ~order.durable

    return mock.patch.object(syncs, "_replayed", replayed)


def _never_there_counts() -> object:
    """The former owner of a name was logged with its new one, even if it had never been on the disk."""
    durable_owner = Order.durable_owner

    def owner(self: Order, step: Step) -> Inode | None:
        known = [
            self.script.steps[i].child for i in bits(self.cells[step.owner, step.name]) if i < step.index
        ]
        return next((one for one in reversed(known) if one is not None), durable_owner(self, step))

    return mock.patch.object(Order, "durable_owner", owner)


def _directories_stay_out() -> object:
    return mock.patch.object(syncs, "_renamed_in", return_value=set())


def _nameless_counts() -> object:
    """The sync of a file that lost its name made that durable."""
    logged = syncs._logged_names

    def names(order: Order, inode: Inode, given: int) -> int:
        taken = order.files[inode].taken
        return logged(order, inode, given) | taken | sum_of(order.need[index] for index in bits(taken))

    return mock.patch.multiple(syncs, _logged_names=names, _nameless=lambda order, inode: False)


def _msync_of_all() -> object:
    """The msync of a part of a mapping is a sync of the whole file."""
    return mock.patch.object(syncs, "_left_out", return_value=0)


def _msync_of_what_has_grown() -> object:
    left_out = syncs._left_out

    def left(order: Order, file: FileRecord, sync: Sync) -> int:
        grown = order.of_kind(file.pending & ~order.durable, StepKind.GROW)
        return 0 if grown else left_out(order, file, sync)

    return mock.patch.object(syncs, "_left_out", left)


def _attributes_in_turn() -> object:
    return mock.patch.object(syncs, "_log_attributes", return_value=None)


def _nameless_is_found() -> object:
    """The data of a file without a name is durable by its sync, and so is what had changed before."""
    return mock.patch.object(syncs, "_nameless", return_value=False)


WRONG: dict[str, Wrong] = {
    "E1 a cut inside a block is one step": Wrong(
        (("truncate", "big", 6000), ("~write-back", "big")), ("ext4", "xfs"), plant=_without_wipes
    ),
    "E2 data waits for every size that was set": Wrong(
        (("fallocate", "a", 0, 100, 0, 4096), ("~write-back", "a")),
        ("ext4", "xfs"),
        plant=_every_resize_counts,
    ),
    "E2b a zeroed range gives its blocks back": Wrong(
        (("chmod", "part", 0o700), ("fallocate", "big", 0, 5000, ZERO, 5000), ("~write-back", "big")),
        ("ext4",),
        plant=_zeroes_free_blocks,
    ),
    "E3 a name in between is logged": Wrong(
        (("rename", "d/f", "part"), ("rename", "part", "d/n"), ("put", "d/f", 10, CREATE, "fsync")),
        ("btrfs",),
        plant=_moments_count,
    ),
    "E4 a renamed file is logged without its directory": Wrong(
        (("rename", "big", "n"), ("truncate", "d/f", 0), ("unlink", "part"), ("sync", "n", False)),
        ("btrfs",),
        plant=_directories_stay_out,
    ),
    "E5 the fsync of a file without a name makes its removal durable": Wrong(
        (("open", 0, "d/n", CREATE), ("rename", "a", "d/n"), ("write", 0, 100, None), ("fsync", 0)),
        ("btrfs",),
        plant=_nameless_counts,
    ),
    "E7 a file that was never on the disk is logged with its new name": Wrong(
        (("put", "n", 100, CREATE, ""), ("rename", "n", "m"), ("put", "n", 100, CREATE, "fsync")),
        ("btrfs",),
        plant=_never_there_counts,
    ),
    "E8 fallocate leaves the size of what is not written alone": Wrong(
        (("put", "n", 12288, CREATE, ""), ("fallocate", "n", 50, 5000, ZERO | KEEP, 0), ("~commit",)),
        ("ext4",),
        rule=ModelRule.ALLOCATES_APART,
    ),
    "E9 the fdatasync of a file without a name makes its removal durable": Wrong(
        (("open", 0, "a", 0), ("unlink", "a"), ("fdatasync", 0)), ("ext4",), rule=ModelRule.DATASYNC_REMOVES
    ),
    "E10 a file grows only by the data of the same write": Wrong(
        (("open", 0, "big", APPEND), ("write", 0, 4096, None), ("~begin write-back", "big"),
         ("write", 0, 4096, None), ("~commit",)),
        ("btrfs",),
        rule=ModelRule.GROWS_APART,
    ),
    "E11 a file grows only together with its data": Wrong(
        (("put", "n", 5000, CREATE, ""), ("rename", "n", "a"), ("sync", ".", False)),
        ("ext4",),
        rule=ModelRule.DATA_BEFORE_SIZE,
        slow=SLOW,
    ),
    "E12 data in a gap brings no growth to the end of its block": Wrong(
        (("open", 0, "n", CREATE), ("write", 0, 8192, 10000), ("put", "n", 600, os.O_DSYNC, "")),
        ("ext4", "xfs"),
        rule=ModelRule.FILLS_APART,
    ),
    "E13 setting the size that a file has changes nothing": Wrong(
        (("put", "part", 5000, APPEND, ""), ("truncate", "part", 5100), ("~commit",)),
        ("btrfs",),
        rule=ModelRule.SETS_APART,
    ),
    "E14 the sync of a file without a name makes its data durable": Wrong(
        (("open", 0, "a", 0), ("rename", "d/f", "a"), ("write", 0, 4096, 0), ("fsync", 0)),
        ("btrfs",),
        plant=_nameless_is_found,
    ),
    "E15 the msync of a part of a mapping writes all of the file": Wrong(
        # Two writes, since what one has brought into the page cache may be kept, and written, as a whole.
        (("put", "n", 4096, CREATE, ""), ("put", "n", 4096, APPEND, "fsync"), ("map", 0, "n"),
         ("store into", 0, 0, 10), ("store into", 0, 4096, 10), ("msync", 0, 4096, 10)),
        ("ext4", "xfs"),
        plant=_msync_of_all,
    ),
    "E16 the msync of a part of a mapping writes all of a file that has grown": Wrong(
        (("map", 0, "big"), ("put", "big", 5000, CREATE | APPEND, ""), ("msync", 0, 0, 4096)),
        ("ext4", "xfs"),
        plant=_msync_of_what_has_grown,
    ),
    "E17 zeroes behind the end of a file bring no growth to the end of its block": Wrong(
        (("map", 0, "part"), ("overwrite", "part", 10000, 4096), ("msync", 0, 0, 4096)),
        ("xfs",),
        rule=ModelRule.ENDS_APART,
    ),
    "E18 the sync of a directory brings no mode of a new file without its size": Wrong(
        (("put", "n", 0, CREATE, ""), ("truncate", "n", 5000), ("chmod", "n", 0o755), ("sync", ".", False)),
        ("btrfs",),
        plant=_attributes_in_turn,
    ),
}  # fmt: skip
"""By the names of the list that they were found in."""
