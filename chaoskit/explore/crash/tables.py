"""What a set of steps leaves: names, sizes, contents and attributes, and the hash of each inode.

Hashes are 128-bit numbers (BLAKE2b), long enough that two different trees never share one by accident. A
file's hash is the sum of the hashes of its pages, so that only changed pages need to be subtracted and added
again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.snapshot import Inode, Node, NodeKind
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits

WORD = (1 << 128) - 1
"""Sums of hashes are kept to 128 bits with this mask."""
# A prime period, so that it repeats only after 251 bytes, and no zero.
_GARBAGE = bytes((37 * i + 11) % 251 + 1 for i in range(PAGE))
"""What space that was never written may hold: no zeroes, no text, and a long period, so that no program can
take it for its own data."""


def digest(*parts: bytes) -> int:
    """A 128-bit digest of these parts; the same bytes divided differently have another digest."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return int.from_bytes(state.digest(), "little")


@dataclass(slots=True)
class _Content:
    """The steps on the content of one file, and what was computed from them."""

    initial: bytes
    grows: int = 0
    uneven: bool = False
    """True if later growth may be to a smaller size than earlier growth."""
    resizes: int = 0
    data: int = 0
    whole: int = 0
    """All steps on the content."""
    pages: dict[int, int] = field(default_factory=dict)
    """For each page, the data steps that touch it."""
    base: tuple[int, int, int] | None = None
    """The last set of steps, the file's size and the sum of its page hashes: the next set starts there."""
    known: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Page hashes, by page number, the steps that touch the page, and how much of the page the file has."""


class Tables:
    """The steps of a script by what they act on; nothing here changes while states are enumerated.

    ``state`` is a set of steps. The same bits, ``count`` places higher, mark steps whose data is garbage: see
    :meth:`with_garbage`.
    """

    def __init__(self, script: Script) -> None:
        self.steps = script.steps
        self.nodes = script.nodes
        self.contents: dict[Inode, _Content] = {}
        self.cells: dict[tuple[Inode, str], int] = {}
        self.names_in: dict[Inode, dict[str, None]] = {}
        """The names in each directory that a step changes."""
        self.attributes: dict[Inode, dict[str, int]] = {}
        self._own: dict[Inode, tuple[int, dict[int, int]]] = {}
        """For each inode, the steps on it, and the hashes for sets of them."""
        self.initial = script.snapshot.entries
        self.count = len(script.steps)
        # Once for a script: each question below is then a few operations on bits.
        for step in script.steps:
            self._enter(step)

    def content(self, inode: Inode) -> _Content:
        """The steps on a file's content."""
        found = self.contents.get(inode)
        if found is None:
            found = self.contents[inode] = _Content(self.nodes[inode].content.read())
        return found

    def _enter(self, step: Step) -> None:
        bit = 1 << step.index
        if step.kind is StepKind.ENTRY:
            self.cells[step.owner, step.name] = self.cells.get((step.owner, step.name), 0) | bit
            self.names_in.setdefault(step.owner, {})[step.name] = None
            return
        if step.kind is StepKind.ATTRIBUTE:
            names = self.attributes.setdefault(step.owner, {})
            names[step.name] = names.get(step.name, 0) | bit
            return
        content = self.content(step.owner)
        # The second bit says that the data of the step is garbage: see with_garbage.
        content.whole |= bit | bit << self.count
        if step.kind is StepKind.DATA:
            content.data |= bit
            for page in step.pages:
                content.pages[page] = content.pages.get(page, 0) | bit
        elif step.kind is StepKind.GROW:
            latest = self.steps[content.grows.bit_length() - 1] if content.grows else step
            content.grows |= bit
            content.uneven |= step.unless is ModelRule.ALLOCATES_APART or step.size < latest.size
        else:
            content.resizes |= bit

    def with_garbage(self, persisted: int, garbage: int) -> int:
        """The state in which the data of the steps in ``garbage`` is replaced by garbage."""
        return persisted | garbage | garbage << self.count

    # --- names, sizes, contents ------------------------------------------------------------------

    def child(self, directory: Inode, name: str, state: int) -> Inode | None:
        """The inode that has a name; None if there is no such name."""
        # The last entry wins, even if earlier ones are missing.
        present = state & self.cells.get((directory, name), 0)
        if present:
            return self.steps[present.bit_length() - 1].child
        return self.initial.get(directory, {}).get(name)

    def names_of(self, inode: Inode) -> set[tuple[Inode, str]]:
        """Every directory and name that the inode ever had."""
        first = {(place, name) for place in self.initial for name in self.initial[place]}
        known = {cell for cell in first if self.initial[cell[0]][cell[1]] == inode}
        entries = (step for step in self.steps if step.kind is StepKind.ENTRY and step.child == inode)
        return known | {(step.owner, step.name) for step in entries}

    def size(self, inode: Inode, state: int) -> int:
        """The size of a file in bytes."""
        content = self.content(inode)
        resized = state & content.resizes
        size = len(content.initial)
        grown = state & content.grows
        if resized:
            last = resized.bit_length() - 1
            size = self.steps[last].size
            grown = grown >> last << last
        # Only then must every growth be examined.
        if content.resizes or content.uneven:
            # If a cut between two growths is missing, the earlier one may be the longer.
            return max([size, *(self.steps[index].size for index in bits(grown))])
        # Growth was recorded only where the file became longer, so the latest is the longest.
        return max(size, self.steps[grown.bit_length() - 1].size) if grown else size

    def attribute(self, inode: Inode, name: str, state: int) -> object:
        """The value of an attribute; None if there is none."""
        present = state & self.attributes.get(inode, {}).get(name, 0)
        if present:
            return self.steps[present.bit_length() - 1].value
        node = self.nodes[inode]
        return node.mode if name == "mode" else node.xattrs.get(name)

    def attributes_of(self, inode: Inode, state: int) -> dict[str, object]:
        """Mode and extended attributes."""
        names = {"mode", *self.nodes[inode].xattrs, *self.attributes.get(inode, ())}
        found = {name: self.attribute(inode, name, state) for name in sorted(names)}
        return {name: value for name, value in found.items() if value is not None}

    def page(self, inode: Inode, number: int, state: int) -> bytes:
        """One page of a file; shorter, or empty, where the file ends in it."""
        content = self.content(inode)
        start = number * PAGE
        page = bytearray(content.initial[start : start + PAGE])
        garbage = state >> self.count
        for index in bits(state & (content.pages.get(number, 0) | content.resizes)):
            _act(page, start, start + PAGE, self.steps[index], bool(garbage >> index & 1))
        return bytes(page)

    def bytes(self, inode: Inode, state: int) -> bytes:
        """The whole content of a file: missing data reads as what was there before, or as zeroes."""
        content, size = self.content(inode), self.size(inode, state)
        if not state & content.whole:
            return content.initial
        # Step by step, not page by page, so that a large write is copied at once.
        whole = bytearray(content.initial)
        garbage = state >> self.count
        for index in bits(state & (content.data | content.resizes)):
            _act(whole, 0, sys.maxsize, self.steps[index], bool(garbage >> index & 1))
        del whole[size:]
        whole.extend(bytes(size - len(whole)))
        return bytes(whole)

    # --- hashes ----------------------------------------------------------------------------------

    def _file_hash(self, inode: Inode, state: int) -> int:
        """The hash of a file's content and size."""
        content = self.content(inode)
        size, total = self._summed(content, inode, state & content.whole)
        # Candidates come sorted by their bits, so that the next set is usually similar.
        content.base = (state & content.whole, size, total)
        return total + digest(b"size", size.to_bytes(8, "little"))

    def _summed(self, content: _Content, inode: Inode, state: int) -> tuple[int, int]:
        size = self.size(inode, state)
        if content.base is None:
            start = len(content.initial)
            content.base = (0, start, self._sum(content, inode, range(-(-start // PAGE)), 0, start))
        before, old_size, total = content.base
        pages = self._affected(content, before ^ state, old_size, size)
        total -= self._sum(content, inode, pages, before, old_size)
        total += self._sum(content, inode, pages, state, size)
        return size, total & WORD

    def _affected(self, content: _Content, changed: int, old: int, new: int) -> Iterable[int]:
        """The pages that may differ between two sets of steps with these sizes."""
        if changed & content.resizes:
            return range(-(-max(old, new) // PAGE))
        pages: set[int] = set()
        for index in bits((changed | changed >> self.count) & content.data):
            pages.update(self.steps[index].pages)
        if old != new:
            pages.update(range(min(old, new) // PAGE, -(-max(old, new) // PAGE)))
        return pages

    def _sum(self, content: _Content, inode: Inode, pages: Iterable[int], state: int, size: int) -> int:
        return sum(self._page_hash(content, inode, page, state, size) for page in pages)

    def _page_hash(self, content: _Content, inode: Inode, number: int, state: int, size: int) -> int:
        limit = min(PAGE, size - number * PAGE)
        if limit <= 0:
            return 0
        # The key has only what can change the page: other steps on the file do not affect its hash.
        touching = content.pages.get(number, 0)
        key = (number, state & (touching | touching << self.count | content.resizes), limit)
        found = content.known.get(key)
        if found is None:
            # Zeroes count for nothing: a hole and written zeroes read the same.
            data = self.page(inode, number, state)[:limit].rstrip(b"\0")
            found = content.known[key] = digest(number.to_bytes(8, "little"), data) if data else 0
        return found

    def own_hash(self, inode: Inode, state: int) -> int:
        """The hash of an inode without the names in it: kind, attributes, content."""
        known = self._own.get(inode)
        if known is None:
            known = self._own[inode] = (self._about(inode), {})
        mask = state & known[0]
        found = known[1].get(mask)
        if found is None:
            node = self.nodes[inode]
            found = _node_hash(node, self.attributes_of(inode, mask))
            if node.kind is NodeKind.FILE:
                found += self._file_hash(inode, mask)
            found = known[1][mask] = found & WORD
        return found

    def _about(self, inode: Inode) -> int:
        """The steps on an inode itself."""
        mask = self.content(inode).whole if self.nodes[inode].kind is NodeKind.FILE else 0
        for steps in self.attributes.get(inode, {}).values():
            mask |= steps
        return mask


def _act(part: bytearray, start: int, stop: int, step: Step, garbage: bool) -> None:
    """Apply one step to the part of a file between ``start``, a page border, and ``stop``."""
    # A resize cuts here but does not extend: zeroes beyond the data are added later.
    if step.kind is not StepKind.DATA:
        del part[max(step.size - start, 0) :]
        return
    first, last = max(step.offset, start), min(step.end, stop)
    if len(part) < last - start:
        part.extend(bytes(last - start - len(part)))
    data = _garbage(first, last) if garbage else step.part(first, last)
    part[first - start : last - start] = data


def _garbage(first: int, last: int) -> bytes:
    # Depends on the position in the page alone, so that a page has the same garbage whichever write left it.
    pages = -(-last // PAGE) - first // PAGE
    return (_GARBAGE * pages)[first % PAGE :][: last - first]


def _node_hash(node: Node, attributes: Mapping[str, object]) -> int:
    parts = [node.kind.value.encode(), node.text.encode("utf-8", "surrogateescape"), b"%d" % node.format]
    for name, value in attributes.items():
        parts += [name.encode("utf-8", "surrogateescape"), repr(value).encode()]
    return digest(*parts)
