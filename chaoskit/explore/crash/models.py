"""Persistence models as data: which rules each file system keeps, and the source for each of them.

"Measured" means: seen on a mounted file system whose device keeps a log of its writes, so that each prefix of
the log can be mounted and compared (Linux 6.18, default mount options; ``scenarios/validation`` repeats it).
If a guarantee depends on something that no program sees (what the kernel wrote back in the meantime), the
model does not give it: the file system never shows a state that its model forbids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from chaoskit.core.errors import wrong


# Each rule makes states illegal, so a program may rely on it.
class ModelRule(Enum):
    """What a file system guarantees without being asked. The value is the rule as a sentence."""

    ORDERED_METADATA = "a change of metadata persists only with every change of metadata before it"
    DATA_BEFORE_SIZE = "a file grows on the disk only together with the data that made it grow"
    DATA_WITH_GROWTH = "data that made a file grow persists only together with that growth"
    GROWS_IN_ORDER = "a file that was written in several parts grows in the order of the writes"
    GROWS_APART = "the data of one write never brings along the growth of a later one"
    ALLOCATES_APART = "fallocate inside a file does not let it grow before the data that made it grow"
    FILLS_APART = (
        "data in a gap that an earlier write has left does not let the file grow to that block's end"
    )
    SETS_APART = "setting the size that a file has does not let it grow before its data"
    TAIL_UNORDERED = "growth inside a block that the file already has may persist without its data"
    COHERENT_PAGES = "a page is written as it is in memory: with all earlier writes to it"
    CUTS_AT_ONCE = "the rest of a block that a file is cut in becomes zeroes together with the cut"
    COPY_ON_WRITE = "new data shows only together with all metadata that changed before it"
    RENAME_FLUSHES = (
        "replacing a file by rename writes the data of a new file first, unless it was preallocated"
    )
    CLOSE_FLUSHES = (
        "closing a file that was truncated to nothing, with its last descriptor, writes its new data first"
    )
    JOURNAL_SYNC = "syncing a file or directory makes all metadata up to its own last change durable"
    DATASYNC_REMOVES = "fdatasync of a file without a name makes the removal of its names durable"
    DIRECTORY_COMMITS = "syncing any directory makes all metadata durable"
    NAMES_SYNC = "syncing a file or directory makes its new names, and the directories they need, durable"
    RENAME_IN_ONE = "both halves of a rename persist together, unless only the new directory is synced"
    WHOLE_BLOCKS = "a block is never torn"
    LOOSE_LOG = "a sync may bring along more of what it touches or was synced, without what changed before"
    NO_GARBAGE = "space that was never written reads as zeroes"


# Sources that are cited more than once.
_ALICE = "Pillai et al., OSDI 2014, table 1 and section 3"
_MEASURED = "measured"
_KERNEL = "Linux 6.18 source"
_TREE_LOG = f"{_KERNEL}, fs/btrfs/tree-log.c"
_ALLOC_DA = f"{_KERNEL}, fs/ext4/inode.c, ext4_alloc_da_blocks"
_BLOCKS = f"file systems send whole blocks, and disks tear between them; {_MEASURED}"
_IN_PASSING = f"not seen there; {_MEASURED}"


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


# In all models a removed file is released only when its last name is gone. No program could guard against the
# opposite, so it is documented rather than made a rule that only some models keep.
EXT4_ORDERED = Model(
    "ext4-ordered",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"one journal; {_ALICE}; {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"data=ordered; ext4(5); {_MEASURED}",
            ModelRule.GROWS_IN_ORDER: f"{_KERNEL}, fs/ext4/inode.c, mpage_map_and_submit_extent",
            ModelRule.GROWS_APART: _IN_PASSING,
            ModelRule.SETS_APART: _IN_PASSING,
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
            ModelRule.WHOLE_BLOCKS: _BLOCKS,
            ModelRule.NO_GARBAGE: "data=ordered, ext4(5)",
        }
    ),
    "ext4 mounted with nodelalloc, dioread_lock or data=journal: the size of a file is journalled only when"
    " its data is on the disk",
)

_NOT_BY_DEFAULT = (ModelRule.DATA_BEFORE_SIZE, ModelRule.GROWS_IN_ORDER, ModelRule.TAIL_UNORDERED)
"""The rules that dioread_nolock, the default since Linux 5.6, breaks: unwritten extents are converted after
the data was written, but the size is journalled when writing has begun."""

EXT4 = Model(
    "ext4",
    MappingProxyType(
        {rule: source for rule, source in EXT4_ORDERED.rules.items() if rule not in _NOT_BY_DEFAULT}
    ),
    "the defaults since Linux 5.6: data=ordered, auto_da_alloc, dioread_nolock. A file may be all zeroes in"
    " its full size, even after a rename over an old one: whenever the journal is committed while its data"
    " is on the way to the disk (8 of 10 at a latency of 1 ms), and for up to 5 s after that",
)

XFS = Model(
    "xfs",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"one log; {_KERNEL}, Documentation/filesystems/xfs; {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"{_KERNEL}, fs/xfs/xfs_aops.c, xfs_setfilesize; {_MEASURED}",
            ModelRule.GROWS_APART: _IN_PASSING,
            ModelRule.SETS_APART: _IN_PASSING,
            ModelRule.ALLOCATES_APART: _IN_PASSING,
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.JOURNAL_SYNC: f"{_KERNEL}, fs/xfs/xfs_file.c, xfs_fsync_flush_log; {_MEASURED}",
            ModelRule.DATASYNC_REMOVES: _MEASURED,
            ModelRule.NAMES_SYNC: f"follows from the log; {_MEASURED}",
            ModelRule.RENAME_IN_ONE: "one transaction",
            ModelRule.WHOLE_BLOCKS: _BLOCKS,
            ModelRule.NO_GARBAGE: "unwritten extents; size set after the data",
        }
    ),
    "the defaults",
)

# Copy on write: only the log of single syncs is weaker than a journal, not the order of the rest.
BTRFS = Model(
    "btrfs",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"transactions are whole trees, between syncs; btrfs(5); {_MEASURED}",
            ModelRule.DATA_BEFORE_SIZE: f"{_KERNEL}, fs/btrfs/inode.c, btrfs_finish_one_ordered; {_MEASURED}",
            ModelRule.DATA_WITH_GROWTH: f"the same function, in one transaction; {_MEASURED}",
            ModelRule.ALLOCATES_APART: _IN_PASSING,
            ModelRule.FILLS_APART: f"the size in memory is taken; {_MEASURED}",
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.CUTS_AT_ONCE: "copy on write",
            ModelRule.COPY_ON_WRITE: "datacow; btrfs(5)",
            ModelRule.NAMES_SYNC: f"log tree; {_TREE_LOG}, log_new_ancestors; {_MEASURED}",
            ModelRule.LOOSE_LOG: f"{_TREE_LOG}, btrfs_log_inode_parent, btrfs_log_new_name; {_MEASURED}",
            ModelRule.RENAME_IN_ONE: (
                f"{_MEASURED}: after syncing the new directory alone both names were there"
            ),
            ModelRule.WHOLE_BLOCKS: "copy on write, checksums of 4096-byte blocks; btrfs(5)",
            ModelRule.NO_GARBAGE: "copy on write",
        }
    ),
    "the defaults (datacow)",
)

_BY_ALL = f"ext3, ext4, xfs, btrfs and f2fs alike; {_MEASURED}"

# Names as the weakest file system keeps them (the log of btrfs); nothing about data and sizes.
PORTABLE = Model(
    "portable",
    MappingProxyType(
        {
            ModelRule.ORDERED_METADATA: f"{_BY_ALL}, between syncs",
            ModelRule.COHERENT_PAGES: "page cache",
            ModelRule.NAMES_SYNC: _BY_ALL,
            ModelRule.LOOSE_LOG: "btrfs",
            ModelRule.RENAME_IN_ONE: f"{_BY_ALL}; both names only after a move between directories, on btrfs",
            ModelRule.WHOLE_BLOCKS: _BLOCKS,
            ModelRule.NO_GARBAGE: _BY_ALL,
        }
    ),
    "any file system with a journal or copy-on-write (ext3, ext4, xfs, btrfs, f2fs): a name never lacks its"
    " file and a file never all its names, but data and sizes persist in any order",
)

# POSIX and nothing else, except that a rename swaps in one step: a program that survives this survives all.
STRICT = Model(
    "strict",
    MappingProxyType({}),
    "nothing is ordered or implied without an fsync of exactly that file or directory",
)

MODELS: Mapping[str, Model] = MappingProxyType(
    {m.name: m for m in (EXT4, EXT4_ORDERED, XFS, BTRFS, PORTABLE, STRICT)}
)


def models_named(names: str | Iterable[str]) -> tuple[Model, ...]:
    """The models with these names, each once, in the order given.

    Raises:
        UsageError: for a name without a model, and if there is no name at all.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    # Before the empty choice: a wrong name is the likelier mistake.
    for name in given:
        if name not in MODELS:
            raise wrong("model", name, f"one or several of {', '.join(MODELS)}")
    if not given:
        raise wrong("model", given, f"one or several of {', '.join(MODELS)}")
    return tuple(MODELS[name] for name in dict.fromkeys(given))
