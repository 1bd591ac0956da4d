"""Timers that are open files: timerfd_create(2).

Any descriptor of such a timer sets it, in any process, and it goes off as long as one process has it open. So
a timer that is set is known by its open file, of which we hold a duplicate until it is over.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chaoskit.inject import processes
from chaoskit.inject.kernel.clock.reach import link
from chaoskit.inject.kernel.clock.waits import Refused
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import number_of
from chaoskit.inject.kernel.workload.memory import Unreadable
from chaoskit.inject.kernel.workload.tree import Process

_SETTING = struct.Struct("=qqqq")
_TIMERFD_SETTIME = {"x86_64": 286, "aarch64": 86}
_KCMP = {"x86_64": 312, "aarch64": 272}
_KCMP_FILE = 0
_SET_TICKS = 0x40085400
"""TFD_IOC_SET_TICKS of ioctl_timerfd(2); only kernels with CONFIG_CHECKPOINT_RESTORE know it."""
_MANY = 64
"""How many timers are held before those that no process has any more are let go."""


@dataclass(slots=True, eq=False)
class TimerFile:
    """One timer: our duplicate ``mine``, its clock, and where a descriptor of it was last seen."""

    mine: int
    clock: int
    pid: int
    fd: int


class TimerFiles:
    """The timer files that are held. ``pids`` returns the workload's processes."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._held: dict[TimerFile, None] = {}
        self._most = _MANY

    def taken(self, process: Process, fd: int) -> TimerFile:
        """The timer behind a descriptor: the one that is held, else a new one, which the caller releases.

        Raises:
            Refused: if it is not a timer. Unreadable: if it cannot be duplicated.
        """
        if process.tables_differ:
            raise Unreadable("its threads have descriptors of the same numbers for different files")
        mine = int(abi.libc().syscall(number_of("pidfd_getfd", abi.machine()), process.pidfd, fd, 0))
        if mine in (-errno.EBADF, -errno.ESRCH):
            raise Refused("not open")
        if mine < 0:
            raise Unreadable(f"descriptor {fd} could not be duplicated ({os.strerror(-mine)})")
        found = re.search(rb"^clockid: (\d+)", _shown(mine), re.MULTILINE)
        if found is None:
            os.close(mine)
            raise Refused("no timer")
        for held in self._held:
            if _same(held, process.pid, fd):
                os.close(mine)
                return held
        return TimerFile(mine, int(found[1]), process.pid, fd)

    def hold(self, timer: TimerFile) -> None:
        """Keep a timer, which is set from now on."""
        self._held[timer] = None

    def release(self, timer: TimerFile) -> None:
        """Close our duplicate of a timer, unless that has been done."""
        self._held.pop(timer, None)
        if timer.mine >= 0:
            os.close(timer.mine)
            timer.mine = -1

    def abandoned(self) -> list[TimerFile]:
        """The held timers that no process has any more, if so many are held that it is time to ask."""
        # A program may set thousands and close each: we must not run out of descriptors because of that.
        if len(self._held) < self._most:
            return []
        found = [timer for timer in self._held if not self.is_open(timer)]
        self._most = len(self._held) - len(found) + _MANY
        return found

    def is_open(self, timer: TimerFile) -> bool:
        """True if a process of the workload has the timer open."""
        if _same(timer, timer.pid, timer.fd):
            return True
        for pid in self._pids():
            for fd in processes.open_files(pid):
                if link(pid, fd) == "anon_inode:[timerfd]" and _same(timer, pid, fd, unknown=True):
                    timer.pid, timer.fd = pid, fd
                    return True
        return False

    def close(self) -> None:
        """Release all of them; the run is over."""
        for timer in list(self._held):
            self.release(timer)


def expire(timer: TimerFile) -> None:
    """Count one more expiry."""
    unread = _unread(timer)
    if not unread:
        _set_real(timer, 1)
        return
    # A periodic timer that was not read in time: setting the kernel's timer again would begin at one.
    with contextlib.suppress(OSError):
        fcntl.ioctl(timer.mine, _SET_TICKS, struct.pack("=Q", unread + 1))


def forget_expiries(timer: TimerFile) -> None:
    """Make a timer unreadable: what it has counted ends when it is set (timerfd_settime(2))."""
    if _unread(timer):
        _set_real(timer, 0)


def _same(timer: TimerFile, pid: int, fd: int, unknown: bool = False) -> bool:
    """True if a descriptor leads to this timer; ``unknown`` if the kernel does not say and it may be so."""
    answer = abi.libc().syscall(_KCMP[abi.machine()], os.getpid(), pid, _KCMP_FILE, timer.mine, fd)
    if answer in (-errno.EBADF, -errno.ESRCH):
        return False
    # A kernel without CONFIG_KCMP: the same number in the same process, then.
    return (unknown or (pid, fd) == (timer.pid, timer.fd)) if answer < 0 else answer == 0


def _shown(mine: int) -> bytes:
    return processes.read(f"/proc/self/fdinfo/{mine}")


def _unread(timer: TimerFile) -> int:
    found = re.search(rb"^ticks: (\d+)", _shown(timer.mine), re.MULTILINE)
    return 0 if found is None else int(found[1])


def _set_real(timer: TimerFile, nanoseconds: int) -> None:
    """Let the kernel's timer go off that soon; 0 stops it. What it has counted is forgotten."""
    setting = ctypes.create_string_buffer(_SETTING.pack(0, 0, 0, nanoseconds), _SETTING.size)
    abi.libc().syscall(_TIMERFD_SETTIME[abi.machine()], timer.mine, 0, setting, 0)
