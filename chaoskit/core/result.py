"""What exploring one scenario has shown: plain frozen records, nothing in them but text and numbers.

They cross process borders (worker to test process, xdist worker to controller) and become the JSON
of the report, so every field is made of str, int, float, bool, None, tuples and further records.
:meth:`ScenarioResult.to_dict` and :meth:`ScenarioResult.from_dict` are exact inverses.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar, Union

from chaoskit.core.schedule import printable

Verdict = Literal["tolerated", "failed safe", "violated", "hung", "diverged", "not injected"]
"""What one case has come to; see the design's section "Verdicts"."""

PASSING: tuple[Verdict, ...] = ("tolerated", "failed safe")
BROKEN: tuple[Verdict, ...] = ("violated", "hung")
INCONCLUSIVE: tuple[Verdict, ...] = ("diverged", "not injected")
VERDICTS: tuple[Verdict, ...] = PASSING + BROKEN + INCONCLUSIVE

State = Literal["passed", "failed", "inconclusive", "listed", "error"]
"""``error``: the scenario could not be explored at all (it fails without faults, wrong use)."""


ADDED = MappingProxyType({"added": True})
"""Metadata of a field that reports written before it existed do not have: the schema does not require it."""


@dataclass(frozen=True, slots=True)
class Site:
    """One Python frame: source file, line from 1, qualified name of the function."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class PointSummary:
    """One operation of the recording, and what was offered there.

    ``name`` is the point's text in schedules; ``place`` its run, process and thread as in a
    schedule, empty for the workload's first thread in the first run. ``outcome`` is what the call
    returned in the recording (``0``, ``-ENOENT``, empty if unknown). ``stable`` tells whether both
    recordings have this point. ``faults`` are those offered, ``explored`` how many of them were run.
    """

    index: int
    name: str
    call: str
    target: str
    second: str | None
    place: str
    run: int
    outcome: str
    stack: tuple[Site, ...]
    stable: bool = True
    faults: tuple[str, ...] = ()
    explored: int = 0


@dataclass(frozen=True, slots=True)
class ReceiptSummary:
    """Proof that one fault of the schedule struck: which, at which operation, and its effect."""

    strike: str
    operation: str
    effect: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one ``chaos.run`` of a case came to. ``how``: returned, raised, died, stopped, lost power.

    ``error`` is ``Type: message``; ``signal`` the signal's name; times are seconds.
    """

    run: int
    how: Literal["returned", "raised", "died", "stopped", "lost power"]
    recovery: bool = False
    error: str = ""
    traceback: str = ""
    signal: str = ""
    stacks: str = ""
    promised: int = 0
    receipts: tuple[ReceiptSummary, ...] = ()
    stray_interrupts: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """What was found wrong after the faults.

    ``kind``: ``assertion`` (the test's own), ``error`` (another exception out of the test),
    ``invariant`` (one of chaoskit's, named by ``name``), ``hang``, ``death`` (the process that runs
    the test died). ``text`` is what pytest prints for it; ``site`` where it was raised.
    """

    kind: Literal["assertion", "error", "invariant", "hang", "death"]
    name: str
    message: str
    text: str = ""
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs from what the undisturbed run leaves.

    ``change``: ``missing``, ``extra`` or ``changed``; ``expected`` and ``found`` describe both sides
    (``file, 12 bytes, mode 644``), ``detail`` shows the contents when they are short.
    """

    path: str
    change: Literal["missing", "extra", "changed"]
    expected: str = ""
    found: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """Which call is to blame, and what to write instead.

    ``kind`` is stable (``rename-before-sync``, ``directory-not-synced`` …), ``text`` one sentence, ``fix``
    at most two lines of Python or English, ``operation`` the guilty call as text, ``site`` where it was
    made, ``models`` the persistence models under which it matters.
    """

    kind: str
    text: str
    fix: str
    operation: str = ""
    site: Site | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One execution of the scenario under one schedule.

    ``index`` counts from 0 in the order of enumeration. ``points`` are the indices into
    :attr:`ScenarioResult.points` of the strikes that have one there. ``attempts`` is more than one
    when the case was tried again. ``finding`` is the index of the finding it belongs to.
    """

    index: int
    schedule: str
    verdict: Verdict
    points: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()
    runs: tuple[RunSummary, ...] = ()
    failure: Failure | None = None
    differences: tuple[Difference, ...] = ()
    attempts: int = 1
    seconds: float = 0.0
    output: str = ""
    caveats: tuple[str, ...] = ()
    note: str = ""
    finding: int | None = None
    models: tuple[str, ...] = ()
    """For a power loss the persistence models that allow its crash state."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Cases that broke in the same way at the same call site; ``schedule`` is the shortest of them.

    ``stack`` is the Python stack of the operation that was hit, innermost first; ``replay`` the
    command line that repeats it; ``explanation`` the whole text that the failing test prints for it.
    """

    index: int
    verdict: Verdict
    schedule: str
    schedules: tuple[str, ...]
    call: str
    site: Site | None
    stack: tuple[Site, ...]
    failure: Failure
    differences: tuple[Difference, ...] = ()
    replay: str = ""
    explanation: str = ""
    reproduced: bool | None = None
    """Whether it showed again when it was run once more; None if that was not tried."""
    models: tuple[str, ...] = ()
    """For a power loss the persistence models under which it shows."""
    advice: Advice | None = None
    by_model: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)
    """For a power loss by model the simplest of ``schedules`` whose crash state that model allows."""
    shrunk_from: str = field(default="", metadata=ADDED)
    """The schedule of the larger crash state that broke first, if ``schedule`` was made from one."""
    smallest: bool | None = field(default=None, metadata=ADDED)
    """Whether every smaller crash state was seen not to break in this way; None if that was not tried,
    False if the search was stopped by its bound."""


@dataclass(frozen=True, slots=True)
class Variation:
    """Something that was not the same in two undisturbed runs.

    ``kind``: ``name`` (a wildcard was found: ``text`` is the pattern), ``only in first``, ``only in
    second`` (operations), ``outcome`` (an operation that succeeded once and failed once).
    """

    kind: Literal["name", "only in first", "only in second", "outcome"]
    text: str
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class CaveatSummary:
    """Something that could not be followed; ``kind`` is stable, ``text`` a sentence for people."""

    kind: str
    target: str
    text: str


UNSTABLE = "not the same in two undisturbed runs"
OVER_BUDGET = "over the budget"
ALIKE = "a second fault where another first fault leads to the same"
"""Reasons why a case that is possible was not run."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of what is possible was run. ``left_out`` maps a reason to a number of cases."""

    limit: int | None
    possible: int
    run: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many contents of the disk a power loss may have left, and how many of them were checked.

    ``possible`` are the legal combinations of what persisted that were enumerated, after each
    operation at which the power may go; ``distinct`` those of different content or with other promises
    before them: equal ones are one. ``checked`` of the distinct ones were built and judged, and
    ``left_out`` is the rest: over the budget, not stable, or not judged.
    """

    possible: int
    distinct: int
    checked: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Shrinking:
    """What making crash states smaller has cost: ``cases`` were run for it, beyond any budget.

    At most ``limit_each`` are run for one state and ``limit_all`` for a scenario.
    """

    cases: int
    limit_each: int
    limit_all: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of wall-clock time by phase."""

    baseline: float = 0.0
    second_baseline: float = 0.0
    cases: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options in force, defaults filled in; ``faults`` as text.

    ``command`` is empty for a test; for ``chaoskit explore`` its options and the program, as a shell
    would be given them. ``test`` names a test where pytest was started; a node id does so only in the
    root directory.
    """

    faults: str = ""
    depth: int = 1
    budget: int | None = None
    workers: int = 1
    timeout: float = 0.0
    model: tuple[str, ...] = ()
    allow_inconclusive: float = 0.0
    invariants: tuple[str, ...] = ()
    replay: str = ""
    command: str = ""
    test: str = field(default="", metadata=ADDED)


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """All that exploring one scenario has shown. ``file`` and ``line`` are the test function's.

    ``error`` says, for the state ``error``, why the scenario could not be explored.
    """

    nodeid: str
    state: State
    file: str = ""
    line: int = 0
    seed: int = 0
    backend: str = ""
    options: Options = field(default_factory=Options)
    points: tuple[PointSummary, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    variations: tuple[Variation, ...] = ()
    caveats: tuple[CaveatSummary, ...] = ()
    budget: Budget = field(default_factory=lambda: Budget(None, 0, 0))
    timing: Timing = field(default_factory=Timing)
    promises: int = 0
    error: str = ""
    advice: tuple[Advice, ...] = ()
    """What looks wrong in the recording alone, whether or not a case broke."""
    crash_states: StateCounts | None = field(default=None, metadata=ADDED)
    """None where no power loss was asked for, or none can leave anything."""
    shrinking: Shrinking | None = field(default=None, metadata=ADDED)
    """None where no crash state broke the test."""

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many cases have which verdict; every verdict is a key."""
        counts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
        for case in self.cases:
            counts[case.verdict] += 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for ``json.dumps``."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def printable(self) -> ScenarioResult:
        """The same with every text in it as :func:`chaoskit.core.schedule.printable` gives it.

        What leaves the process has to be: surrogates neither cross to xdist's controller nor belong on
        a terminal.
        """
        escaped: ScenarioResult = _printable(self)
        return escaped

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ScenarioResult:
        """Rebuild what :meth:`to_dict` gave. Unknown keys are ignored, missing ones take defaults."""
        return _record(cls, plain)


_T = TypeVar("_T")
_readers: dict[type, dict[str, Callable[[Any], Any]]] = {}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return tuple(map(_printable, value))
    if isinstance(value, Mapping):
        return {printable(key): _printable(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _printable(getattr(value, f.name)) for f in fields(value)})
    return value


def _record(cls: type[_T], plain: Mapping[str, Any]) -> _T:
    readers = _readers.get(cls)
    if readers is None:
        hints = typing.get_type_hints(cls)
        readers = {f.name: _reader(hints[f.name]) for f in fields(cls)}  # type: ignore[arg-type]
        _readers[cls] = readers
    return cls(**{name: read(plain[name]) for name, read in readers.items() if name in plain})


def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: _record(hint, value)
    if origin in (Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _reader(args[0])
        return lambda value: tuple(item(each) for each in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    return _as_is


def _as_is(value: Any) -> Any:
    return value
