"""Making a scheduled fault happen at a call, and proving that it did."""

from __future__ import annotations

import errno
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from chaoskit.core.errors import ScheduleError
from chaoskit.core.operation import Operation, Receipt
from chaoskit.core.schedule import PERSISTENT, Fault, Schedule, Strike, fits, plain_name
from chaoskit.inject.kernel.files import execute
from chaoskit.inject.kernel.files.calls import Call
from chaoskit.inject.kernel.files.standing import FullDisk, Standing, StandingError

PROMISE = "promise"
"""The call under which a promise is an operation."""


class Armed:
    """One strike of a plan and how many of its equals have gone by."""

    def __init__(self, strike: Strike) -> None:
        point = strike.point
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


def check(fault: Fault) -> None:
    """Refuse a fault that this backend does not know.

    Raises:
        ScheduleError: naming it.
    """
    name, argument = fault.name, fault.argument
    shapes = {
        "kill": r"|process|torn [1-9]\d*",
        "short": r"\d+",
        "full": r"\d+",
        "delay": r"\d+(\.\d+)?",
        "lost": r"E[A-Z0-9]+",
    }
    if name in shapes:
        good = re.fullmatch(shapes[name], argument) is not None
        if name == "lost":
            good = good and hasattr(errno, argument)
    elif name.startswith("SIG"):
        good = hasattr(signal, name) and not argument
    else:
        good = name.startswith("E") and hasattr(errno, name) and argument in ("", PERSISTENT)
    if not good:
        raise ScheduleError(
            f"fault '{fault}' is not known to the kernel backend; expected an errno name such as ENOSPC or "
            "ENOSPC[persistent], short[N], lost[EIO], full[N], kill, kill[process], kill[torn N], a signal "
            "name such as SIGTERM, or delay[SECONDS]."
        )


def check_faults(schedule: Schedule) -> None:
    """Refuse a schedule that somebody typed with a fault that does not exist.

    Raises:
        ScheduleError: naming it.
    """
    for strike in schedule:
        if strike.fault.name != "power_loss":
            check(strike.fault)


class Striker:
    """Turns faults into effects on calls."""

    def __init__(
        self,
        as_operation: Callable[[Call], Operation],
        signal_main: Callable[[int], bool],
    ) -> None:
        self._as_operation = as_operation
        self._signal_main = signal_main

    def effect(self, fault: Fault, call: Call | None) -> Effect:
        """What ``fault`` does to ``call`` (None: to a promise or the end).

        Raises:
            CannotExecute: if it cannot be done to this call.
        """
        name, argument = fault.name, fault.argument
        if name == "kill":
            return self._kill(argument, call)
        if name == "delay":
            return Effect(f"{argument} s later", delay=float(argument))
        if name.startswith("SIG"):
            return Effect(f"{name} sent", fatal=self._signal_main(getattr(signal, name)))
        if call is None:
            raise execute.CannotExecute(f"{fault} cannot strike at something that is no system call")
        if name == "short":
            return self._short(int(argument), call)
        if name == "lost":
            return self._lost(argument, call)
        if name == "full":
            return self._full(int(argument), call)
        return self._error(name, argument, call)

    def _kill(self, argument: str, call: Call | None) -> Effect:
        text = ""
        if argument.startswith("torn") and call is not None:
            done = execute.transfer(call, int(argument.split()[1]))
            text = f"{done} of {execute.length_of(call)} bytes written, then "
        if argument == "process":
            return Effect(f"SIGKILL to process {call.task.process.pid if call else 0}", kill="one")
        return Effect(f"{text}SIGKILL to all", kill="all")

    def _short(self, wanted: int, call: Call) -> Effect:
        whole = execute.would_transfer(call)
        if wanted >= whole:
            raise execute.CannotExecute(f"it transfers {whole} bytes as it is")
        done = execute.transfer(call, wanted)
        _took_effect(done)
        return Effect(f"{done} of {execute.length_of(call)} bytes transferred", answer=done)

    def _lost(self, name: str, call: Call) -> Effect:
        if call.family == "close":
            return Effect(f"answered {name}", answer=-getattr(errno, name), release=True)
        if call.family == "open":
            opened = execute.perform_open(call)
            if opened >= 0:
                execute.close(opened)
            done = min(opened, 0)
        else:
            done = execute.perform(call)
        _took_effect(done)
        return Effect(f"took effect (result {done}), answered {name}", answer=-getattr(errno, name))

    def _full(self, left: int, call: Call) -> Effect:
        disk = FullDisk(left)
        answer, text = disk.answer(call, self._as_operation)
        return Effect(text or f"{left} bytes left on the disk", answer=answer, standing=disk)

    def _error(self, name: str, argument: str, call: Call) -> Effect:
        standing = None
        if argument == PERSISTENT:
            standing = StandingError(name, call.target)
        return Effect(
            f"answered {name}",
            answer=-getattr(errno, name),
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
    return Receipt(armed.text, shown, effect.text, {"monotonic": time.monotonic()})
