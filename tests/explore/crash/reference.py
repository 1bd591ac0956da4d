"""An independent, slow account of what each model allows: every subset of micro-steps is tried.

It shares no code with the package: it has its own decomposition, its rules are predicates over pairs
of steps instead of sets that are carried along, and it applies steps to plain dictionaries. It knows
the calls that the random traces of ``test_oracle`` make and no others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.core.operation import Operation, Trace

BLOCK = 4096


@dataclass(eq=False)
class Micro:
    """One micro-step: ``kind`` is data, grow, size, free, name or mode."""

    number: int
    op: int
    kind: str
    file: int
    at: int = 0
    data: bytes = b""
    size: int = 0
    name: str = ""
    child: int | None = None
    mate: Micro | None = None
    tail: bool = False
    first_name: bool = False
    rename_of: int | None = None
    replaces: bool = False
    cut: bool = False
    unasked: str = ""
    """What the file system does by itself: ``wipe``, ``passing`` (growth by other data), ``alloc``."""

    @property
    def meta(self) -> bool:
        return self.kind in ("size", "free", "name", "mode")


@dataclass
class Event:
    """Something that orders or syncs: fsync, fdatasync, msync, sync, close."""

    op: int
    kind: str
    file: int
    pages: range | None = None
    """Those of a part of the file; None for all of it."""

    def covers(self, m: Micro) -> bool:
        """Return True if it is asked to write this data, or this growth with the data that it comes from."""
        if self.pages is None or m.kind not in ("data", "grow"):
            return True
        if m.kind == "grow":
            return m.mate is not None and self.covers(m.mate)
        return m.at // BLOCK < self.pages.stop and self.pages.start <= (m.at + len(m.data) - 1) // BLOCK


class World:
    """A trace taken apart, starting from a flat tree of files given as bytes."""

    def __init__(self, trace: Trace, start: dict[str, bytes]) -> None:
        self.trace = trace
        self.micro: list[Micro] = []
        self.events: list[Event] = []
        self.first: dict[int, bytes] = {}
        self.dirs: dict[int, dict[str, int]] = {0: {}}
        self.kinds = {0: "dir"}
        for name, data in start.items():
            self.dirs[0][name] = self._inode("file")
            self.first[self.dirs[0][name]] = data
        self.start = {d: dict(names) for d, names in self.dirs.items()}
        self.length = {i: len(data) for i, data in self.first.items()}
        self.born: set[int] = set()
        self.filled: list[tuple[int, int, bool]] = []
        """(operation, file, whether it got blocks in advance or lost all it had)."""
        for op in trace:
            if op.result is None or op.result >= 0:
                self._play(op)

    def _inode(self, kind: str) -> int:
        inode = len(self.kinds)
        self.kinds[inode] = kind
        if kind == "dir":
            self.dirs[inode] = {}
        return inode

    def _where(self, path: str) -> tuple[int, str]:
        parts = path.split("/")
        directory = 0
        for part in parts[:-1]:
            directory = self.dirs[directory][part]
        return directory, parts[-1]

    def _who(self, path: str) -> int:
        if path in (".", ""):
            return 0
        directory, name = self._where(path)
        return self.dirs[directory][name]

    def _note(self, op: Operation, kind: str, file: int, **more: object) -> Micro:
        micro = Micro(len(self.micro), op.index, kind, file, **more)  # type: ignore[arg-type]
        self.micro.append(micro)
        return micro

    def _links(self, inode: int) -> int:
        return sum(child == inode for names in self.dirs.values() for child in names.values())

    def _play(self, op: Operation) -> None:
        getattr(self, f"do_{op.call}", lambda op: None)(op)

    def do_open(self, op: Operation) -> None:
        if op.file.created:
            directory, name = self._where(op.target)
            inode = self._inode("file")
            self.first[inode], self.length[inode] = b"", 0
            self.born.add(inode)
            self.dirs[directory][name] = inode
            self._note(op, "name", directory, name=name, child=inode, first_name=True)
        elif op.file.truncated and self.length[self._who(op.target)]:
            self._cut(op, self._who(op.target), 0)

    def do_mkdir(self, op: Operation) -> None:
        directory, name = self._where(op.target)
        self.dirs[directory][name] = inode = self._inode("dir")
        self._note(op, "name", directory, name=name, child=inode, first_name=True)

    def _cut(self, op: Operation, inode: int, size: int) -> None:
        before = self.length[inode]
        if size != before:
            self._note(op, "size", inode, size=size, cut=size < before)
            border = min(before, (size + BLOCK - 1) // BLOCK * BLOCK)
            if border > size:
                self._note(op, "data", inode, at=size, data=bytes(border - size), unasked="wipe")
            self.length[inode] = size
            if size == 0:
                self.filled.append((op.index, inode, False))

    def do_fallocate(self, op: Operation) -> None:
        inode, end = self._who(op.target), (op.file.offset or 0) + (op.file.length or 0)
        self.filled.append((op.index, inode, True))
        if any(m.kind == "data" and m.file == inode and not m.unasked for m in self.micro):
            self._note(op, "grow", inode, size=min(end, self.length[inode]), unasked="alloc")
        if op.file.mode == 0 and end > self.length[inode]:
            self._cut(op, inode, end)

    def in_advance(self, file: int, op: int) -> bool:
        """Return True if the file has blocks that no data asked for."""
        told = [advance for when, inode, advance in self.filled if inode == file and when < op]
        return bool(told) and told[-1]

    def do_truncate(self, op: Operation) -> None:
        self._cut(op, self._who(op.target), op.file.length or 0)

    def do_write(self, op: Operation) -> None:
        inode, data = self._who(op.target), op.file.data.read()[: op.result]
        at, before = op.file.offset, self.length[inode]
        earlier = any(m.kind == "data" and m.file == inode and not m.unasked for m in self.micro)
        position = at
        while position < at + len(data):
            stop = min(at + len(data), (position // BLOCK + 1) * BLOCK)
            part = self._note(op, "data", inode, at=position, data=data[position - at : stop - at])
            if stop > before:
                tail = position // BLOCK * BLOCK < before
                part.mate = self._note(op, "grow", inode, size=stop, mate=part, tail=tail)
            position = stop
        if at + len(data) > before and (earlier or at // BLOCK != (at + len(data) - 1) // BLOCK):
            self._note(op, "grow", inode, size=at + len(data), unasked="passing")
        self.length[inode] = max(before, at + len(data))

    def do_chmod(self, op: Operation) -> None:
        self._note(op, "mode", self._who(op.target), size=op.file.mode or 0)

    def do_unlink(self, op: Operation) -> None:
        directory, name = self._where(op.target)
        inode = self.dirs[directory].pop(name)
        entry = self._note(op, "name", directory, name=name)
        if not self._links(inode):
            self._note(op, "free", inode, mate=entry)

    def do_link(self, op: Operation) -> None:
        inode, (directory, name) = self._who(op.target), self._where(op.second)
        self.dirs[directory][name] = inode
        self._note(op, "name", directory, name=name, child=inode)

    def do_rename(self, op: Operation) -> None:
        (source, old), (target, new) = self._where(op.target), self._where(op.second)
        inode, replaced = self.dirs[source][old], self.dirs[target].get(new)
        if inode == replaced:
            return
        del self.dirs[source][old]
        self.dirs[target][new] = inode
        swap = self._note(
            op, "name", target, name=new, child=inode, rename_of=inode, replaces=replaced is not None
        )
        swap.mate = self._note(op, "name", source, name=old, mate=swap, rename_of=inode)
        if replaced is not None and self.kinds[replaced] == "file" and not self._links(replaced):
            self._note(op, "free", replaced, mate=swap)

    def do_fsync(self, op: Operation) -> None:
        self.events.append(Event(op.index, op.call, self._who(op.target)))

    do_fdatasync = do_fsync

    def do_msync(self, op: Operation) -> None:
        first, end = op.file.offset or 0, (op.file.offset or 0) + (op.file.length or 0)
        pages = range(first // BLOCK, (end + BLOCK - 1) // BLOCK)
        self.events.append(Event(op.index, "msync", self._who(op.target), pages))

    def do_close(self, op: Operation) -> None:
        try:
            self.events.append(Event(op.index, "close", self._who(op.target)))
        except KeyError:
            pass  # Unlinked: nothing can be seen of it any more.

    def do_sync(self, op: Operation) -> None:
        self.events.append(Event(op.index, "sync", -1))


class Judge:
    """Says for one model and one power loss which subsets are legal."""

    def __init__(self, world: World, model: str) -> None:
        self.world = world
        self.late = model == "ext4"
        self.model = model.removesuffix("-ordered")
        self.real = model != "strict"
        self.log = model in ("btrfs", "portable")
        self._direct: dict[int, set[int]] = {}
        self._full: dict[int, set[int]] = {}

    # What one step needs directly, by looking at every other step.

    def direct(self, a: Micro) -> set[int]:
        if a.number not in self._direct:
            self._direct[a.number] = {b.number for b in self.world.micro if b is not a and self.needs(a, b)}
        return self._direct[a.number]

    def full(self, a: Micro) -> set[int]:
        """Everything that a step needs, itself included."""
        if a.number not in self._full:
            seen, waiting = {a.number}, [a]
            while waiting:
                for number in self.direct(waiting.pop()) - seen:
                    seen.add(number)
                    waiting.append(self.world.micro[number])
            self._full[a.number] = seen
        return self._full[a.number]

    def needs(self, a: Micro, b: Micro) -> bool:
        if a.kind == "free" and (a.mate is b or self._took(b, a)):
            return True
        if not self.real:
            return False
        if a.kind == b.kind == "name" and a.mate is b:
            return True
        if self.model == "btrfs" and a.kind == "data" and a.mate is b:
            return True
        if b.number > a.number:
            return False
        if b.meta and (a.meta or a.kind == "grow" or self.model == "btrfs"):
            return True
        if self.model == "ext4" and self._pushed(a, b):
            return True
        return a.file == b.file and self._same_file(a, b)

    def _took(self, entry: Micro, freed: Micro) -> bool:
        """The entry took a name away from what was freed later."""
        if entry.kind != "name" or entry.number > freed.number or entry.child == freed.file:
            return False
        return self._owner_before(entry) == freed.file

    def _same_file(self, a: Micro, b: Micro) -> bool:
        if a.kind == "grow" and a.unasked:
            return self._in_passing(a, b)
        if a.kind == "grow" and b.kind == "data":
            ordered = self.model == "ext4" and not self.late and not a.tail
            return a.mate is b and (ordered or self.model in ("xfs", "btrfs"))
        if a.kind == "grow" and b.kind == "grow":
            return self.model == "ext4" and not self.late and not b.unasked
        if a.kind == "data" and b.kind == "data":
            return a.at // BLOCK == b.at // BLOCK
        blocks = (b.size + BLOCK - 1) // BLOCK * BLOCK
        return a.kind == "data" and b.kind == "size" and b.cut and a.at + len(a.data) > blocks

    def _in_passing(self, a: Micro, b: Micro) -> bool:
        """Growth that is not the growth of a write: with other data, with none, or nothing at all."""
        if a.unasked == "passing" and self.model == "btrfs":
            pending = [m for m in self._pending(a.file, a.op + 1) if m.kind == "data" and m.number < a.number]
            return bool(pending) and pending[0] is b
        own = ("ext4", "xfs") if a.unasked == "passing" else ("xfs", "btrfs")
        if self.model not in own or b.kind != "grow":
            return False
        asked = [m for m in self.world.micro if m.file == a.file and m.kind == "grow" and not m.unasked]
        return bool(asked) and [m for m in asked if m.number < a.number][-1:] == [b]

    def _pushed(self, a: Micro, b: Micro) -> bool:
        """ext4: renaming over a file, and closing an emptied one, write the data out."""
        if b.kind not in (("grow",) if self.late else ("data", "grow")):
            return False
        over = a.kind == "name" and a.child is not None and a.replaces and a.rename_of == b.file
        over = over and not self.world.in_advance(b.file, a.op)
        if over and b in self._pending(b.file, a.op):
            return self._fresh(b.file, a.op) or b in self._new_blocks(b.file, a.op)
        if not (a.meta or a.kind == "grow"):
            return False
        return any(
            e.kind == "close" and e.file == b.file and b.op < e.op < a.op
            and self._emptied(e) and b in self._pending(b.file, e.op)
            for e in self.world.events
        )  # fmt: skip

    def _pending(self, file: int, op: int) -> list[Micro]:
        syncs = [e for e in self._syncs(file) if e.op < op]
        return [
            m
            for m in self.world.micro
            if m.file == file and m.kind in ("data", "grow") and m.op < op
            if not any(e.op > m.op and self._writes(e, m) for e in syncs)
        ]

    def _writes(self, event: Event, m: Micro) -> bool:
        """btrfs logs all of a file, whatever part was asked for."""
        return self.model == "btrfs" or event.covers(m)

    def _syncs(self, file: int) -> list[Event]:
        return [e for e in self.world.events if e.kind == "sync" or (e.kind != "close" and e.file == file)]

    def _fresh(self, file: int, op: int) -> bool:
        since = max((e.op for e in self._syncs(file) if e.op < op and self._cleans(e)), default=-1)
        cut = any(
            m.kind == "size" and m.size == 0 and m.file == file and since < m.op < op
            for m in self.world.micro
        )
        return cut or (file in self.world.born and since == -1)

    def _cleans(self, event: Event) -> bool:
        """Return True if nothing of the file is left to be written behind this sync."""
        done = self.durable(event.op - 1)
        pending = self._pending(event.file, event.op)
        return all(self._writes(event, m) or m.number in done for m in pending)

    def _new_blocks(self, file: int, op: int) -> list[Micro]:
        pending = self._pending(file, op)
        result = []
        for grow in pending:
            if grow.kind == "grow" and not grow.tail and not grow.unasked:
                result += [m for m in pending if m.number in self.full(grow)]
        return result

    def _emptied(self, close: Event) -> bool:
        """Return True if this close writes out: the file was emptied, and not closed or synced since."""
        if self.world.in_advance(close.file, close.op):
            return False
        before = [
            e.op
            for e in self.world.events
            if e.op < close.op and ((e.kind == "close" and e.file == close.file) or e.kind == "sync")
            if e.kind == "sync" or not self.world.in_advance(e.file, e.op)
        ]
        since = max(before, default=-1)
        return any(
            m.kind == "size" and m.size == 0 and m.file == close.file and since < m.op < close.op
            for m in self.world.micro
        )

    # What has been made durable.

    def durable(self, op: int) -> set[int]:
        done: set[int] = set()
        for event in self.world.events:
            if event.op <= op and event.kind != "close":
                done |= self._saved(event, done)
        return done

    def _saved(self, event: Event, done: set[int]) -> set[int]:
        past = [m for m in self.world.micro if m.op < event.op]
        if event.kind == "sync":
            return {m.number for m in past}
        own = [m for m in past if m.file == event.file and m.number not in done]
        freed = [m for m in own if m.kind == "free"]
        own = [m for m in own if m.kind != "free" and (m.kind != "mode" or event.kind == "fsync")]
        own = [m for m in own if self._writes(event, m)]
        saved = {m.number for m in own}
        if not self.real:
            return saved
        names = [m for m in past if m.kind == "name" and m.child == event.file]
        new = any(m.first_name and m.number not in done for m in names)
        if event.kind != "fsync" and not (self.log and new):
            names = [m for m in names if m.first_name]
        for m in own:
            if m.kind == "data":
                saved |= {n for n in self.full(m) if self._same_data(n, m)}
        if self.log:
            return saved | self._logged(event, names, own, past, done)
        removed = freed if event.kind == "fsync" or self.model == "xfs" else []
        for m in own + removed + [n for n in names if n.number not in done]:
            saved |= self.full(m)
        if self.model == "ext4" and self.world.kinds[event.file] == "dir":
            for m in past:
                saved |= self.full(m) if m.meta else set()
            for close in self.world.events:
                if close.kind == "close" and close.op < event.op and self._emptied(close):
                    for m in self._pending(close.file, close.op):
                        saved |= self.full(m) if m.kind == "grow" or not self.late else set()
        return saved

    def _logged(
        self, event: Event, names: list[Micro], own: list[Micro], past: list[Micro], done: set[int]
    ) -> set[int]:
        """What the log of btrfs says of names: those that stand, and those of former owners that stand."""
        standing = [m for m in self._in_use(names, past) if m.number not in done]
        reached = standing + self._above(standing, past, done)
        saved = self._replayed(reached, past, done)
        others = {self._on_disk(m, done) for m in reached} - {event.file, None}
        for m in own:
            if m.kind == "name" and m.child is None and m.mate is not None and m.rename_of is not None:
                others.add(m.rename_of)
        for other in others:
            theirs = [m for m in past if m.kind == "name" and m.child == other and m.number not in done]
            saved |= self._replayed(self._in_use(theirs, past), past, done)
        return saved

    def _replayed(self, entries: list[Micro], past: list[Micro], done: set[int]) -> set[int]:
        saved: set[int] = set()
        for m in entries:
            saved |= {b.number for b in past if self._same_cell(b, m) and b.number <= m.number}
            for b in past:
                taken = b.kind == "name" and b.child is None and self._owner_before(b) == m.child
                if taken and self._on_disk(b, done) == m.child:
                    saved.add(b.number)
        return saved

    def _on_disk(self, m: Micro, done: set[int]) -> int | None:
        """The inode that a name means by what is durable."""
        known = [b for b in self.world.micro if self._same_cell(b, m) and b.number in done]
        return known[-1].child if known else self.world.start.get(m.file, {}).get(m.name)

    def _same_data(self, number: int, m: Micro) -> bool:
        other = self.world.micro[number]
        return other.kind == "data" and other.file == m.file

    @staticmethod
    def _same_cell(a: Micro, b: Micro) -> bool:
        return a.kind == b.kind == "name" and (a.file, a.name) == (b.file, b.name)

    def _above(self, names: list[Micro], past: list[Micro], done: set[int]) -> list[Micro]:
        """How the new directories that hold ``names`` are found, up to one that is safe."""
        made: list[Micro] = []
        for directory in {m.file for m in names}:
            entries = [b for b in past if b.kind == "name" and b.child == directory and b.number not in done]
            if any(b.first_name for b in entries):
                made += self._in_use(entries, past)
        return made + self._above(made, past, done) if made else []

    def _in_use(self, names: list[Micro], past: list[Micro]) -> list[Micro]:
        return [m for m in names if not any(self._same_cell(b, m) and b.number > m.number for b in past)]

    # All states.

    def states(self, op: int) -> Iterator[object]:
        """Every tree that the model allows when the power goes right after ``op``."""
        past = {m.number for m in self.world.micro if m.op <= op}
        must = self.durable(op)
        free = sorted(past - must)
        needed = self._needed(op)
        for count in range(len(free) + 1):
            for extra in itertools.combinations(free, count):
                kept = must | set(extra)
                if all(needed[n] <= kept for n in extra):
                    yield self.tree(kept)
                    yield from self._damaged(kept, free, needed)

    def _needed(self, op: int) -> dict[int, set[int]]:
        """What each step needs by now: on btrfs less than before, if a sync may have taken it along."""
        needed = {m.number: set(self.full(m)) for m in self.world.micro if m.op <= op}
        if not self.log:
            return needed
        done: set[int] = set()
        logs: list[tuple[int, set[int]]] = []
        """The syncs since everything was synced: when, and what is in the log from then on."""
        for event in self.world.events:
            if event.op > op or event.kind == "close":
                continue
            saved = self._saved(event, done)
            done |= saved
            if event.kind == "sync":
                logs.clear()
                continue
            along, files = self._along(event, done, {event.file})
            ahead = [m for m in self._noted(event, logs) if m.number not in done]
            past = [m for m in self.world.micro if m.op < event.op]
            along |= {m.number for m in ahead + self._above(ahead, past, done)}
            beside, files = self._along(event, done, files | self._renamed_in(event))
            for number in beside | along:
                needed[number] &= (along if number in along else along | beside) | done
            children = {self.world.micro[n].child for n in saved}
            logs.append((event.op, files | {c for c in children if c is not None}))
        return needed

    def _noted(self, event: Event, logs: list[tuple[int, set[int]]]) -> list[Micro]:
        """Changes of names of what was in the log when they were made."""
        found = []
        for m in self.world.micro:
            inside = set().union(*(files for when, files in logs if when < m.op))
            if m.kind != "name" or m.first_name or m.op >= event.op:
                continue
            if m.rename_of is not None:
                swap = m if m.child is not None else m.mate
                if swap.child in inside or swap.mate.file in inside:
                    found.append(m)
            elif (m.child if m.child is not None else self._owner_before(m)) in inside:
                found.append(m)
        return found

    def _owner_before(self, m: Micro) -> int | None:
        """Whose name it was that ``m`` took away."""
        earlier = [b for b in self.world.micro if self._same_cell(b, m) and b.number < m.number]
        return earlier[-1].child if earlier else self.world.start.get(m.file, {}).get(m.name)

    def _renamed_in(self, event: Event) -> set[int]:
        """The directories that go along with a file that was renamed, linked or unlinked in them."""
        names = [m for m in self.world.micro if m.kind == "name" and m.op < event.op]
        given = {m.file for m in names if m.child == event.file and not m.first_name}
        lost = {m.file for m in names if m.child != event.file and self._owner_before(m) == event.file}
        return given | lost

    def _along(self, event: Event, done: set[int], first: set[int]) -> tuple[set[int], set[int]]:
        past = [m for m in self.world.micro if m.op < event.op]
        files, along = set(first), set()
        while True:
            more = {m.number for m in past if m.number not in done and self._touches(m, files, past)}
            named = {
                b.child
                for number in more
                for b in past
                if self._same_cell(b, self.world.micro[number]) and b.child is not None
            } | {
                self.world.start.get(m.file, {}).get(m.name)
                for m in map(self.world.micro.__getitem__, more)
                if m.kind == "name"
            } - {None}
            if more <= along and named <= files:
                return along, files
            along |= more
            files |= named

    def _touches(self, m: Micro, files: set[int], past: list[Micro]) -> bool:
        if m.file in files or (m.kind == "name" and m.child in files):
            return True
        if m.kind != "name" or m.child is not None:
            return False
        earlier = [b for b in past if self._same_cell(b, m) and b.number < m.number]
        before = earlier[-1].child if earlier else self.world.start.get(m.file, {}).get(m.name)
        return before in files

    def _damaged(self, kept: set[int], free: list[int], needed: dict[int, set[int]]) -> Iterator[object]:
        for number in free:
            m = self.world.micro[number]
            # Zeroes behind a new end are taken as a whole: half of them lies between two known states.
            if m.kind != "data" or m.unasked or number in kept:
                continue
            if not self.real and m.mate is not None and m.mate.number in kept:
                yield self.tree(kept, {number: "garbage"})
            for cut in self._cuts(m):
                if needed[number] - {number} <= kept:
                    yield from self._torn(m, cut, kept)

    @staticmethod
    def _cuts(m: Micro) -> set[int]:
        inside = [b for b in range(512, m.at + len(m.data), 512) if m.at < b]
        return {inside[0], inside[-1]} if inside else set()

    def _torn(self, m: Micro, cut: int, kept: set[int]) -> Iterator[object]:
        if self.real:
            return
        rest: dict[int, object] = {m.number: cut - m.at}
        yield self.tree(kept, rest)
        grow = m.mate
        if grow is not None and grow.number not in kept and cut > self._size_before(m):
            yield self.tree(kept, {**rest, grow.number: cut})

    def _size_before(self, m: Micro) -> int:
        size = len(self.world.first[m.file])
        for other in self.world.micro:
            if other.file == m.file and other.op < m.op:
                if other.kind == "size":
                    size = other.size
                elif other.kind == "grow":
                    size = max(size, other.size)
        return size

    def tree(self, kept: set[int], special: dict[int, object] | None = None) -> object:
        special = special or {}
        content = {i: bytearray(data) for i, data in self.world.first.items()}
        hidden = {i: bytearray(data) for i, data in self.world.first.items()}
        names = {d: dict(self.world.start.get(d, {})) for d in self.world.dirs}
        size = {i: len(data) for i, data in content.items()}
        for m in self.world.micro:
            if m.number not in kept and m.number not in special:
                continue
            if m.kind == "name":
                if m.child is None:
                    names[m.file].pop(m.name, None)
                else:
                    names[m.file][m.name] = m.child
            elif m.kind == "data":
                self._store(hidden[m.file], m, special.get(m.number))
            elif m.kind == "grow":
                size[m.file] = max(size[m.file], special.get(m.number, m.size))
            elif m.kind in ("size", "free"):
                size[m.file] = m.size
                del hidden[m.file][m.size :]
        return self._show(0, names, hidden, size)

    @staticmethod
    def _store(disk: bytearray, m: Micro, how: object) -> None:
        data = m.data if how is None or how == "garbage" else m.data[:how]  # type: ignore[misc]
        if how == "garbage":
            data = bytes((37 * (i % BLOCK) + 11) % 251 + 1 for i in range(m.at, m.at + len(m.data)))
        if len(disk) < m.at + len(data):
            disk.extend(bytes(m.at + len(data) - len(disk)))
        disk[m.at : m.at + len(data)] = data

    def _show(
        self, d: int, names: dict[int, dict[str, int]], disk: dict[int, bytearray], size: dict[int, int]
    ) -> object:
        tree = {}
        for name, child in names[d].items():
            if self.world.kinds[child] == "dir":
                tree[name] = self._show(child, names, disk, size)
            else:
                tree[name] = bytes(disk[child][: size[child]]).ljust(size[child], b"\0")
        return freeze(tree)


def freeze(tree: object) -> object:
    """A tree as something that can be in a set."""
    if isinstance(tree, dict):
        return tuple(sorted((name, freeze(part)) for name, part in tree.items()))
    return tree
