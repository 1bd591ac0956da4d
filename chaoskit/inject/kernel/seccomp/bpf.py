"""The seccomp filter: which calls stop and wait for the supervisor.

Classic BPF as in ``linux/filter.h``, a binary search for the call's number: the kernel runs a filter
once for every number when it is installed, to keep those that are always allowed in a bitmap (Linux
5.11), so its length is part of what a case costs. Calls made for another architecture (``int 0x80``,
x32) are sent to the supervisor, which refuses and reports them: their numbers mean other things.

A case needs few of the calls that a recording does (:mod:`chaoskit.inject.kernel.interest`). Those that it
does not need never stop: each that does costs two switches of processes.
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
"""Operation, value, and for a jump how many rows to skip: if it holds, if not."""

_ALLOW: list[_Row] = [(_RETURN, abi.SECCOMP_RET_ALLOW, 0, 0)]
_NOTIFY: list[_Row] = [(_RETURN, abi.SECCOMP_RET_USER_NOTIF, 0, 0)]


CONTROL = 2**31 - 1
"""The descriptor that promises and the result are written to. There is none of this number and never
will be: the supervisor answers the call. So the workload cannot close it, replace it or leak it."""

_TOLD = Spec("write", "", 1, 64, ((0, "any", (CONTROL,)),))
"""How the workload sends a message to the supervisor; see :data:`CONTROL`."""


def program(machine: str, specs: Iterable[Spec], families: Families = None) -> bytes:
    """Assemble the filter for ``machine`` as an array of ``struct sock_filter``.

    Of ``specs`` only the calls of ``families`` stop, those that always do, and what is written to
    :data:`CONTROL`. What only has to be watched always stops.
    """
    # The architecture first: a number says nothing without it.
    rows = [(_LOAD, _ARCH, 0, 0), (_EQUAL, abi.AUDIT_ARCH[machine], 1, 0), *_NOTIFY, (_LOAD, _NR, 0, 0)]
    rows += _search(_segments(machine, dict(_bodies(machine, specs, families))))
    return b"".join(_INSTRUCTION.pack(code, yes, no, value) for code, value, yes, no in rows)


def _segments(machine: str, bodies: dict[int, list[_Row]]) -> list[tuple[int, list[_Row]]]:
    """What to do from which number on, in the order of the numbers."""
    changes = {0} | {number + step for number in bodies for step in (0, 1)}
    segments: list[tuple[int, list[_Row]]] = []
    for start in sorted(changes):
        body = bodies.get(start, _ALLOW)
        # Neighbours that are treated alike become one segment.
        if not segments or segments[-1][1] is not body:
            segments.append((start, body))
    return [*segments, (abi.X32_BIT, _NOTIFY)] if machine == "x86_64" else segments


def _bodies(machine: str, specs: Iterable[Spec], families: Families) -> Iterator[tuple[int, list[_Row]]]:
    """The numbers of the calls that may stop, and what decides on that."""
    wanted = [spec for spec in specs if families is None or spec.always or spec.family in families]
    choices: dict[int, list[tuple[Condition, ...]]] = {}
    for spec in (*wanted, _TOLD, *WATCHED.values()):
        number = spec.number(machine)
        if number is not None:
            choices.setdefault(number, []).append(spec.when)
    for number, conditions in choices.items():
        yield number, _decision(conditions)


def _decision(choices: list[tuple[Condition, ...]]) -> list[_Row]:
    """Notify if one of the choices holds: several domains may want the same call for their own reasons."""
    # A call that some domain wants in any case.
    if () in choices:
        return _NOTIFY
    rows: list[_Row] = []
    for conditions in choices:
        rows += _when(conditions)
    return rows + _ALLOW


def _search(segments: list[tuple[int, list[_Row]]]) -> list[_Row]:
    """Find the segment that the loaded number is in, and do what it says."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _search(segments[:middle]), _search(segments[middle:])
    if len(below) <= _FARTHEST:
        return [(_GREATER_EQUAL, segments[middle][0], len(below), 0), *below, *above]
    # A conditional jump has one byte for how far it leads.
    return [(_GREATER_EQUAL, segments[middle][0], 0, 1), (_ALWAYS, len(below), 0, 0), *below, *above]


def _when(conditions: tuple[Condition, ...]) -> list[_Row]:
    """Notify if all conditions hold, else go on behind these rows."""
    rows = list(_NOTIFY)
    # From the last one, since jumps lead forward by a number of rows.
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
    """Go on with the next row if the loaded word is one of ``values``, else ``beyond`` that."""
    lefts = range(len(values) - 1, -1, -1)
    return [(_EQUAL, value, left, 0 if left else beyond) for left, value in zip(lefts, values, strict=True)]
