"""What goes wrong inside a process: short memory, an interrupt, a cancelled task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllocationFails:
    """The ``nth`` allocation of a line fails; if ``lasting``, so do all later ones of :data:`LARGE` bytes."""

    nth: int
    lasting: bool = False


LARGE = 64 * 1024
"""The size in bytes from which allocations fail while memory stays short; smaller ones still succeed."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """KeyboardInterrupt is raised, as after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The task that is suspended here is cancelled."""


Inner = AllocationFails | Interrupted | Cancelled
"""Faults inside the interpreter, for which no call to the outside world is answered."""


@dataclass(frozen=True, slots=True)
class MemoryLimited:
    """From this call on, the address space of the process may grow by ``mebibytes`` at most."""

    mebibytes: int


@dataclass(frozen=True, slots=True)
class LargestKilled:
    """SIGKILL to the process with the most memory, as the kernel does when memory runs out."""
