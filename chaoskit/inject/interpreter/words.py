"""The memory that a workload shares with its injector: a countdown, and the proof of strikes.

It is made before the fork. Each word is read and written whole, and while the supervisor uses one the
workload's main thread waits in a call.
"""

from __future__ import annotations

import ctypes
import mmap

from chaoskit.core.errors import UsageError

NEVER = 1 << 62
"""A countdown that no run exhausts. Storing this very object disarms without an allocation."""

COUNTDOWN, LEAST, HITS, REACHED, POSITION, ARMED, BESIDE = range(7)
"""``COUNTDOWN``: the allocation that finds 1 fails. ``LEAST``: bytes from which those after it fail as well.
``HITS``: how many have failed. ``REACHED``: how many strikes had their point reached. ``POSITION``:
how many operations are recorded. ``ARMED``: the strike that waits for its allocation, counted from 1.
``BESIDE``: 1 once a line of the program began in a thread other than the main one, where none counts."""
_PROOFS = 8
MOST_STRIKES = 64
_COUNTS = _PROOFS + MOST_STRIKES
"""After the words above each strike has one for its proof, and one for the allocations that its line made if
they were too few."""


class SharedWords:
    """The words of one run."""

    def __init__(self, strikes: int) -> None:
        """Room for the proofs of this many strikes.

        Raises:
            UsageError: for more than 64.
        """
        if strikes > MOST_STRIKES:
            raise UsageError(f"the schedule has {strikes} strikes; expected {MOST_STRIKES} at most.")
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.words = memoryview(self._memory).cast("Q")
        self.words[COUNTDOWN] = NEVER
        self.words[LEAST] = NEVER

    @property
    def address(self) -> int:
        """The address of the words; equal in both processes."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    @property
    def reached(self) -> int:
        """How many strikes of the plan had their point reached, in order."""
        return self.words[REACHED]

    @reached.setter
    def reached(self, number: int) -> None:
        self.words[REACHED] = number

    def prove(self, strike: int, proof: int = 1) -> None:
        """Strike number ``strike``, from 0, took effect. For an allocation ``proof`` is how many failed."""
        self.words[_PROOFS + strike] = proof

    def proof(self, strike: int) -> int:
        """The proof of a strike; 0 if there is none."""
        # A process that died of its failed allocation could not write more.
        if self.words[ARMED] == strike + 1 and self.words[HITS]:
            return self.words[HITS]
        return self.words[_PROOFS + strike]

    def fell_short(self, strike: int, made: int) -> None:
        """The line of strike number ``strike`` made only ``made`` allocations, too few for the strike."""
        self.words[_COUNTS + strike] = made

    def made(self, strike: int) -> int:
        """How many allocations such a line made; 0 if it did not fall short."""
        return self.words[_COUNTS + strike]

    def close(self) -> None:
        """Release the memory."""
        self.words.release()
        self._memory.close()
