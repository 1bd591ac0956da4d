"""Which call is to blame for a crash state, and what to write instead; also from the trace alone."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from chaoskit.core.operation import ROOT, Frame, Operation
from chaoskit.explore.crash.models import DEFAULT, MODELS, STRICT
from chaoskit.explore.crash.order import Order
from chaoskit.explore.crash.snapshot import Inode, NodeKind
from chaoskit.explore.crash.states import State
from chaoskit.explore.crash.steps import Move, Script, Step, StepKind, bits, mask_of


@dataclass(frozen=True, slots=True)
class Advice:
    """``text`` says in one sentence what went wrong, ``fix`` in at most two lines what to write.

    ``kind`` is stable; ``operation`` is the index of the guilty call in the trace. ``anywhere`` is the fix
    for a program in any language, where ``fix`` is Python.
    """

    kind: str
    operation: int
    text: str
    fix: str
    stack: tuple[Frame, ...] = ()
    models: tuple[str, ...] = ()
    anywhere: str = ""


class _Fix(NamedTuple):
    """What to write, in Python and in words that hold for any language."""

    python: str
    anywhere: str


def simplest(states: Iterable[State]) -> State:
    """Of several states that break the same invariant, the one that is easiest to explain.

    Raises ValueError if there are none.
    """
    return min(states, key=_complexity)


def _complexity(state: State) -> tuple[int, ...]:
    # What most models allow convinces most: a state of strict alone is the last to be shown.
    odd = (state.persisted & ~state.moment.present | state.garbage).bit_count()
    return (odd, -len(state.models), len(state.dropped), state.moment.operation, state.persisted)


def explain(script: Script, state: State, implied: int = 0) -> Advice:
    """The shortest explanation of how ``state`` came about, and how to prevent it.

    The steps in ``implied`` are missing only because others are: they are not to blame.
    """
    case = _Case(script, state, implied)
    for find in _EXPLANATIONS:
        advice = find(case)
        if advice is not None:
            return advice
    return _stopped(case)


class _Case:
    """One state, and the questions that explanations ask about it."""

    def __init__(self, script: Script, state: State, implied: int) -> None:
        self.script = script
        self.state = state
        self.dropped = [script.steps[index] for index in state.dropped if not implied >> index & 1]
        self.kept = [script.steps[index] for index in bits(state.persisted)]
        self.promise = next(
            (
                script.trace[m.operation]
                for m in reversed(script.moves[: state.moment.operation + 1])
                if script.trace[m.operation].call == "promise"
            ),
            None,
        )

    def operation(self, step: Step) -> Operation:
        return self.script.trace[step.operation]

    def dropped_of(self, inode: Inode) -> list[Step]:
        """What is missing of a file's content."""
        return [s for s in self.dropped if s.owner == inode and s.kind in (StepKind.DATA, StepKind.GROW)]

    def advice(self, kind: str, step_or_operation: Step | Operation, text: str, fix: str | _Fix) -> Advice:
        operation = step_or_operation
        if isinstance(operation, Step):
            operation = self.operation(operation)
        return _advised(kind, operation, text, fix, self.state.models)


def _torn(case: _Case) -> Advice | None:
    for step in case.kept:
        if step.torn_from is not None and step.kind is StepKind.DATA:
            name = case.operation(step).target
            return case.advice(
                "torn-write",
                step,
                f"only the first {step.length} bytes of a write to `{name}` reached the disk",
                f"store a length and a checksum with each record of `{name}` and ignore a tail that does not"
                " match,\nor write a new file, fsync it and rename it over the old one",
            )
    return None


def _lost_after_error(case: _Case) -> Advice | None:
    for move in case.script.moves[: case.state.moment.operation + 1]:
        if move.sync is None or not move.sync.failed or move.sync.inode is None:
            continue
        if case.dropped_of(move.sync.inode):
            operation = case.script.trace[move.operation]
            return case.advice(
                "fsync-failed",
                operation,
                f"fsync of `{operation.target}` had failed: a later one succeeds without writing the data",
                f"when fsync fails, do not call it again: write the data of `{operation.target}` anew"
                " to another file,\nor stop and recover from what was durable before",
            )
    return None


def _renamed_unsynced(case: _Case) -> Advice | None:
    for step in case.kept:
        operation = case.operation(step)
        if step.kind is not StepKind.ENTRY or step.child is None or operation.call not in ("rename", "link"):
            continue
        if any(missing.operation < step.operation for missing in case.dropped_of(step.child)):
            source, target = operation.target, operation.second
            how = (
                "renamed over"
                if operation.file.replaced is not None
                else f"{operation.call}ed to".replace("renameed", "renamed")
            )
            return case.advice(
                "rename-before-sync",
                operation,
                f"`{source}` was {how} `{target}` before its data was synced",
                _publish(operation),
            )
    return None


def _emptied(case: _Case) -> Advice | None:
    for step in case.kept:
        operation = case.operation(step)
        cut = operation.call == "open" or (operation.file.size_before or 0) > step.size
        if step.kind is StepKind.RESIZE and cut and case.dropped_of(step.owner):
            name = operation.target
            if any(missing.operation >= step.operation for missing in case.dropped_of(step.owner)):
                return case.advice(
                    "truncate-then-write",
                    step,
                    f"`{name}` was cut before its new content was on the disk",
                    "write the new content to a temporary file in the same directory and fsync it,\n"
                    f"then rename it over {posixpath.basename(name)!r}",
                )
    return None


def _half_renamed(case: _Case) -> Advice | None:
    for step in case.dropped:
        if step.kind is StepKind.ENTRY and step.partner is not None:
            partner = case.script.steps[step.partner]
            if case.state.persisted >> partner.index & 1:
                operation = case.operation(step)
                part = "the new name" if step.child is not None else "the removal of the old name"
                directory = _directory(operation, step)
                return case.advice(
                    "rename-in-halves",
                    operation,
                    f"{part} of {operation} was not synced, the other half was",
                    _sync_directory(directory),
                )
    return None


def _acknowledged(case: _Case) -> Advice | None:
    promise = case.promise
    if promise is None:
        return None
    missing = [s for s in case.dropped if s.operation < promise.index]
    if not missing:
        return None
    entry = next((s for s in missing if s.kind is StepKind.ENTRY), None)
    data = next((s for s in missing if s.kind in (StepKind.DATA, StepKind.GROW, StepKind.RESIZE)), None)
    if data is not None:
        name = case.operation(data).target
        return case.advice(
            "acknowledged-before-sync",
            case.operation(data),
            f"what was written to `{name}` was acknowledged ({promise}) before it was synced",
            _sync_file(name, "and only then acknowledge"),
        )
    if entry is None:
        return None
    operation = case.operation(entry)
    directory = _directory(operation, entry)
    return case.advice(
        "directory-not-synced",
        operation,
        f"{_what(operation)} was acknowledged ({promise}), but its directory `{directory}` was not synced",
        _sync_directory(directory),
    )


def _unsynced_name(case: _Case) -> Advice | None:
    """Something rests on a name that is not durable."""
    for step in case.dropped:
        later = any(kept.operation > step.operation for kept in case.kept)
        if step.kind is StepKind.ENTRY and later:
            operation = case.operation(step)
            directory = _directory(operation, step)
            return case.advice(
                "directory-not-synced",
                operation,
                f"{_what(operation)} was lost: its directory `{directory}` was not synced",
                _sync_directory(directory),
            )
    return None


def _reordered(case: _Case) -> Advice | None:
    for step in case.dropped:
        after = [k for k in case.kept if k.operation > step.operation and k.torn_from is None]
        if step.kind in (StepKind.DATA, StepKind.GROW) and after:
            name, other = case.operation(step).target, case.operation(after[0])
            return case.advice(
                "not-ordered",
                step,
                f"a write to `{name}` was not on the disk when the later {other} was",
                _sync_file(name, f"before the {other.call} that relies on it"),
            )
    return None


_EXPLANATIONS = (
    _lost_after_error,
    _renamed_unsynced,
    _torn,
    _emptied,
    _half_renamed,
    _acknowledged,
    _unsynced_name,
    _reordered,
)


def _stopped(case: _Case) -> Advice:
    operation = case.script.trace[case.state.moment.operation]
    lost = "" if case.state.complete else " without what was not synced"
    return case.advice(
        "stopped-between",
        operation,
        f"the program was stopped right after {operation}{lost}: no order of writes prevents that",
        "make the change with one atomic step (write a new file, fsync it, rename it),\n"
        "or let recovery undo or finish what was begun",
    )


def _directory(operation: Operation, step: Step) -> str:
    """The directory that holds the entry of ``step``."""
    name = operation.target
    if operation.call == "link" or (operation.call == "rename" and step.child is not None):
        name = operation.second or name
    return posixpath.dirname(name) or ROOT


def _what(operation: Operation) -> str:
    done = {
        "open": f"the new file `{operation.target}`",
        "mkdir": f"the new directory `{operation.target}`",
        "unlink": f"the removal of `{operation.target}`",
        "rmdir": f"the removal of `{operation.target}`",
        "rename": f"the rename of `{operation.target}` to `{operation.second}`",
        "link": f"the link `{operation.second}`",
    }
    return done.get(operation.call, str(operation))


def _advised(kind: str, operation: Operation, text: str, fix: str | _Fix, models: tuple[str, ...]) -> Advice:
    python, anywhere = fix if isinstance(fix, _Fix) else (fix, "")
    return Advice(kind, operation.index, text, python, operation.stack, models, anywhere)


def _sync_file(name: str, then: str, anywhere: str = "") -> _Fix:
    """``anywhere`` is what ``then`` says in Python, if it does."""
    call = f"call fsync on `{name}` after the last write to it (in a shell: sync {shlex.quote(name)}),"
    return _Fix(f"file.flush(); os.fsync(file.fileno())    # `{name}`\n{then}", f"{call}\n{anywhere or then}")


def _sync_directory(directory: str) -> _Fix:
    call = f"call fsync on the directory `{directory}` after that (in a shell: sync {shlex.quote(directory)})"
    return _Fix(f"fd = os.open({directory!r}, os.O_RDONLY)\nos.fsync(fd); os.close(fd)", call)


def _publish(operation: Operation) -> _Fix:
    """Sync a file before it gets its name by a rename or a link."""
    python, preposition = ("os.link", "to") if operation.call == "link" else ("os.replace", "over")
    new = f"{preposition} `{operation.second}`"
    return _sync_file(
        operation.target, f"{python}(…)    # {new}, only then", f"and {operation.call} it {new} only then"
    )


# --- warnings from the trace alone ---------------------------------------------------------------


def warnings(script: Script) -> tuple[Advice, ...]:
    """What looks wrong in a trace without any crash state having been checked.

    Each (kind, target) is reported once, at the first operation that shows it. ``models`` are those of
    the default ones and ``strict`` under which it matters.
    """
    found: dict[tuple[str, str], Advice] = {}
    watch = _Watch(script)
    for move in script.moves:
        for advice in watch.step(move):
            found.setdefault((advice.kind, script.trace[advice.operation].target), advice)
    for advice in watch.end():
        found.setdefault((advice.kind, script.trace[advice.operation].target), advice)
    return tuple(found.values())


class _Watch:
    """Follows a trace under ``strict``: what was never synced by its own file or directory."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.orders = [Order(script, MODELS[name]) for name in (*DEFAULT, STRICT.name)]
        self.order = self.orders[-1]
        self.synced: set[Inode] = set()
        self.told = 0
        """Steps that an earlier promise was told of; with many promises most pending steps are."""

    def step(self, move: Move) -> Iterator[Advice]:
        operation = self.script.trace[move.operation]
        before = self.order.free
        for order in self.orders:
            order.play(move)
        if move.sync is not None and move.sync.inode is not None and not move.sync.failed:
            self.synced.add(move.sync.inode)
        if operation.call in ("rename", "link"):
            yield from self._published(operation, before, move)
        elif operation.call in ("fsync", "fdatasync"):
            yield from self._useless(operation, before, move)
        elif operation.call == "promise":
            yield from self._promise(operation)

    def end(self) -> Iterator[Advice]:
        """Names that were never synced, whether or not anything was promised; one for each directory.

        A removal does not count: a leftover of the past is no harm. Of new files and directories those
        count that the program wanted to be durable: it has synced them, or something in them.
        """
        told: set[Inode] = set()
        wanted = self._wanted()
        for step in self._pending(self.order.free, (StepKind.ENTRY,)):
            guilty = self.script.trace[step.operation]
            published = guilty.call in ("rename", "link") or step.child in wanted
            if step.child is None or step.owner in told or not published or not self._visible(step):
                continue
            told.add(step.owner)
            directory = _directory(guilty, step)
            yield self._advice(
                "directory-not-synced",
                guilty,
                f"{_what(guilty)} may be lost: its directory `{directory}` was never synced after it",
                _sync_directory(directory),
                self._free([step]),
            )

    def _wanted(self) -> set[Inode]:
        wanted = set(self.synced)
        for step in reversed(self.script.steps):
            if step.kind is StepKind.ENTRY and step.child in wanted:
                wanted.add(step.owner)
        return wanted

    def _pending(self, free: int, kinds: tuple[StepKind, ...]) -> list[Step]:
        return [s for i in bits(free) if (s := self.script.steps[i]).kind in kinds]

    def _free(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """The models under which any of these steps may be missing now."""
        mask = mask_of(step.index for step in steps)
        return tuple(order.model.name for order in self.orders if order.free & mask)

    def _advice(
        self, kind: str, operation: Operation, text: str, fix: str | _Fix, models: tuple[str, ...]
    ) -> Advice:
        return _advised(kind, operation, text, fix, models)

    def _published(self, operation: Operation, before: int, move: Move) -> Iterator[Advice]:
        """A name that is given to a file whose data is not on the disk."""
        entries = [s for s in self.script.steps[move.first : move.last] if s.child is not None]
        moved = {s.child for s in entries}
        data = [s for s in self._pending(before, (StepKind.DATA,)) if s.owner in moved]
        if data:
            source, target = operation.target, operation.second
            how = "linked to" if operation.call == "link" else "renamed to"
            how = "renamed over" if operation.file.replaced is not None else how
            yield self._advice(
                "rename-before-sync",
                operation,
                f"`{source}` was {how} `{target}` before its data was synced",
                _publish(operation),
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

    def _useless(self, operation: Operation, before: int, move: Move) -> Iterator[Advice]:
        """An fsync that had nothing to do while a sibling had."""
        if move.sync is None or move.sync.inode is None:
            return
        inode, steps = move.sync.inode, self.script.steps
        pending = self._pending(before, tuple(StepKind))
        if any(s.owner == inode for s in pending):
            return
        directory = self._is_directory(inode)
        kinds = (StepKind.ENTRY,) if directory else (StepKind.DATA,)
        missed = [s for s in self._pending(before, kinds) if not directory or s.owner != inode]
        if not missed or not steps:
            return
        other = self.script.trace[missed[-1].operation]
        name = _directory(other, missed[-1]) if directory else other.target
        what = "directory" if directory else "file"
        yield self._advice(
            f"wrong-{what}-synced",
            operation,
            f"{what} `{operation.target}` was synced, but had nothing to sync; `{name}` had",
            f"sync `{name}` instead" + ("; mind symbolic links (realpath)" if directory else ""),
            self._free(missed),
        )

    def _promise(self, operation: Operation) -> Iterator[Advice]:
        # Data first: of several things that one file lacks it is the first that is told.
        for kind in (StepKind.DATA, StepKind.ENTRY, StepKind.RESIZE, StepKind.ATTRIBUTE):
            for step in self._pending(self.order.free & ~self.told, (kind,)):
                if self._visible(step):
                    self.told |= 1 << step.index
                    yield self._acknowledged(operation, step)

    def _acknowledged(self, promise: Operation, step: Step) -> Advice:
        guilty, models = self.script.trace[step.operation], self._free([step])
        if step.kind is StepKind.ENTRY:
            directory = _directory(guilty, step)
            return self._advice(
                "directory-not-synced",
                guilty,
                f"{_what(guilty)} was acknowledged ({promise}), but `{directory}` was not synced",
                _sync_directory(directory),
                models,
            )
        name = guilty.target
        what = {
            StepKind.RESIZE: f"the new size of `{name}`",
            StepKind.ATTRIBUTE: f"the {guilty.call} of `{name}`",
        }
        told = what.get(step.kind, f"what was written to `{name}`")
        also = "; fdatasync does not do" if step.kind is StepKind.ATTRIBUTE else ""
        fix = _sync_file(name, f"and only then acknowledge{also}")
        if self._is_directory(step.owner):
            fix = _sync_directory(name)
        return self._advice(
            "acknowledged-before-sync",
            guilty,
            f"{told} was acknowledged ({promise}) before it was synced",
            fix,
            models,
        )

    def _is_directory(self, inode: Inode) -> bool:
        return self.script.nodes[inode].kind is NodeKind.DIRECTORY

    def _visible(self, step: Step) -> bool:
        """Whether the step still matters: the name or file has not been undone since."""
        later = self.script.steps[step.index + 1 : len(self.order.need)]
        if step.kind is StepKind.ENTRY:
            return not any(
                s.kind is StepKind.ENTRY and (s.owner, s.name) == (step.owner, step.name) for s in later
            )
        return not any(s.kind is StepKind.FREE and s.owner == step.owner for s in later)
