"""What one execution of a test is asked."""

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
    """What the baseline left: the yardstick for the free invariants and for differences."""

    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    leaks: tuple[Leaks, ...] = ()
    promised: tuple[Any, ...] = ()
    """What it promised, in order."""
    repeatable: bool = True
    """False if recovering a second time changed something without any fault: that is known already."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one execution of the test is asked.

    ``record`` asks for the trace. ``note``, if given, is called with the directory before each run, and the
    trace then keeps the data of writes. ``expected`` is None for the first recording, which sets it.
    ``home``, if given, is the directory in which to run it.
    ``spoiling`` is what to do to the directory behind a run, to see whether the test notices.
    ``timeout`` is in seconds, for each run and for each stretch of the test between runs. ``time`` is that of
    the first run; a later one begins where the last one ended. ``inside`` is what the faults need to see
    inside of the interpreter. ``handlers`` are those of which it is noted whether they run.
    """

    schedule: Schedule = NO_FAULTS
    record: bool = False
    note: Note | None = None
    patterns: tuple[str, ...] = ()
    world: World | None = None
    home: str = ""
    strike_recovery: bool = False
    # Also how the first recording is told from all others.
    expected: Expected | None = None
    timeout: float = TIMEOUT
    spoiling: Spoiling | None = None
    inside: Inward = NOTHING_INWARD
    time: VirtualTime | None = None
    handlers: Handlers | None = None
