"""The tree of files while a trace is played: the file of each name, and the steps made so far."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass, field
from itertools import pairwise

from chaoskit.core.operation import Bytes, Caveat, FileDetail, Operation, Payload
from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.pieces import PAGE, changed, cuts, pieces
from chaoskit.explore.crash.snapshot import TOP, Inode, Node, NodeKind, Snapshot
from chaoskit.explore.crash.steps import Step, StepKind


@dataclass(slots=True)
class FileTree:
    """The tree, at first ``snapshot``. Each method makes one change, here and as steps of an operation.

    ``umask`` is that of the program, for files whose mode is not in the trace.
    """

    snapshot: Snapshot
    umask: int
    nodes: list[Node] = field(init=False)
    steps: list[Step] = field(default_factory=list)
    caveats: list[Caveat] = field(default_factory=list)
    entries: dict[Inode, dict[str, Inode]] = field(init=False)
    sizes: dict[Inode, int] = field(init=False)
    links: dict[Inode, int] = field(init=False)
    by_identity: dict[tuple[int, int], Inode] = field(init=False)
    preallocated: set[Inode] = field(default_factory=set)
    """Files that got blocks before data: ext4 does not write them out early."""
    kept: dict[Inode, set[int]] = field(default_factory=dict)
    """For each file, the pages that were zeroed and kept their blocks."""
    written: dict[Inode, int] = field(default_factory=dict)
    """For each file with written data, the first operation that wrote."""
    gaps: dict[Inode, list[tuple[int, int]]] = field(default_factory=dict)
    """For each file, the ranges that writes skipped when they made it longer, until data is there."""
    brought: dict[Inode, dict[str, Inode]] = field(default_factory=dict)
    """The names in directories that were moved in from elsewhere, as they arrived."""
    operation: Operation = field(init=False)
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

    def begin(self, operation: Operation, *, certain: bool = False) -> None:
        """Let the changes that follow belong to ``operation``.

        If ``certain``, they happened although its result may be unknown: the changes were found on the disk
        and are only attributed to it.
        """
        self.operation, self._certain = operation, certain

    def add(self, kind: StepKind, owner: Inode, **fields: object) -> Step:
        """Append a step of the current operation; ``fields`` are those of :class:`Step`."""
        step = Step(
            len(self.steps),
            self.operation.index,
            kind,
            owner,
            # A call that a kill cut short may have happened or not: both must remain possible.
            optional=self.operation.result is None and not self._certain,
            **fields,  # type: ignore[arg-type]
        )
        self.steps.append(step)
        return step

    def caveat(self, kind: str, text: str) -> None:
        """Note what could not be followed, for the report."""
        self.caveats.append(Caveat(kind, self.operation.target, text))

    # --- which file is meant ---------------------------------------------------------------------

    def parent(self, target: str) -> Inode | None:
        """The directory that holds a name; None for a name outside the scenario's directory."""
        if posixpath.isabs(target):
            return None
        return self._find(posixpath.dirname(target))

    def acted_on(self, operation: Operation) -> Inode | None:
        """The inode that the operation acted on."""
        # By identity first: a descriptor follows its file through renames, and the recorded name may belong
        # to another file by now.
        identity = operation.file.inode
        inode = self.by_identity.get(identity) if identity is not None else None
        if inode is None:
            inode = self._find(operation.target)
            if inode is not None and identity is not None:
                self.by_identity[identity] = inode
        return inode

    def file(self, operation: Operation) -> Inode | None:
        """The inode that the operation acted on, if it is a regular file; otherwise None."""
        inode = self.acted_on(operation)
        if inode is None or self.nodes[inode].kind is not NodeKind.FILE:
            return None
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

    # --- inodes and their names ------------------------------------------------------------------

    def create(self, node: Node) -> Inode:
        """A new inode, which has no name yet."""
        inode = len(self.nodes)
        self.nodes.append(node)
        self.sizes[inode] = len(node.content)
        self.links[inode] = 0
        if node.kind is NodeKind.DIRECTORY:
            self.entries[inode] = {}
        if node.identity is not None:
            # The system reuses inode numbers: from now on this one means the new file.
            self.by_identity[node.identity] = inode
        return inode

    def hold(self, directory: Inode, name: str, child: Inode) -> None:
        """Let ``child`` have had ``name`` since before the trace began, which takes no step."""
        self.brought.setdefault(directory, {})[name] = child
        self.entries[directory][name] = child
        self.links[child] += 1

    def enter(self, directory: Inode, name: str, child: Inode | None, **fields: object) -> Step:
        """Give ``name`` to ``child``; remove the name if that is None."""
        names = self.entries[directory]
        before = names.pop(name, None)
        if before is not None:
            self.links[before] -= 1
        if child is not None:
            names[name] = child
            self.links[child] += 1
        return self.add(StepKind.ENTRY, directory, name=name, child=child, **fields)

    def name(self, target: str, inode: Inode, *, creates: bool = False) -> Step | None:
        """Give ``inode`` the name ``target``; None, with a caveat, if its directory is not known."""
        parent = self.parent(target)
        if parent is None or parent not in self.entries:
            self.caveat("unknown-directory", f"{target} is in a directory that the recording does not know")
            return None
        return self.enter(parent, posixpath.basename(target), inode, creates=creates)

    def release(self, inode: Inode, entry: Step) -> None:
        """Free the content of a file if ``entry`` removed its last name."""
        # The kernel's own count if known: names outside the directory are not seen here.
        known = self.operation.file.links
        last = self.links[inode] == 0 if known is None or self.operation.call != "unlink" else known <= 1
        if last and self.nodes[inode].kind is NodeKind.FILE:
            self.add(StepKind.FREE, inode, partner=entry.index)

    def mode(self, detail: FileDetail, default: int) -> int:
        """The permission bits that a new file got."""
        if detail.made_mode is not None:
            return detail.made_mode
        return stat.S_IMODE(default if detail.mode is None else detail.mode) & ~self.umask

    # --- contents --------------------------------------------------------------------------------

    def put(self, inode: Inode, offset: int, length: int, data: Payload) -> None:
        """Write the first ``length`` bytes of ``data`` at ``offset``, in pieces that may persist apart."""
        before, parts = self.sizes[inode], list(pieces(offset, length))
        self._blank(inode, offset, length)
        if offset > before:
            self.gaps.setdefault(inode, []).append((before, offset))
        for start, count in parts:
            self._piece(inode, start, count, data, start - offset, before)
        border = min(-(-before // PAGE) * PAGE, offset)
        if before < border:
            # In memory the kernel zeroes the rest of the block in which the file ended. When that block is
            # written, xfs takes its end for the size on the disk, without what is behind the gap (measured).
            self.add(StepKind.GROW, inode, size=border, unless=ModelRule.ENDS_APART)
        self.sizes[inode] = max(before, offset + length)
        first = self.written.setdefault(inode, self.operation.index)
        if offset + length > before and (len(parts) > 1 or first < self.operation.index):
            # btrfs may journal the size in memory when other data of the file reaches the disk.
            self.add(StepKind.GROW, inode, size=offset + length, unless=ModelRule.GROWS_APART)

    def _blank(self, inode: Inode, offset: int, length: int) -> None:
        """Zero the rest of pages that were zeroed before and kept their blocks, if a write touches them.

        Such a block is written in place, as it is in memory, whether or not the journal has the zeroes.
        """
        kept = self.kept.get(inode, set())
        for page in kept.intersection(range(offset // PAGE, -(-(offset + length) // PAGE))):
            kept.discard(page)
            end = min((page + 1) * PAGE, self.sizes[inode])
            if page * PAGE < end and not (offset <= page * PAGE and end <= offset + length):
                self._wipe(inode, page * PAGE, end)

    def _wipe(self, inode: Inode, offset: int, end: int) -> None:
        """Zeroes that the file system writes to a block on its own, ahead of its journal."""
        zeroes = Bytes(bytes(end - offset))
        self.add(
            StepKind.DATA,
            inode,
            offset=offset,
            length=end - offset,
            payload=zeroes,
            unless=ModelRule.CUTS_AT_ONCE,
        )

    def _piece(self, inode: Inode, offset: int, length: int, data: Payload, start: int, before: int) -> None:
        """One piece of a write: the data, its growth, and the possible rests of both if they are torn."""
        piece = self.add(StepKind.DATA, inode, offset=offset, length=length, payload=data, start=start)
        grow = None
        if piece.end > before:
            inside = before > offset // PAGE * PAGE
            grow = self.add(StepKind.GROW, inode, size=piece.end, partner=piece.index, within_block=inside)
        elif self._fills(inode, piece):
            # Data further on made the file longer, and may not be written yet.
            size = min(piece.pages.stop * PAGE, before)
            self.add(StepKind.GROW, inode, size=size, partner=piece.index, unless=ModelRule.FILLS_APART)
        for cut in cuts(offset, length):
            torn = self.add(
                StepKind.DATA,
                inode,
                offset=offset,
                length=cut - offset,
                payload=data,
                start=start,
                torn_from=piece.index,
            )
            # Right after its data: readers of torn rests rely on this position.
            if grow is not None and cut > before:
                self.add(StepKind.GROW, inode, size=cut, partner=torn.index, torn_from=grow.index)

    def _fills(self, inode: Inode, piece: Step) -> bool:
        """True if ``piece`` lies in a gap, which it fills."""
        gaps = self.gaps.get(inode, [])
        met = [(start, end) for start, end in gaps if piece.offset < end and start < piece.end]
        if met:
            first, last = piece.pages.start * PAGE, piece.pages.stop * PAGE
            kept = [gap for gap in gaps if gap not in met]
            for start, end in met:
                kept += [(at, to) for at, to in ((start, first), (last, end)) if at < to]
            self.gaps[inode] = kept
        return bool(met)

    def zero(self, inode: Inode, offset: int, end: int, *, keeps: bool = False) -> None:
        """Zero a range: whole pages through the block map, the rest as if zeroes were written.

        If ``keeps``, the blocks stay with the file.

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
            self.add(StepKind.DATA, inode, offset=first, length=last - first, keeps_blocks=keeps)
            kept, pages = self.kept.setdefault(inode, set()), range(first // PAGE, last // PAGE)
            (kept.update if keeps else kept.difference_update)(pages)

    def resize(self, inode: Inode, size: int) -> None:
        """Set the size of a file in bytes; no change if it has that size already."""
        before = self.sizes[inode]
        if size == before and inode in self.written:
            # btrfs still journals it as the size on the disk, whatever is written by then.
            self.add(StepKind.GROW, inode, size=size, unless=ModelRule.SETS_APART)
        elif size != before:
            self.gaps[inode] = [(at, min(to, size)) for at, to in self.gaps.get(inode, ()) if at < size]
            self.add(StepKind.RESIZE, inode, size=size, cuts=size < before)
            border = min(-(-size // PAGE) * PAGE, before)
            if size < border:
                # The rest of the block is zeroed in memory at once, and written out like any data.
                self._wipe(inode, size, border)
            self.sizes[inode] = size
            if size == 0:
                self.preallocated.discard(inode)

    def grow(self, inode: Inode, size: int) -> None:
        """Let the file be at least ``size`` bytes long on the disk, without any data."""
        self.add(StepKind.GROW, inode, size=size, unless=ModelRule.ALLOCATES_APART)

    def become(self, inode: Inode, before: bytes, now: bytes, borders: tuple[int, ...] = ()) -> None:
        """Turn the content ``before`` of a file into ``now`` by writes, as a program would have done.

        No write crosses one of the ``borders``.
        """
        if len(now) < len(before):
            self.resize(inode, len(now))
        for first, last in changed(before, now):
            cuts = (first, *(border for border in borders if first < border < last), last)
            for start, end in pairwise(cuts):
                self.put(inode, start, end - start, Bytes(now[start:end]))
        # Zeroes at the end are not a difference, so no write has extended the file to its size.
        if self.sizes[inode] != len(now):
            self.resize(inode, len(now))
