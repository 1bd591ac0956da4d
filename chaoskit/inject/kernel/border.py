"""The border between the supervisor and the domains of calls.

The supervisor knows how calls stop, how they are answered, and when a strike is due. A domain (files,
look-ups, the network, clocks) knows what a call means, what its arguments are, and what a fault does to it. A
domain is a class listed in :mod:`chaoskit.inject.kernel.domains`, and adding one changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from chaoskit.core.operation import Detail, Operation
from chaoskit.faults.shapes import Shape
from chaoskit.inject.armed import Armed
from chaoskit.inject.base import PeerRequest, Plan
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.log import Call, Log, Where
from chaoskit.inject.kernel.poller import Poller
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Process, Task, Tree


class CannotExecute(Exception):
    """The call must be left to the kernel; the argument says why."""


UNFAITHFUL = (CannotExecute, OSError, OverflowError, MemoryError, ValueError)
"""The errors of a call that cannot be made here as its caller meant it: wild arguments, a limit of ours."""

Answer = tuple[int | None, str]
"""The answer (None: let the kernel make the call), and what it was, in words."""


class Standing(Protocol):
    """A condition that lasts from a strike until the run is over: a full disk, an error that stays."""

    @property
    def families(self) -> frozenset[str]:
        """The families whose calls it may answer; it is asked about no others."""

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """What becomes of ``call``; ``as_operation`` has what is known before it takes effect.

        A text without an answer: the call goes its ordinary way, and the fact that it was made proves the
        condition.
        """


@dataclass(slots=True)
class FaultEffect:
    """What the supervisor must do about a call that was struck.

    Exactly one of: ``answer`` with a result or minus the errno; ``kill`` processes (``all`` or
    ``one``); proceed (the kernel carries the call out), after ``delay`` seconds. ``text`` goes into the
    receipt.
    """

    text: str
    answer: int | None = None
    kill: str = ""
    delay: float = 0.0
    waits: Callable[[Callable[[int], object]], object] | None = None
    """Begins to wait for whatever decides the call; takes the function to call with the answer."""
    release: int | None = None
    """The caller's descriptor whose file must be released before the answer, as by a close."""
    standing: Standing | None = None
    shown: Callable[[], bool] | None = None
    """Called when the run is over, for a condition that no call has proven: True if it was met anyway."""
    # In that case no answer is needed: there is no caller left.
    fatal: bool = False
    """True if the workload's own process dies at once."""


class Counter(Protocol):
    """Counts the calls before the one that is struck, as cheaply as possible."""

    def goes_by(self, tid: int, number: int, arch: int, first: int) -> bool:
        """Count the call and return True if it may go on unexamined.

        ``first`` is its first argument. On False the caller must decode and count it.
        """


class Timekeeping(Protocol):
    """The workload's time: real or virtual."""

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` in this many seconds of the workload's time.

        ``tid`` is the thread whose call is held meanwhile: time may be skipped while it waits.
        """


class Happening(Protocol):
    """An operation without a call that has begun, such as a request over a socket."""

    @property
    def shape(self) -> Shape | None:
        """What strikes it; None for nothing, or if it has struck already."""

    @property
    def text(self) -> str:
        """The strike as the schedule writes it."""

    def prove(self, effect: str) -> None:
        """Note that the fault took effect now; without this the case counts as not injected."""

    def kill(self, effect: str) -> None:
        """Send SIGKILL to every process of the workload, with the proof."""

    def impossible(self, why: str) -> None:
        """Note that the fault cannot be injected here after all."""

    def watch(self, families: frozenset[str]) -> None:
        """Continue to watch calls of these families, even if no strike is due at one."""

    def known(self, result: int | None, detail: Detail) -> None:
        """Note the operation's outcome so far; a recording keeps it."""


class Happenings(Protocol):
    """Where a domain reports operations without a call."""

    def begin(self, call: Call, detail: Detail, where: Where | None = None) -> Happening:
        """Count, record and strike an operation; kills and signals take effect before this returns."""

    def near(self, family: str, within: int) -> bool:
        """True if one of the next ``within`` operations of a family may be struck.

        If not, their data may be passed on before it is parsed, since no fault can come too late then.
        """


@dataclass(frozen=True, slots=True)
class Around:
    """The surroundings of a domain in one run.

    ``root`` is the scenario's resolved directory. Operations are added to ``log``. A domain that waits puts
    descriptors into ``poller`` and deadlines into ``time``, and may then answer a call long after it was
    asked to perform it. ``plan`` is the plan of the run. Operations without a call begin through
    ``happenings``.
    """

    root: str
    log: Log
    poller: Poller
    tree: Tree
    time: Timekeeping
    plan: Plan
    happenings: Happenings
    requests: list[PeerRequest] = field(default_factory=list)
    """What the peers of the plan have received; a domain adds to it."""
    unsynced: set[str] = field(default_factory=set)
    """Files outside ``root`` that are written and not synced; a domain adds and removes."""


# So that a domain receives only its own type of call.
C = TypeVar("C", bound=Call)


class Domain(Protocol[C]):
    """One part of the outside world, for one run."""

    specs: ClassVar[tuple[Spec, ...]]
    """The calls that it understands. If two domains want the same call, they are asked in order."""

    def __init__(self, around: Around) -> None: ...

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """The families whose later calls a fault of this shape may answer once it has struck here."""

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> C | None:
        """Understand a call; None if it is not an operation of this domain.

        A call with an empty family is not an operation either, but the domain answers it: it is performed,
        but neither counted, recorded nor struck.
        """

    def describe(self, call: C, whole: bool) -> Detail:
        """What is known about a call before it takes effect; with its data if ``whole``."""

    def perform(self, call: C, stopped: Stopped) -> None:
        """Make sure that ``stopped`` gets its one answer; in a recording, add the operation to the log.

        In a case this is called only for calls that always stop.
        """

    def effect(self, shape: Shape, call: C) -> FaultEffect:
        """What a fault does to a call; SIGKILL, signals and delays never get here.

        Raises:
            CannotExecute: if the fault is impossible at this call.
        """

    def counter(self, armed: Armed, main: Process) -> Counter | None:
        """A cheap counter for the calls of ``main`` until ``armed`` is due; None if all must be decoded."""

    @property
    def outstanding(self) -> Collection[int]:
        """Sockets of ours, by inode, whose other end owes the workload an event.

        No time may be skipped before that event if the other end is outside the workload.
        """

    @property
    def relayed(self) -> Mapping[int, int | None]:
        """Maps each socket of ours, by inode, to the one that it relays from; to None if silenced."""

    def settle(self) -> None:
        """Complete what is under way, since another operation, of any domain, is about to be recorded."""

    def at_end(self) -> Detail | None:
        """What is known once the workload's function has returned; None if nothing."""

    def close(self) -> None:
        """Release everything; the run is over."""


class AtOnce:
    """Defaults for a domain whose calls are answered at once and leave nothing under way."""

    def counter(self, armed: Armed, main: Process) -> Counter | None:
        """Return None: its calls must be decoded before they can be counted."""
        return None

    @property
    def outstanding(self) -> Collection[int]:
        """Nothing outside owes the workload an event."""
        return ()

    @property
    def relayed(self) -> Mapping[int, int | None]:
        """There are no sockets here."""
        return {}

    def settle(self) -> None:
        """A call is complete when it is recorded."""

    def at_end(self) -> Detail | None:
        """Nothing is left to tell."""
        return None

    def close(self) -> None:
        """Nothing is kept."""
