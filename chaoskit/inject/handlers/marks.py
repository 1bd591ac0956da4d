"""One byte for each handler, in memory that the workload shares with the process that judges it."""

from __future__ import annotations

import mmap

CALLED, RAN, UNTOLD = 1, 2, 3
"""What the byte of a handler says: its function was called; an exception came to it; its function was called,
and where in the code the handler begins could not be found out. 0: nothing of all that."""


class Marks:
    """``count`` bytes that are all 0 at first.

    Shared, since a workload that is killed can send nothing, and each is written by itself, so that threads
    and forked children need no lock. No call is made to write one: nothing of it is seen by the harness.
    """

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(1, count))
        self._count = count

    def called(self, number: int, told: bool) -> None:
        """The function of handler ``number`` was called; ``told`` is False if the handler was not found."""
        if not self._memory[number]:
            self._memory[number] = CALLED if told else UNTOLD

    def ran(self, number: int) -> None:
        """An exception has come to handler ``number``, or a line of one was executed."""
        self._memory[number] = RAN

    def taken(self) -> bytes:
        """All of them; the memory is given back."""
        found = self._memory[: self._count]
        self._memory.close()
        return found
