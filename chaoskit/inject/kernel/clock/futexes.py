"""Wakes threads that are held at a futex: futex(2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from chaoskit.inject.kernel.clock.waits import Wait
from chaoskit.inject.kernel.workload.tree import Process

_PRIVATE = 128
_WAKE, _WAKE_BITSET = 1, 10
"""Bits and operations of futex(2), from linux/futex.h."""
_ALL = 0xFFFFFFFF
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+) (\d+)")


def key(process: Process, address: int, operation: int) -> tuple[object, ...]:
    """A key that is equal for calls on the same futex.

    A shared futex may have different addresses in different processes. It is identified by the file behind
    it, which even anonymous shared memory has.
    """
    if not operation & _PRIVATE:
        try:
            with open(f"/proc/{process.pid}/maps") as maps:
                for line in maps:
                    found = _MAPPING.match(line)
                    if found and int(found[1], 16) <= address < int(found[2], 16):
                        if found[5] == "0":
                            break
                        place = address - int(found[1], 16) + int(found[3], 16)
                        return (found[4], found[5], place)
        except OSError:
            pass
    return (process.pid, address)


def wake(held: Iterable[Wait], process: Process, args: tuple[int, ...]) -> tuple[list[Wait], bool]:
    """The held waits that a call wakes, and whether it does nothing else.

    Waits that the call would move to another futex are woken too, beyond the number that it counts: as
    after any wake-up they look again, and then wait at the right futex.
    """
    operation = args[1] & 0x7F
    here = key(process, args[0], args[1])
    waiting = [wait for wait in held if wait.futex == here]
    if operation not in (_WAKE, _WAKE_BITSET):
        other = key(process, args[4], args[1])
        return [*waiting, *(wait for wait in held if wait.futex == other and other != here)], False
    bits = args[5] & _ALL if operation == _WAKE_BITSET else _ALL
    most = args[2] & 0x7FFFFFFF
    woken = [wait for wait in waiting if wait.bits & bits][:most]
    return woken, len(woken) == most
