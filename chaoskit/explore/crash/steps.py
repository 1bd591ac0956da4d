"""The records that crash states are made from: steps, the effect of each operation, and the whole script.

The decomposition follows ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, section
3.2): a write is data blocks and growth of the file, a rename is two directory entries, an unlink of the last
name is an entry and the release of the content. Which steps may persist without which is decided by a
persistence model (:mod:`chaoskit.explore.crash.order`).

Sets of steps are integers with one bit per step: union, difference and containment are then one machine
operation for every 30 steps, and sets can be keys. :func:`bits` and :func:`mask_of` convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from chaoskit.core.operation import Caveat, Payload, Trace
from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.snapshot import Inode, Node, Snapshot


class StepKind(Enum):
    """``GROW`` is growth that comes with written data, ``RESIZE`` a size that a call set explicitly."""

    DATA = "data"
    GROW = "grow"
    RESIZE = "resize"
    FREE = "free"
    ENTRY = "entry"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True)
class Step:
    """The smallest change that may persist without its neighbours. ``index`` is its number in the script.

    ``operation`` is the index of the operation in the trace. ``owner`` is the inode whose fsync makes the
    step durable: the file, or the directory that holds an entry. ``offset``, ``payload`` and ``start``,
    ``length`` belong to ``DATA``; ``size`` to ``GROW`` and ``RESIZE``; ``name`` and ``child`` (None:
    removed) to ``ENTRY``; ``name`` and ``value`` to ``ATTRIBUTE``. ``partner`` is the other half of
    a rename, the data whose growth this is, or the entry whose removal freed the content.

    ``torn_from`` marks the rest of the step with that number if the power fails in the middle of it: it
    replaces the whole step, and is ignored otherwise.
    """

    # One class with unused fields rather than six classes: enumeration reads steps in its innermost loops,
    # where telling classes apart costs more than a few empty slots.
    index: int
    operation: int
    kind: StepKind
    owner: Inode
    offset: int = 0
    length: int = 0
    payload: Payload | None = None
    start: int = 0
    size: int = 0
    name: str = ""
    child: Inode | None = None
    value: object = None
    partner: int | None = None
    torn_from: int | None = None
    optional: bool = False
    """True if the operation may not have happened at all: its result is not known."""
    within_block: bool = False
    """True if the data that makes the file grow begins in a block that the file already had."""
    creates: bool = False
    """True if the entry gives a new inode its first name."""
    exchange: bool = False
    cuts: bool = False
    """True if the size set is smaller than before: blocks may have been freed."""
    keeps_blocks: bool = False
    """True if zeroes in the block map leave the file its blocks (``FALLOC_FL_ZERO_RANGE``)."""
    unless: ModelRule | None = None
    """The model rule under which this step adds nothing: see :attr:`unasked`."""

    @property
    def end(self) -> int:
        """The offset after the last byte of data."""
        return self.offset + self.length

    def part(self, first: int, last: int) -> bytes | memoryview:
        """The data between two offsets in the file; zeroes if it is a hole."""
        if self.payload is None:
            return bytes(last - first)
        return self.payload.part(self.start + first - self.offset, last - first)

    @property
    def unasked(self) -> bool:
        """True if some file systems add the step by themselves; no call asked for it."""
        return self.unless is not None

    @property
    def is_metadata(self) -> bool:
        """True if a journal would carry the step. That includes holes, which are changes of the block map."""
        if self.kind is StepKind.DATA:
            return self.payload is None
        # Growth is journalled with its data, whenever that is written.
        return self.kind is not StepKind.GROW

    @property
    def pages(self) -> range:
        """The numbers of the pages that data touches."""
        return range(self.offset // PAGE, (self.end + PAGE - 1) // PAGE)


@dataclass(frozen=True, slots=True)
class Sync:
    """What a call makes durable: the file or directory ``inode``, or everything if that is None.

    ``failed``: the call reported that data could not be written. The kernel then counts the pages as
    clean (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020): a later
    fsync succeeds without writing them. ``only`` limits the data to the steps of one operation, ``within``
    to a range of bytes.
    """

    inode: Inode | None = None
    data_only: bool = False
    failed: bool = False
    only: range | None = None
    within: range | None = None


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Stands among the promises for an exchange: the other side has seen it, though nothing was promised."""

    operation: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What one operation did: steps ``first`` up to ``last`` (not included), then perhaps a sync.

    ``closed`` is the file that was closed with its last descriptor, ``flushed`` the file whose data ext4
    writes out together with this rename.
    """

    operation: int
    first: int
    last: int
    sync: Sync | None = None
    closed: Inode | None = None
    flushed: Inode | None = None
    promises: int = 0
    """How many promises have been acknowledged once this operation is over."""
    outside: tuple[Effect, ...] = ()
    """What the test itself changed since the previous run: see :mod:`chaoskit.explore.crash.between`."""

    @property
    def quiet(self) -> bool:
        """True if the operation changed nothing, though it may have synced something."""
        return self.first == self.last


@dataclass(frozen=True, slots=True)
class Script:
    """A trace as steps on a snapshot.

    ``nodes`` has every inode that ever existed, those of the snapshot first, each as it was in the
    snapshot or as it was created. ``effects`` has one entry for each operation.
    """

    trace: Trace
    snapshot: Snapshot
    nodes: tuple[Node, ...]
    steps: tuple[Step, ...]
    effects: tuple[Effect, ...]
    promised: tuple[object, ...]
    caveats: tuple[Caveat, ...] = ()


def bits(mask: int) -> Iterator[int]:
    """The numbers of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(numbers: Iterable[int]) -> int:
    """The set of these numbers, as bits."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask
