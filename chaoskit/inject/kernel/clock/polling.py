"""Programs that ask a silent peer again and again, a tenth of a second at a time, whether it has answered.

psycopg waits so, and others that want to see a Ctrl-C. Each of those waits would be skipped alone, and the
run end at the scenario's time-out, as if its time were real.
"""

from __future__ import annotations

from chaoskit.inject.kernel.clock.dial import SECOND
from chaoskit.inject.kernel.clock.waits import Wait

_OFTEN = 64
"""This many equal waits in a row are a loop. Till then each ends on time."""
FOR_EVER = 24 * 3600 * SECOND
"""Nanoseconds after which a loop that nothing can end counts as hung. No program means to wait that long for
an answer."""


class Polling:
    """The waits of one thread that have run out in a row, all alike."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._times = 0
        self._since = 0

    def how_long(self, wait: Wait, now: int) -> int:
        """For how many nanoseconds it has gone on; 0 as long as it may be anything else."""
        key = (wait.task.tid, wait.spec.name, wait.length, len(wait.descriptors))
        if key != self._key:
            self._key, self._times, self._since = key, 0, now
        self._times += 1
        return now - self._since if self._times > _OFTEN else 0
