"""Computes the answer of a call that waits for descriptors, without waiting.

If the kernel carried the call out when a descriptor is ready, another thread or process might be faster. Then
the call would wait in the kernel, by the real clock, and a run in which all others wait too would seem to
hang. So the supervisor makes the call itself, on its duplicates, and goes on to hold the caller if nothing is
ready any more.
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
"""Each set among the arguments of select(2), and the events of poll(2) that it waits for."""
_SHOWN = {
    1: select.POLLIN | select.POLLRDNORM | select.POLLRDBAND | select.POLLHUP | select.POLLERR,
    2: select.POLLOUT | select.POLLWRNORM | select.POLLWRBAND | select.POLLERR,
    3: select.POLLPRI,
}
"""The events of poll(2) that put a descriptor into a set (select(2), "Correspondence between select() and
poll()")."""
_EVENT = {"x86_64": 12, "aarch64": 16}
"""Bytes of a ``struct epoll_event``, which x86-64 packs."""
_EPOLL_PWAIT = {"x86_64": 281, "aarch64": 22}
_MOST_EVENTS = 1024
"""The most events reported to one epoll_wait(2); the next one gets the rest."""

Collect = Callable[[dict[int, int], int], int | None]
"""Takes the events of our duplicates and the remaining nanoseconds; writes the results to the caller's memory
and returns the answer.

0 if nothing is ready after all; None if only the kernel can answer.
"""


def nothing(ready: dict[int, int], left: int) -> int | None:
    """The answer of a call that waits for no descriptor: nothing is ready."""
    return 0


def of_poll(memory: Memory, address: int, rows: list[tuple[int, int, int]], mine: list[int]) -> Collect:
    """Collect for poll(2): ``rows`` are the caller's entries, ``mine`` has our duplicates of those in use."""

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
    """Collect for select(2) and pselect(2).

    ``sets`` has address and bits of each set, ``mine`` the caller's descriptor for each duplicate;
    ``tell_rest`` is called with the remaining time.
    """

    def collect(ready: dict[int, int], left: int) -> int | None:
        found, count = {}, 0
        for argument, (address, bits) in sets.items():
            here = [mine[fd] for fd, events in ready.items() if events & _SHOWN[argument]]
            shown = sum(1 << fd for fd in here if bits >> fd & 1)
            found[address], count = shown, count + shown.bit_count()
        if not count:
            return None  # A hang-up, which alone makes no descriptor writable.
        tell_rest(max(1, left))
        done = [memory.write(address, bits.to_bytes(size, "little")) for address, bits in found.items()]
        return count if all(done) else -errno.EFAULT

    return collect


def of_epoll(memory: Memory, address: int, most: int, mine: int) -> Collect:
    """Collect for epoll_wait(2).

    Events that are reported once, such as edges, are consumed here as by the caller's own call.
    """

    def collect(ready: dict[int, int], left: int) -> int | None:
        machine, count = abi.machine(), min(most, _MOST_EVENTS)
        room = ctypes.create_string_buffer(_EVENT[machine] * max(count, 1))
        found = abi.libc().syscall(_EPOLL_PWAIT[machine], mine, room, count, 0, 0, 8)
        if found < 0:
            return None
        return found if memory.write(address, room.raw[: found * _EVENT[machine]]) else -errno.EFAULT

    return collect
