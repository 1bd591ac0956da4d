"""Says of one crash state whether a persistence model allows it, without the code that enumerates states.

The rules of ``docs/explanation/power-loss.md`` are read here once more, as questions about one step and
those before it, each answered from the recording. ``chaoskit.explore.crash.order``, which carries sets along
while it plays the calls, is not used. What is shared is only the cutting of calls into micro-steps. A test
holds the answers against the brute-force reference in ``tests/explore/crash/reference.py``, which shares not
even that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.pieces import PAGE
from chaoskit.explore.crash.snapshot import Inode, NodeKind
from chaoskit.explore.crash.steps import Effect, Script, Step, StepKind, bits

MODELS = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")
_CONTENT = (StepKind.DATA, StepKind.GROW)


@dataclass(frozen=True)
class Objection:
    """Why a state is not legal: ``step`` is there, or missing, against ``rule``; it needs ``other``."""

    rule: str
    step: int
    other: int | None = None


class Judge:
    """One model, and a power loss right after ``operation``, an index in the trace.

    Raises:
        ValueError: for a recording in which an fsync failed. What that costs is not judged here.
    """

    def __init__(self, script: Script, model: str, operation: int) -> None:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; expected one of {', '.join(MODELS)}")
        self.script = script
        self.model = model.removesuffix("-ordered")
        self.late = model == "ext4"
        self.real = model != "strict"
        self.log = model in ("btrfs", "portable")
        self.effects = [effect for effect in script.effects if effect.operation <= operation]
        if any(effect.sync is not None and effect.sync.failed for effect in self.effects):
            raise ValueError("an fsync failed in this recording; expected one without faults")
        self.steps = [s for s in script.steps if s.operation <= operation and s.torn_from is None]
        self.by_file: dict[Inode, list[Step]] = {}
        for step in self.steps:
            self.by_file.setdefault(step.owner, []).append(step)
        self.full: dict[int, int] = {}
        """For each step all that it needs to be there, itself included, before any sync."""
        self.durable: dict[int, int] = {}
        """For each step that must be there the operation that made it durable."""
        self.needed: dict[int, int] = {}
        """The same as ``full`` at the power loss: on btrfs a sync may have taken steps out of turn."""
        self._settle()

    # --- the question --------------------------------------------------------------------------------

    def objections(self, persisted: int, garbage: int = 0) -> Iterator[Objection]:
        """What speaks against this set of steps; nothing if the model allows it."""
        for index, operation in self.durable.items():
            if not persisted >> index & 1:
                yield Objection(f"made durable by operation {operation}", index)
        for step in self.steps:
            if persisted >> step.index & 1 and step.index not in self.durable:
                lacking = self.needed[step.index] & ~persisted
                if lacking:
                    yield Objection("there without what it needs", step.index, next(bits(lacking)))
        whole = sum(1 << step.index for step in self.steps)
        for index in bits(persisted & ~whole):
            yield from self._torn(self.script.steps[index], persisted)
        for index in bits(garbage):
            if self.real or persisted >> index & 1:
                yield Objection("space that was never written holds zeroes", index)

    def _torn(self, torn: Step, persisted: int) -> Iterator[Objection]:
        origin = torn.torn_from
        assert origin is not None
        if origin not in self.needed:
            yield Objection("torn before it was written", torn.index)
        elif origin in self.durable or persisted >> origin & 1:
            yield Objection("torn although it was there as a whole", torn.index, origin)
        elif torn.kind is not StepKind.DATA:
            yield from self._torn_growth(torn, origin, persisted)
        elif self.real and torn.end % PAGE:
            yield Objection("a block is never torn", torn.index)
        elif lacking := self.needed[origin] & ~persisted & ~self._write_of(origin):
            yield Objection("torn without what it needs", torn.index, next(bits(lacking)))

    def _write_of(self, data: int) -> int:
        grown = [s.index for s in self.steps if s.kind is StepKind.GROW and s.partner == data]
        return 1 << data | sum(1 << index for index in grown)

    def _torn_growth(self, torn: Step, origin: int, persisted: int) -> Iterator[Objection]:
        data = self.script.steps[origin].partner
        assert data is not None
        assert torn.partner is not None
        if self.real and torn.size % PAGE:
            yield Objection("a file grows by whole blocks", torn.index)
        if not persisted >> torn.partner & 1:
            yield Objection("grown without the part of the data that was written", torn.index, torn.partner)
        if lacking := self.needed[origin] & ~persisted & ~(1 << origin | 1 << data):
            yield Objection("torn without what it needs", torn.index, next(bits(lacking)))

    # --- what a step needs ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Go through the calls in order: what a step needs may depend on what is durable by then."""
        pushed = list(self._written_out_by_close())
        syncs = [effect for effect in self.effects if effect.sync is not None]
        metadata = 0
        for step in self.steps:
            while syncs and syncs[0].operation < step.operation:
                self._settle_sync(syncs.pop(0))
            need = 1 << step.index
            for other in bits(self._direct(step, metadata, pushed)):
                need |= self.full.get(other, 1 << other)
            self.full[step.index] = self.needed[step.index] = need
            mate = step.partner
            in_one = step.kind is StepKind.ENTRY and (self.real or step.exchange)
            # On btrfs data and its growth end in one transaction.
            in_one = in_one or (step.kind is StepKind.GROW and not step.unasked and self.model == "btrfs")
            if in_one and mate is not None and mate < step.index:
                self.full[mate] = self.full[step.index] = need | self.full[mate]
                self.needed[mate] = self.needed[step.index] = self.full[mate]
            if step.is_metadata and not step.optional:
                metadata |= 1 << step.index
        for effect in syncs:
            self._settle_sync(effect)

    def _direct(self, step: Step, metadata: int, pushed: list[tuple[int, int]]) -> int:
        if step.kind is StepKind.FREE:
            assert step.partner is not None
            need = 1 << step.partner | sum(1 << s.index for s in self.steps if self._took(s, step))
        else:
            need = 0
        if not self.real:
            return need
        in_journal = step.is_metadata or step.kind is StepKind.GROW
        if in_journal or self.model == "btrfs":
            need |= metadata
        if self.model == "ext4":
            if in_journal:
                need |= sum_of(mask for at, mask in pushed if at < step.operation)
            need |= self._written_out_by_rename(step)
        if step.kind in _CONTENT:
            for other in self.by_file[step.owner]:
                if other.index < step.index and not other.optional and self._same_file(step, other):
                    need |= 1 << other.index
        return need

    def _same_file(self, step: Step, other: Step) -> bool:
        if step.unasked and step.kind is StepKind.GROW:
            return self._in_passing(step) == other.index
        if step.kind is StepKind.GROW:
            in_order = self.model == "ext4" and not self.late
            if other.kind is StepKind.DATA:
                with_data = self.model in ("xfs", "btrfs") or (in_order and not step.within_block)
                return step.partner == other.index and with_data
            return other.kind is StepKind.GROW and in_order and not other.unasked
        if other.kind is StepKind.DATA:
            # A block that was only made zeroes of is overwritten in place.
            return bool(set(step.pages) & set(other.pages)) and not other.keeps_blocks
        return other.kind is StepKind.RESIZE and other.cuts and step.end > -(-other.size // PAGE) * PAGE

    def _in_passing(self, step: Step) -> int | None:
        """What growth needs that no write made: data that was on its way, or all growth so far."""
        own = [s for s in self.by_file[step.owner] if s.index < step.index and not s.optional]
        if step.unless is ModelRule.GROWS_APART and self.model == "btrfs":
            since = self._last_sync(step.owner, step.operation)
            return next((s.index for s in own if s.kind is StepKind.DATA and s.operation > since), None)
        apart = ("ext4", "xfs") if step.unless is ModelRule.GROWS_APART else ("xfs", "btrfs")
        grown = [s.index for s in own if s.kind is StepKind.GROW and not s.unasked]
        return grown[-1] if grown and self.model in apart else None

    def _took(self, entry: Step, freed: Step) -> bool:
        """Return True if an entry took away a name of what was freed later."""
        if entry.kind is not StepKind.ENTRY or entry.index > freed.index or entry.child == freed.owner:
            return False
        return not entry.optional and self._owner_before(entry) == freed.owner

    # ext4 writes some data out early.

    def _written_out_by_rename(self, step: Step) -> int:
        effect = self.script.effects[step.operation]
        if step.kind is not StepKind.ENTRY or step.child is None or step.child != effect.flushed:
            return 0
        pending = self._pending(step.child, step.operation)
        if not self._fresh(step.child, step.operation):
            allocating = 0
            for one in pending:
                if one.kind is StepKind.GROW and not one.within_block and not one.unasked:
                    allocating |= self.full[one.index]
            pending = [one for one in pending if allocating >> one.index & 1]
        return self._of(pending)

    def _written_out_by_close(self) -> Iterator[tuple[int, int]]:
        if self.model != "ext4":
            return
        for effect in self.effects:
            if effect.closed is not None and self._emptied(effect.closed, effect.operation):
                yield effect.operation, self._of(self._pending(effect.closed, effect.operation))

    def _of(self, steps: list[Step]) -> int:
        return sum(1 << s.index for s in steps if s.kind is StepKind.GROW or not self.late)

    def _pending(self, file: Inode, before: int) -> list[Step]:
        syncs = self._syncs(file, before)
        return [
            s
            for s in self.by_file.get(file, ())
            if s.kind in _CONTENT and s.operation < before and not s.optional
            and not any(m.operation > s.operation and self._writes(m, s) for m in syncs)
        ]  # fmt: skip

    def _writes(self, effect: Effect, step: Step) -> bool:
        """Return True if a sync was asked for this content: an msync of some pages leaves others alone."""
        assert effect.sync is not None
        part = effect.sync.within
        # btrfs logs the whole file, whatever part was asked for.
        if part is None or self.model == "btrfs" or step.kind not in _CONTENT:
            return True
        if step.kind is StepKind.GROW:
            return step.partner is not None and self._writes(effect, self.script.steps[step.partner])
        pages = range(part.start // PAGE, -(-part.stop // PAGE))
        return step.offset < pages.stop * PAGE and step.end > pages.start * PAGE

    def _last_sync(self, file: Inode, before: int) -> int:
        return max((m.operation for m in self._syncs(file, before)), default=-1)

    def _syncs(self, file: Inode, before: int) -> list[Effect]:
        return [m for m in self.effects if m.operation < before and _covers(m, file)]

    def _fresh(self, file: Inode, before: int) -> bool:
        cleaning = (m.operation for m in self._syncs(file, before) if self._cleans(m, file))
        since = max(cleaning, default=-1)
        born = file >= len(self.script.snapshot.nodes)
        return (born and since == -1) or self._cut_to_nothing(file, since, before)

    def _cleans(self, effect: Effect, file: Inode) -> bool:
        """Return True if this sync left nothing of a file to be written."""
        return all(
            self._writes(effect, step) or self.durable.get(step.index, effect.operation) < effect.operation
            for step in self._pending(file, effect.operation)
        )

    def _cut_to_nothing(self, file: Inode, since: int, before: int) -> bool:
        own = self.by_file.get(file, ())
        return any(
            s.kind is StepKind.RESIZE and s.size == 0 and since < s.operation < before and not s.optional
            for s in own
        )

    def _emptied(self, file: Inode, at: int) -> bool:
        """Return True if a file was emptied since it was last closed, or since everything was synced."""
        before = (
            m.operation
            for m in self.effects
            if m.operation < at and (m.closed == file or (m.sync is not None and m.sync.inode is None))
        )
        return self._cut_to_nothing(file, max(before, default=-1), at)

    # --- what is durable -------------------------------------------------------------------------------

    def _settle_sync(self, effect: Effect) -> None:
        assert effect.sync is not None
        for index in bits(self._saved(effect)):
            self.durable.setdefault(index, effect.operation)
        if self.log and effect.sync.inode is not None:
            file = effect.sync.inode
            along, files = self._along({file}, effect.operation)
            # With a file that was renamed goes all that has changed in the directories concerned.
            files |= self._renamed_in(file, effect.operation)
            beside, _ = self._along(files, effect.operation)
            done = sum(1 << index for index in self.durable)
            for index in bits(beside):
                self.needed[index] &= (along if along >> index & 1 else beside) | done

    def _saved(self, effect: Effect) -> int:
        sync = effect.sync
        assert sync is not None
        last = effect.operation + (sync.only is not None)
        past = [s for s in self.steps if s.operation < last]
        if sync.inode is None:
            return sum(1 << s.index for s in past if not s.optional)
        own = [
            s
            for s in past
            if s.owner == sync.inode and s.index not in self.durable and not s.optional
            and s.kind is not StepKind.FREE
            and (not sync.data_only or s.kind is not StepKind.ATTRIBUTE)
            and (sync.only is None or s.index in sync.only) and self._writes(effect, s)
        ]  # fmt: skip
        saved = sum(1 << s.index for s in own)
        if not self.real:
            return saved
        for step in own:
            saved |= self._same_pages(step)
        names = [s for s in past if s.kind is StepKind.ENTRY and s.child == sync.inode and not s.optional]
        new = self.log and any(s.creates and s.index not in self.durable for s in names)
        names = [s for s in names if s.creates or new or not sync.data_only]
        if self.log:
            return saved | self._logged(sync.inode, names, own, past)
        removed = [
            s
            for s in past
            if s.kind is StepKind.FREE and s.owner == sync.inode and not s.optional
            and (not sync.data_only or self.model == "xfs") and sync.only is None
        ]  # fmt: skip
        for step in (*own, *removed, *(s for s in names if s.index not in self.durable)):
            saved |= self.full[step.index]
        if self.model == "ext4" and self.script.nodes[sync.inode].kind is NodeKind.DIRECTORY:
            saved |= sum_of(self.full[s.index] for s in past if s.is_metadata and not s.optional)
            for at, mask in self._written_out_by_close():
                if at < effect.operation:
                    saved |= mask | sum_of(self.full[index] for index in bits(mask))
        return saved

    def _same_pages(self, step: Step) -> int:
        """The data of the same file that cannot be left out when a sync was asked for this step."""
        if step.kind is not StepKind.DATA:
            return 0
        same = {s.index for s in self.by_file[step.owner] if s.kind is StepKind.DATA}
        return sum(1 << index for index in bits(self.full[step.index]) if index in same)

    def _logged(self, file: Inode, names: list[Step], own: list[Step], past: list[Step]) -> int:
        """btrfs: the names that stand, those of new directories above, and those of former owners."""
        reached = self._reached(self._standing(names, past), past)
        others = {self._on_disk(s) for s in reached} - {file, None}
        for step in own:
            if step.kind is StepKind.ENTRY and step.child is None and step.partner is not None:
                others.add(self.script.steps[step.partner].child)
        saved = self._replayed(reached, past)
        for other in others:
            theirs = [s for s in past if s.kind is StepKind.ENTRY and s.child == other and not s.optional]
            saved |= self._replayed(self._standing(theirs, past), past)
        return saved

    def _standing(self, names: list[Step], past: list[Step]) -> list[Step]:
        def changed(name: Step) -> bool:
            return any(_same_name(s, name) and s.index > name.index and not s.optional for s in past)

        return [s for s in names if s.index not in self.durable and not changed(s)]

    def _reached(self, names: list[Step], past: list[Step]) -> list[Step]:
        """These entries, and those of the directories above that no earlier sync has made durable."""
        found, waiting = list(names), list(names)
        while waiting:
            step = waiting.pop()
            entries = [s for s in past if s.kind is StepKind.ENTRY and s.child == step.owner]
            if any(s.creates and s.index not in self.durable and not s.optional for s in entries):
                more = [s for s in self._standing(entries, past) if s not in found and not s.optional]
                found += more
                waiting += more
        return found

    def _replayed(self, entries: list[Step], past: list[Step]) -> int:
        mask = 0
        for step in entries:
            for other in past:
                if other.kind is not StepKind.ENTRY or other.optional:
                    continue
                older = _same_name(other, step) and other.index <= step.index
                gone = other.child is None and self._owner_before(other) == step.child
                if older or (gone and self._on_disk(other) == step.child):
                    mask |= 1 << other.index
        return mask

    def _on_disk(self, step: Step) -> Inode | None:
        """What the name of an entry means by what is durable."""
        known = [s for s in self.steps if _same_name(s, step) and s.index in self.durable]
        start = self.script.snapshot.entries.get(step.owner, {})
        return known[-1].child if known else start.get(step.name)

    def _owner_before(self, step: Step) -> Inode | None:
        """What the name of an entry meant before it."""
        earlier = [s for s in self.steps if _same_name(s, step) and s.index < step.index and not s.optional]
        start = self.script.snapshot.entries.get(step.owner, {})
        return earlier[-1].child if earlier else start.get(step.name)

    def _along(self, first: set[Inode], before: int) -> tuple[int, set[Inode]]:
        """btrfs: what a sync may have taken along, so that it is there without what changed before."""
        past = [s for s in self.steps if s.operation <= before and s.index not in self.durable]
        entries = [s for s in self.steps if s.operation <= before and s.kind is StepKind.ENTRY]
        files, along = set(first), 0
        while True:
            more = sum(1 << s.index for s in past if self._touches(s, files))
            named = {
                child
                for index in bits(more)
                if self.script.steps[index].kind is StepKind.ENTRY
                for child in self._ever(self.script.steps[index], entries)
                if child is not None
            }
            if not more & ~along and named <= files:
                return along, files
            along |= more
            files |= named

    def _ever(self, step: Step, entries: list[Step]) -> list[Inode | None]:
        """All that the name of an entry has ever meant."""
        start = self.script.snapshot.entries.get(step.owner, {})
        return [start.get(step.name), *(s.child for s in entries if _same_name(s, step))]

    def _renamed_in(self, file: Inode, before: int) -> set[Inode]:
        """The directories in which a file was renamed, linked or unlinked: they go along as a whole."""
        entries = [
            s for s in self.steps if s.kind is StepKind.ENTRY and s.operation <= before and not s.optional
        ]
        return {
            s.owner
            for s in entries
            if (s.child == file and not s.creates) or (s.child != file and self._owner_before(s) == file)
        }

    def _touches(self, step: Step, files: set[Inode]) -> bool:
        if step.optional:
            return False
        if step.owner in files or (step.kind is StepKind.ENTRY and step.child in files):
            return True
        if step.kind is not StepKind.ENTRY or step.child is not None:
            return False
        return self._owner_before(step) in files


def _covers(effect: Effect, file: Inode) -> bool:
    """Return True if a call was asked to sync all of a file's content."""
    return effect.sync is not None and effect.sync.only is None and effect.sync.inode in (None, file)


def _same_name(one: Step, other: Step) -> bool:
    return one.kind is other.kind is StepKind.ENTRY and (one.owner, one.name) == (other.owner, other.name)


def sum_of(masks: Iterator[int]) -> int:
    """The union of sets given as bits."""
    whole = 0
    for mask in masks:
        whole |= mask
    return whole
