"""What the workload's clocks show: the real time, what was skipped of it, and what a fault has made of them.

The clocks run as the real ones do while anything runs, so a program measures what it takes; a wait that is
skipped puts all of them forward by its length. So nothing differs from the real time until something has
slept, and two reads of a clock are never further from each other, or nearer, than they would be.
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
"""The last nanosecond that a clock of 64 bits shows; of the wall clock it is in the year 2262."""


class Dial:
    """The clocks of one run. All times are whole nanoseconds.

    ``ahead`` is how far they are ahead of the real ones from the start: what earlier runs of the same case
    have skipped.
    """

    def __init__(self, counter: Ticks | None, ahead: int = 0) -> None:
        self._counter = counter
        self._drift = 0
        self._slept = time.monotonic_ns()
        self.skipped = 0
        """What this run has not waited."""
        self._ahead = ahead
        self._wall = self._boot = 0
        self._frozen: int | None = None
        self._lead = 0
        self._published = (0, 0, 0)
        self.counting = False
        """Each read of the wall clock is to stop, since a fault is due at one of them."""

    @cached_property
    def _start(self) -> dict[int, int]:
        """What all clocks have shown at one moment. Most runs wait for nothing, and never ask."""
        return {clock: time.clock_gettime_ns(clock) for clock in _clocks()}

    @property
    def _began(self) -> int:
        return self._start[1]

    @property
    def ahead(self) -> int:
        """How far the clocks are ahead of the real ones."""
        return self._ahead + self.skipped

    @property
    def moved(self) -> bool:
        """The clocks do not show the real time."""
        return bool(self.ahead or self._wall or self._frozen is not None)

    @property
    def burst(self) -> int:
        """For how long something has run since all slept."""
        return time.monotonic_ns() - self._slept

    def shows(self, clock: int) -> bool:
        """True if this machine has the clock, and it can be virtual."""
        return clock in _clocks()

    def now(self, clock: int) -> int:
        """What a clock shows."""
        return self._at(clock, time.monotonic_ns() - self._began + self._lead)

    def real(self) -> int:
        """What a real wall clock shows that nothing has set since the run began."""
        return self._start[0] + time.monotonic_ns() - self._began

    def _at(self, clock: int, passed: int) -> int:
        if clock in WALL and self._frozen is not None:
            return self._frozen
        shown = self._start[clock] + passed + self.ahead
        if clock in WALL:
            return shown + self._wall
        return shown + self._boot if clock in SINCE_BOOT else shown

    def reaches(self, duration: int) -> bool:
        """True if the clocks can show the time that it is in ``duration``.

        A wait for longer, as for Python's ``threading.TIMEOUT_MAX`` of 292 years, means for ever.
        """
        return max(map(self.now, _clocks())) + duration + abs(duration * self._drift) // 1_000_000 <= _LAST

    def skip(self, duration: int) -> None:
        """Put all clocks forward: everything sleeps."""
        self._slept = time.monotonic_ns()
        self.skipped += duration
        # Of what is skipped only: in what is not, a wrong rate does not show.
        self._wall += duration * self._drift // 1_000_000

    def step(self, duration: int) -> None:
        """Put the wall clock forward or back."""
        self._wall += duration
        if self._frozen is not None:
            self._frozen += duration

    def suspend(self, duration: int) -> None:
        """The machine slept: the wall clock and the one since boot went on, the monotonic one did not."""
        self.step(duration)
        self._boot += duration

    def drift(self, rate: int) -> None:
        """The wall clock goes fast from here on, by ``rate`` parts in a million."""
        self._drift = rate

    def freeze(self) -> None:
        """The wall clock stands still from here on."""
        self._frozen = self.now(0)

    def table(self) -> bytes:
        """What the workload's pages are to hold for reads without a system call."""
        counter, scale = self._counter, self._published[2]
        if counter is None:
            return b""
        scale = scale or counter.scale()
        ticks, passed = counter.read(), time.monotonic_ns() - self._began
        shown, then, _ = self._published
        if then:
            # The two rates differ by a millionth: no clock may go back for it.
            self._lead = max(self._lead, shown + ((ticks - then) * scale >> 32) - passed - self.ahead)
        passed += self._lead
        self._published = (passed + self.ahead, ticks, scale)
        entries = [-1 if self._stops(clock) else self._at(clock, passed) for clock in range(vdso.CLOCKS)]
        return vdso.TABLE.pack(*entries, ticks, scale)

    def _stops(self, clock: int) -> bool:
        """A read of this clock is a system call."""
        if not self.shows(clock):
            return True
        # What stands still cannot be computed from a counter that goes on.
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
