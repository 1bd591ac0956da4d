"""The border between the explorer and a backend: what is asked of one run, and what comes back.

Which faults there are, and what each asks of a backend, is the table in :mod:`chaoskit.faults.shapes`;
``chaoskit.faults`` says which are offered where.
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
"""Seconds until a workload counts as hung where nothing else was asked for. Most take far less than one; a
first recording may start an interpreter and import a large library on a slow machine."""


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
    """What a command left: the value of its outcome. Output is bytes, cut at 1 MiB each."""

    argv: tuple[str, ...]
    returncode: int
    # Bytes, since a program may print what is not text.
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class VirtualTime:
    """Waiting costs nothing: when everything waits, the workload's clocks go to the first end of a wait.

    ``ahead`` is by how many nanoseconds they are ahead of the real ones at the start. With ``operations``
    sleeps and reads of the wall clock are operations, that are recorded and can be struck.
    """

    ahead: int = 0
    operations: bool = False


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """The program that a name stands for, and where it really listens."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """What a peer was asked, whole: a request of HTTP, or without method what was sent in one exchange.

    ``body`` is cut after 1 MiB.
    """

    peer: str
    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
# Plain values only: a plan is the same for every backend, and can be printed when one misbehaves.
class Plan:
    """What is asked of one run.

    ``root``
        Absolute path (resolved) below which operations count.
    ``run``
        The ordinal of this run in its test, from 1.
    ``record``
        True if every operation is to be recorded with stack, data and result. Otherwise the trace that
        comes back is empty, and the run is as fast as it can be.
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
        Globs for threads of the test process beside which the workload may be forked: of their names, or
        of the plugin or package that they belong to.
    ``unsynced``
        Files outside of ``root`` that earlier runs of the test have written and not synced.
    ``time``
        None for the real time; else how the workload's own time is.
    ``handlers``
        What notes which handlers of exceptions run; of programs that are executed nothing is noted.
    ``shapes``
        What the faults of ``strikes`` mean, in their order: their text is read here, and nowhere behind.

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

    ``unclosed`` has what it no longer held only because the garbage collector had closed it, in the words of
    Python's ResourceWarning: files of objects, which a caller may keep. ``forgotten`` has those of which no
    more is known than that they were left open, as by a variable of a frame.
    """

    descriptors: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    unclosed: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run ended, and what was seen of it.

    Exactly one of these is the case: it returned (``ok``, with ``value``), it raised (``error``,
    with ``traceback`` as text), it died (``signal``), it was stopped as hung (``timed_out``, with
    ``stacks`` as text).
    """

    ok: bool
    value: Any = None
    error: BaseException | None = None
    traceback: str = ""
    signal: int | None = None
    timed_out: bool = False
    stuck: bool = False
    """It was stopped before its time was up: all of it waited, and nothing could have ended that."""
    skipped: int = 0
    """Nanoseconds that were not waited, since its time was virtual."""
    stacks: str = ""
    trace: Trace = field(default_factory=Trace)
    receipts: tuple[Receipt, ...] = ()
    reached: int = 0
    """How many strikes of the plan had their point reached, in order."""
    nearest: Mapping[str, Strike] = field(default_factory=dict)
    """For strikes, as text, whose place was not there in this run: the nearest one that could have struck."""
    promised: tuple[Any, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    leaks: Leaks = field(default_factory=Leaks)
    requests: tuple[PeerRequest, ...] = ()
    """What the peers of the plan have got from the workload, in order."""
    unsynced: frozenset[str] = frozenset()
    """Of a recording: files outside of the root that were written by now, in this run or before, and not
    synced."""
    stray_interrupts: int = 0
    """Calls that were interrupted before the injector had them: the workload may have seen an EINTR
    that no fault of the plan accounts for."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a backend needs, tried out: ``ok``, what was seen, and what would help."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True
    """True if the backend cannot work without it."""


class Backend(Protocol):
    """Runs workloads under observation. Reports a run only when every process of it is gone."""

    name: str

    def time_is_real(self) -> str | None:
        """Why the time of a workload cannot be virtual here; None if it can be."""

    def clocks_cannot_be_set(self) -> str | None:
        """Why reads of clocks, and sleeps, cannot be struck here; None if they can."""

    def unavailable(self) -> str | None:
        """Why this backend cannot work on this machine, with what would help; None if it can."""

    def examine(self) -> tuple[Check, ...]:
        """Everything that it needs, tried out; what follows a needed check that failed is left out.

        The backend works exactly if every needed check is ``ok``. Leaves nothing behind.
        """

    def check(self, fault: Fault) -> None:
        """Refuse a fault that this backend cannot make happen, before anything is run.

        Raises:
            ScheduleError: naming the fault, and those that there are.
        """

    def run(self, work: Callable[[], Any] | Command, plan: Plan) -> Ran:
        """Execute ``work`` once.

        Raises:
            UsageError: for wrong use that only the backend can see: a result that cannot be
                sent, a run inside of a run, a descriptor below the root that is still open.
            ScheduleError: for a fault that :meth:`check` refuses; nothing has run then.
        """


# Its class may not exist in this process, or its constructor may want other arguments.
class WorkloadError(ChaoskitError):
    """Stands for an error of the workload that could not be brought here as it was.

    ``args`` are the name of its class, empty if there was no error to be brought, and its message.
    """

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.args if part)


class CommandFailed(ChaoskitError):
    """A command ended with another status than 0; ``completed`` is what it left."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(completed)
        self.completed = completed

    def __str__(self) -> str:
        # The end, where programs say why.
        tail = self.completed.stderr.decode(errors="replace")[-2000:].strip()
        status = f"{self.completed.argv[0]} ended with status {self.completed.returncode}"
        return f"{status}: {tail}" if tail else status
