"""What a call answers that waits for descriptors: worked out for the caller, without waiting.

A call that is let go on when something is ready finds nothing if another thread, or another process, was
faster. It would then wait in the kernel, by the real clock, and a run in which all others wait too would
seem to hang. So the supervisor makes the call itself, on its duplicates, and the caller is held on if there
is nothing to be had any more.
"""

from __future__ import annotations

import ctypes
import errno
import select
import struct
from collections.abc import Callable

from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload.memory import Memory

POLLED = struct.Struct("=ihH")
SETS = ((1, select.POLLIN | select.POLLHUP), (2, select.POLLOUT), (3, select.POLLPRI))
"""Each argument of select(2) that is a set, and what of poll(2) is waited for."""
_SHOWN = {
    1: select.POLLIN | select.POLLRDNORM | select.POLLRDBAND | select.POLLHUP | select.POLLERR,
    2: select.POLLOUT | select.POLLWRNORM | select.POLLWRBAND | select.POLLERR,
    3: select.POLLPRI,
}
"""What of poll(2) puts a descriptor into a set (select(2), "Correspondence between select() and poll()")."""
_EVENT = {"x86_64": 12, "aarch64": 16}
"""Bytes of a ``struct epoll_event``, which x86-64 packs."""
_EPOLL_PWAIT = {"x86_64": 281, "aarch64": 22}
_MOST_EVENTS = 1024

Collect = Callable[[dict[int, int], int], int | None]
"""Given what poll(2) says of our duplicates, and the nanoseconds that are left, the answer, once it is
written to where the caller wants it.

0 if there is nothing to be told after all; None if only the kernel can say.
"""


def nothing(ready: dict[int, int], left: int) -> int | None:
    """For calls that wait for no descriptor."""
    return 0


def of_poll(memory: Memory, address: int, rows: list[tuple[int, int, int]], mine: list[int]) -> Collect:
    """``rows`` are as the caller has them, ``mine`` the duplicates of those that are not negative."""

    def collect(ready: dict[int, int], left: int) -> int | None:
        duplicates = iter(mine)
        told = [(fd, events, ready.get(next(duplicates), 0) if fd >= 0 else 0) for fd, events, _ in rows]
        done = memory.write(address, b"".join(POLLED.pack(*row) for row in told))
        return sum(bool(revents) for _, _, revents in told) if done else -errno.EFAULT

    return collect


def of_select(
    memory: Memory,
    sets: dict[int, tuple[int, int]],
    size: int,
    mine: dict[int, int],
    tell_rest: Callable[[int], object],
) -> Collect:
    """``sets`` has address and bits of each that was given, ``mine`` the descriptor of each duplicate;
    ``tell_rest`` is called with the time that is left.
    """

    def collect(ready: dict[int, int], left: int) -> int | None:
        found, count = {}, 0
        for argument, (address, bits) in sets.items():
            here = [mine[fd] for fd, events in ready.items() if events & _SHOWN[argument]]
            shown = sum(1 << fd for fd in here if bits >> fd & 1)
            found[address], count = shown, count + shown.bit_count()
        if not count:
            return None  # Hung up, which alone makes nothing ready to be written to.
        tell_rest(max(1, left))
        done = [memory.write(address, bits.to_bytes(size, "little")) for address, bits in found.items()]
        return count if all(done) else -errno.EFAULT

    return collect


def of_epoll(memory: Memory, address: int, most: int, mine: int) -> Collect:
    """What is taken is gone, as it is for the caller: an edge, or what is told once."""

    def collect(ready: dict[int, int], left: int) -> int | None:
        machine, count = abi.machine(), min(most, _MOST_EVENTS)
        room = ctypes.create_string_buffer(_EVENT[machine] * max(count, 1))
        found = abi.libc().syscall(_EPOLL_PWAIT[machine], mine, room, count, 0, 0, 8)
        if found < 0:
            return None
        return found if memory.write(address, room.raw[: found * _EVENT[machine]]) else -errno.EFAULT

    return collect
