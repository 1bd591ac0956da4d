"""Which call is to blame for a crash state, and what to write instead."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from chaoskit.core.operation import Operation
from chaoskit.explore.crash.fixes import (
    Explanation,
    Fix,
    directory_of,
    explanation,
    publish,
    published,
    sync_directory,
    sync_file,
    what,
)
from chaoskit.explore.crash.models import ModelRule
from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.states import CrashState
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits


def simplest(states: Iterable[CrashState]) -> CrashState:
    """Of several states that break the same invariant, the one that is easiest to explain.

    Raises ValueError if there are none.
    """

    def complexity(state: CrashState) -> tuple[int, ...]:
        # What most models allow convinces most: a state of strict alone is the last to be shown.
        odd = (state.persisted & ~state.moment.present | state.garbage).bit_count()
        return (odd, -len(state.models), len(state.dropped), state.moment.operation, state.persisted)

    return min(states, key=complexity)


def explain(script: Script, state: CrashState, implied: int = 0) -> Explanation:
    """The shortest explanation of how ``state`` came about, and how to prevent it.

    The steps in ``implied`` are missing only because others are: they are not to blame.
    """
    loss = _Loss(script, state, implied)
    for find in _EXPLANATIONS:
        found = find(loss)
        if found is not None:
            return found
    return _stopped(loss)


class _Loss:
    """What persisted in one state and what did not, for the questions that explanations ask."""

    def __init__(self, script: Script, state: CrashState, implied: int) -> None:
        self.script = script
        self.state = state
        # Steps that no call asked for have no call to blame.
        dropped = [script.steps[index] for index in state.dropped if not implied >> index & 1]
        self.dropped = [step for step in dropped if not step.unasked]
        # Of those that are there, fallocate has overtaken the write whose size it journalled.
        kept = [script.steps[index] for index in bits(state.persisted)]
        self.kept = [s for s in kept if not s.unasked or s.unless is ModelRule.ALLOCATES_APART]
        self.effects = script.effects[: state.moment.operation + 1]
        promises = [script.trace[effect.operation] for effect in self.effects]
        # The last promise covers the most: an earlier one would blame fewer calls.
        self.promise = next((one for one in reversed(promises) if one.call == "promise"), None)

    def operation(self, step: Step) -> Operation:
        return self.script.trace[step.operation]

    def dropped_of(self, inode: Inode) -> list[Step]:
        """What is missing of a file's content."""
        return [s for s in self.dropped if s.owner == inode and s.kind in (StepKind.DATA, StepKind.GROW)]

    def explanation(self, kind: str, guilty: Step | Operation, text: str, fix: str | Fix) -> Explanation:
        operation = self.operation(guilty) if isinstance(guilty, Step) else guilty
        return explanation(kind, operation, text, fix, self.state.models)


def _torn(loss: _Loss) -> Explanation | None:
    for step in loss.kept:
        # Torn growth comes with torn data, which is the more telling half.
        if step.torn_from is not None and step.kind is StepKind.DATA:
            name = loss.operation(step).target
            return loss.explanation(
                "torn-write",
                step,
                f"only the first {step.length} bytes of a write to `{name}` reached the disk",
                f"store a length and a checksum with each record of `{name}` and ignore a tail that does not"
                " match,\nor write a new file, fsync it and rename it over the old one",
            )
    return None


def _lost_after_error(loss: _Loss) -> Explanation | None:
    for effect in loss.effects:
        if effect.sync is None or not effect.sync.failed or effect.sync.inode is None:
            continue
        # The failed sync alone is no fault of the program; to go on as if it had not failed is.
        if loss.dropped_of(effect.sync.inode):
            operation = loss.script.trace[effect.operation]
            return loss.explanation(
                "fsync-failed",
                operation,
                f"fsync of `{operation.target}` had failed: a later one succeeds without writing the data",
                f"when fsync fails, do not call it again: write the data of `{operation.target}` once more,"
                " to another file,\nor stop and recover from what was durable before",
            )
    return None


def _renamed_unsynced(loss: _Loss) -> Explanation | None:
    for step in loss.kept:
        operation = loss.operation(step)
        if step.kind is not StepKind.ENTRY or step.child is None or operation.call not in ("rename", "link"):
            continue
        # Data that was written after the rename is another matter: see the finders below. By steps, since a
        # file that comes from elsewhere brings its data along in the same operation.
        if any(missing.index < step.index for missing in loss.dropped_of(step.child)):
            return loss.explanation("rename-before-sync", operation, published(operation), publish(operation))
    return None


def _emptied(loss: _Loss) -> Explanation | None:
    for step in loss.kept:
        operation = loss.operation(step)
        # A resize that only extends the file has lost nothing.
        cut = operation.call == "open" or (operation.file.size_before or 0) > step.size
        if step.kind is StepKind.RESIZE and cut and loss.dropped_of(step.owner):
            name = operation.target
            if any(missing.operation >= step.operation for missing in loss.dropped_of(step.owner)):
                return loss.explanation(
                    "truncate-then-write",
                    step,
                    f"`{name}` was cut before its new content was on the disk",
                    "write the new content to a temporary file in the same directory and fsync it,\n"
                    f"then rename it over {posixpath.basename(name)!r}",
                )
    return None


def _half_renamed(loss: _Loss) -> Explanation | None:
    for step in loss.dropped:
        if step.kind is StepKind.ENTRY and step.partner is not None:
            partner = loss.script.steps[step.partner]
            # Both halves missing is a rename that did not happen, which every program must expect.
            if loss.state.persisted >> partner.index & 1:
                operation = loss.operation(step)
                part = "the new name" if step.child is not None else "the removal of the old name"
                return loss.explanation(
                    "rename-in-halves",
                    operation,
                    f"{part} of {operation} was not synced, the other half was",
                    sync_directory(directory_of(operation, step)),
                )
    return None


def _acknowledged(loss: _Loss) -> Explanation | None:
    promise = loss.promise
    if promise is None:
        return None
    # What came after the promise was never promised.
    missing = [s for s in loss.dropped if s.operation < promise.index]
    if not missing:
        return None
    entry = next((s for s in missing if s.kind is StepKind.ENTRY), None)
    data = next((s for s in missing if s.kind in (StepKind.DATA, StepKind.GROW, StepKind.RESIZE)), None)
    # Data before names: a file that lacks both is first of all empty.
    if data is not None:
        name = loss.operation(data).target
        return loss.explanation(
            "acknowledged-before-sync",
            loss.operation(data),
            f"what was written to `{name}` was acknowledged ({promise}) before it was synced",
            sync_file(name, "and only then acknowledge"),
        )
    if entry is None:
        return None
    operation = loss.operation(entry)
    directory = directory_of(operation, entry)
    return loss.explanation(
        "directory-not-synced",
        operation,
        f"{what(operation)} was acknowledged ({promise}), but its directory `{directory}` was not synced",
        sync_directory(directory),
    )


def _unsynced_name(loss: _Loss) -> Explanation | None:
    """Something rests on a name that is not durable."""
    for step in loss.dropped:
        # With nothing kept after it the state is one that a kill could have left.
        later = any(kept.operation > step.operation for kept in loss.kept)
        if step.kind is StepKind.ENTRY and later:
            operation = loss.operation(step)
            directory = directory_of(operation, step)
            return loss.explanation(
                "directory-not-synced",
                operation,
                f"{what(operation)} was lost: its directory `{directory}` was not synced",
                sync_directory(directory),
            )
    return None


def _reordered(loss: _Loss) -> Explanation | None:
    for step in loss.dropped:
        # A torn rest belongs to the same write; it has overtaken nothing.
        after = [k for k in loss.kept if k.operation > step.operation and k.torn_from is None]
        if step.kind in (StepKind.DATA, StepKind.GROW, StepKind.RESIZE) and after:
            name, other = loss.operation(step).target, loss.operation(after[0])
            subject = "the new size of" if step.kind is StepKind.RESIZE else "a write to"
            return loss.explanation(
                "not-ordered",
                step,
                f"{subject} `{name}` was not on the disk when the later {other} was",
                sync_file(name, f"before the {other.call} that relies on it"),
            )
    return None


# The most specific first: nearly every state also has a write that overtook another.
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


def _stopped(loss: _Loss) -> Explanation:
    operation = loss.script.trace[loss.state.moment.operation]
    lost = "" if loss.state.complete else " without what was not synced"
    return loss.explanation(
        "stopped-between",
        operation,
        f"the program was stopped right after {operation}{lost}: no order of writes prevents that",
        "make the change with one atomic step (write a new file, fsync it, rename it),\n"
        "or let recovery undo or finish what was begun",
    )
