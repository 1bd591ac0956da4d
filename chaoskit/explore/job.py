"""What one execution of a test is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Note, World
from chaoskit.explore.snapshot import EMPTY, Snapshot
from chaoskit.inject.base import TIMEOUT, Leaks

NO_FAULTS = Schedule()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the baseline left: the yardstick for the free invariants and for differences."""

    snapshot: Snapshot = field(default_factory=lambda: EMPTY)
    leaks: tuple[Leaks, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What one execution of the test is asked.

    ``record`` asks for the trace. ``note``, if given, is called with the directory before each run, and the
    trace then keeps the data of writes. ``expected`` is None for the first recording, which sets it.
    ``timeout`` is in seconds, for each run and for each stretch of the test between runs.
    """

    schedule: Schedule = NO_FAULTS
    record: bool = False
    note: Note | None = None
    patterns: tuple[str, ...] = ()
    world: World | None = None
    strike_recovery: bool = False
    # Also how the first recording is told from all others.
    expected: Expected | None = None
    timeout: float = TIMEOUT
