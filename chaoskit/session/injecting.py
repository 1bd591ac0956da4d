"""Hand-picked faults in the test's own process: ``chaos.inject`` and :func:`injecting`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaoskit.core.errors import ChaoskitError, wrong
from chaoskit.core.operation import Caveat, Operation, Receipt
from chaoskit.core.schedule import Fault, Schedule, Strike, point_of
from chaoskit.faults.narrowing import unknown
from chaoskit.faults.shapes import shape_of, unsupported
from chaoskit.inject.base import Plan
from chaoskit.inject.inprocess import effects
from chaoskit.inject.inprocess.arming import SEEN, armed
from chaoskit.inject.inprocess.backend import InProcessBackend
from chaoskit.inject.inprocess.effects import BY_HAND
from chaoskit.inject.inprocess.machine import machine
from chaoskit.inject.inprocess.run import Rule, WatchedRun

FaultRule = str | Schedule | Callable[[Operation], "str | None"]
"""A schedule such as ``"write(*.json)#2=ENOSPC"``, or a function that takes an operation and returns the name
of the fault that strikes it, or None."""


class NotInjected(ChaoskitError):
    """A fault of a schedule had not struck when its block was left."""


@dataclass(slots=True)
class Injected:
    """What has happened in the block so far.

    ``faults`` has the receipts of the faults that struck, ``operations`` what the code did. ``killed`` is
    True once a fault has ended the block the way a kill ends a process. ``around`` lists what no fault could
    strike: the work of C libraries, of child processes, and of functions reached by a name that was not
    found.
    """

    _run: WatchedRun

    @property
    def faults(self) -> tuple[Receipt, ...]:
        return tuple(self._run.receipts)

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(self._run.operations)

    @property
    def killed(self) -> bool:
        return self._run.dead

    @property
    def around(self) -> tuple[Caveat, ...]:
        return tuple(self._run.caveats.values())


@contextmanager
def injecting(
    *rules: FaultRule, path: str | os.PathLike[str], must_strike: bool = True
) -> Iterator[Injected]:
    """Until the block ends, inject the faults of ``rules`` into calls of Python code on files below ``path``.

    Faults strike where the code runs: in this process, at the functions of ``os``, ``open``, sockets and
    clocks, under whatever name they were bound. They do not reach C libraries and child processes; what those
    do to files is listed in ``around``. After a kill every further call raises until the block is left, in
    ``finally`` and ``__exit__`` too, and the block ends quietly; what the code has changed in memory stays.
    With pyfakefs active the files are those in memory.

    Schedules strike in the order given, each once. Functions are called for each operation at which no
    schedule strikes.

    Raises:
        ScheduleError: for a fault or an operation that does not exist, or that this backend cannot inject.
        UsageError: for another kind of rule, and inside another such block.
        NotInjected: when the block is left, if the fault of a schedule has not struck, unless ``must_strike``
            is False.
    """
    strikes: list[Strike] = []
    functions: list[Rule] = []
    for rule in rules:
        if isinstance(rule, str | Schedule):
            strikes += _checked(rule)
        elif callable(rule):
            functions.append(_asking(rule))
        else:
            raise wrong("rule", rule, "a schedule such as 'write(a)#1=EIO', or a function of an operation")
    here = machine()
    root = str(here.os.path.realpath(os.fspath(path)))
    run = WatchedRun(Plan(root, record=True, strikes=tuple(strikes)), here, functions, by_hand=True)
    injected = Injected(run)
    try:
        with armed(run):
            yield injected
    except BaseException as error:
        # A process that is killed raises nothing; what comes here is what the code made of our signal.
        if not run.dead or isinstance(error, KeyboardInterrupt):
            raise
    finally:
        if run.dead:
            run.let_go()
    if run.dead:
        return
    missed = strikes[len(run.receipts) :] if not functions else []
    if must_strike and missed:
        raise NotInjected(_missed(missed[0], run))


def _missed(strike: Strike, run: WatchedRun) -> str:
    # As a rule names them, with the thread: an operation alone is printed without it.
    same = [str(point_of(one)) for one in run.operations if one.call == strike.point.call]
    unable = next((one.text for one in run.caveats.values() if one.target == str(strike)), "")
    seen = unable or f"the operations of that kind were {', '.join(same[:5]) or 'none'}"
    return (
        f"'{strike}' did not strike in the block: {seen}. Expected its operation to be reached. Look at "
        "'operations' of the block's object for the names, or pass must_strike=False if it need not be."
    )


def _checked(rule: str | Schedule) -> tuple[Strike, ...]:
    schedule = Schedule.parse(rule) if isinstance(rule, str) else rule
    for strike in schedule:
        _check(strike.fault)
        if strike.point.call not in SEEN:
            raise unknown("operation of Python code", strike.point.call, SEEN)
        if not effects.fits(shape_of(strike.fault), strike.point.call):
            raise wrong("fault", str(strike), f"a fault that {strike.point.call} can meet")
    return schedule.strikes


def _asking(function: Callable[[Operation], str | None]) -> Rule:
    def rule(operation: Operation) -> Fault | None:
        text = function(operation)
        if text is None:
            return None
        name, _, argument = text.rstrip("]").partition("[")
        fault = Fault(name, argument)
        _check(fault)
        return fault

    return rule


def _check(fault: Fault) -> None:
    if not isinstance(shape_of(fault), BY_HAND):
        raise unsupported(fault, InProcessBackend.name)
