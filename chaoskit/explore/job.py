"""The job of one execution of a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Note, World
from chaoskit.explore.snapshot import EMPTY, Snapshot
from chaoskit.explore.spoiling import Spoiling
from chaoskit.faults.inside import NOTHING_INWARD, Inward
from chaoskit.inject.base import TIMEOUT, Leaks, VirtualTime
from chaoskit.inject.handlers import Handlers

NO_FAULTS = Schedule()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the baseline left: the reference for the built-in invariants and for differences."""

    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    leaks: tuple[Leaks, ...] = ()
    promised: tuple[Any, ...] = ()
    """What the baseline promised, in order."""
    repeatable: bool = True
    """False if a second recovery changed something even without a fault: that is reported already."""


@dataclass(frozen=True, slots=True)
class Job:
    """The job of one execution of the test.

    ``record`` asks for the trace. ``note``, if given, is called with the directory before each run, and the
    trace then keeps the data of writes. ``expected`` is None for the first recording, from which it is made.
    ``home``, if given, is the directory in which to run it. ``spoiling`` is what to do to the directory after
    a run, to see whether the test notices. ``timeout`` is in seconds, for each run and for each stretch of
    the test between runs. ``time`` is that of the first run; later runs continue it. ``inside`` is what the
    faults need to see inside the interpreter. ``handlers`` are the exception handlers to watch.
    """

    schedule: Schedule = NO_FAULTS
    record: bool = False
    note: Note | None = None
    patterns: tuple[str, ...] = ()
    world: World | None = None
    home: str = ""
    strike_recovery: bool = False
    # None also marks the first recording.
    expected: Expected | None = None
    timeout: float = TIMEOUT
    spoiling: Spoiling | None = None
    inside: Inward = NOTHING_INWARD
    time: VirtualTime | None = None
    handlers: Handlers | None = None
