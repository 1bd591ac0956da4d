"""The record of one run: its operations in order, and what could not be followed."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from chaoskit.core.operation import Caveat, Detail, Frame, Operation, OrdinalCounter, Place
from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.interpreter.words import POSITION, SharedWords
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Task, Tree

Where = tuple[Place, tuple[Frame, ...]]
"""In which stream of operations a call stands, and its Python stack."""


class Call(Protocol):
    """One notified call, as its domain has understood it.

    ``family`` is that of the operation, which may differ from the one of ``spec``: a removal by
    ``unlinkat`` is an ``rmdir`` if its flags say so. ``target`` and ``second`` are as in
    :class:`chaoskit.core.operation.Operation`.
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

    With ``recording`` operations come with their Python stacks. In a case they need not: the
    operation of the recording that the schedule names has one.
    """

    def __init__(self, tree: Tree, recording: bool, words: SharedWords | None = None) -> None:
        """``words`` are told how many operations there are, for what is noted between them."""
        self._words = words
        self.operations: list[Operation] = []
        # By kind and target: a loop must not fill the report with one sentence.
        self.caveats: dict[tuple[str, str], Caveat] = {}
        self.recording = recording
        self._ordinals = OrdinalCounter()
        self._tree = tree

    def caveat(self, kind: str, target: str, text: str) -> None:
        """Note something that could not be followed, once for each target."""
        self.caveats.setdefault((kind, target), Caveat(kind, target, text))

    def where(self, task: Task) -> Where:
        """Where ``task`` stands. Call before a call is answered: afterwards its thread runs on."""
        return self._tree.place(task), self._tree.stack(task) if self.recording else ()

    def operation(self, call: Call, result: int | None, detail: Detail) -> Operation:
        """The record of ``call``; its ordinal is given when it is added."""
        return self._made(call, result, detail, self.where_of(call), 1)

    def where_of(self, call: Call) -> Where:
        """Where a call stands; one that is counted by its peer stands in no process or thread."""
        return self.where_in_run(call.task) if FAMILIES[call.family].remote else self.where(call.task)

    def where_in_run(self, task: Task) -> Where:
        """Where ``task`` stands, for what belongs to no process or thread."""
        return Place(self._tree.run), self._tree.stack(task) if self.recording else ()

    def record(self, call: Call, result: int | None, detail: Detail, where: Where | None = None) -> None:
        """Make the record of ``call`` and add it; ``where`` is where its thread stood when it was made."""
        place, stack = where or self.where_of(call)
        # All at once: to copy a record costs as much as a system call.
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
        """Complete the record of an operation that was added when it began."""
        self.operations[index] = replace(self.operations[index], result=result, detail=detail)

    def add(self, operation: Operation) -> None:
        """Append an operation that was made before; its index is the one at which it now stands."""
        # Its index was given when it began; another may have been recorded since.
        index, ordinal = len(self.operations), self._ordinals.next(operation.key)
        self.operations.append(replace(operation, index=index, ordinal=ordinal))
        if self._words is not None:
            self._words.words[POSITION] = len(self.operations)


def bare(call: Call, detail: Detail) -> Operation:
    """What a lasting condition needs to know of a call: no stack, no place."""
    return Operation(0, call.family, call.target, call.second, syscall=call.spec.name, detail=detail)
