"""From a trace to micro-steps: the smallest changes that a disk can have seen apart from each other.

The decomposition follows ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014,
section 3.2): a write is data blocks and growth of the file, a rename is two directory entries, an
unlink of the last name is an entry and the release of the content. What may persist without what is
not decided here but by a persistence model (:mod:`chaoskit.explore.crash.order`).

What is not followed: owners and times of files (``chown``, ``utimens``). Stores into shared mappings
are followed in a history (:mod:`chaoskit.explore.crash.between`), by what the backend has read.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from chaoskit.core.operation import Bytes, Caveat, FileDetail, Operation, Payload, Trace
from chaoskit.explore.crash.snapshot import TOP, Inode, Node, NodeKind, Snapshot

PAGE = 4096
SECTOR = 512
_MOST_PIECES = 4

_KEEP_SIZE, _PUNCH, _COLLAPSE, _ZERO, _INSERT = 0x01, 0x02, 0x08, 0x10, 0x20
"""Modes of fallocate(2), from linux/falloc.h."""
_EXCHANGE = 2
"""``RENAME_EXCHANGE`` of renameat2(2)."""
_MS_SYNC = 4
_TMPFILE = getattr(os, "O_TMPFILE", 0)


class StepKind(Enum):
    """``GROW`` is growth that comes with written data, ``RESIZE`` a size that was set by itself."""

    DATA = "data"
    GROW = "grow"
    RESIZE = "resize"
    FREE = "free"
    ENTRY = "entry"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True)
class Step:
    """One micro-step. Steps are numbered in the order in which they were made: ``index``.

    ``operation`` is the index of the operation in the trace. ``owner`` is whose fsync makes the step
    durable: the file, or the directory that holds an entry. ``offset``, ``payload`` and ``start``,
    ``length`` belong to ``DATA``; ``size`` to ``GROW`` and ``RESIZE``; ``name`` and ``child`` (None:
    removed) to ``ENTRY``; ``name`` and ``value`` to ``ATTRIBUTE``. ``partner`` is the other half of
    a rename, the data whose growth this is, or the entry whose removal freed the content.

    ``torn_from`` marks what is left of the step with that number when the power goes in the middle
    of it: such a step takes the place of the whole one and counts for nothing otherwise.
    """

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
    """Whether the operation may not have happened at all: its result is not known."""
    within_block: bool = False
    """Whether growing data begins in a block that the file already had."""
    creates: bool = False
    """Whether the entry gives a new inode its first name."""
    exchange: bool = False

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
    def is_metadata(self) -> bool:
        """Whether a journal would carry it. Holes count: they are changes of the block map."""
        if self.kind is StepKind.DATA:
            return self.payload is None
        return self.kind is not StepKind.GROW

    @property
    def pages(self) -> range:
        """The numbers of the pages that data touches."""
        return range(self.offset // PAGE, (self.end + PAGE - 1) // PAGE)


@dataclass(frozen=True, slots=True)
class Sync:
    """A call that makes something durable; ``inode`` None: everything.

    ``failed``: the call reported that data could not be written. The kernel then counts the pages as
    clean (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020): a later
    fsync succeeds without writing them. ``only`` limits the data to the steps of one operation.
    """

    inode: Inode | None = None
    data_only: bool = False
    failed: bool = False
    only: range | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What one operation did: steps ``first`` up to ``last`` (not included), then perhaps a sync.

    ``closed`` is the file of which an opening has ended with its last descriptor, ``flushed`` the file
    whose data ext4 writes out together with this rename.
    """

    operation: int
    first: int
    last: int
    sync: Sync | None = None
    closed: Inode | None = None
    flushed: Inode | None = None
    promises: int = 0
    """How many promises have been acknowledged once this operation is over."""
    outside: tuple[Move, ...] = ()
    """What the test itself had changed before, since the run in front of this one: see
    :mod:`chaoskit.explore.crash.between`."""

    @property
    def quiet(self) -> bool:
        """Whether it changed nothing, though it may have synced something."""
        return self.first == self.last


@dataclass(frozen=True, slots=True)
class Script:
    """A trace as micro-steps on a snapshot.

    ``nodes`` has every inode that ever was, those of the snapshot first: as they were in the
    snapshot, or as they were created. ``moves`` has one entry for each operation.
    """

    trace: Trace
    snapshot: Snapshot
    nodes: tuple[Node, ...]
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]
    promised: tuple[object, ...]
    caveats: tuple[Caveat, ...] = ()


def script(trace: Trace, snapshot: Snapshot, umask: int | None = None) -> Script:
    """Split the operations of ``trace``, which began at ``snapshot``, into micro-steps.

    Operations that failed have none; short writes have those for what was written. ``umask`` counts
    where the trace does not say which mode a new file got; it defaults to that of this process.
    """
    builder = Builder(trace, snapshot, umask_now() if umask is None else umask)
    for operation in trace:
        builder.play(operation)
    return builder.script()


def umask_now() -> int:
    # Not os.umask(): to read the mask it must be set, and other threads may create files meanwhile.
    try:
        with open("/proc/self/status") as status:
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), 0o022)
    except OSError:
        return 0o022


def pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut a range at page borders, into at most four: what a disk may have written apart.

    Larger writes are cut after the first page, before the last, and in the middle, so that their
    number of crash states does not grow with their size.
    """
    end = offset + length
    first, last = offset // PAGE, (end - 1) // PAGE
    if last - first < _MOST_PIECES:
        borders = [page * PAGE for page in range(first + 1, last + 1)]
    else:
        borders = [(first + 1) * PAGE, ((first + last + 1) // 2) * PAGE, last * PAGE]
    starts = [offset, *borders]
    yield from ((start, stop - start) for start, stop in zip(starts, [*borders, end], strict=True))


def cuts(offset: int, length: int) -> tuple[int, ...]:
    """Where a torn write of this range may end: the first and last sector and page border inside."""
    end = offset + length
    found: set[int] = set()
    for unit in (SECTOR, PAGE):
        inside = range((offset // unit + 1) * unit, end, unit)
        found.update((inside[0], inside[-1]) if inside else ())
    return tuple(sorted(found))


def changed(before: bytes, now: bytes) -> Iterator[tuple[int, int]]:
    """The ranges of whole pages in which ``now`` differs from ``before``, cut or extended by zeroes."""
    begin = None
    old, new = memoryview(before), memoryview(now)
    for start in range(0, len(now), PAGE):
        page = new[start : start + PAGE]
        one = old[start : start + len(page)]
        equal = one == page if len(one) == len(page) else bytes(one).ljust(len(page), b"\0") == page
        if not equal and begin is None:
            begin = start
        elif equal and begin is not None:
            yield begin, start
            begin = None
    if begin is not None:
        yield begin, len(now)


@dataclass(slots=True)
class Builder:
    """Plays a trace on a model of the tree, to learn which file each name means at each moment."""

    trace: Trace
    snapshot: Snapshot
    umask: int
    nodes: list[Node] = field(init=False)
    steps: list[Step] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    promised: list[object] = field(default_factory=list)
    caveats: list[Caveat] = field(default_factory=list)
    entries: dict[Inode, dict[str, Inode]] = field(init=False)
    sizes: dict[Inode, int] = field(init=False)
    links: dict[Inode, int] = field(init=False)
    by_identity: dict[tuple[int, int], Inode] = field(init=False)
    preallocated: set[Inode] = field(default_factory=set)
    """Files that were given blocks before data: ext4 does not write them out early (see ``_early``)."""
    _operation: Operation = field(init=False)
    _certain: bool = False

    def __post_init__(self) -> None:
        self.nodes = list(self.snapshot.nodes)
        self.entries = {inode: dict(names) for inode, names in self.snapshot.entries.items()}
        self.sizes = {inode: len(node.content) for inode, node in enumerate(self.nodes)}
        self.links = dict.fromkeys(range(len(self.nodes)), 0)
        for names in self.entries.values():
            for child in names.values():
                self.links[child] += 1
        self.by_identity = {
            node.identity: inode for inode, node in enumerate(self.nodes) if node.identity is not None
        }

    # --- one operation ---------------------------------------------------------------------------

    def play(self, operation: Operation, outside: tuple[Move, ...] = (), learned: int | None = None) -> None:
        """Let ``operation`` take effect; ``learned`` is the first step that came to light before it."""
        self._operation, self._certain = operation, False
        begin = len(self.steps)
        first = begin if learned is None else learned
        sync = closed = flushed = None
        if operation.result is None or operation.result >= 0:
            if operation.call == "close":
                closed = self._early(self._file(operation)) if operation.file.released else None
            elif operation.call == "rename":
                flushed = self._early(self._rename(operation))
            elif operation.call in _SYNCS:
                sync = self._synced(operation)
            elif operation.call in _CHANGES:
                _CHANGES[operation.call](self, operation)
        elif operation.call in ("fsync", "fdatasync") and -operation.result in _LOST_DATA:
            sync = Sync(self._acted_on(operation), failed=True)
        written = operation.call in _WRITES and operation.file.synchronous
        if written and sync is None and len(self.steps) > begin:
            sync = Sync(self.steps[begin].owner, data_only=True, only=range(begin, len(self.steps)))
        if sync is not None and operation.result is None:
            sync = None
        self.moves.append(
            Move(operation.index, first, len(self.steps), sync, closed, flushed, len(self.promised), outside)
        )

    def script(self) -> Script:
        """What was played so far."""
        return Script(
            self.trace,
            self.snapshot,
            tuple(self.nodes),
            tuple(self.steps),
            tuple(self.moves),
            tuple(self.promised),
            tuple(self.caveats),
        )

    # --- what no operation did: see chaoskit.explore.crash.between -------------------------------

    def begin(self, operation: Operation) -> None:
        """The changes that follow belong to ``operation``, and have happened for sure."""
        self._operation, self._certain = operation, True

    def change(self, kind: StepKind, owner: Inode, **fields: object) -> Step:
        """Add a step."""
        step = self._add(kind, owner, **fields)
        if kind is StepKind.RESIZE:
            self.sizes[owner] = step.size
        return step

    def adopt(self, node: Node) -> Inode:
        """A file, directory or link that has come from nowhere."""
        return self._new(node)

    def enter(self, directory: Inode, name: str, child: Inode | None, *, creates: bool) -> Step:
        """Let ``name`` mean ``child``."""
        return self._set(directory, name, child, creates=creates)

    def become(self, inode: Inode, before: bytes, now: bytes) -> None:
        """Write what differs into a file that held ``before``."""
        if len(now) < len(before):
            self._resize(inode, len(now))
        for start, end in changed(before, now):
            self._put(inode, start, end - start, Bytes(now[start:end]))
        self._resize(inode, len(now))

    def _early(self, inode: Inode | None) -> Inode | None:
        """``inode`` if ext4 writes its data out by itself when it is closed or renamed.

        It looks for delayed blocks first: fs/ext4/inode.c, ext4_alloc_da_blocks, returns at once where
        none are reserved. Some may be, beside those of fallocate; that is not followed.
        """
        return None if inode in self.preallocated else inode

    def _add(self, kind: StepKind, owner: Inode, **fields: object) -> Step:
        step = Step(
            len(self.steps),
            self._operation.index,
            kind,
            owner,
            optional=self._operation.result is None and not self._certain,
            **fields,  # type: ignore[arg-type]
        )
        self.steps.append(step)
        return step

    def _caveat(self, kind: str, text: str) -> None:
        self.caveats.append(Caveat(kind, self._operation.target, text))

    # --- names and inodes ------------------------------------------------------------------------

    def _new(self, node: Node) -> Inode:
        inode = len(self.nodes)
        self.nodes.append(node)
        self.sizes[inode] = len(node.content)
        self.links[inode] = 0
        if node.kind is NodeKind.DIRECTORY:
            self.entries[inode] = {}
        if node.identity is not None:
            # The system reuses numbers: from now on this one means the new file.
            self.by_identity[node.identity] = inode
        return inode

    def _find(self, target: str) -> Inode | None:
        inode = TOP
        for part in target.split("/"):
            if part in ("", "."):
                continue
            child = self.entries.get(inode, {}).get(part)
            if child is None:
                return None
            inode = child
        return inode

    def _parent(self, target: str) -> Inode | None:
        """The directory of a name; None for a name outside of the scenario's directory."""
        if posixpath.isabs(target):
            return None
        return self._find(posixpath.dirname(target))

    def _acted_on(self, operation: Operation) -> Inode | None:
        """The inode that the operation acted on: by identity, so renames do not matter."""
        identity = operation.file.inode
        inode = self.by_identity.get(identity) if identity is not None else None
        if inode is None:
            inode = self._find(operation.target)
            if inode is not None and identity is not None:
                self.by_identity[identity] = inode
        return inode

    def _file(self, operation: Operation) -> Inode | None:
        inode = self._acted_on(operation)
        if inode is None or self.nodes[inode].kind is not NodeKind.FILE:
            return None
        return inode

    def _set(self, directory: Inode, name: str, child: Inode | None, **fields: object) -> Step:
        """Change an entry, in the tree and as a step."""
        names = self.entries[directory]
        before = names.pop(name, None)
        if before is not None:
            self.links[before] -= 1
        if child is not None:
            names[name] = child
            self.links[child] += 1
        return self._add(StepKind.ENTRY, directory, name=name, child=child, **fields)

    def _name(self, target: str, inode: Inode, *, creates: bool = False) -> Step | None:
        parent = self._parent(target)
        if parent is None or parent not in self.entries:
            self._caveat("unknown-directory", f"{target} is in a directory that the recording does not know")
            return None
        return self._set(parent, posixpath.basename(target), inode, creates=creates)

    def _gone(self, inode: Inode, entry: Step) -> None:
        """Release the content of a file that has lost its last name."""
        known = self._operation.file.links
        last = self.links[inode] == 0 if known is None or self._operation.call != "unlink" else known <= 1
        if last and self.nodes[inode].kind is NodeKind.FILE:
            self._add(StepKind.FREE, inode, partner=entry.index)

    def _mode(self, detail: FileDetail, default: int) -> int:
        if detail.made_mode is not None:
            return detail.made_mode
        return stat.S_IMODE(default if detail.mode is None else detail.mode) & ~self.umask

    # --- the calls -------------------------------------------------------------------------------

    def _open(self, operation: Operation) -> None:
        detail = operation.file
        guessed = operation.result is None and detail.flags & os.O_CREAT and self._file(operation) is None
        if detail.created or guessed:
            node = Node(NodeKind.FILE, self._mode(detail, 0o666), identity=detail.inode)
            inode = self._new(node)
            if not (_TMPFILE and detail.flags & _TMPFILE == _TMPFILE):
                self._name(operation.target, inode, creates=True)
            return
        known = self._acted_on(operation)
        if detail.truncated and known is not None:
            self._resize(known, 0)

    def _mkdir(self, operation: Operation) -> None:
        node = Node(NodeKind.DIRECTORY, self._mode(operation.file, 0o777), identity=operation.file.inode)
        self._name(operation.target, self._new(node), creates=True)

    def _symlink(self, operation: Operation) -> None:
        detail = operation.file
        node = Node(NodeKind.SYMLINK, 0o777, text=detail.text or "", identity=detail.inode)
        self._name(operation.target, self._new(node), creates=True)

    def _mknod(self, operation: Operation) -> None:
        detail = operation.file
        form = stat.S_IFMT(detail.mode or 0)
        kind = NodeKind.FILE if form in (0, stat.S_IFREG) else NodeKind.OTHER
        node = Node(kind, self._mode(detail, 0o666), identity=detail.inode, format=form)
        self._name(operation.target, self._new(node), creates=True)

    def _link(self, operation: Operation) -> None:
        inode = self._acted_on(operation)
        if inode is None:
            inode = self._from_outside(operation)
        # A file opened without a name (O_TMPFILE) gets its first one here.
        self._name(operation.second or "", inode, creates=self.links[inode] == 0)

    def _from_outside(self, operation: Operation) -> Inode:
        detail = operation.file
        kind = NodeKind.DIRECTORY if detail.directory else NodeKind.FILE
        if detail.data is None:
            self._caveat("content-unknown", f"{operation} brings in a file whose content was not recorded")
            return self._new(Node(kind, identity=detail.inode))
        text = f"{operation} brings in a file from elsewhere: it is taken to have been synced there"
        self._caveat("from-elsewhere", text)
        mode = 0o644 if detail.mode is None else detail.mode
        return self._new(Node(kind, mode, detail.data, identity=detail.inode))

    def _unlink(self, operation: Operation) -> None:
        parent, name = self._parent(operation.target), posixpath.basename(operation.target)
        if parent is None or name not in self.entries.get(parent, {}):
            return
        inode = self.entries[parent][name]
        self._gone(inode, self._set(parent, name, None))

    def _rename(self, operation: Operation) -> Inode | None:
        """Returns the file whose data goes out with the rename: see ``Move.flushed``."""
        source, target = operation.target, operation.second or ""
        parent, into = self._parent(source), self._parent(target)
        name, new_name = posixpath.basename(source), posixpath.basename(target)
        inode = self.entries[parent].get(name) if parent is not None else None
        if inode is None and into is not None:
            inode = self._from_outside(operation)
        if inode is None:
            return None
        replaced = self.entries[into].get(new_name) if into is not None else None
        if replaced == inode:
            return None  # Two names of one file: POSIX wants nothing to happen.
        if operation.file.flags & _EXCHANGE and None not in (parent, into, replaced):
            self._swap(parent, name, into, new_name, inode, replaced)  # type: ignore[arg-type]
            return None
        self._move(inode, (parent, name), (into, new_name), replaced)
        return inode if replaced is not None else None

    def _move(
        self,
        inode: Inode,
        source: tuple[Inode | None, str],
        target: tuple[Inode | None, str],
        replaced: Inode | None,
    ) -> None:
        both = source[0] is not None and target[0] is not None
        first = len(self.steps)
        if target[0] is not None:
            swap = self._set(target[0], target[1], inode, partner=first + 1 if both else None)
        if source[0] is not None:
            self._set(source[0], source[1], None, partner=first if both else None)
        if replaced is not None:
            self._gone(replaced, swap)

    def _swap(self, parent: Inode, name: str, into: Inode, new_name: str, inode: Inode, other: Inode) -> None:
        first = len(self.steps)
        self._set(into, new_name, inode, partner=first + 1, exchange=True)
        self._set(parent, name, other, partner=first, exchange=True)

    def _write(self, operation: Operation) -> None:
        inode, data = self._file(operation), operation.file.data
        length = len(data) if data is not None and operation.result is None else operation.result or 0
        if inode is None or not length:
            return
        if data is None or len(data) < length:
            self._caveat("content-unknown", f"{operation} wrote data that was not recorded")
            data = Bytes((b"" if data is None else data.read()).ljust(length, b"\0"))
        offset = operation.file.offset
        self._put(inode, self.sizes[inode] if offset is None else offset, length, data)

    def _clone(self, operation: Operation) -> None:
        detail, inode = operation.file, self._file(operation)
        if inode is None or detail.data is None:
            self._caveat("content-unknown", f"{operation} shared data that was not recorded")
            return
        self._put(inode, detail.offset or 0, len(detail.data), detail.data)

    def _put(self, inode: Inode, offset: int, length: int, data: Payload) -> None:
        before = self.sizes[inode]
        for start, count in pieces(offset, length):
            self._piece(inode, start, count, data, start - offset, before)
        self.sizes[inode] = max(before, offset + length)

    def _piece(self, inode: Inode, offset: int, length: int, data: Payload, start: int, before: int) -> None:
        """One piece of a write: the data, its growth, and what is left of both if they are torn."""
        piece = self._add(StepKind.DATA, inode, offset=offset, length=length, payload=data, start=start)
        grow = None
        if piece.end > before:
            inside = before > offset // PAGE * PAGE
            grow = self._add(StepKind.GROW, inode, size=piece.end, partner=piece.index, within_block=inside)
        for cut in cuts(offset, length):
            torn = self._add(
                StepKind.DATA,
                inode,
                offset=offset,
                length=cut - offset,
                payload=data,
                start=start,
                torn_from=piece.index,
            )
            if grow is not None and cut > before:
                self._add(StepKind.GROW, inode, size=cut, partner=torn.index, torn_from=grow.index)

    def _resize(self, inode: Inode, size: int) -> None:
        if size != self.sizes[inode]:
            self._add(StepKind.RESIZE, inode, size=size)
            self.sizes[inode] = size
            if size == 0:
                self.preallocated.discard(inode)

    def _truncate(self, operation: Operation) -> None:
        inode = self._file(operation)
        if inode is not None:
            self._resize(inode, operation.file.length or 0)

    def _fallocate(self, operation: Operation) -> None:
        detail, inode = operation.file, self._file(operation)
        if inode is None or not detail.length:
            return
        mode, offset, end = detail.mode or 0, detail.offset or 0, (detail.offset or 0) + detail.length
        if mode & (_COLLAPSE | _INSERT):
            self._caveat("range-moved", f"{operation} moved a range of the file; it is not followed")
            return
        if not mode & _PUNCH:
            self.preallocated.add(inode)
        if mode & (_PUNCH | _ZERO):
            self._zeroed(inode, offset, min(end, self.sizes[inode]))
        if not mode & _KEEP_SIZE and end > self.sizes[inode]:
            self._resize(inode, end)

    def _zeroed(self, inode: Inode, offset: int, end: int) -> None:
        """Zeroes in a range: whole pages by the block map, the others as if zeroes were written.

        fs/xfs/xfs_bmap_util.c, xfs_free_file_space: "zero out any partial block" is done in the page
        cache (xfs_zero_range), and nothing in the log waits for it; measured.
        """
        first, last = -(-offset // PAGE) * PAGE, end // PAGE * PAGE
        if first >= last:
            first = last = end
        for start, stop in ((offset, first), (last, end)):
            for at, count in pieces(start, stop - start) if start < stop else ():
                self._piece(inode, at, count, Bytes(bytes(count)), 0, self.sizes[inode])
        if first < last:
            self._add(StepKind.DATA, inode, offset=first, length=last - first)

    def _chmod(self, operation: Operation) -> None:
        inode, mode = self._acted_on(operation), operation.file.mode
        if inode is not None and mode is not None:
            self._add(StepKind.ATTRIBUTE, inode, name="mode", value=stat.S_IMODE(mode))

    def _setxattr(self, operation: Operation) -> None:
        detail, inode = operation.file, self._acted_on(operation)
        if inode is not None and detail.text and detail.text.startswith("user."):
            value = detail.data.read() if detail.data is not None else b""
            self._add(StepKind.ATTRIBUTE, inode, name=detail.text, value=value)

    def _removexattr(self, operation: Operation) -> None:
        inode, name = self._acted_on(operation), operation.file.text
        if inode is not None and name and name.startswith("user."):
            self._add(StepKind.ATTRIBUTE, inode, name=name, value=None)

    def _synced(self, operation: Operation) -> Sync | None:
        if operation.call in ("sync", "syncfs"):
            # syncfs is asked for one file system; the scenario's directory is taken to be on that one.
            return Sync()
        inode = self._acted_on(operation)
        if inode is None or (operation.call == "msync" and not operation.file.flags & _MS_SYNC):
            return None
        return Sync(inode, data_only=operation.call != "fsync")

    def _promise(self, operation: Operation) -> None:
        self.promised.append(operation.promised)


_SYNCS = frozenset(("fsync", "fdatasync", "msync", "sync", "syncfs"))
"""sync_file_range is followed as documented: it promises nothing about metadata and does not empty
the disk's cache (sync_file_range(2), "Warning"), so nothing is durable after it."""

_WRITES = frozenset(("write", "copy_file_range", "sendfile", "splice"))
"""What O_SYNC and O_DSYNC are about (open(2), "Synchronized I/O"): the calls that end in
generic_write_sync of include/linux/fs.h. Changes of size, blocks and modes through such a descriptor
were not durable on mounted file systems; xfs alone forces its log in fallocate (xfs_file_fallocate)."""

_CHANGES: dict[str, Callable[[Builder, Operation], None]] = {
    "open": Builder._open,
    "mkdir": Builder._mkdir,
    "symlink": Builder._symlink,
    "mknod": Builder._mknod,
    "link": Builder._link,
    "unlink": Builder._unlink,
    "rmdir": Builder._unlink,
    "write": Builder._write,
    "copy_file_range": Builder._write,
    "sendfile": Builder._write,
    "splice": Builder._write,
    "clone": Builder._clone,
    "truncate": Builder._truncate,
    "fallocate": Builder._fallocate,
    "chmod": Builder._chmod,
    "setxattr": Builder._setxattr,
    "removexattr": Builder._removexattr,
    "promise": Builder._promise,
}
"""What each call does; those that are not here change nothing that is followed."""

_LOST_DATA = frozenset((errno.EIO, errno.ENOSPC, errno.EDQUOT))
"""The errors by which fsync reports that data was not written; others (EBADF, EINTR) change nothing."""


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
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
