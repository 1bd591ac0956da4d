"""What looks wrong in a trace by itself: names, promises and syncs that come before the data is durable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chaoskit.core.operation import Operation
from chaoskit.explore.crash.fixes import (
    Explanation,
    directory_of,
    explanation,
    publish,
    published,
    sync_directory,
    sync_file,
    what,
)
from chaoskit.explore.crash.models import MODELS, STRICT
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.playing import play
from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.steps import Effect, Script, Step, StepKind, bits, mask_of
from chaoskit.faults.power import DEFAULT_MODELS


def warnings(script: Script) -> tuple[Explanation, ...]:
    """What looks wrong in a trace, without checking any crash state.

    Each (kind, target) is reported once, at the first operation that shows it. ``models`` are those, out of
    the default ones and ``strict``, under which it matters.
    """
    found: dict[tuple[str, str], Explanation] = {}
    suspicions = _Suspicions(script)
    for effect in script.effects:
        for one in suspicions.after(effect):
            # A loop that forgets a sync forgets it every time: one line is enough.
            found.setdefault((one.kind, script.trace[one.operation].target), one)
    for one in suspicions.at_the_end():
        found.setdefault((one.kind, script.trace[one.operation].target), one)
    return tuple(found.values())


class _Suspicions:
    """Follows a trace under ``strict``: what was never synced by its own file or directory."""

    def __init__(self, script: Script) -> None:
        self.script = script
        # The default models are played only to say which of them make the suspicion a danger.
        self.orders = [Order(script, MODELS[name]) for name in (*DEFAULT_MODELS, STRICT.name)]
        self.order = self.orders[-1]
        self.synced: set[Inode] = set()
        self.told = 0
        """Steps reported with an earlier promise; after many promises that is most of the pending steps."""

    def after(self, effect: Effect) -> Iterator[Explanation]:
        """What looks wrong once ``effect`` has taken place."""
        operation = self.script.trace[effect.operation]
        before = self.order.free
        for order in self.orders:
            play(order, effect)
        # A sync of everything does not show which file the program cared about.
        if effect.sync is not None and effect.sync.inode is not None and not effect.sync.failed:
            self.synced.add(effect.sync.inode)
        if operation.call in ("rename", "link"):
            yield from self._published(operation, before, effect)
        elif operation.call in ("fsync", "fdatasync"):
            yield from self._useless(operation, before, effect)
        elif operation.call == "promise":
            yield from self._promise(operation)

    def at_the_end(self) -> Iterator[Explanation]:
        """Names that were never synced, with or without a promise; one for each directory.

        A removal does not count: a leftover does no harm. New files and directories count if the program
        wanted them to be durable: it has synced them, or something in them.
        """
        told: set[Inode] = set()
        wanted = self._wanted()
        for step in self._pending(self.order.free, (StepKind.ENTRY,)):
            guilty = self.script.trace[step.operation]
            named = guilty.call in ("rename", "link") or step.child in wanted
            if step.child is None or step.owner in told or not named or not self._matters(step):
                continue
            told.add(step.owner)
            directory = directory_of(guilty, step)
            yield explanation(
                "directory-not-synced",
                guilty,
                f"{what(guilty)} may be lost: its directory `{directory}` was never synced after it",
                sync_directory(directory),
                self._free([step]),
            )

    def _wanted(self) -> set[Inode]:
        """The synced inodes, and the directories above them."""
        wanted = set(self.synced)
        # Backwards, so that a directory is seen after what was made in it.
        for step in reversed(self.script.steps):
            if step.kind is StepKind.ENTRY and step.child in wanted:
                wanted.add(step.owner)
        return wanted

    def _pending(self, free: int, kinds: tuple[StepKind, ...]) -> list[Step]:
        # A step that the file system adds by itself is not the fault of any call.
        steps = (self.script.steps[i] for i in bits(free))
        return [step for step in steps if step.kind in kinds and not step.unasked]

    def _free(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """The models under which any of these steps may be missing now."""
        mask = mask_of(step.index for step in steps)
        return tuple(order.model.name for order in self.orders if order.free & mask)

    def _published(self, operation: Operation, before: int, effect: Effect) -> Iterator[Explanation]:
        """A name given to a file whose data is not on the disk."""
        entries = [s for s in self.script.steps[effect.first : effect.last] if s.child is not None]
        # By inode, since the name is what changes.
        moved = {s.child for s in entries}
        # Data written elsewhere appears together with the name.
        pending = before | mask_of(range(effect.first, effect.last) if operation.file.unsynced else ())
        data = [s for s in self._pending(pending, (StepKind.DATA,)) if s.owner in moved]
        if data:
            yield explanation(
                "rename-before-sync",
                operation,
                published(operation),
                publish(operation),
                self._without(entries, data),
            )

    def _without(self, entries: Iterable[Step], data: Iterable[Step]) -> tuple[str, ...]:
        """The models under which a name may be on the disk while some of the data is not."""
        lacking = mask_of(step.index for step in data)
        return tuple(
            order.model.name
            for order in self.orders
            if any(order.free & lacking & ~order.need[entry.index] for entry in entries)
        )

    def _useless(self, operation: Operation, before: int, effect: Effect) -> Iterator[Explanation]:
        """An fsync that had nothing to do while another file or directory had: often the wrong one."""
        if effect.sync is None or effect.sync.inode is None:
            return
        # If nothing was pending, the call was useless, or meant for another file.
        inode = effect.sync.inode
        pending = self._pending(before, tuple(StepKind))
        if any(s.owner == inode for s in pending):
            return
        directory = self.order.is_directory(inode)
        kinds = (StepKind.ENTRY,) if directory else (StepKind.DATA,)
        missed = [s for s in self._pending(before, kinds) if not directory or s.owner != inode]
        if not missed:
            return
        # The latest change is most likely the one that the program meant to sync.
        other = self.script.trace[missed[-1].operation]
        name = directory_of(other, missed[-1]) if directory else other.target
        kind = "directory" if directory else "file"
        yield explanation(
            f"wrong-{kind}-synced",
            operation,
            f"{kind} `{operation.target}` was synced, but had nothing to sync; `{name}` had",
            f"sync `{name}` instead" + ("; mind symbolic links (realpath)" if directory else ""),
            self._free(missed),
        )

    def _promise(self, operation: Operation) -> Iterator[Explanation]:
        # Data first: only the first thing that a file lacks is reported.
        for kind in (StepKind.DATA, StepKind.ENTRY, StepKind.RESIZE, StepKind.ATTRIBUTE):
            for step in self._pending(self.order.free & ~self.told, (kind,)):
                if self._matters(step):
                    self.told |= 1 << step.index
                    yield self._acknowledged(operation, step)

    def _acknowledged(self, promise: Operation, step: Step) -> Explanation:
        guilty, models = self.script.trace[step.operation], self._free([step])
        if step.kind is StepKind.ENTRY:
            directory = directory_of(guilty, step)
            return explanation(
                "directory-not-synced",
                guilty,
                f"{what(guilty)} was acknowledged ({promise}), but `{directory}` was not synced",
                sync_directory(directory),
                models,
            )
        name = guilty.target
        changed = {
            StepKind.RESIZE: f"the new size of `{name}`",
            StepKind.ATTRIBUTE: f"the {guilty.call} of `{name}`",
        }
        subject = changed.get(step.kind, f"what was written to `{name}`")
        # fdatasync(2) leaves out metadata that reading the data does not need, such as modes.
        also = "; fdatasync is not enough" if step.kind is StepKind.ATTRIBUTE else ""
        fix = sync_file(name, f"and only then acknowledge{also}")
        if self.order.is_directory(step.owner):
            fix = sync_directory(name)
        return explanation(
            "acknowledged-before-sync",
            guilty,
            f"{subject} was acknowledged ({promise}) before it was synced",
            fix,
            models,
        )

    def _matters(self, step: Step) -> bool:
        """True if the name or file of ``step`` has not been changed or removed since."""
        later = self.script.steps[step.index + 1 : len(self.order.need)]
        if step.kind is StepKind.ENTRY:
            return not any(
                s.kind is StepKind.ENTRY and (s.owner, s.name) == (step.owner, step.name) for s in later
            )
        return not any(s.kind is StepKind.FREE and s.owner == step.owner for s in later)
