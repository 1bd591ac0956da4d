"""Facts about operations that only the whole trace shows, computed once for each trace."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.core.operation import Operation, Trace
from chaoskit.faults.calls import FAMILIES, TIME_CALLS, happened


@dataclass(frozen=True, slots=True)
class Facts:
    """``late_closes`` and ``survivors`` are indexes of operations, ``forking_runs`` ordinals of runs."""

    late_closes: frozenset[int]
    """The closes of files with unsynced data: only there may a file system report errors late."""
    forking_runs: frozenset[int]
    """The runs in which more than one process acted."""
    first_at_site: frozenset[int]
    """The first sleep or clock read of a process at each stack."""
    second_at_site: frozenset[int]
    """The second sleep or clock read of a process at each stack."""
    survivors: frozenset[int]
    """Operations of processes that outlived the workload of their run."""
    firsts: frozenset[int]
    """The first call to the outside world from each Python stack; without stacks, the first on each name."""


# One slot, by identity: the explorer asks about every operation of one trace before the next trace, and
# hashing a trace would cost more than it saves.
_latest: tuple[Trace, Facts] | None = None


def facts(trace: Trace) -> Facts:
    """The facts of ``trace``; cheap to ask again for the same object."""
    global _latest
    if _latest is None or _latest[0] is not trace:
        _latest = (
            trace,
            Facts(
                late_closes=_late_closes(trace),
                forking_runs=_forking_runs(trace),
                first_at_site=_at_site(trace, 1),
                second_at_site=_at_site(trace, 2),
                survivors=_survivors(trace),
                firsts=_firsts(trace),
            ),
        )
    return _latest[1]


def _forking_runs(trace: Trace) -> frozenset[int]:
    seen = {(op.place.run, op.place.process) for op in trace}
    runs = [run for run, _ in seen]
    return frozenset(run for run in runs if runs.count(run) > 1)


def _at_site(trace: Trace, ordinal: int) -> frozenset[int]:
    seen: dict[object, int] = {}
    found = set()
    for op in trace:
        if op.call in TIME_CALLS:
            # Without a stack, as in other languages, only the place distinguishes them.
            site = (op.place.run, op.place.process, op.call, op.target, op.stack)
            seen[site] = seen.get(site, 0) + 1
            if seen[site] == ordinal:
                found.add(op.index)
    return frozenset(found)


def _survivors(trace: Trace) -> frozenset[int]:
    over: set[int] = set()
    found: set[int] = set()
    for op in trace:
        if op.place.run in over:
            found.add(op.index)
        elif op.call == "end":
            over.add(op.place.run)
    return frozenset(found)


def _firsts(trace: Trace) -> frozenset[int]:
    seen: dict[object, int] = {}
    for op in trace:
        row = FAMILIES[op.call]
        if not (row.pseudo or row.looks or row.inside):
            seen.setdefault((op.place.run, op.stack or (op.place, op.call, op.target)), op.index)
    return frozenset(seen.values())


def _late_closes(trace: Trace) -> frozenset[int]:
    late: set[int] = set()
    dirty: set[object] = set()
    for op in trace:
        if not happened(op):
            continue
        row = FAMILIES[op.call]
        if row.dirties:
            dirty.add(_file(op))
        elif row.syncs == "file":
            dirty.discard(_file(op))
        elif row.syncs == "all":
            dirty.clear()
        elif op.call == "close" and _file(op) in dirty:
            late.add(op.index)
            dirty.discard(_file(op))
    return frozenset(late)


def _file(operation: Operation) -> object:
    """The file of an operation, whatever its name is by now."""
    return operation.file.inode or operation.target
