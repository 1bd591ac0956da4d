"""The border between the supervisor and what a call is about.

The supervisor knows how calls stop, how they are answered, and when a strike is due. What a call means,
what it was given and what a fault does to it is a domain's to say: files today; sockets, clocks and
allocations stand beside them. A domain is a class that is listed in
:mod:`chaoskit.inject.kernel.domains`, and nothing else has to change for it.
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
"""What comes of making a call that cannot be made here as it was meant: wild arguments, a limit of ours."""

Answer = tuple[int | None, str]
"""What to answer (None: let the kernel do it) and what that was, in words."""


class Standing(Protocol):
    """A condition that lasts from a strike until the run is over: a full disk, an error that stays."""

    @property
    def families(self) -> frozenset[str]:
        """Those of which it may answer a call; it is asked about no others."""

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """What becomes of ``call``; ``as_operation`` says what is known before it takes effect.

        A text without an answer: the call goes its ordinary way, and that it was made proves the condition.
        """


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
    waits: Callable[[Callable[[int], object]], object] | None = None
    """Begins to wait for what decides the call; it is given the function to call with the answer."""
    release: int | None = None
    """The caller's descriptor whose file must be let go before the answer, as a close does."""
    standing: Standing | None = None
    shown: Callable[[], bool] | None = None
    """Asked when the run is over, of a condition that no call has proven: whether it was met all the same."""
    # Then no answer is awaited: there is no caller left to get it.
    fatal: bool = False
    """True if the workload's own process dies of it at once."""


class Counter(Protocol):
    """Counts the calls before the one that is struck, as cheaply as can be."""

    def goes_by(self, tid: int, number: int, arch: int, first: int) -> bool:
        """Count the call and return True if it may go on unexamined.

        ``first`` is its first argument. On False the caller must decode and count it.
        """


class Timekeeping(Protocol):
    """The time in which the workload lives: the real one, or its own."""

    def later(self, seconds: float, action: Callable[[], object], tid: int = 0) -> None:
        """Call ``action`` in this many seconds of the workload's time.

        ``tid`` is the thread whose call is held for it: time may be skipped while it waits.
        """


class Happening(Protocol):
    """An operation without a call, once it has begun, such as a request that goes over a socket."""

    @property
    def shape(self) -> Shape | None:
        """What is to strike it; None for nothing, or for what has struck it already."""

    @property
    def text(self) -> str:
        """The strike as the schedule spells it."""

    def prove(self, effect: str) -> None:
        """The fault took effect now; without this the case counts as not injected."""

    def kill(self, effect: str) -> None:
        """SIGKILL to every process of the workload, and the proof of it."""

    def impossible(self, why: str) -> None:
        """The fault cannot be made to happen here after all."""

    def watch(self, families: frozenset[str]) -> None:
        """Go on looking at calls of these families, though no strike is due at one."""

    def known(self, result: int | None, detail: Detail) -> None:
        """What has become of the operation so far; in a recording its record says so."""


class Happenings(Protocol):
    """Where a domain reports operations without a call."""

    def begin(self, call: Call, detail: Detail, where: Where | None = None) -> Happening:
        """Count, record and strike an operation; kills and signals happen before this returns."""

    def near(self, family: str, within: int) -> bool:
        """True if one of the next ``within`` operations of a family may be struck.

        If not, what carries them may be passed on before it is understood: no fault is too late then.
        """


@dataclass(frozen=True, slots=True)
class Around:
    """What a domain stands in for the time of one run.

    ``root`` is the scenario's directory, resolved. Operations are added to ``log``. A domain that waits for
    descriptors puts them into ``poller``, deadlines into ``time``, and may then answer a call long after it
    was asked to perform it. ``plan`` is what was asked of the run. Operations without a call begin by
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
    """What the peers of the plan have got; a domain adds to it."""
    unsynced: set[str] = field(default_factory=set)
    """Files outside of ``root`` that are written and not synced; a domain adds and removes."""


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
        """Understand a call; None if it is not an operation of this domain.

        One whose family is empty is not an operation either, but the domain answers it: it is performed,
        and neither counted, recorded nor struck.
        """

    def describe(self, call: C, whole: bool) -> Detail:
        """What is known of a call before it takes effect; with the data that it carries if ``whole``."""

    def perform(self, call: C, stopped: Stopped) -> None:
        """See that ``stopped`` gets its one answer; in a recording, add the operation to the log.

        In a case this is asked only of calls that always stop.
        """

    def effect(self, shape: Shape, call: C) -> FaultEffect:
        """What a fault does to a call; SIGKILL, signals and delays never get here.

        Raises:
            CannotExecute: if it cannot be done to this call.
        """

    def counter(self, armed: Armed, main: Process) -> Counter | None:
        """A cheap way to count what ``main`` does until ``armed`` is due; None if all must be decoded."""

    @property
    def outstanding(self) -> Collection[int]:
        """Sockets of ours, by inode, whose other end owes the workload an event.

        If that end is outside of the workload, no time may be skipped before.
        """

    @property
    def relayed(self) -> Mapping[int, int | None]:
        """Each socket of ours that passes on what comes from another of ours, by inode.

        None for one through which nothing comes any more, since a fault says so.
        """

    def settle(self) -> None:
        """Complete what is under way: another operation is about to be recorded, of whatever domain."""

    def at_end(self) -> Detail | None:
        """What is known once the workload's function has returned; None if that is nothing."""

    def close(self) -> None:
        """Let everything go; the run is over."""


class AtOnce:
    """What a domain need not say whose calls are answered at once and leave nothing under way."""

    def counter(self, armed: Armed, main: Process) -> Counter | None:
        """What its calls are about has to be read before they can be counted."""
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
