"""What the workload's clocks show: the real time, plus skipped time, plus the effects of faults.

The clocks run like the real ones while anything runs, so a program measures what it takes; skipping a wait
advances all of them by its length. So nothing differs from real time until something has slept, and two reads
of a clock are as far apart as they would really be.
"""

from __future__ import annotations

import contextlib
import time
from functools import cache, cached_property

from chaoskit.inject.kernel.clock import vdso
from chaoskit.inject.kernel.clock.table import READABLE, SINCE_BOOT, WALL
from chaoskit.inject.kernel.clock.ticks import Ticks

SECOND = 10**9
_LAST = (1 << 63) - 1
"""The last nanosecond that a 64-bit clock shows; for the wall clock it is in the year 2262."""


class Dial:
    """The clocks of one run. All times are whole nanoseconds.

    ``ahead`` is how far they lead the real ones at the start: what earlier runs of the same case have
    skipped.
    """

    def __init__(self, counter: Ticks | None, ahead: int = 0) -> None:
        self._counter = counter
        self._drift = 0
        self._slept = time.monotonic_ns()
        self.skipped = 0
        """The waiting that this run has skipped."""
        self._ahead = ahead
        self._wall = self._boot = 0
        self._frozen: int | None = None
        self._lead = 0
        self._published = (0, 0, 0)
        self.counting = False
        """True if each read of the wall clock must stop, since a fault is due at one of them."""

    @cached_property
    def _start(self) -> dict[int, int]:
        """What all clocks showed at one moment, computed on demand: most runs never wait."""
        return {clock: time.clock_gettime_ns(clock) for clock in _clocks()}

    @property
    def _began(self) -> int:
        return self._start[1]

    @property
    def ahead(self) -> int:
        """How far the clocks lead the real ones."""
        return self._ahead + self.skipped

    @property
    def moved(self) -> bool:
        """True if the clocks do not show the real time."""
        return bool(self.ahead or self._wall or self._frozen is not None)

    @property
    def burst(self) -> int:
        """How long something has been running since everything slept."""
        return time.monotonic_ns() - self._slept

    def shows(self, clock: int) -> bool:
        """True if this machine has the clock, and it can be virtual."""
        return clock in _clocks()

    def now(self, clock: int) -> int:
        """What a clock shows."""
        return self._at(clock, time.monotonic_ns() - self._began + self._lead)

    def real(self) -> int:
        """What a real wall clock would show if nothing had set it since the run began."""
        return self._start[0] + time.monotonic_ns() - self._began

    def _at(self, clock: int, passed: int) -> int:
        if clock in WALL and self._frozen is not None:
            return self._frozen
        shown = self._start[clock] + passed + self.ahead
        if clock in WALL:
            return shown + self._wall
        return shown + self._boot if clock in SINCE_BOOT else shown

    def reaches(self, duration: int) -> bool:
        """True if the clocks can show the time ``duration`` from now.

        A wait for longer, as for Python's ``threading.TIMEOUT_MAX`` of 292 years, means forever.
        """
        return max(map(self.now, _clocks())) + duration + abs(duration * self._drift) // 1_000_000 <= _LAST

    def skip(self, duration: int) -> None:
        """Advance all clocks: everything sleeps."""
        self._slept = time.monotonic_ns()
        self.skipped += duration
        # Only for skipped time: in other time a wrong rate does not show.
        self._wall += duration * self._drift // 1_000_000

    def step(self, duration: int) -> None:
        """Set the wall clock ahead or back."""
        self._wall += duration
        if self._frozen is not None:
            self._frozen += duration

    def suspend(self, duration: int) -> None:
        """Suspend the machine: the wall clock and the one since boot continue, the monotonic one does not."""
        self.step(duration)
        self._boot += duration

    def drift(self, rate: int) -> None:
        """Make the wall clock fast by ``rate`` parts per million from here on."""
        self._drift = rate

    def freeze(self) -> None:
        """Stop the wall clock."""
        self._frozen = self.now(0)

    def table(self) -> bytes:
        """The table for the workload's pages, for reads without a system call."""
        counter, scale = self._counter, self._published[2]
        if counter is None:
            return b""
        scale = scale or counter.scale()
        ticks, passed = counter.read(), time.monotonic_ns() - self._began
        shown, then, _ = self._published
        if then:
            # The two rates differ by a millionth: no clock may go back because of that.
            self._lead = max(self._lead, shown + ((ticks - then) * scale >> 32) - passed - self.ahead)
        passed += self._lead
        self._published = (passed + self.ahead, ticks, scale)
        entries = [-1 if self._stops(clock) else self._at(clock, passed) for clock in range(vdso.CLOCKS)]
        return vdso.TABLE.pack(*entries, ticks, scale)

    def _stops(self, clock: int) -> bool:
        """True if a read of this clock must be a system call."""
        if not self.shows(clock):
            return True
        # A stopped clock cannot be computed from a running counter.
        return clock in WALL and (self.counting or self._frozen is not None)


@cache
def _clocks() -> tuple[int, ...]:
    """The clocks of this machine that can be virtual: some need hardware that it lacks."""
    found = []
    for clock in READABLE:
        with contextlib.suppress(OSError):
            time.clock_gettime_ns(clock)
            found.append(clock)
    return tuple(found)
