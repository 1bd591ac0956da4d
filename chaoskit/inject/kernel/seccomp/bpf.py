"""The seccomp filter decides which calls stop and wait for the supervisor.

It is classic BPF (``linux/filter.h``) that searches for the call's number. On installation the kernel runs a
filter once for every number, to keep a bitmap of calls that are always allowed (Linux 5.11), so a long filter
makes every case expensive. Calls for another architecture (``int 0x80``, x32), whose numbers mean other
calls, go to the supervisor, which refuses and reports them.

A case needs few of a recording's calls (:mod:`chaoskit.inject.kernel.interest`). The others do not stop,
since each stop costs two context switches.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import WATCHED, Condition, Families, Spec

_LOAD = 0x20
_EQUAL = 0x15
_GREATER_EQUAL = 0x35
_AND = 0x54
_RETURN = 0x06
_ALWAYS = 0x05
_FARTHEST = 255
_INSTRUCTION = struct.Struct("=HBBI")
_NR, _ARCH, _ARGS = 0, 4, 16

_Row = tuple[int, int, int, int]
"""Operation, value, and for a jump how many rows to skip if it holds, and if not."""

_ALLOW: list[_Row] = [(_RETURN, abi.SECCOMP_RET_ALLOW, 0, 0)]
_NOTIFY: list[_Row] = [(_RETURN, abi.SECCOMP_RET_USER_NOTIF, 0, 0)]


CONTROL = 2**31 - 1
"""The descriptor that promises and the result are written to. No descriptor ever has this number: the
supervisor answers the call. So the workload cannot close, replace or leak it."""

_TOLD = Spec("write", "", 1, 64, ((0, "any", (CONTROL,)),))
"""The condition for messages of the workload to the supervisor; see :data:`CONTROL`."""


def program(machine: str, specs: Iterable[Spec], families: Families = None) -> bytes:
    """Assemble the filter for ``machine`` as an array of ``struct sock_filter``.

    Of ``specs``, the calls of ``families`` stop, and those that always do. Writes to :data:`CONTROL` and
    watched calls stop in any case.
    """
    # The architecture first: without it a number means nothing.
    rows = [(_LOAD, _ARCH, 0, 0), (_EQUAL, abi.AUDIT_ARCH[machine], 1, 0), *_NOTIFY, (_LOAD, _NR, 0, 0)]
    rows += _search(_segments(machine, dict(_bodies(machine, specs, families))))
    return b"".join(_INSTRUCTION.pack(code, yes, no, value) for code, value, yes, no in rows)


def _segments(machine: str, bodies: dict[int, list[_Row]]) -> list[tuple[int, list[_Row]]]:
    """Segments of numbers in ascending order: the first number, and what to do."""
    changes = {0} | {number + step for number in bodies for step in (0, 1)}
    segments: list[tuple[int, list[_Row]]] = []
    for start in sorted(changes):
        body = bodies.get(start, _ALLOW)
        # Neighbours with the same treatment become one segment.
        if not segments or segments[-1][1] is not body:
            segments.append((start, body))
    return [*segments, (abi.X32_BIT, _NOTIFY)] if machine == "x86_64" else segments


def _bodies(machine: str, specs: Iterable[Spec], families: Families) -> Iterator[tuple[int, list[_Row]]]:
    """Maps the numbers of calls that may stop to the rows that decide."""
    wanted = [spec for spec in specs if families is None or spec.always or spec.family in families]
    choices: dict[int, list[tuple[Condition, ...]]] = {}
    for spec in (*wanted, _TOLD, *WATCHED.values()):
        number = spec.number(machine)
        if number is not None:
            choices.setdefault(number, []).append(spec.when)
    for number, conditions in choices.items():
        yield number, _decision(conditions)


def _decision(choices: list[tuple[Condition, ...]]) -> list[_Row]:
    """Notify if one of the choices holds: domains may want the same call under different conditions."""
    # Some domain wants the call unconditionally.
    if () in choices:
        return _NOTIFY
    rows: list[_Row] = []
    for conditions in choices:
        rows += _when(conditions)
    return rows + _ALLOW


def _search(segments: list[tuple[int, list[_Row]]]) -> list[_Row]:
    """Find the segment of the loaded number, and do what it says."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _search(segments[:middle]), _search(segments[middle:])
    if len(below) <= _FARTHEST:
        return [(_GREATER_EQUAL, segments[middle][0], len(below), 0), *below, *above]
    # A conditional jump has one byte for its distance.
    return [(_GREATER_EQUAL, segments[middle][0], 0, 1), (_ALWAYS, len(below), 0, 0), *below, *above]


def _when(conditions: tuple[Condition, ...]) -> list[_Row]:
    """Notify if all conditions hold, else go on after these rows."""
    rows = list(_NOTIFY)
    # Backwards, since a jump needs the number of rows that follow.
    for argument, kind, values in reversed(conditions):
        low, high = (_LOAD, _ARGS + 8 * argument, 0, 0), (_LOAD, _ARGS + 8 * argument + 4, 0, 0)
        beyond = len(rows)
        match kind:
            case "given":
                checks = [low, (_EQUAL, 0, 0, 2), high, (_EQUAL, 0, beyond, 0)]
            case "null":
                checks = [low, (_EQUAL, 0, 0, beyond + 2), high, (_EQUAL, 0, 0, beyond)]
            case "other":
                lefts = range(len(values) - 1, -1, -1)
                checks = [
                    low,
                    *((_EQUAL, value, left + beyond, 0) for left, value in zip(lefts, values, strict=True)),
                ]
            case "any":
                checks = [low, *_one_of(values, beyond)]
            case _:
                wanted = values if kind == "bits" else (0,)
                checks = [low, (_AND, values[0], 0, 0), *_one_of(wanted, beyond)]
        rows = checks + rows
    return rows


def _one_of(values: tuple[int, ...], beyond: int) -> list[_Row]:
    """Go on with the next row if the loaded word is one of ``values``, else skip ``beyond`` rows more."""
    lefts = range(len(values) - 1, -1, -1)
    return [(_EQUAL, value, left, 0 if left else beyond) for left, value in zip(lefts, values, strict=True)]
