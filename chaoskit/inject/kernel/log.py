"""The record of one run: its operations in order, and its caveats."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from chaoskit.core.operation import Caveat, Detail, Frame, Operation, OrdinalCounter, Place
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.interpreter.words import POSITION, SharedWords
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Task, Tree

Where = tuple[Place, tuple[Frame, ...]]
"""The stream of operations that a call belongs to, and its Python stack."""


class Call(Protocol):
    """A notified call as its domain understands it.

    ``family`` is that of the operation and may differ from that of ``spec``: ``unlinkat`` is an ``rmdir`` if
    its flags say so. ``target`` and ``second`` are as in :class:`chaoskit.core.operation.Operation`.
    """

    @property
    def spec(self) -> Spec: ...

    @property
    def family(self) -> str: ...

    @property
    def task(self) -> Task: ...

    @property
    def target(self) -> str: ...

    @property
    def second(self) -> str | None: ...


class Log:
    """Collects the operations of all domains.

    With ``recording`` operations come with their Python stacks. In a case they need none: the recorded
    operation that the schedule names has one.
    """

    def __init__(self, tree: Tree, recording: bool, words: SharedWords | None = None) -> None:
        """``words`` learns the number of operations, which places what is noted between them."""
        self._words = words
        self.operations: list[Operation] = []
        # By kind and target, so that a loop does not fill the report with one sentence.
        self.caveats: dict[tuple[str, str], Caveat] = {}
        self.recording = recording
        self._ordinals = OrdinalCounter()
        self._tree = tree

    def caveat(self, kind: str, target: str, text: str) -> None:
        """Add a caveat, once for each target."""
        self.caveats.setdefault((kind, target), Caveat(kind, target, text))

    def where(self, task: Task) -> Where:
        """Where ``task`` stands. Must be called before its call is answered: then the thread runs on."""
        return self._tree.place(task), self._tree.stack(task) if self.recording else ()

    def operation(self, call: Call, result: int | None, detail: Detail) -> Operation:
        """The record of ``call``, which gets its ordinal when it is added."""
        return self._made(call, result, detail, self.where_of(call), 1)

    def where_of(self, call: Call) -> Where:
        """Where a call stands; without process and thread if it is counted by its peer."""
        return self.where_in_run(call.task) if FAMILIES[call.family].remote else self.where(call.task)

    def where_in_run(self, task: Task) -> Where:
        """Where ``task`` stands, for operations that are counted in the whole run."""
        return Place(self._tree.run), self._tree.stack(task) if self.recording else ()

    def record(self, call: Call, result: int | None, detail: Detail, where: Where | None = None) -> None:
        """Add the record of ``call``; ``where`` is where its thread stood at the call."""
        place, stack = where or self.where_of(call)
        # All fields at once: copying a record costs as much as a system call.
        ordinal = self._ordinals.next((place, call.family, call.target, call.second))
        self.operations.append(self._made(call, result, detail, (place, stack), ordinal))
        if self._words is not None:
            self._words.words[POSITION] = len(self.operations)

    def _made(self, call: Call, result: int | None, detail: Detail, where: Where, ordinal: int) -> Operation:
        place, stack = where
        return Operation(
            index=len(self.operations),
            call=call.family,
            target=call.target,
            second=call.second,
            ordinal=ordinal,
            place=place,
            syscall=call.spec.name,
            result=result,
            detail=detail,
            stack=stack,
            pid=call.task.process.pid,
            tid=call.task.tid,
        )

    def amend(self, index: int, result: int | None, detail: Detail) -> None:
        """Complete the record of an operation that was added at its beginning."""
        self.operations[index] = replace(self.operations[index], result=result, detail=detail)

    def add(self, operation: Operation) -> None:
        """Append a prepared operation and give it its index."""
        # It has the index of its beginning, but others may have been recorded since.
        index, ordinal = len(self.operations), self._ordinals.next(operation.key)
        self.operations.append(replace(operation, index=index, ordinal=ordinal))
        if self._words is not None:
            self._words.words[POSITION] = len(self.operations)


def bare(call: Call, detail: Detail) -> Operation:
    """The operation as a lasting condition needs it: without stack and place."""
    return Operation(0, call.family, call.target, call.second, syscall=call.spec.name, detail=detail)
