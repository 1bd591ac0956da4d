"""Reads of the wall clock: it can be set, or stand still.

If freezegun is active, each read that it answers is an operation, and a step moves its clock, including
``datetime.now()``. Without it only ``time.time`` and ``time.time_ns`` are seen: ``datetime`` asks the system
in C. If time-machine is active the same two are seen, and a step moves its clock, from which ``datetime``
takes its time.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from typing import Any

from chaoskit.core.operation import Detail
from chaoskit.inject.inprocess import bindings
from chaoskit.inject.inprocess import run as runs
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.files import Args, Original, Words
from chaoskit.inject.inprocess.run import WatchedRun
from chaoskit.inject.inprocess.wrapping import Interception

_SECOND = 10**9


def replaced(run: WatchedRun) -> Callable[[], object]:
    """Let ``run`` see reads of the wall clock; return a function that undoes it."""
    freezegun = sys.modules.get("freezegun.api")
    if freezegun is not None and freezegun.freeze_factories:
        factories, place = freezegun.freeze_factories, len(freezegun.freeze_factories) - 1
        factory = factories[place]
        run.move_clock = lambda nanoseconds: factory.tick(datetime.timedelta(microseconds=nanoseconds / 1000))
        run.read_clock = lambda: _nanoseconds(factory())
        factories[place] = _FrozenClock(factory)
        return lambda: factories.__setitem__(place, factory)
    seconds, whole = time.time, time.time_ns

    def shifted() -> int:
        return (whole() if run.frozen_at is None else run.frozen_at) + run.clock_offset

    def move(nanoseconds: int) -> None:
        run.clock_offset += nanoseconds

    run.move_clock, run.read_clock = move, shifted
    # The innermost travel is the last; the list has another name since version 3.
    time_machine = sys.modules.get("time_machine")
    travels = getattr(time_machine, "traveller_stack", None) or getattr(time_machine, "coordinates_stack", ())
    if travels:
        travelled = travels[-1]
        run.move_clock = lambda nanoseconds: travelled.shift(
            datetime.timedelta(microseconds=nanoseconds / 1000)
        )
    return bindings.replaced(
        {
            seconds: Interception(seconds, _reading(lambda: shifted() / _SECOND)),
            whole: Interception(whole, _reading(shifted)),
        }
    )


def _reading(read: Callable[[], Any]) -> Any:
    def understand(run: WatchedRun, original: Original, args: Args, words: Words) -> PythonCall:
        return PythonCall("clock", "wall", "clock_gettime", read, Detail, result=lambda _: 0)

    return understand


class _FrozenClock:
    """Replaces a clock of freezegun; each read of it is an operation."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def __call__(self) -> datetime.datetime:
        run = runs.current()
        if run is None or run.passes():
            return self._factory()  # type: ignore[no-any-return]
        call = PythonCall("clock", "wall", "clock_gettime", self._factory, Detail, result=lambda _: 0)
        return run.make(call)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)


def _nanoseconds(moment: datetime.datetime) -> int:
    """Nanoseconds from 1970 to a moment in UTC, as freezegun keeps it."""
    since = moment - datetime.datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds * 1000
