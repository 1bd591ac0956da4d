"""The border between the supervisor and what a call is about.

The supervisor knows how calls stop, how they are answered, and when a strike is due. What a call means,
what it was given and what a fault does to it is a domain's to say: files today; sockets, clocks and
allocations stand beside them. A domain is a class that is listed in
:mod:`chaoskit.inject.kernel.domains`, and nothing else has to change for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from chaoskit.core.operation import Detail, Operation
from chaoskit.faults.shapes import Shape
from chaoskit.inject.kernel.armed import Armed
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.log import Call, Log
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Process, Task, Tree


class CannotExecute(Exception):
    """The call must be left to the kernel; the argument says why."""


UNFAITHFUL = (CannotExecute, OSError, OverflowError, MemoryError, ValueError)
"""What comes of making a call that cannot be made here as it was meant: wild arguments, a limit of ours."""

Answer = tuple[int | None, str]
"""What to answer (None: let the kernel do it) and what that was, in words."""


class Standing(Protocol):
    """A condition that lasts from a strike until the run is over: a full disk, an error that stays."""

    @property
    def families(self) -> frozenset[str]:
        """Those of which it may answer a call; it is asked about no others."""

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """What becomes of ``call``; ``as_operation`` says what is known before it takes effect."""


@dataclass(slots=True)
class FaultEffect:
    """What the supervisor has to do about a call that was struck.

    Exactly one of: ``answer`` with a result or minus the errno; ``kill`` processes (``all`` or
    ``one``); proceed (the kernel carries the call out), after ``delay`` seconds. ``text`` goes into the
    receipt.
    """

    text: str
    answer: int | None = None
    kill: str = ""
    delay: float = 0.0
    release: int | None = None
    """The caller's descriptor whose file must be let go before the answer, as a close does."""
    standing: Standing | None = None
    # Then no answer is awaited: there is no caller left to get it.
    fatal: bool = False
    """True if the workload's own process dies of it at once."""


class Counter(Protocol):
    """Counts the calls before the one that is struck, as cheaply as can be."""

    def goes_by(self, tid: int, number: int, arch: int, first: int) -> bool:
        """Count the call and return True if it may go on unexamined.

        ``first`` is its first argument. On False the caller must decode and count it.
        """


@dataclass(frozen=True, slots=True)
class Around:
    """What a domain stands in for the time of one run.

    ``root`` is the scenario's directory, resolved. Operations are added to ``log``. A domain that waits for
    descriptors or deadlines puts them into ``poller``, and may then answer a call long after it
    was asked to perform it.
    """

    root: str
    log: Log
    poller: Poller
    tree: Tree


# So that a domain gets back its own kind of call, and not any.
C = TypeVar("C", bound=Call)


class Domain(Protocol[C]):
    """One part of the outside world, for one run."""

    specs: ClassVar[tuple[Spec, ...]]
    """The calls that it understands. Two domains may want the same call: they are asked in order."""

    def __init__(self, around: Around) -> None: ...

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """The families that a fault of this shape may go on to answer once it has struck here."""

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> C | None:
        """Understand a call; None if it is no operation of this domain."""

    def describe(self, call: C, whole: bool) -> Detail:
        """What is known of a call before it takes effect; with the data that it carries if ``whole``."""

    def perform(self, call: C, stopped: Stopped) -> None:
        """In a recording: add the operation to the log, and see that ``stopped`` gets its one answer."""

    def effect(self, shape: Shape, call: C) -> FaultEffect:
        """What a fault does to a call; SIGKILL, signals and delays never get here.

        Raises:
            CannotExecute: if it cannot be done to this call.
        """

    def counter(self, armed: Armed, main: Process) -> Counter | None:
        """A cheap way to count what ``main`` does until ``armed`` is due; None if all must be decoded."""

    def settle(self) -> None:
        """Complete what is under way: another operation is about to be recorded, of whatever domain."""

    def at_end(self) -> Detail | None:
        """What is known once the workload's function has returned; None if that is nothing."""

    def close(self) -> None:
        """Let everything go; the run is over."""
