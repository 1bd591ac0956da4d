"""Detects loops that poll a silent peer, say every tenth of a second.

psycopg waits like this, and so do others that want to notice Ctrl-C. If each of these waits were skipped
alone, the run would last until the scenario's time-out, as in real time.
"""

from __future__ import annotations

from chaoskit.inject.kernel.clock.dial import SECOND
from chaoskit.inject.kernel.clock.waits import Wait

_OFTEN = 64
"""This many equal waits in a row are a loop. Before that each ends on time."""
FOR_EVER = 24 * 3600 * SECOND
"""Nanoseconds after which a loop that nothing can end counts as hung: no program wants to wait so long."""


class Polling:
    """The latest waits of one thread, all equal and all ended by their time."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._times = 0
        self._since = 0

    def how_long(self, wait: Wait, now: int) -> int:
        """The nanoseconds that the loop has lasted; 0 if it may not be a loop."""
        key = (wait.task.tid, wait.spec.name, wait.length, len(wait.descriptors))
        if key != self._key:
            self._key, self._times, self._since = key, 0, now
        self._times += 1
        return now - self._since if self._times > _OFTEN else 0
