"""The calls of virtual time: their numbers, and the meaning of their arguments.

Numbers: ``asm/unistd_64.h`` for x86-64, ``asm-generic/unistd.h`` for aarch64. Meanings: section 2 of the
Linux manual pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chaoskit.inject.kernel.seccomp.syscalls import Condition, Spec

Kind = Literal[
    "sleep", "until", "poll", "ppoll", "select", "epoll", "futex", "signal",  # waits
    "wake", "read", "timer", "left", "start", "set", "option",
]  # fmt: skip
"""How a call is handled; those in the first line are waits that can end by their time."""

WALL, CPU = frozenset({0, 5, 8, 11}), frozenset({2, 3})
"""Clocks by number (linux/time.h): those that can be set, and those of processor time."""
SINCE_BOOT = frozenset({7, 9})
READABLE = (0, 1, 4, 5, 6, 7, 8, 9, 11)
"""The clocks that are virtual. Negative numbers are clocks of processes and devices."""


@dataclass(frozen=True, slots=True)
class TimeSpec(Spec):
    """One call of virtual time. ``time`` is the argument with the duration or the end."""

    kind: Kind = "sleep"
    time: int = 0
    milliseconds: bool = False
    """True if the argument itself is the time; else it points to a ``struct timespec`` (or ``timeval``)."""
    micros: bool = False
    """True if it points to a ``struct timeval``."""
    mask: int | None = None
    """The argument that points to the signals blocked during the call."""


_PRIVATE, _WALL = 128, 256


def _futex(*operations: int) -> Condition:
    """Matches futex operations, private or not, by the wall clock or not (linux/futex.h)."""
    return (1, "any", tuple(op | a | b for op in operations for a in (0, _PRIVATE) for b in (0, _WALL)))


_LONG: Condition = (2, "other", (0, 0xFFFFFFFF))
_EPOLL: Condition = (3, "other", (0, 0xFFFFFFFF))
_TIMEOUTS: Condition = (2, "any", (20, 21, 66, 67))  # SO_RCVTIMEO and SO_SNDTIMEO, in both forms
_SOCKET: Condition = (1, "any", (1,))


def _given(argument: int) -> tuple[Condition, ...]:
    return ((argument, "given", ()),)


WAITS: tuple[TimeSpec, ...] = (
    TimeSpec("nanosleep", "sleep", 35, 101, kind="sleep", time=0),
    TimeSpec("clock_nanosleep", "sleep", 230, 115, ((0, "any", READABLE),), kind="until", time=2),
    TimeSpec("poll", "sleep", 7, None, (_LONG,), kind="poll", time=2, milliseconds=True),
    TimeSpec("ppoll", "sleep", 271, 73, _given(2), kind="ppoll", time=2, mask=3),
    TimeSpec("select", "sleep", 23, None, _given(4), kind="select", time=4, micros=True),
    TimeSpec("pselect6", "sleep", 270, 72, _given(4), kind="select", time=4),
    TimeSpec("epoll_wait", "sleep", 232, None, (_EPOLL,), kind="epoll", time=3, milliseconds=True),
    TimeSpec("epoll_pwait", "sleep", 281, 22, (_EPOLL,), kind="epoll", time=3, milliseconds=True, mask=4),
    TimeSpec("epoll_pwait2", "sleep", 441, 441, _given(3), kind="epoll", time=3, mask=4),
    TimeSpec("futex", "sleep", 202, 98, (_futex(0, 9), *_given(3)), kind="futex", time=3),
    TimeSpec("rt_sigtimedwait", "sleep", 128, 137, _given(2), kind="signal", time=2),
)
"""Waits that may end by themselves after some time."""

READS: tuple[TimeSpec, ...] = (
    TimeSpec("clock_gettime", "clock", 228, 113, ((0, "any", READABLE),), kind="read"),
    TimeSpec("gettimeofday", "clock", 96, 169, kind="read"),
    TimeSpec("time", "clock", 201, None, kind="read"),
)

OTHERS: tuple[TimeSpec, ...] = (
    # FUTEX_WAKE, FUTEX_WAKE_BITSET; FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP.
    TimeSpec("futex", "", 202, 98, (_futex(1, 10, 3, 4, 5),), kind="wake"),
    TimeSpec("setitimer", "", 38, 103, ((0, "any", (0,)),), kind="timer"),
    TimeSpec("alarm", "", 37, None, kind="timer"),
    TimeSpec("timer_settime", "", 223, 110, kind="timer"),
    TimeSpec("timerfd_settime", "", 286, 86, kind="timer"),
    TimeSpec("getitimer", "", 36, 102, ((0, "any", (0,)),), kind="left"),
    TimeSpec("timer_gettime", "", 224, 108, kind="left"),
    TimeSpec("timerfd_gettime", "", 287, 87, kind="left"),
    # One of these is the first call of every program, linked statically or not.
    TimeSpec("brk", "", 12, 214, ((0, "null", ()),), kind="start"),
    TimeSpec("arch_prctl", "", 158, None, kind="start"),
    TimeSpec("set_tid_address", "", 218, 96, kind="start"),
    TimeSpec("clock_settime", "", 227, 112, kind="set"),
    TimeSpec("settimeofday", "", 164, 170, kind="set"),
    TimeSpec("clock_adjtime", "", 305, 266, kind="set", time=1),
    TimeSpec("adjtimex", "", 159, 171, kind="set", time=0),
    TimeSpec("setsockopt", "", 54, 208, (_SOCKET, _TIMEOUTS), kind="option"),
)
"""Calls that are not operations, and stop only with virtual time."""
