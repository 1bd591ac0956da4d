"""What goes wrong inside of a process: memory that is short, an interrupt, a task that is cancelled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllocationFails:
    """The ``nth`` allocation of a line fails; if ``lasting``, from then on all of :data:`LARGE` bytes too."""

    nth: int
    lasting: bool = False


LARGE = 64 * 1024
"""Bytes of an allocation that fails while memory stays short: smaller ones still succeed."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """KeyboardInterrupt is raised, as Python does once Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The task that is suspended here is cancelled."""


Inner = AllocationFails | Interrupted | Cancelled
"""What strikes inside of the interpreter; no call to the outside is answered for it."""


@dataclass(frozen=True, slots=True)
class MemoryLimited:
    """The process may have ``mebibytes`` more of address space than it has at this call, and no more."""

    mebibytes: int


@dataclass(frozen=True, slots=True)
class LargestKilled:
    """SIGKILL to the process with the most memory, as the kernel does when there is none left."""
