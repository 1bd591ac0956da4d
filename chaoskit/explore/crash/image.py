"""The tree that a set of steps leaves, as a hash that is kept up to date from one set to the next.

The hash of a directory is the sum of the hashes of its entries, so a change is added or subtracted, there and
in every directory above. Equal trees have equal hashes however they were made; hard links count as files with
equal content.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from chaoskit.explore.crash.snapshot import TOP, Inode
from chaoskit.explore.crash.steps import StepKind, bits
from chaoskit.explore.crash.tables import WORD, Tables, digest


@dataclass(slots=True)
class _Delta:
    """How one set of steps differs from the image it is compared with.

    ``entries`` has for each name the inode before and now, ``own`` the new hashes of inodes without their
    entries, ``hashes`` those with them, ``below`` the names with other changes below them.
    """

    entries: defaultdict[Inode, dict[str, tuple[Inode | None, Inode | None]]]
    own: dict[Inode, int]
    hashes: dict[Inode, int] = field(default_factory=dict)
    below: dict[Inode, set[str]] = field(default_factory=dict)


class Image:
    """The tree that one set of steps leaves; ``look`` answers for other sets, ``move`` goes there."""

    def __init__(self, tables: Tables, state: int = 0) -> None:
        self.tables = tables
        self.state = 0
        self._children = {inode: dict(names) for inode, names in tables.initial.items()}
        self._parents: defaultdict[Inode, set[tuple[Inode, str]]] = defaultdict(set)
        for directory, names in self._children.items():
            for name, child in names.items():
                self._parents[child].add((directory, name))
        self._own: dict[Inode, int] = {}
        self._hashes: dict[Inode, int] = {}
        self._edges: dict[tuple[str, int], int] = {}
        """Maps a name and the hash of its inode to what the entry adds to its directory's hash."""
        # Once for the whole tree; from then on only changes are computed.
        self.hash = self._build(TOP)
        self.move(state)

    def _build(self, inode: Inode) -> int:
        """The hash of an inode as it is at the beginning."""
        total = self._own_hash(inode)
        for name, child in self._children.get(inode, {}).items():
            total += self._edge(name, self._build(child))
        self._hashes[inode] = total = total & WORD
        return total

    def _own_hash(self, inode: Inode) -> int:
        found = self._own.get(inode)
        if found is None:
            found = self._own[inode] = self.tables.own_hash(inode, self.state)
        return found

    def _edge(self, name: str, child: int) -> int:
        key = (name, child)
        found = self._edges.get(key)
        if found is None:
            text = name.encode("utf-8", "surrogateescape")
            found = self._edges[key] = digest(text, child.to_bytes(16, "little"))
        return found

    def _hash_of(self, inode: Inode) -> int:
        found = self._hashes.get(inode)
        return self._build(inode) if found is None else found

    def look(self, state: int) -> int:
        """The hash of the tree that ``state`` leaves."""
        return self._compare(state)[0]

    def move(self, state: int) -> int:
        """Become the image of ``state``; return its hash."""
        self.hash, change = self._compare(state)
        self.state = state
        self._own.update(change.own)
        self._hashes.update(change.hashes)
        # The parents as well: they are the way up from a changed file to the top.
        for directory, names in change.entries.items():
            children = self._children.setdefault(directory, {})
            for name, (old, new) in names.items():
                if old is not None:
                    self._parents[old].discard((directory, name))
                    del children[name]
                if new is not None:
                    self._parents[new].add((directory, name))
                    children[name] = new
        return self.hash

    def _compare(self, state: int) -> tuple[int, _Delta]:
        change = self._change(state)
        waiting = [*change.entries, *change.own]
        marked = set(waiting)
        while waiting:
            inode = waiting.pop()
            for directory, name in self._parents[inode]:
                change.below.setdefault(directory, set()).add(name)
                if directory not in marked:
                    marked.add(directory)
                    waiting.append(directory)
        # Depth first: a marked child is finished before its directory needs the child's hash.
        for inode in marked:
            self._rehash(inode, change, marked, set())
        return change.hashes.get(TOP, self.hash if TOP not in marked else 0), change

    def _change(self, state: int) -> _Delta:
        change = _Delta(defaultdict(dict), {})
        seen: set[Inode] = set()
        for index in bits(state ^ self.state):
            # The upper half marks garbage: see Tables.with_garbage.
            step = self.tables.steps[index % self.tables.count]
            owner = step.owner
            # From the tables, not from the step: a later entry may hide it.
            if step.kind is StepKind.ENTRY:
                new = self.tables.child(owner, step.name, state)
                old = self._children.get(owner, {}).get(step.name)
                if new != old:
                    change.entries[owner][step.name] = (old, new)
            elif owner not in seen:
                seen.add(owner)
                own = self.tables.own_hash(owner, state)
                if own != self._own_hash(owner):
                    change.own[owner] = own
        return change

    def _rehash(self, inode: Inode, change: _Delta, marked: set[Inode], path: set[Inode]) -> int:
        """The new hash of an inode; one that was not marked keeps its old hash."""
        if inode not in marked:
            return self._hash_of(inode)
        done = change.hashes.get(inode)
        if done is not None:
            return done
        if inode in path:
            # A directory below itself, by halves of two renames: it is cut off from the top, and in no tree.
            return 0
        path.add(inode)
        total = self._hash_of(inode) - self._own_hash(inode) + change.own.get(inode, self._own_hash(inode))
        entries = change.entries.get(inode, {})
        for name, (old, new) in entries.items():
            total -= self._edge(name, self._hash_of(old)) if old is not None else 0
            total += self._edge(name, self._rehash(new, change, marked, path)) if new is not None else 0
        for name in change.below.get(inode, ()):
            if name not in entries:
                child = self._children[inode][name]
                total -= self._edge(name, self._hash_of(child))
                total += self._edge(name, self._rehash(child, change, marked, path))
        path.discard(inode)
        change.hashes[inode] = total = total & WORD
        return total
