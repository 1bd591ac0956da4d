"""One byte for each handler, in memory shared by the workload and the process that judges it."""

from __future__ import annotations

import mmap

CALLED, RAN, UNTOLD = 1, 2, 3
"""The values of a handler's byte: its function was called; an exception reached it; its function was called,
but the handler's place in the code was not found. 0: none of these."""


class Marks:
    """``count`` bytes that are all 0 at first.

    Shared, since a killed workload cannot send anything. Each byte is written separately, so that threads and
    forked children need no lock. Writing one makes no system call, so the harness does not see it.
    """

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(1, count))
        self._count = count

    def called(self, number: int, told: bool) -> None:
        """The function of handler ``number`` was called; ``told`` is False if the handler was not found."""
        if not self._memory[number]:
            self._memory[number] = CALLED if told else UNTOLD

    def ran(self, number: int) -> None:
        """An exception reached handler ``number``, or a line of a handler was executed."""
        self._memory[number] = RAN

    def taken(self) -> bytes:
        """All marks; frees the memory."""
        found = self._memory[: self._count]
        self._memory.close()
        return found
