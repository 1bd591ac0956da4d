"""Where two processes of one run meet at a name or a lock, and might have met in another order.

An error that contradicts the state of the disk, such as ENOENT for an existing file, is still possible if
another process of the run makes or removes that very name at about the same time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.core.operation import Operation, Trace
from chaoskit.faults.calls import FAMILIES, creates, happened
from chaoskit.faults.errnos import ErrnoRow

_Process = tuple[int, str]
"""A run, and a process of it."""


@dataclass(frozen=True, slots=True)
class _Touch:
    """One operation that makes or removes a name, or takes a lock."""

    index: int
    process: _Process
    locks: bool = False


@dataclass(frozen=True, slots=True)
class _Meetings:
    """What several processes of a run did, by name, and when each process was first and last seen."""

    by_name: dict[str, list[_Touch]]
    lives: dict[_Process, tuple[int, int]]


def contended(row: ErrnoRow, operation: Operation, trace: Trace) -> bool:
    """Return True if another process of the run makes ``row`` possible at ``operation``.

    The other process acts on the name while the caller is active, or the reverse. What a parent does before
    or after its child does not count: that order never varies. A process counts as present from its first
    operation.
    """
    meetings = _meetings(trace)
    if not meetings.by_name:
        return False
    return any(_touched_beside(name, operation, meetings) for name in _names(row, operation))


def _touched_beside(name: str, operation: Operation, meetings: _Meetings) -> bool:
    """Return True if another process acts on ``name`` while the caller is active, or the reverse."""
    caller = _process(operation)
    at = operation.index
    for touch in meetings.by_name.get(name, ()):
        if touch.process == caller or touch.process[0] != caller[0]:
            continue
        if touch.locks is not (operation.call == "lock"):
            continue
        first, last = meetings.lives[caller]
        if at < touch.index < last:
            return True
        if first < touch.index < at < meetings.lives[touch.process][1]:
            return True
    return False


def _names(row: ErrnoRow, operation: Operation) -> Iterator[str]:
    """The names on any of which another process would have to act."""
    made = operation.second or operation.target
    if row.name == "ENOTEMPTY":
        yield _inside(made)
    elif row.name in ("EBUSY", "ELOOP", "ENOTDIR"):
        # This takes a mount or the like, which a recording does not show, or a link in place of a file.
        return
    elif row.name == "ENOENT":
        yield from _missing(operation)
    else:
        yield made


def _missing(operation: Operation) -> Iterator[str]:
    """The names of which one would have to be absent for the call to find nothing."""
    # A directory in which a name is to be made can be gone, but not still to come: the caller has made it, or
    # has seen it before.
    places = [*_above(operation.target), *_above(operation.second or "")]
    yield from (_removal(directory) for directory in places)
    # The source of a rename must be there, too. But a process that takes it away leaves it elsewhere, while
    # the file that the fault spares is still there when all are done: no order of the run ends like that.
    if operation.call in ("mkdir", "symlink", "mknod", "rename"):
        return
    # Moving a parent directory away removes the name. An open that creates makes the name.
    if not (FAMILIES[operation.call].opens and operation.file.flags & os.O_CREAT):
        yield operation.target
    yield from _above(operation.target)


def _above(name: str) -> tuple[str, ...]:
    parts = name.split("/")
    return tuple("/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))


def _inside(directory: str) -> str:
    """The key under which names within a directory are noted; no file has such a name."""
    return f"{directory}/"


def _removal(directory: str) -> str:
    """The key under which it is noted that a directory loses its name; no file has such a name."""
    return f"{directory}//"


# One slot, by identity, as in chaoskit.faults.facts.
_latest: tuple[Trace, _Meetings] | None = None


def _meetings(trace: Trace) -> _Meetings:
    global _latest
    if _latest is None or _latest[0] is not trace:
        _latest = (trace, _found(trace))
    return _latest[1]


def _found(trace: Trace) -> _Meetings:
    by_name: dict[str, list[_Touch]] = {}
    lives: dict[_Process, tuple[int, int]] = {}
    for op in trace:
        process = _process(op)
        first, _ = lives.get(process, (op.index, op.index))
        lives[process] = (first, op.index)
    # Most runs have one process, which meets no other.
    if len(lives) == len({run for run, _ in lives}):
        return _Meetings({}, lives)
    for op in trace:
        if not happened(op):
            continue
        touch = _Touch(op.index, _process(op), locks=op.call == "lock")
        for name in _touched(op):
            by_name.setdefault(name, []).append(touch)
    return _Meetings(by_name, lives)


def _touched(op: Operation) -> Iterator[str]:
    """What an operation makes, removes or locks."""
    if op.call == "lock":
        yield op.target
    elif FAMILIES[op.call].opens:
        if creates(op):
            yield from (op.target, _inside(_directory(op.target)))
    elif op.call in ("rename", "symlink", "unlink", "mkdir", "rmdir", "mknod"):
        if op.call in ("rename", "rmdir"):
            yield _removal(op.target)
        for name in (op.target, op.second):
            if name is not None:
                yield from (name, _inside(_directory(name)))
    elif op.call == "link" and op.second is not None:
        yield from (op.second, _inside(_directory(op.second)))


def _directory(name: str) -> str:
    return name.rpartition("/")[0]


def _process(op: Operation) -> _Process:
    return (op.place.run, op.place.process)
