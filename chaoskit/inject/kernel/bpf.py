"""The seccomp filter: which calls stop and wait for the supervisor.

Classic BPF as in ``linux/filter.h``. Calls that are always allowed cost nothing measurable: the
kernel keeps them in a bitmap (Linux 5.11). Calls made for another architecture (``int 0x80``, x32)
are sent to the supervisor, who refuses and reports them: their numbers mean other things.
"""

from __future__ import annotations

import struct
from functools import cache

from chaoskit.inject.kernel import abi, syscalls

_LOAD = 0x20
_EQUAL = 0x15
_GREATER_EQUAL = 0x35
_AND = 0x54
_RETURN = 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_NR, _ARCH, _ARGS = 0, 4, 16
_TO_NOTIFY = "notify"
_TO_ALLOW = "allow"

_Row = tuple[int, int, str | int, str | int]


@cache
def program(machine: str) -> bytes:
    """Assemble the filter for ``machine`` as an array of ``struct sock_filter``."""
    rows: list[_Row] = [(_LOAD, _ARCH, 0, 0), (_EQUAL, abi.AUDIT_ARCH[machine], 0, _TO_NOTIFY)]
    rows.append((_LOAD, _NR, 0, 0))
    if machine == "x86_64":
        rows.append((_GREATER_EQUAL, abi.X32_BIT, _TO_NOTIFY, 0))
    names = {number: spec.name for number, spec in syscalls.by_number(machine).items()}
    names |= syscalls.watched(machine)
    plain = [number for number, name in names.items() if name not in syscalls.CONDITIONS]
    rows += [(_EQUAL, number, _TO_NOTIFY, 0) for number in sorted(plain)]
    for number, name in sorted(names.items()):
        if name in syscalls.CONDITIONS:
            rows += _conditional(number, syscalls.CONDITIONS[name])
    rows.append((_RETURN, abi.SECCOMP_RET_ALLOW, 0, 0))
    rows.append((_RETURN, abi.SECCOMP_RET_USER_NOTIF, 0, 0))
    return b"".join(_assemble(rows))


def _conditional(number: int, conditions: tuple[tuple[int, str, tuple[int, ...]], ...]) -> list[_Row]:
    """Notify for ``number`` when all conditions hold, allow it otherwise, fall through for others."""
    body: list[_Row] = []
    for position, (argument, kind, values) in enumerate(conditions):
        last = position == len(conditions) - 1
        body.append((_LOAD, _ARGS + 8 * argument, 0, 0))
        if kind == "bits":
            body.append((_AND, values[0], 0, 0))
            body.append((_EQUAL, values[0], _TO_NOTIFY if last else 0, _TO_ALLOW))
        else:
            body += [(_EQUAL, value, _TO_NOTIFY, 0) for value in values]
            body.append((_RETURN, abi.SECCOMP_RET_ALLOW, 0, 0))
    return [(_EQUAL, number, 0, len(body)), *body]


def _assemble(rows: list[_Row]) -> list[bytes]:
    end = {_TO_ALLOW: len(rows) - 2, _TO_NOTIFY: len(rows) - 1}
    out = []
    for index, (code, value, yes, no) in enumerate(rows):
        hops = [end[hop] - index - 1 if isinstance(hop, str) else hop for hop in (yes, no)]
        out.append(_INSTRUCTION.pack(code, hops[0], hops[1], value))
    return out
