"""Persistence models as data: which rules each file system keeps, and the source for each of them.

"Measured" means: seen by copying the image of a mounted file system after the calls, mounting the
copy and comparing (Linux 6.18, default mount options; ``scenarios/validation`` repeats it). Where a
guarantee depends on something that no program sees (what the kernel wrote back in the meantime), the
model does not give it: a state that a model forbids is one that the file system never shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from chaoskit.core.errors import wrong


# Each rule makes states illegal, so each is something that a program may rely on.
class ModelRule(Enum):
    """What a file system guarantees without being asked. The value is the rule as a sentence."""

    ORDERED_METADATA = "a change of metadata persists only with every change of metadata before it"
    DATA_BEFORE_SIZE = "a file grows on the disk only together with the data that made it grow"
    GROWS_IN_ORDER = "a file that was written in several parts grows in the order of the writes"
    TAIL_UNORDERED = "growth inside a block that the file already has may persist without its data"
    COHERENT_PAGES = "a page is written as it is in memory: with all earlier writes to it"
    COPY_ON_WRITE = "new data shows only together with all metadata that changed before it"
    RENAME_FLUSHES = (
        "replacing a file by rename writes the data of a new file first, unless it was preallocated"
    )
    CLOSE_FLUSHES = (
        "closing a file that was truncated to nothing, with its last descriptor, writes its new data first"
    )
    JOURNAL_SYNC = "syncing a file or directory makes all metadata up to its own last change durable"
    DIRECTORY_COMMITS = "syncing any directory makes all metadata durable"
    NAMES_SYNC = "syncing a file or directory makes its new names, and the directories they need, durable"
    RENAME_IN_ONE = "both halves of a rename persist together, unless only the new directory is synced"
    FREED_LAST = "the content of a file is released only when the removal of its last name has persisted"
    WHOLE_BLOCKS = "a block is never torn"
    LOOSE_LOG = "a sync may bring along more of what it touches or was synced, without what changed before"
    NO_GARBAGE = "space that was never written reads as zeroes"


# Sources that are cited more than once.
_ALICE = "Pillai et al., OSDI 2014, table 1 and section 3"
_MEASURED = "measured"
_KERNEL = "Linux 6.18 source"
_TREE_LOG = f"{_KERNEL}, fs/btrfs/tree-log.c"
_ALLOC_DA = f"{_KERNEL}, fs/ext4/inode.c, ext4_alloc_da_blocks"


@dataclass(frozen=True, slots=True)
class Model:
    """A persistence model: the rules that one file system keeps, each with its source."""

    name: str
    rules: Mapping[ModelRule, str]
    what: str = ""

    def __contains__(self, rule: ModelRule) -> bool:
        return rule in self.rules

    def __hash__(self) -> int:
        # The mapping of rules has no hash; names are unique among the models.
        return hash(self.name)


EXT4 = Model(
    "ext4",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"one journal; {_ALICE}; {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"data=ordered with delayed allocation; ext4(5); {_MEASURED}",
            ModelRule.GROWS_IN_ORDER: f"{_KERNEL}, fs/ext4/inode.c, mpage_map_and_submit_extent",
            ModelRule.TAIL_UNORDERED: f"{_KERNEL}, fs/ext4/inode.c, ext4_da_write_end; {_MEASURED}",
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.RENAME_FLUSHES: f"auto_da_alloc, ext4(5); without fallocate: {_ALLOC_DA}; {_MEASURED}",
            ModelRule.CLOSE_FLUSHES: (
                f"auto_da_alloc; {_KERNEL}, fs/ext4/file.c, ext4_release_file; {_MEASURED}"
            ),
            ModelRule.JOURNAL_SYNC: f"{_KERNEL}, fs/ext4/fsync.c, i_sync_tid; {_MEASURED}",
            ModelRule.DIRECTORY_COMMITS: f"{_KERNEL}, fs/ext4/fsync.c, ext4_fsync_journal; {_MEASURED}",
            ModelRule.NAMES_SYNC: f"follows from the journal; {_MEASURED}",
            ModelRule.RENAME_IN_ONE: "one transaction",
            ModelRule.FREED_LAST: "orphan list; ext4 journal",
            ModelRule.NO_GARBAGE: "data=ordered, ext4(5)",
        }
    ),
    "data=ordered, auto_da_alloc (the defaults)",
)

# A model apart and not a change of ext4: its documentation still promises what this one does not keep.
EXT4_LATE = Model(
    "ext4-late",
    MappingProxyType(
        {rule: source for rule, source in EXT4.rules.items() if rule is not ModelRule.DATA_BEFORE_SIZE}
    ),
    "ext4 as it is since Linux 5.6, where unwritten extents are the default (dioread_nolock): the size of"
    " a file is journalled when writing its data has begun, not when it has ended, so that a file may be"
    " all zeroes even after a rename over an old one; measured in about one of fifteen power losss right"
    " after the fsync of the directory, on a busy disk",
)

XFS = Model(
    "xfs",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"one log; {_KERNEL}, Documentation/filesystems/xfs; {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"{_KERNEL}, fs/xfs/xfs_aops.c, xfs_setfilesize; {_MEASURED}",
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.JOURNAL_SYNC: f"{_KERNEL}, fs/xfs/xfs_file.c, xfs_fsync_flush_log; {_MEASURED}",
            ModelRule.NAMES_SYNC: f"follows from the log; {_MEASURED}",
            ModelRule.RENAME_IN_ONE: "one transaction",
            ModelRule.FREED_LAST: "unlinked list in the log",
            ModelRule.NO_GARBAGE: "unwritten extents; size set after the data",
        }
    ),
    "the defaults",
)

# Copy on write: what is weaker than a journal here is the log of single syncs, not the order of the rest.
BTRFS = Model(
    "btrfs",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"transactions are whole trees, between syncs; btrfs(5); {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"{_KERNEL}, fs/btrfs/inode.c, btrfs_finish_one_ordered; {_MEASURED}",
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.COPY_ON_WRITE: "datacow; btrfs(5)",
            ModelRule.NAMES_SYNC: f"log tree; {_TREE_LOG}, log_new_ancestors; {_MEASURED}",
            ModelRule.LOOSE_LOG: f"{_TREE_LOG}, btrfs_log_inode_parent, btrfs_log_new_name; {_MEASURED}",
            ModelRule.RENAME_IN_ONE: (
                f"{_MEASURED}: after syncing the new directory alone both names were there"
            ),
            ModelRule.FREED_LAST: "orphan items in the same transaction",
            ModelRule.WHOLE_BLOCKS: "copy on write, checksums of 4096-byte blocks; btrfs(5)",
            ModelRule.NO_GARBAGE: "copy on write",
        }
    ),
    "the defaults (datacow)",
)

# No file system is that weak; what survives it survives them all, those to come included.
STRICT = Model(
    "strict",
    MappingProxyType({}),
    "nothing is ordered or implied without an fsync of exactly that file or directory",
)

MODELS: Mapping[str, Model] = MappingProxyType({m.name: m for m in (EXT4, EXT4_LATE, XFS, BTRFS, STRICT)})


def models_named(names: str | Iterable[str]) -> tuple[Model, ...]:
    """The models with these names, each once, in the order given.

    Raises:
        UsageError: for a name that is no model, and for none at all.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    # Before the empty choice: a wrong name is the likelier mistake.
    for name in given:
        if name not in MODELS:
            raise wrong("model", name, f"one or several of {', '.join(MODELS)}")
    if not given:
        raise wrong("model", given, f"one or several of {', '.join(MODELS)}")
    return tuple(MODELS[name] for name in dict.fromkeys(given))
