"""Timers on virtual time: setitimer, alarm, timer_settime and timerfd_settime.

A timer of the kernel is set only when its virtual time has come, and then goes off at once. So what the
program notices is done by the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock.dial import SECOND, Dial
from chaoskit.inject.kernel.clock.table import READABLE, TimeSpec
from chaoskit.inject.kernel.clock.waits import Refused, time_at
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import number_of
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Process, Task

_SETTING = struct.Struct("=qqqq")
_TIMERFD_SETTIME = {"x86_64": 286, "aarch64": 86}
_SET_TICKS = 0x40085400
"""TFD_IOC_SET_TICKS of ioctl_timerfd(2); only kernels with CONFIG_CHECKPOINT_RESTORE know it."""
_ABSOLUTE = 1
_LISTED = re.compile(
    rb"ID: (\d+)\nsignal: (\d+)/(?:0x)?([0-9a-f]+)\nnotify: (\w+)/(\w+)\.(\d+)\nClockID: (-?\d+)"
)
_PIDFD_SEND_SIGNAL, _RT_TGSIGQUEUEINFO = 424, {"x86_64": 297, "aarch64": 240}
_INFORMATION = struct.Struct("=iiiiiiQ96x")
_FROM_TIMER = -2
"""The ``si_code`` of a timer's signal (sigaction(2)), which tells glibc what it is."""


@dataclass(slots=True, eq=False)
class Timer:
    """A timer that is set. ``due`` and ``order`` belong to the keeper; ``go_off`` is False if it is gone."""

    process: Process
    key: object
    length: int
    period: int
    go_off: Callable[[], bool]
    wall: bool = False
    due: int = 0
    order: int = 0


class Timers:
    """The timers of all processes of a run.

    ``start``, ``stop`` and ``left`` are the keeper's functions for a timer.
    """

    def __init__(
        self,
        dial: Dial,
        start: Callable[[Timer], None],
        stop: Callable[[Timer], None],
        left: Callable[[Timer], int],
    ) -> None:
        self._dial = dial
        self._start = start
        self._stop = stop
        self._left = left
        self._set: dict[object, Timer] = {}

    def set(self, spec: TimeSpec, task: Task, args: tuple[int, ...]) -> int | None:
        """Set a timer; return the call's answer, None to leave the call to the kernel.

        Raises:
            Refused: if the call is wrong, so that the kernel must answer it. Unreadable: if its arguments
            cannot be read.
        """
        if spec.name == "alarm":
            return self._alarm(task, args[0] & 0xFFFFFFFF)
        if spec.name == "setitimer":
            if args[0] & 0xFFFFFFFF:
                raise Refused("it counts what a processor does")
            return self._interval(task, args)
        key, clock, go_off = self._posix(task, args) if spec.name == "timer_settime" else self._fd(task, args)
        process = task.process
        data = process.memory.read(args[2], _SETTING.size)
        if len(data) != _SETTING.size:
            raise Refused("no setting there")
        period, length = time_at(process, args[2]), time_at(process, args[2] + 16)
        wall = past = False
        if length and args[1] & _ABSOLUTE:
            wall = clock in (0, 11)
            left = length - self._dial.now(clock)
            past, length = left <= 0, max(1, left)
        before = self._shown(key)
        if spec.name == "timerfd_settime":
            _forget_expiries(process, abi.signed(args[0]))
        timer = Timer(process, key, length, period, go_off, wall) if length else None
        self._replace(key, timer)
        if timer is not None and past:
            # It expires before the call returns: a read right after it does not have to wait.
            self._stop(timer)
            self.gone_off(timer)
        if args[3]:
            process.memory.write(args[3], before)
        return 0

    def shown(self, spec: TimeSpec, task: Task, args: tuple[int, ...]) -> int:
        """Write a timer's remaining time into the caller's memory; return the call's answer.

        Raises:
            Refused: if the call is wrong, so that the kernel must answer it.
        """
        if spec.name == "getitimer":
            data = _micros(self._shown(("interval", task.process.pid)))
        else:
            find = self._posix if spec.name == "timer_gettime" else self._fd
            data = self._shown(find(task, args)[0])
        if not task.process.memory.write(args[1], data):
            raise Refused("no place for it")
        return 0

    def gone_off(self, timer: Timer) -> None:
        """A timer has gone off: set it again if it is periodic."""
        alive = timer.go_off()
        if alive and timer.period:
            timer.length = timer.period
            self._start(timer)
        else:
            self._set.pop(timer.key, None)

    def _replace(self, key: object, timer: Timer | None) -> None:
        former = self._set.pop(key, None)
        if former is not None:
            self._stop(former)
        if timer is not None:
            self._set[key] = timer
            self._start(timer)

    def _shown(self, key: object) -> bytes:
        timer = self._set.get(key)
        if timer is None:
            return bytes(_SETTING.size)
        return _SETTING.pack(*divmod(timer.period, SECOND), *divmod(max(1, self._left(timer)), SECOND))

    # setitimer(2) and alarm(2): one for each process, with the signal SIGALRM.

    def _alarm(self, task: Task, seconds: int) -> int:
        key = ("interval", task.process.pid)
        timer = self._set.get(key)
        left = 0 if timer is None else -(-self._left(timer) // SECOND)
        new = Timer(task.process, key, seconds * SECOND, 0, _signals(task.process, signal.SIGALRM))
        self._replace(key, new if seconds else None)
        return left

    def _interval(self, task: Task, args: tuple[int, ...]) -> int:
        process, key = task.process, ("interval", task.process.pid)
        before = _micros(self._shown(key))
        if args[1]:
            period = time_at(process, args[1], micros=True)
            length = time_at(process, args[1] + 16, micros=True)
            go_off = _signals(process, signal.SIGALRM)
            self._replace(key, Timer(process, key, length, period, go_off) if length else None)
        if args[2]:
            process.memory.write(args[2], before)
        return 0

    # timer_create(2): the kernel lists these for each process.

    def _posix(self, task: Task, args: tuple[int, ...]) -> tuple[object, int, Callable[[], bool]]:
        process, ident = task.process, abi.signed(args[0])
        for row in _LISTED.findall(processes.read(f"/proc/{process.pid}/timers")):
            number, signo, value, how, target, whose, clock = row
            if int(number) != ident:
                continue
            if int(clock) not in READABLE:
                raise Refused("it counts what a processor does")
            # For a timer that starts a thread, a helper of the C library gets the signal and starts it.
            tid = int(whose) if target == b"tid" else process.pid
            told = _INFORMATION.pack(int(signo), 0, _FROM_TIMER, 0, ident, 0, int(value, 16))
            go_off = partial(_tells, process, tid if how != b"none" else 0, int(signo), told)
            return ("posix", process.pid, ident), int(clock), go_off
        raise Unreadable("a timer is not listed in /proc/PID/timers")

    # timerfd_create(2).

    def _fd(self, task: Task, args: tuple[int, ...]) -> tuple[object, int, Callable[[], bool]]:
        process, fd = task.process, abi.signed(args[0])
        clock = _clock_of(process, fd)
        if clock is None:
            raise Refused("no timer")

        return (
            ("fd", process.pid, fd),
            clock,
            lambda: _clock_of(process, fd) == clock and _expires(process, fd),
        )


def _clock_of(process: Process, fd: int) -> int | None:
    found = re.search(rb"^clockid: (\d+)", processes.read(f"/proc/{process.pid}/fdinfo/{fd}"), re.MULTILINE)
    return None if found is None else int(found[1])


def _expires(process: Process, fd: int) -> bool:
    """Count one more expiry of a timerfd; False if the process no longer has it."""
    # Taken each time: a duplicate of ours would keep the timer alive forever.
    mine = _taken(process, fd)
    if mine < 0:
        return False
    unread = _unread(process, fd)
    if not unread:
        _set_real(mine, 1)
    else:
        # A periodic timer that was not read in time: setting the kernel's timer again would begin at one.
        with contextlib.suppress(OSError):
            fcntl.ioctl(mine, _SET_TICKS, struct.pack("=Q", unread + 1))
    os.close(mine)
    return True


def _forget_expiries(process: Process, fd: int) -> None:
    """Make a timerfd unreadable: what it has counted ends when it is set (timerfd_settime(2))."""
    if _unread(process, fd) and (mine := _taken(process, fd)) >= 0:
        _set_real(mine, 0)
        os.close(mine)


def _taken(process: Process, fd: int) -> int:
    return int(abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), process.pidfd, fd, 0))


def _unread(process: Process, fd: int) -> int:
    found = re.search(rb"^ticks: (\d+)", processes.read(f"/proc/{process.pid}/fdinfo/{fd}"), re.MULTILINE)
    return 0 if found is None else int(found[1])


def _set_real(mine: int, nanoseconds: int) -> None:
    """Let the kernel's timer go off that soon; 0 stops it. What it has counted is forgotten."""
    setting = ctypes.create_string_buffer(_SETTING.pack(0, 0, 0, nanoseconds), _SETTING.size)
    abi.libc().syscall(_TIMERFD_SETTIME[abi.machine()], mine, 0, setting, 0)


def _signals(process: Process, number: int) -> Callable[[], bool]:
    return lambda: process.kill(number)


def _tells(process: Process, tid: int, number: int, told: bytes) -> bool:
    """Send the signal that the kernel sends for a timer; False if the process is gone. ``tid`` may be 0."""
    if process.ended():
        return False
    data = ctypes.create_string_buffer(told, len(told))
    if tid == process.pid:
        abi.libc().syscall(_PIDFD_SEND_SIGNAL, process.pidfd, number, data, 0)
    elif tid:
        abi.libc().syscall(_RT_TGSIGQUEUEINFO[abi.machine()], process.pid, tid, number, data)
    return True


def _micros(data: bytes) -> bytes:
    """A setting as setitimer(2) has it, with fractions of seconds in microseconds."""
    period, parts, length, rest = _SETTING.unpack(data)
    return _SETTING.pack(period, parts // 1000, length, rest // 1000)
