"""Timers on virtual time: setitimer, alarm, timer_settime and timerfd_settime.

A timer of the kernel is set only when its virtual time has come, and then goes off at once. So what the
program notices is done by the kernel.
"""

from __future__ import annotations

import ctypes
import re
import signal
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock import timerfds
from chaoskit.inject.kernel.clock.dial import SECOND, Dial
from chaoskit.inject.kernel.clock.table import READABLE, TimeSpec
from chaoskit.inject.kernel.clock.waits import Refused, time_at
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Process, Task

_SETTING = struct.Struct("=qqqq")
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
    """A timer that is set. ``due`` and ``order`` belong to the keeper; ``go_off`` is False if it is gone.

    ``process`` is the one with which it ends; None if it is a file, which any process may have open.
    """

    process: Process | None
    key: object
    length: int
    period: int
    go_off: Callable[[], bool]
    wall: bool = False
    due: int = 0
    order: int = 0


class Timers:
    """The timers of all processes of a run.

    ``start``, ``stop`` and ``left`` are the keeper's functions for a timer, ``pids`` returns the workload's
    processes.
    """

    def __init__(
        self,
        dial: Dial,
        start: Callable[[Timer], None],
        stop: Callable[[Timer], None],
        left: Callable[[Timer], int],
        pids: Callable[[], Iterable[int]],
    ) -> None:
        self._dial = dial
        self._start = start
        self._stop = stop
        self._left = left
        self._set: dict[object, Timer] = {}
        self._files = timerfds.TimerFiles(pids)

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
        if spec.name == "timer_settime":
            self._setting(task.process, args, *self._posix(task, args), task.process)
            return 0
        file = self._files.taken(task.process, abi.signed(args[0]))
        try:
            self._setting(task.process, args, file, file.clock, self._going_off(file), None)
        finally:
            if file not in self._set:
                self._files.release(file)
        for gone in self._files.abandoned():
            self._replace(gone, None)
        return 0

    def _setting(
        self,
        caller: Process,
        args: tuple[int, ...],
        key: object,
        clock: int,
        go_off: Callable[[], bool],
        owner: Process | None,
    ) -> None:
        """Carry out timer_settime(2) or timerfd_settime(2), whose arguments mean the same."""
        data = caller.memory.read(args[2], _SETTING.size)
        if len(data) != _SETTING.size:
            raise Refused("no setting there")
        period, length = time_at(caller, args[2]), time_at(caller, args[2] + 16)
        wall = past = False
        if length and args[1] & _ABSOLUTE:
            wall = clock in (0, 11)
            left = length - self._dial.now(clock)
            past, length = left <= 0, max(1, left)
        before = self._shown(key)
        if isinstance(key, timerfds.TimerFile):
            timerfds.forget_expiries(key)
        timer = Timer(owner, key, length, period, go_off, wall) if length else None
        self._replace(key, timer)
        if timer is not None and past:
            # It expires before the call returns: a read right after it does not have to wait.
            self._stop(timer)
            self.gone_off(timer)
        if args[3]:
            caller.memory.write(args[3], before)

    def shown(self, spec: TimeSpec, task: Task, args: tuple[int, ...]) -> int:
        """Write a timer's remaining time into the caller's memory; return the call's answer.

        Raises:
            Refused: if the call is wrong, so that the kernel must answer it.
        """
        if spec.name == "getitimer":
            data = _micros(self._shown(("interval", task.process.pid)))
        elif spec.name == "timer_gettime":
            data = self._shown(self._posix(task, args)[0])
        else:
            file = self._files.taken(task.process, abi.signed(args[0]))
            data = self._shown(file)
            if file not in self._set:
                self._files.release(file)
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
            self._forget(timer.key)

    def close(self) -> None:
        """Let all of them go; the run is over."""
        self._files.close()

    def _replace(self, key: object, timer: Timer | None) -> None:
        former = self._set.get(key)
        if former is not None:
            self._stop(former)
        if timer is None:
            self._forget(key)
            return
        self._set[key] = timer
        if isinstance(key, timerfds.TimerFile):
            self._files.hold(key)
        self._start(timer)

    def _forget(self, key: object) -> None:
        self._set.pop(key, None)
        if isinstance(key, timerfds.TimerFile):
            self._files.release(key)

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

    def _going_off(self, file: timerfds.TimerFile) -> Callable[[], bool]:
        def go_off() -> bool:
            timerfds.expire(file)
            return self._files.is_open(file)

        return go_off


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
