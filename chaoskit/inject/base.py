"""The border between the explorer and a backend: the plan of one run, and its outcome.

The table in :mod:`chaoskit.faults.shapes` lists the faults, and what each asks of a backend;
``chaoskit.faults`` says where they are offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaoskit.core.errors import ChaoskitError
from chaoskit.core.operation import Caveat, Receipt, Trace
from chaoskit.core.schedule import Fault, Strike
from chaoskit.faults.inside import NOTHING_INWARD, Inward
from chaoskit.faults.shapes import Shape, shape_of
from chaoskit.inject.handlers import HandlerWatch

TIMEOUT = 60.0
"""Default seconds until a workload counts as hung. Most take far less than one second; a first recording may
start an interpreter and import a large library on a slow machine."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run as the workload. ``stdin`` is given whole; ``cwd`` defaults to the root."""

    argv: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    stdin: bytes = b""
    promise_stdout: bool = True
    """True if each line on standard output counts as a promise."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The value of a command's outcome. Each output is bytes, cut at 1 MiB."""

    argv: tuple[str, ...]
    returncode: int
    # Bytes, since a program's output need not be text.
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class VirtualTime:
    """Waiting costs nothing: when everything waits, the workload's clocks jump to the end of the shortest
    wait.

    ``ahead`` is the number of nanoseconds by which they lead the real clocks at the start. With
    ``operations``, sleeps and reads of the wall clock are operations, which are recorded and can be struck.
    """

    ahead: int = 0
    operations: bool = False


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer: its name in the workload, and the address where it really listens."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A complete request to a peer: an HTTP request, or without method what was sent in one exchange.

    ``body`` is cut after 1 MiB.
    """

    peer: str
    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
# Plain values only: a plan is the same for every backend, and can be printed if one misbehaves.
class Plan:
    """The plan of one run.

    ``root``
        Absolute path (resolved) below which operations count.
    ``run``
        The ordinal of this run in its test, from 1.
    ``record``
        True to record every operation with stack, data and result. Otherwise the returned trace is empty, and
        the run is as fast as possible.
    ``strikes``
        The faults of this run, in order: the second is armed once the first has struck.
    ``patterns``
        Wildcard targets that the trace of this scenario knows; a name that fits one is counted
        under the pattern.
    ``timeout``
        Seconds of real time until the workload counts as hung and is killed.
    ``peers``
        The programs that the workload may talk to by name.
    ``threads``
        Globs for threads that the test process may have when the workload is forked: for their names, or for
        the plugin or package to which they belong.
    ``unsynced``
        Files outside ``root`` that earlier runs of the test wrote and did not sync.
    ``time``
        None for real time; otherwise the workload's virtual time.
    ``handlers``
        Records which exception handlers run; not in other programs that the workload executes.
    ``shapes``
        The shapes of the faults in ``strikes``, in order: their text is parsed here, and nowhere below.

    Raises:
        ScheduleError: for a fault that does not exist.
    """

    root: str
    run: int = 1
    record: bool = False
    strikes: tuple[Strike, ...] = ()
    patterns: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    peers: tuple[PeerAddress, ...] = ()
    threads: tuple[str, ...] = ()
    unsynced: frozenset[str] = frozenset()
    time: VirtualTime | None = None
    inside: Inward = NOTHING_INWARD
    handlers: HandlerWatch | None = None
    shapes: tuple[Shape, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(shape_of(one.fault) for one in self.strikes))


@dataclass(frozen=True, slots=True)
class Leaks:
    """What the workload's process still held when the workload was over.

    ``unclosed`` has what only the garbage collector closed, in the words of Python's ResourceWarning: files
    of objects, which a caller may keep. ``forgotten`` has those that were left open in an unknown way, such
    as by a local variable.
    """

    descriptors: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    unclosed: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run ended, and what was observed.

    Exactly one of these is true: it returned (``ok``, with ``value``), it raised (``error``, with
    ``traceback`` as text), it died (``signal``), it was stopped as hung (``timed_out``, with ``stacks`` as
    text).
    """

    ok: bool
    value: Any = None
    error: BaseException | None = None
    traceback: str = ""
    signal: int | None = None
    timed_out: bool = False
    stuck: bool = False
    """True if it was stopped before its time was up: all of it waited, and nothing could have ended that."""
    skipped: int = 0
    """Nanoseconds of waiting that were skipped because its time was virtual."""
    stacks: str = ""
    trace: Trace = field(default_factory=Trace)
    receipts: tuple[Receipt, ...] = ()
    reached: int = 0
    """How many strikes of the plan, in order, had their point reached."""
    nearest: Mapping[str, Strike] = field(default_factory=dict)
    """For strikes (as text) whose point did not occur: the nearest one that could have struck."""
    promised: tuple[Any, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    leaks: Leaks = field(default_factory=Leaks)
    requests: tuple[PeerRequest, ...] = ()
    """What the peers of the plan received from the workload, in order."""
    unsynced: frozenset[str] = frozenset()
    """In a recording: files outside the root that this run or an earlier one wrote and did not sync."""
    stray_interrupts: int = 0
    """Calls interrupted before the injector received them: the workload may have seen an EINTR that is not a
    fault of the plan."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a backend needs, after a trial: ``ok``, what was seen, and what would help."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True
    """True if the backend cannot work without it."""


class Backend(Protocol):
    """Runs workloads under observation. Returns from a run only when every process of it is gone."""

    name: str

    def time_is_real(self) -> str | None:
        """Why the time of a workload cannot be virtual here; None if it can be."""

    def clocks_cannot_be_set(self) -> str | None:
        """Why reads of clocks, and sleeps, cannot be struck here; None if they can."""

    def unavailable(self) -> str | None:
        """Why this backend cannot work on this machine, with what would help; None if it can."""

    def examine(self) -> tuple[Check, ...]:
        """Try everything that it needs, up to a needed check that fails.

        The backend works if and only if every needed check is ``ok``. Leaves nothing behind.
        """

    def check(self, fault: Fault) -> None:
        """Refuse a fault that this backend cannot inject, before anything is run.

        Raises:
            ScheduleError: naming the fault, and the faults that exist.
        """

    def run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        """Execute ``work`` once.

        Raises:
            UsageError: for wrong use that only the backend can see: a result that cannot be sent, a run
            inside a run, a descriptor below the root that is still open. ScheduleError: for a fault that
            :meth:`check` refuses; nothing has run then.
        """


# The error's class may not exist in this process, or its constructor may need other arguments.
class WorkloadError(ChaoskitError):
    """Stands in for an error of the workload that could not be transferred.

    ``args`` are the name of its class, empty if there was no error, and its message.
    """

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.args if part)


class CommandFailed(ChaoskitError):
    """A command ended with a status other than 0; ``completed`` is its value."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(completed)
        self.completed = completed

    def __str__(self) -> str:
        # The end, where programs say why.
        tail = self.completed.stderr.decode(errors="replace")[-2000:].strip()
        status = f"{self.completed.argv[0]} ended with status {self.completed.returncode}"
        return f"{status}: {tail}" if tail else status
