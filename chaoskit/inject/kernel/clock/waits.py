"""Waits that end by themselves after some time: their length, what else ends them, and their answers."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from chaoskit.inject.kernel.clock import readiness
from chaoskit.inject.kernel.clock.dial import SECOND, Dial
from chaoskit.inject.kernel.clock.table import TimeSpec
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import number_of
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Process, Task

_TIME = struct.Struct("=qq")
_ABSOLUTE = 1
_MILLISECOND = 1_000_000
SHORT = 20 * _MILLISECOND
"""A futex wait of at most this many nanoseconds counts as an interpreter's for its own lock, which it
tries again every 5 ms (``sys.getswitchinterval``)."""
FUTEX_WALL = 256
_WAIT_BITSET = 9
_ALL_BITS = 0xFFFFFFFF
_MOST_POLLED = 1 << 16
"""The most entries of a poll(2) that are looked at; the kernel refuses more than a process may have open."""


class Refused(Exception):
    """The kernel must answer the call: it has nothing to wait for, or its arguments are wrong."""


class Over(Refused):
    """The moment until which a call would sleep has passed."""


class Changed(Exception):
    """A futex does not hold the value whose change its caller awaits: EAGAIN lets it look again.

    In the kernel, the futex might have that value again: then the call would wait by the real clock.
    """


@dataclass(slots=True, eq=False)
class Wait:
    """A waiting call. ``due`` and ``order`` belong to the keeper, ``length`` is in nanoseconds.

    When the time is up, ``clear`` updates the caller's memory, and ``answer`` is the result. ``descriptors``
    are our duplicates with the events of poll(2) that end it, ``collect`` computes the answer then.
    """

    task: Task
    stopped: Stopped
    spec: TimeSpec
    length: int
    answer: int = 0
    clear: Callable[[], object] | None = None
    descriptors: dict[int, int] = field(default_factory=dict)
    collect: readiness.Collect = readiness.nothing
    futex: tuple[object, ...] | None = None
    address: int = 0
    word: int = 0
    bits: int = _ALL_BITS
    wall: bool = False
    """True if its end is a time of the wall clock, so that a step of that clock moves it."""
    blocked: int | None = None
    wanted: int = 0
    remaining: int = 0
    """The address for the remaining time when a signal ends the wait; 0 for none."""
    due: int = 0
    order: int = 0
    began: float = 0.0

    @property
    def word_changed(self) -> bool:
        """True if it waits at a futex whose value has changed."""
        if self.futex is None:
            return False
        try:
            data = self.task.process.memory.read(self.address, 4)
        except Unreadable:
            return False
        return len(data) == 4 and int.from_bytes(data, "little") != self.word

    @property
    def short(self) -> bool:
        """True if an interpreter waits for its own lock, or the like: such waits mean real time."""
        return self.spec.kind == "futex" and self.length <= SHORT

    def expire(self) -> None:
        """End the wait: the time is up."""
        with contextlib.suppress(Unreadable):  # The process is gone, and needs no answer.
            if self.clear is not None:
                self.clear()
        self.stopped.answer(self.answer)

    def ready(self, left: int) -> bool:
        """Answer if something is ready, ``left`` nanoseconds before the end; else return False."""
        poll = select.poll()
        for fd, events in self.descriptors.items():
            poll.register(fd, events)
        found = poll.poll(0)
        if not found:
            return False
        try:
            answer = self.collect(dict(found), left)
        except Unreadable:
            answer = None
        if answer == 0:
            return False
        # What only the kernel can answer is ready, so the call does not wait there.
        return self.stopped.go_on() if answer is None else self.stopped.answer(answer)

    def interrupt(self, left: int) -> None:
        """End the wait for a signal, ``left`` nanoseconds before the end."""
        with contextlib.suppress(Unreadable):
            if self.remaining:
                self.task.process.memory.write(self.remaining, _TIME.pack(*divmod(max(0, left), SECOND)))
        self.stopped.answer(-errno.EINTR)

    def release(self) -> None:
        """Close our duplicates."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors.clear()


def begin(spec: TimeSpec, task: Task, args: tuple[int, ...], stopped: Stopped, dial: Dial) -> Wait:
    """Understand a call that waits.

    Raises:
        Refused: if it does not wait. Unreadable: if the caller's memory or descriptors cannot be read.
    """
    return _KINDS[spec.kind](Wait(task, stopped, spec, 0), args, dial)


def length(spec: TimeSpec, task: Task, args: tuple[int, ...], dial: Dial) -> int:
    """How long a call waits, in nanoseconds.

    Raises:
        Refused: if it does not wait, or its arguments are wrong. Over: if the moment for which it would wait
        has passed.
    """
    if spec.milliseconds:
        wait = abi.signed(args[spec.time]) * _MILLISECOND
    else:
        wait = time_at(task.process, args[spec.time], spec.micros)
    if spec.kind == "until" and abi.signed(args[1]) & _ABSOLUTE:
        wait -= dial.now(args[0])
        if wait <= 0:
            raise Over("its moment has come")
    elif spec.kind == "futex" and args[1] & 0x7F == _WAIT_BITSET:
        wait -= dial.now(0 if args[1] & FUTEX_WALL else 1)
    if wait <= 0:
        raise Refused("no time to wait")
    return wait


def time_at(process: Process, address: int, micros: bool = False) -> int:
    """A ``struct timespec`` or ``timeval`` in nanoseconds.

    Raises:
        Refused: if the memory cannot be read, or holds no valid time.
    """
    data = process.memory.read(address, _TIME.size)
    if len(data) != _TIME.size:
        raise Refused("no time there")
    whole, parts = _TIME.unpack(data)
    if whole < 0 or not 0 <= parts < (1_000_000 if micros else SECOND):
        raise Refused("not a time")
    return int(whole) * SECOND + int(parts) * (1000 if micros else 1)


def rounded(length: int, burst: int) -> int:
    """A length that the program computed from a clock read, corrected for the time passed since.

    ``burst`` is how long the workload has run since all of it slept, so no more time can have passed. The
    result is the next round number, longer by a tenth at most. So two threads that sleep equally long are due
    at the same moment, even if one had to wait for a processor.
    """
    grain = 1
    for candidate in _GRAINS:
        if candidate * 10 > length:
            break
        grain = candidate
        if candidate >= max(burst, length // 500):
            break
    return -(-length // grain) * grain


_GRAINS = tuple(step * 10**power * _MILLISECOND for power in range(5) for step in (1, 2, 5))
"""Round lengths, ascending: 1, 2, 5, 10 … ms, up to 50 s."""


def _relative(wait: Wait, args: tuple[int, ...]) -> None:
    spec = wait.spec
    if spec.milliseconds:
        wait.length = abi.signed(args[spec.time]) * _MILLISECOND
        # Other negative numbers mean forever as well.
        if wait.length < 0:
            raise Refused("forever")
    else:
        wait.length = time_at(wait.task.process, args[spec.time], spec.micros)
    if spec.mask is not None and args[spec.mask]:
        # pselect6, whose argument points to a pointer, does not get here: its row has no mask.
        wait.blocked = wait.task.process.memory.word(args[spec.mask])
    if not wait.length:
        raise Refused("no time to wait")


def _sleep(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    _relative(wait, args)
    wait.remaining = args[1]
    return wait


def _until(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    clock = args[0]
    length = time_at(wait.task.process, args[2])
    if abi.signed(args[1]) & _ABSOLUTE:
        wait.wall = clock in (0, 11)
        # A past time ends at once, with 0 like any other.
        wait.length = rounded(max(0, length - dial.now(clock)), dial.burst)
        return wait
    wait.length, wait.remaining = length, args[3]
    return wait


def _poll(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    _relative(wait, args)
    count, memory, polled = args[1], wait.task.process.memory, readiness.POLLED
    if count > _MOST_POLLED:
        raise Refused("more than there can be")
    data = memory.read(args[0], polled.size * count)
    if len(data) != polled.size * count:
        raise Refused("no descriptors there")
    rows = list(polled.iter_unpack(data))

    def clear() -> None:
        memory.write(args[0], b"".join(polled.pack(fd, events, 0) for fd, events, _ in rows))

    wait.clear = clear
    mine = _watch(wait, [(fd, events & 0xFFFF) for fd, events, _ in rows if fd >= 0])
    wait.collect = readiness.of_poll(memory, args[0], rows, mine)
    return wait


def _select(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    _relative(wait, args)
    count, memory = min(args[0], _MOST_POLLED), wait.task.process.memory
    size = (count + 63) // 64 * 8
    events: dict[int, int] = {}
    given: dict[int, tuple[int, int]] = {}
    for argument, wanted in readiness.SETS:
        if args[argument]:
            bits = int.from_bytes(memory.read(args[argument], size), "little")
            given[argument] = (args[argument], bits)
            for fd in range(count):
                if bits >> fd & 1:
                    events[fd] = events.get(fd, 0) | wanted

    def clear(left: int = 0) -> None:
        # Linux writes the time that is left (select(2), "The timeout").
        whole, parts = divmod(max(0, left), SECOND)
        memory.write(args[wait.spec.time], _TIME.pack(whole, parts // 1000 if wait.spec.micros else parts))
        for address, _ in given.values() if not left else ():
            memory.write(address, bytes(size))

    wait.clear = clear
    mine = dict(zip(_watch(wait, list(events.items())), events, strict=True))
    wait.collect = readiness.of_select(memory, given, size, mine, clear)
    if not wait.spec.micros and args[5]:
        # A pointer to a pointer (pselect(2), "C library/kernel differences").
        mask = memory.word(args[5])
        wait.blocked = memory.word(mask) if mask else None
    return wait


def _epoll(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    _relative(wait, args)
    (mine,) = _watch(wait, [(abi.signed(args[0]), select.POLLIN)])
    wait.collect = readiness.of_epoll(wait.task.process.memory, args[1], abi.signed(args[2]), mine)
    return wait


def _watch(wait: Wait, wanted: list[tuple[int, int]]) -> list[int]:
    """Duplicate the descriptors that end the wait, in this order."""
    number = number_of("pidfd_getfd", abi.machine())
    process = wait.task.process
    if process.tables_differ:
        raise Unreadable("its threads have descriptors of the same numbers for different files")
    try:
        for fd, events in wanted:
            mine = abi.libc().syscall(number, process.pidfd, fd, 0)
            if mine == -errno.EBADF:
                raise Refused("not open")
            if mine < 0:
                raise Unreadable(f"descriptor {fd} could not be duplicated ({os.strerror(-mine)})")
            wait.descriptors[mine] = events
    except BaseException:
        wait.release()
        raise
    return list(wait.descriptors)


def _futex(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    process, operation = wait.task.process, args[1] & 0x7F
    data = process.memory.read(args[0], 4)
    if len(data) != 4 or args[0] % 4:
        raise Refused("no futex there")
    wait.answer = -errno.ETIMEDOUT
    wait.address, wait.word = args[0], int.from_bytes(data, "little")
    wait.length = time_at(process, args[3])
    if operation == _WAIT_BITSET:
        wait.bits = args[5] & _ALL_BITS
        wait.wall = bool(args[1] & FUTEX_WALL)
        wait.length = rounded(max(0, wait.length - dial.now(0 if wait.wall else 1)), dial.burst)
    if wait.word != args[2] & 0xFFFFFFFF:
        raise Changed("its word")
    return wait


def _signal(wait: Wait, args: tuple[int, ...], dial: Dial) -> Wait:
    _relative(wait, args)
    wait.answer = -errno.EAGAIN
    wait.wanted = wait.task.process.memory.word(args[0]) or 0
    return wait


_KINDS: dict[str, Callable[[Wait, tuple[int, ...], Dial], Wait]] = {
    "sleep": _sleep,
    "until": _until,
    "poll": _poll,
    "ppoll": _poll,
    "select": _select,
    "epoll": _epoll,
    "futex": _futex,
    "signal": _signal,
}
