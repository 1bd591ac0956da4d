"""Sleeps and reads of the wall clock, as a domain."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.operation import Frame, TimeDetail
from chaoskit.faults.shapes import Errno, Shape
from chaoskit.faults.timing import Drifting, Frozen, Late, Repeated, Set, Stepped, Suspended
from chaoskit.inject.kernel.border import Around, AtOnce, CannotExecute, FaultEffect
from chaoskit.inject.kernel.clock import waits
from chaoskit.inject.kernel.clock.clockwork import Clockwork
from chaoskit.inject.kernel.clock.dial import SECOND
from chaoskit.inject.kernel.clock.table import READS, WAITS, WALL, TimeSpec
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.standing import failing
from chaoskit.inject.kernel.workload.tree import Task

WALL_CLOCK = "wall"
"""The target of a read: the only clock that can be set, and therefore struck."""
_PATHS = sysconfig.get_paths()
# Code objects of frozen modules have no file.
_LIBRARY = (_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<frozen ")
UNKNOWN = "*"
"""The target of a sleep without a Python stack."""


@dataclass(frozen=True, slots=True)
class TimeCall:
    """One notified sleep or read. ``length`` is how long it would wait, in nanoseconds."""

    spec: TimeSpec
    task: Task
    target: str
    length: int = 0
    second: None = None

    @property
    def family(self) -> str:
        """``sleep`` or ``clock``."""
        return self.spec.family


class Times(AtOnce):
    """Sleeps, timed waits and clock reads; see :class:`chaoskit.inject.kernel.border.Domain`.

    They are operations only in runs that ask for them: every program makes many.
    """

    specs: ClassVar[tuple[Spec, ...]] = (*WAITS, *READS)

    def __init__(self, around: Around) -> None:
        self._log = around.log
        self._tree = around.tree
        clockwork = around.time
        wanted = isinstance(clockwork, Clockwork) and clockwork.operations
        self._clockwork = clockwork if wanted and isinstance(clockwork, Clockwork) else None

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """No fault of a clock answers later calls: it changes what the clocks show."""
        return frozenset()

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> TimeCall | None:
        """Understand a call; None if it reads another clock, or is not one of the workload's own waits."""
        assert isinstance(spec, TimeSpec)
        if self._clockwork is None:
            return None
        if spec.family == "clock":
            other = spec.name == "clock_gettime" and args[0] not in WALL
            return None if other else TimeCall(spec, task, WALL_CLOCK)
        try:
            length = waits.length(spec, task, args, self._clockwork.dial)
        except waits.Over:
            # Python sleeps until a point in time, which may have passed on a busy machine. It is a sleep
            # all the same: otherwise it would be one only in some recordings.
            length = 0
        except waits.Refused:
            return None
        # An interpreter waits like this for its own lock.
        if spec.kind == "futex" and length <= waits.SHORT:
            return None
        stack = self._tree.stack(task)
        # After the workload's function: our own wait for its threads.
        if not stack and task.tid == self._tree.pid and task.process.runs_our_python:
            return None
        return TimeCall(spec, task, _site(stack), length)

    def describe(self, call: TimeCall, whole: bool) -> TimeDetail:
        """How long it is to wait, and when it was made."""
        assert self._clockwork is not None
        return TimeDetail(call.length, self._clockwork.dial.skipped)

    def perform(self, call: TimeCall, stopped: Stopped) -> None:
        """Record the call, and let it wait or read."""
        self._log.record(call, 0, self.describe(call, whole=False))
        stopped.go_on()

    def effect(self, shape: Shape, call: TimeCall) -> FaultEffect:
        """Set the clocks, or make the wait end differently.

        Raises:
            CannotExecute: for every other fault, and for repeating a read if there was none before.
        """
        clockwork, sleeps = self._clockwork, call.family == "sleep"
        assert clockwork is not None
        match shape:
            case Errno() if sleeps:
                return failing(shape, call)
            case Late(seconds) if sleeps:
                clockwork.late = int(seconds * SECOND)
                return FaultEffect(f"woken {seconds:g} s late")
            case Suspended(seconds) if sleeps:
                clockwork.suspend(int(seconds * SECOND))
                return FaultEffect(f"machine suspended for {seconds:g} s")
            case Stepped(nanoseconds):
                clockwork.step(nanoseconds)
                return FaultEffect(f"wall clock set by {nanoseconds / SECOND:+.9g} s")
            case Set(nanoseconds) if not sleeps:
                clockwork.step(nanoseconds - clockwork.dial.now(0))
                return FaultEffect(f"wall clock set to {nanoseconds / SECOND:.9g} s since 1970")
            case Drifting(rate) if not sleeps:
                clockwork.drift(rate)
                return FaultEffect(f"wall clock {rate:+} parts in a million off from here on")
            case Frozen() if not sleeps:
                clockwork.freeze()
                return FaultEffect("wall clock stopped")
            case Repeated() if not sleeps:
                if not clockwork.repeat():
                    raise CannotExecute("no read came before it")
                return FaultEffect("the time of the read before")
        raise CannotExecute(f"a {call.family} knows no such fault")


def _site(stack: tuple[Frame, ...]) -> str:
    """File and function of the innermost frame outside Python's own library."""
    if not stack:
        return UNKNOWN
    frame = next((one for one in stack if not one.file.startswith(_LIBRARY)), stack[0])
    return f"{os.path.basename(frame.file)},{frame.function.rpartition('.')[2]}"
