"""What a test itself changes between two of its runs, found by comparing what it left with what is known.

Nobody watches the test process. So the directory as it is when a run begins is compared with what the
history of all earlier runs gives; what differs was done outside of every run. It counts as synced at
once, like everything that the set-up does: as if each changed file and directory had been synced for
just these changes, with whatever else the file system then makes durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chaoskit.core.operation import Bytes, Operation, Trace
from chaoskit.explore.crash.image import Tables
from chaoskit.explore.crash.snapshot import TOP, Inode, Node, NodeKind, Snapshot
from chaoskit.explore.crash.steps import (
    Builder,
    Move,
    Script,
    StepKind,
    Sync,
    changed,
    mask_of,
    umask_now,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A file whose content after these operations is not what they have made of it."""

    inode: Inode
    name: str
    after: range


def history(
    trace: Trace,
    snapshot: Snapshot,
    between: Mapping[int, Snapshot],
    after: Mapping[int, Snapshot] = MappingProxyType({}),
) -> tuple[Script, tuple[Unknown, ...]]:
    """Like :func:`~chaoskit.explore.crash.steps.script`, for several runs that began at ``snapshot``.

    ``between`` has what was there right before the operations of these numbers, ``after`` what was
    there right after those that end a run. Files that then hold something else are given, too.
    """
    unknown: list[Unknown] = []
    builder = Builder(trace, snapshot, umask_now())
    source: dict[tuple[int, int] | None, Operation] = {}
    for operation in trace:
        found = between.get(operation.index)
        outside = () if found is None else _moves_to(builder, operation, found)
        learned = len(builder.steps)
        for identity, content in operation.file.seen:
            _learn(builder, source.get(identity, operation), identity, content.read())
        builder.play(operation, outside, learned)
        if operation.call in _UNSEEN:
            source[operation.file.inode] = operation
        left = after.get(operation.index)
        if left is not None:
            unknown += _unknown(builder, operation, left)
    return builder.script(), tuple(unknown)


_UNSEEN = frozenset(("mmap", "splice"))
"""Calls after which a file may change without a call: what is found later is laid at their door."""


def _learn(builder: Builder, source: Operation, identity: tuple[int, int], now: bytes) -> None:
    """Add as written what a file holds and no call has put there."""
    inode = builder.by_identity.get(identity)
    if inode is not None and builder.nodes[inode].kind is NodeKind.FILE:
        builder.begin(source)
        before = Tables(builder.script()).bytes(inode, _everything(builder))
        if now != before:
            builder.become(inode, before, now)


def _unknown(builder: Builder, last: Operation, left: Snapshot) -> Iterator[Unknown]:
    """The files that are not as the run that ends with ``last`` should have left them."""
    tables, state = Tables(builder.script()), _everything(builder)
    # Where nobody knows whether a call has happened, both is possible, and both is built.
    optional = {step.owner for step in builder.steps if step.optional}
    for node in left.nodes:
        inode = builder.by_identity.get(node.identity) if node.identity is not None else None
        if inode is None or inode in optional or {node.kind, builder.nodes[inode].kind} != {NodeKind.FILE}:
            continue
        if not builder.links[inode] or tables.bytes(inode, state) == node.content.read():
            continue
        run = [o for o in builder.trace if o.place.run == last.place.run and o.index <= last.index]
        about = [o for o in run if o.file.inode == node.identity] or run
        yield Unknown(inode, about[-1].target, range(about[0].index, last.index + 1))


def _everything(builder: Builder) -> int:
    return mask_of(step.index for step in builder.steps if step.torn_from is None)


def _moves_to(builder: Builder, operation: Operation, found: Snapshot) -> tuple[Move, ...]:
    """Add the steps that lead to ``found``, which was there before ``operation``; return their moves."""
    first = len(builder.steps)
    builder.begin(operation)
    _Comparison(builder, found).run()
    last = len(builder.steps)
    if first == last:
        return ()
    owners = dict.fromkeys(step.owner for step in builder.steps[first:last])
    synced = [Sync(owner, only=range(first, last)) for owner in owners]
    promises = len(builder.promised)
    return (
        Move(operation.index, first, last, promises=promises),
        *(Move(operation.index, last, last, sync, promises=promises) for sync in synced),
    )


class _Comparison:
    """``builder`` is what is known, ``found`` what is there. Files are matched by identity, then by name."""

    def __init__(self, builder: Builder, found: Snapshot) -> None:
        self.builder = builder
        self.found = found
        self.state = _everything(builder)
        self.tables = Tables(builder.script())
        self._matched: dict[Inode, Inode] = {}
        """For each inode that was found, the one that is known."""
        self._removals: dict[Inode, int] = {}
        """For each inode that has lost a name, the step that took it."""

    def run(self) -> None:
        self._matched[TOP] = TOP
        self._content(TOP, TOP)
        waiting = [TOP]
        seen = {TOP}
        while waiting:
            there = waiting.pop()
            for child in self._directory(there):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
        for inode, entry in self._removals.items():
            # Only now: what has lost one name may have another elsewhere.
            if not self.builder.links[inode] and self.builder.nodes[inode].kind is NodeKind.FILE:
                self.builder.change(StepKind.FREE, inode, partner=entry)

    def _directory(self, there: Inode) -> Iterator[Inode]:
        """Make the names in one directory those that were found; give the directories in it."""
        known, names = self._matched[there], self.found.entries[there]
        entries = self.builder.entries[known]
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
        before = self.builder.entries[directory].get(name)
        new = child is not None and child >= len(self.tables.nodes) and not self.builder.links[child]
        entry = self.builder.enter(directory, name, child, creates=new)
        if before is not None:
            self._removals[before] = entry.index

    def _match(self, there: Inode, named: Inode | None) -> Inode:
        """The known inode for one that was found: an old one made equal to it, or a new one."""
        done = self._matched.get(there)
        if done is not None:
            return done
        node, builder = self.found.nodes[there], self.builder
        known = builder.by_identity.get(node.identity) if node.identity is not None else None
        if known is None and named is not None and builder.nodes[named].identity is None:
            known = named
        if known is None or not self._is_same(node, known):
            known = builder.adopt(node)
            self._matched[there] = known
            return known
        self._matched[there] = known
        self._content(there, known)
        return known

    def _is_same(self, node: Node, known: Inode) -> bool:
        """Whether the inode can be the one that is known: the system gives numbers out again."""
        other = self.builder.nodes[known]
        same = (other.kind, other.text, other.format) == (node.kind, node.text, node.format)
        return same and (self.builder.links[known] > 0 or node.kind is NodeKind.FILE)

    def _content(self, there: Inode, known: Inode) -> None:
        node = self.found.nodes[there]
        if known >= len(self.tables.nodes):
            return
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
                self.builder.change(StepKind.ATTRIBUTE, known, name=name, value=now.get(name))

    def _data(self, known: Inode, before: bytes, now: bytes) -> None:
        if len(now) != len(before):
            self.builder.change(StepKind.RESIZE, known, size=len(now))
        payload = Bytes(now)
        for start, end in changed(before, now):
            self.builder.change(
                StepKind.DATA, known, offset=start, length=end - start, payload=payload, start=start
            )
