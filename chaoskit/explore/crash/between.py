"""What a test itself changes between two of its runs, found by comparison with what the runs left.

Only runs are recorded, not the test around them. So the directory at the beginning of a run is compared with
the result of the script of all earlier runs; any difference was made outside the runs. It counts as synced at
once, like everything that the set-up does: as if each changed file and directory had been synced for just
these changes, with whatever else the file system then makes durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chaoskit.core.operation import Bytes, Operation, Trace
from chaoskit.explore.crash.pieces import changed
from chaoskit.explore.crash.snapshot import TOP, Inode, Node, NodeKind, Snapshot
from chaoskit.explore.crash.split import Splitter, mapped_part, umask_now
from chaoskit.explore.crash.steps import Effect, Script, StepKind, Sync, mask_of
from chaoskit.explore.crash.tables import Tables
from chaoskit.explore.crash.tree import FileTree


@dataclass(frozen=True, slots=True)
class Unknown:
    """A file that changed without a known call: after these operations its content is not known."""

    inode: Inode
    name: str
    after: range


def history(
    trace: Trace,
    snapshot: Snapshot,
    between: Mapping[int, Snapshot],
    after: Mapping[int, Snapshot] = MappingProxyType({}),
) -> tuple[Script, tuple[Unknown, ...]]:
    """A script of several runs, the first of which began at ``snapshot``.

    ``between`` has the directory right before the operations with these numbers, ``after`` right after those
    that end a run. Also returns the files whose content the calls do not explain.
    """
    unknown: list[Unknown] = []
    splitter = Splitter(trace, snapshot, umask_now())
    source: dict[tuple[int, int] | None, Operation] = {}
    for operation in trace:
        found = between.get(operation.index)
        outside = () if found is None else _effects_to(splitter, operation, found)
        # What is found now but belongs to an earlier call counts with this operation.
        learned = len(splitter.tree.steps)
        for identity, content in operation.file.seen:
            part = mapped_part(operation)
            borders = () if part is None else (part.start, part.stop)
            _learn(splitter, source.get(identity, operation), identity, content.read(), borders)
        splitter.play(operation, outside, learned)
        if operation.call in _UNSEEN:
            # The latest one: a file may be mapped again and again.
            source[operation.file.inode] = operation
        left = after.get(operation.index)
        if left is not None:
            unknown += _unknown(splitter, operation, left)
    return splitter.script(), tuple(unknown)


_UNSEEN = frozenset(("mmap", "splice"))
"""Calls after which a file may change without another call: changes found later are attributed to them."""


def _learn(
    splitter: Splitter, source: Operation, identity: tuple[int, int], now: bytes, borders: tuple[int, ...]
) -> None:
    """Record content that no call wrote to a file as if a call had written it; split it at ``borders``."""
    tree = splitter.tree
    inode = tree.by_identity.get(identity)
    if inode is not None and tree.nodes[inode].kind is NodeKind.FILE:
        tree.begin(source, certain=True)
        before = Tables(splitter.script()).bytes(inode, _everything(tree))
        if now != before:
            tree.become(inode, before, now, borders)


def _unknown(splitter: Splitter, last: Operation, left: Snapshot) -> Iterator[Unknown]:
    """The files that differ from what the run that ends with ``last`` should have left."""
    tree = splitter.tree
    tables, state = Tables(splitter.script()), _everything(tree)
    # A call that was cut short may have happened or not: both are built, so neither is a surprise.
    optional = {step.owner for step in tree.steps if step.optional}
    for node in left.nodes:
        inode = tree.by_identity.get(node.identity) if node.identity is not None else None
        if inode is None or inode in optional or {node.kind, tree.nodes[inode].kind} != {NodeKind.FILE}:
            continue
        if not tree.links[inode] or tables.bytes(inode, state) == node.content.read():
            continue
        run = [o for o in splitter.trace if o.place.run == last.place.run and o.index <= last.index]
        about = [o for o in run if o.file.inode == node.identity] or run
        yield Unknown(inode, about[-1].target, range(about[0].index, last.index + 1))


def _everything(tree: FileTree) -> int:
    """All whole steps: the state that a kill would leave."""
    return mask_of(step.index for step in tree.steps if step.torn_from is None)


def _effects_to(splitter: Splitter, operation: Operation, found: Snapshot) -> tuple[Effect, ...]:
    """Add the steps that lead to ``found``, the directory before ``operation``; return their effects."""
    tree = splitter.tree
    first = len(tree.steps)
    tree.begin(operation, certain=True)
    _Comparison(splitter, found).run()
    last = len(tree.steps)
    if first == last:
        return ()
    # Each changed file and directory is synced once, in the order of the first change.
    owners = dict.fromkeys(step.owner for step in tree.steps[first:last])
    synced = [Sync(owner, only=range(first, last)) for owner in owners]
    promises = len(splitter.promised)
    return (
        Effect(operation.index, first, last, promises=promises),
        *(Effect(operation.index, last, last, sync, promises=promises) for sync in synced),
    )


class _Comparison:
    """Makes the tree of a splitter equal to ``found``. Files are matched by identity, then by name."""

    def __init__(self, splitter: Splitter, found: Snapshot) -> None:
        self.tree = splitter.tree
        self.found = found
        self.state = _everything(self.tree)
        self.tables = Tables(splitter.script())
        self._matched: dict[Inode, Inode] = {}
        """For each inode of ``found``, that of the tree."""
        self._removals: dict[Inode, int] = {}
        """For each inode that has lost a name, the step that removed it."""

    def run(self) -> None:
        self._matched[TOP] = TOP
        self._content(TOP, TOP)
        waiting = [TOP]
        # Hard links to directories do not exist, but a snapshot may be built by hand.
        seen = {TOP}
        while waiting:
            there = waiting.pop()
            for child in self._directory(there):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
        for inode, entry in self._removals.items():
            # Only now: an inode that lost one name may have received another.
            if not self.tree.links[inode] and self.tree.nodes[inode].kind is NodeKind.FILE:
                self.tree.add(StepKind.FREE, inode, partner=entry)

    def _directory(self, there: Inode) -> Iterator[Inode]:
        """Make the names in one directory equal to those found; yield the directories in it."""
        known, names = self._matched[there], self.found.entries[there]
        entries = self.tree.entries[known]
        for name in [name for name in entries if name not in names]:
            self._enter(known, name, None)
        for name, child in names.items():
            before = entries.get(name)
            match = self._match(child, before)
            if match != before:
                self._enter(known, name, match)
            if self.found.nodes[child].kind is NodeKind.DIRECTORY:
                yield child

    def _enter(self, directory: Inode, name: str, child: Inode | None) -> None:
        before = self.tree.entries[directory].get(name)
        new = child is not None and child >= len(self.tables.nodes) and not self.tree.links[child]
        entry = self.tree.enter(directory, name, child, creates=new)
        if before is not None:
            self._removals[before] = entry.index

    def _match(self, there: Inode, named: Inode | None) -> Inode:
        """The tree's inode for a found one: an old one, made equal to it, or a new one."""
        done = self._matched.get(there)
        if done is not None:
            return done
        node, tree = self.found.nodes[there], self.tree
        known = tree.by_identity.get(node.identity) if node.identity is not None else None
        # By name only if the tree has no identity that contradicts: the file of a call that was cut short.
        if known is None and named is not None and tree.nodes[named].identity is None:
            known = named
        if known is None or not self._is_same(node, known):
            known = tree.create(node)
            self._matched[there] = known
            return known
        self._matched[there] = known
        self._content(there, known)
        return known

    def _is_same(self, node: Node, known: Inode) -> bool:
        """True if ``known`` can be the inode of ``node``: an equal number alone may have been reused."""
        other = self.tree.nodes[known]
        same = (other.kind, other.text, other.format) == (node.kind, node.text, node.format)
        # A file without a name may still be open, and be linked again; a directory without one is gone.
        return same and (self.tree.links[known] > 0 or node.kind is NodeKind.FILE)

    def _content(self, there: Inode, known: Inode) -> None:
        node = self.found.nodes[there]
        # A new inode was created with the content that was found.
        if known >= len(self.tables.nodes):
            return
        # Each by its name: mode and extended attributes are steps of the same kind.
        self._attributes(node, known)
        if node.kind is NodeKind.FILE:
            now, before = node.content.read(), self.tables.bytes(known, self.state)
            if now != before:
                self._data(known, before, now)

    def _attributes(self, node: Node, known: Inode) -> None:
        now: dict[str, object] = {"mode": node.mode, **node.xattrs}
        before = self.tables.attributes_of(known, self.state)
        for name in sorted({*now, *before}):
            if now.get(name) != before.get(name):
                self.tree.add(StepKind.ATTRIBUTE, known, name=name, value=now.get(name))

    def _data(self, known: Inode, before: bytes, now: bytes) -> None:
        # Not FileTree.become: everything is synced at once, so nothing can be torn or grow late.
        if len(now) != len(before):
            self.tree.add(StepKind.RESIZE, known, size=len(now))
            self.tree.sizes[known] = len(now)
        payload = Bytes(now)
        for start, end in changed(before, now):
            self.tree.add(
                StepKind.DATA, known, offset=start, length=end - start, payload=payload, start=start
            )
