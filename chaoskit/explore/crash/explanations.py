"""Which call is to blame for a crash state, and what to write instead."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

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
from chaoskit.explore.crash.snapshot import Inode
from chaoskit.explore.crash.split import mapped_part
from chaoskit.explore.crash.states import CrashState
from chaoskit.explore.crash.steps import Script, Step, StepKind, bits
from chaoskit.explore.crash.traits import Traits, traits_of


def simplest(states: Iterable[CrashState]) -> CrashState:
    """Of several states that break the same invariant, the one that is easiest to explain.

    Raises ValueError if there are none.
    """

    def complexity(state: CrashState) -> tuple[int, ...]:
        # A state that many models allow is more convincing: one of strict alone is shown last.
        odd = (state.persisted & ~state.moment.present | state.garbage).bit_count()
        return (odd, -len(state.models), len(state.dropped), state.moment.operation, state.persisted)

    return min(states, key=complexity)


def explain(script: Script, state: CrashState) -> Explanation:
    """The shortest explanation of how ``state`` came about, and how to prevent it."""
    return Explainer(script).explain(state)


class Explainer:
    """Explains the crash states of one script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._traits = traits_of(script)

    def explain(self, state: CrashState, implied: int = 0) -> Explanation:
        """As :func:`explain`, without blaming ``implied`` steps: they are missing because others are."""
        loss = _Loss(self._script, self._traits, state, implied)
        for find in _EXPLANATIONS:
            found = find(loss)
            if found is not None:
                return found
        return _stopped(loss)


class _Loss:
    """What persisted in one state and what did not, as the explanations need it."""

    def __init__(self, script: Script, traits: Traits, state: CrashState, implied: int) -> None:
        self.script = script
        self.traits = traits
        self.state = state
        self.dropped = state.lost & traits.asked & ~implied
        self.kept = state.persisted & traits.visible

    def operation(self, step: Step) -> Operation:
        return self.script.trace[step.operation]

    def steps(self, steps: int) -> Iterator[Step]:
        return map(self.script.steps.__getitem__, bits(steps))

    def first(self, steps: int) -> Step | None:
        return next(self.steps(steps), None)

    def dropped_of(self, inode: Inode) -> int:
        """What is missing of a file's content."""
        return self.dropped & self.traits.content_of.get(inode, 0)

    def since(self, operation: int, steps: int) -> int:
        """Those of ``steps`` that this operation or a later one made."""
        return steps & ~self.traits.before(operation)

    def explanation(self, kind: str, guilty: Step | Operation, text: str, fix: str | Fix) -> Explanation:
        operation = self.operation(guilty) if isinstance(guilty, Step) else guilty
        return explanation(kind, operation, text, fix, self.state.models)


def _torn(loss: _Loss) -> Explanation | None:
    # Torn growth comes with torn data, which is the more telling half.
    step = loss.first(loss.kept & loss.traits.torn & loss.traits.data)
    if step is None:
        return None
    name = loss.operation(step).target
    return loss.explanation(
        "torn-write",
        step,
        f"only the first {step.length} bytes of a write to `{name}` reached the disk",
        f"store a length and a checksum with each record of `{name}` and ignore a tail that does not"
        " match,\nor write a new file, fsync it and rename it over the old one",
    )


def _lost_after_error(loss: _Loss) -> Explanation | None:
    for number, inode in loss.traits.failed:
        # The program is not to blame for the failed sync, but for going on as if it had succeeded.
        if number <= loss.state.moment.operation and loss.dropped_of(inode):
            operation = loss.script.trace[number]
            return loss.explanation(
                "fsync-failed",
                operation,
                f"fsync of `{operation.target}` had failed: a later one succeeds without writing the data",
                f"when fsync fails, do not call it again: write the data of `{operation.target}` once more,"
                " to another file,\nor stop and recover from what was durable before",
            )
    return None


def _renamed_unsynced(loss: _Loss) -> Explanation | None:
    for step in loss.steps(loss.kept & loss.traits.published):
        assert step.child is not None
        # Data that was written after the rename is left to the finders below. Compare steps, since a file
        # from elsewhere arrives with its data in the same operation.
        if loss.dropped_of(step.child) & (1 << step.index) - 1:
            operation = loss.operation(step)
            return loss.explanation("rename-before-sync", operation, published(operation), publish(operation))
    return None


def _emptied(loss: _Loss) -> Explanation | None:
    for step in loss.steps(loss.kept & loss.traits.cuts):
        if loss.since(step.operation, loss.dropped_of(step.owner)):
            name = loss.operation(step).target
            return loss.explanation(
                "truncate-then-write",
                step,
                f"`{name}` was cut before its new content was on the disk",
                "write the new content to a temporary file in the same directory and fsync it,\n"
                f"then rename it over {posixpath.basename(name)!r}",
            )
    return None


def _half_renamed(loss: _Loss) -> Explanation | None:
    for step in loss.steps(loss.dropped & loss.traits.halves):
        assert step.partner is not None
        # If both halves are missing the rename did not happen, which every program must expect.
        if loss.state.persisted >> step.partner & 1:
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
    promise, traits = loss.traits.promise(loss.state.moment.operation), loss.traits
    if promise is None:
        return None
    # Nothing after the promise was promised.
    missing = loss.dropped & traits.before(promise.index)
    # Data before names: a file that lacks both is first of all empty.
    data = loss.first(missing & (traits.content | traits.resizes))
    if data is not None:
        name = loss.operation(data).target
        return loss.explanation(
            "acknowledged-before-sync",
            loss.operation(data),
            f"what was written to `{name}` was acknowledged ({promise}) before it was synced",
            sync_file(name, "and only then acknowledge"),
        )
    entry = loss.first(missing & traits.entries)
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
    for step in loss.steps(loss.dropped & loss.traits.entries):
        # If nothing after it was kept, a kill could have left this state.
        if loss.since(step.operation + 1, loss.kept):
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
    # A torn rest belongs to the same write, so it has not overtaken it.
    whole = loss.kept & ~loss.traits.torn
    for step in loss.steps(loss.dropped & (loss.traits.content | loss.traits.resizes)):
        after = loss.first(loss.since(step.operation + 1, whole))
        if after is not None:
            name, other = loss.operation(step).target, loss.operation(after)
            subject = "the new size of" if step.kind is StepKind.RESIZE else "a write to"
            return loss.explanation(
                "not-ordered",
                step,
                f"{subject} `{name}` was not on the disk when the later {other} was",
                sync_file(name, f"before the {other.call} that relies on it"),
            )
    return None


def _outside_of_range(loss: _Loss) -> Explanation | None:
    operation = loss.script.trace[loss.state.moment.operation]
    part = mapped_part(operation)
    for step in loss.steps(loss.dropped & loss.traits.content) if part is not None else ():
        if loss.operation(step).file.inode == operation.file.inode:
            name, where = operation.target, step.offset
            return loss.explanation(
                "not-ordered",
                operation,
                f"{operation} wrote a part of `{name}`, and not what was stored at byte {where}",
                "flush what is relied on first, in a call before this one",
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
    _outside_of_range,
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
