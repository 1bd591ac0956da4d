"""Making a scheduled fault happen at a call, and proving that it did."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace

from chaoskit.core.operation import Operation, Receipt
from chaoskit.core.schedule import Strike, fits, plain_name
from chaoskit.faults.shapes import (
    Delayed,
    Errno,
    Filled,
    Killed,
    LostReply,
    Shape,
    Shortened,
    Signalled,
    Torn,
    shape_of,
)
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import Call
from chaoskit.inject.kernel.files.standing import FullDisk, Standing, StandingError

PROMISE = "promise"
"""The call under which a promise is an operation."""


class Armed:
    """One strike of a plan and how many of its equals have gone by."""

    def __init__(self, strike: Strike) -> None:
        point = strike.point
        self.shape = shape_of(strike.fault)
        self.strike = strike
        self.text = str(strike)
        self.family = point.call
        self.place = point.place
        self.ordinal = point.ordinal
        self.seen = 0
        self.name = plain_name(point.target) if point.second is None else None
        """The only name that the target can have; None for a wildcard or a pair of names."""
        self._target = fits(point.target)
        self._second = None if point.second is None else fits(point.second)

    def due(self, target: str, second: str | None) -> bool:
        """Count a call of the right family and place; whether it is the one."""
        if not self._target(target):
            return False
        if self._second is None:
            if second is not None:
                return False
        elif second is None or not self._second(second):
            return False
        self.seen += 1
        return self.seen == self.ordinal


@dataclass(slots=True)
class Effect:
    """What the supervisor has to do about a call that was struck.

    Exactly one of: ``answer`` with a result or minus the errno; ``kill`` processes (``all`` or
    ``one``); ``proceed`` (the kernel carries the call out), after ``delay`` seconds.
    """

    text: str
    answer: int | None = None
    kill: str = ""
    delay: float = 0.0
    release: bool = False
    """Whether the descriptor of a close must be released before the answer."""
    standing: Standing | None = None
    fatal: bool = False
    """Whether the workload's own process dies of it at once."""


class Striker:
    """Turns faults into effects on calls."""

    def __init__(
        self,
        as_operation: Callable[[Call], Operation],
        signal_main: Callable[[int], bool],
    ) -> None:
        self._as_operation = as_operation
        self._signal_main = signal_main

    def effect(self, shape: Shape, call: Call | None) -> Effect:
        """What a fault of this ``shape`` does to ``call`` (None: to a promise or the end).

        Raises:
            CannotExecute: if it cannot be done to this call.
        """
        match shape:
            case Killed(caller=True):
                return Effect(f"SIGKILL to process {call.task.process.pid if call else 0}", kill="one")
            case Killed():
                return Effect("SIGKILL to all", kill="all")
            case Delayed(text=text, seconds=seconds):
                return Effect(f"{text} s later", delay=seconds)
            case Signalled(name, number):
                return Effect(f"{name} sent", fatal=self._signal_main(number))
        if call is None:
            raise execute.CannotExecute("it cannot strike at something that is no system call")
        match shape:
            case Torn(length):
                done = execute.transfer(call, length)
                text = f"{done} of {execute.length_of(call)} bytes written, then SIGKILL to all"
                return Effect(text, kill="all")
            case Shortened(length):
                return _short(length, call)
            case LostReply():
                return _lost(shape, call)
            case Filled(left):
                return self._full(left, call)
            case Errno():
                return _error(shape, call)
        raise execute.CannotExecute("it strikes no call")

    def _full(self, left: int, call: Call) -> Effect:
        disk = FullDisk(left)
        answer, text = disk.answer(call, self._as_operation)
        return Effect(text or f"{left} bytes left on the disk", answer=answer, standing=disk)


def _short(wanted: int, call: Call) -> Effect:
    whole = execute.would_transfer(call)
    if wanted >= whole:
        raise execute.CannotExecute(f"it transfers {whole} bytes as it is")
    done = execute.transfer(call, wanted)
    _took_effect(done)
    return Effect(f"{done} of {execute.length_of(call)} bytes transferred", answer=done)


def _lost(reply: LostReply, call: Call) -> Effect:
    if call.family == "close":
        return Effect(f"answered {reply.name}", answer=-reply.number, release=True)
    if call.family == "open":
        opened = execute.perform_open(call)
        if opened >= 0:
            execute.close(opened)
        done = min(opened, 0)
    else:
        done = execute.perform(call)
    _took_effect(done)
    return Effect(f"took effect (result {done}), answered {reply.name}", answer=-reply.number)


def _error(error: Errno, call: Call) -> Effect:
    standing = StandingError(error.name, call.target) if error.lasting else None
    return Effect(
        f"answered {error.name}",
        answer=-error.number,
        release=call.family == "close",
        standing=standing,
    )


def _took_effect(result: int) -> None:
    """Refuse to count a call that failed by itself as struck: it will fail again when the kernel makes it."""
    if result < 0:
        raise execute.CannotExecute(f"it failed by itself with {errno.errorcode.get(-result, result)}")


def receipt(armed: Armed, operation: Operation, effect: Effect, result: int | None) -> Receipt:
    """The proof for an effect that was delivered."""
    point = armed.strike.point
    shown = replace(operation, ordinal=point.ordinal, result=result)
    return Receipt(armed.text, str(shown), effect.text)
