"""What exploring one scenario has shown: plain frozen records.

They cross process borders (worker to test process, xdist worker to controller) and become the JSON
of the report, so every field is one of those that :mod:`chaoskit.core.plain` knows.
:meth:`ScenarioResult.to_dict` and :meth:`ScenarioResult.from_dict` are exact inverses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chaoskit.core.case import VERDICTS, CaseResult, Verdict
from chaoskit.core.finding import Advice, Finding
from chaoskit.core.operation import Caveat, Frame
from chaoskit.core.plain import ADDED, from_plain, to_plain, with_text
from chaoskit.core.schedule import Schedule, printable

Conclusion = Literal["passed", "failed", "inconclusive", "listed", "error"]
"""``error``: the scenario could not be explored at all (it fails without faults, wrong use)."""


@dataclass(frozen=True, slots=True)
class PointSummary:
    """One operation of the recording, and what was offered there.

    ``name`` is the point's text in schedules; ``place`` its run, process and thread as in a
    schedule, empty for the workload's first thread in the first run. ``outcome`` is what the call
    returned in the recording (``0``, ``-ENOENT``, empty if unknown). ``stable`` is true if both
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
    stack: tuple[Frame, ...]
    stable: bool = True
    faults: tuple[str, ...] = ()
    explored: int = 0


@dataclass(frozen=True, slots=True)
class Variation:
    """Something that was not the same in the two recordings of the baseline.

    ``kind``: ``name`` (a wildcard was found: ``text`` is the pattern), ``only in first``, ``only in
    second`` (operations), ``outcome`` (an operation that succeeded once and failed once).
    """

    kind: Literal["name", "only in first", "only in second", "outcome"]
    text: str
    site: Frame | None = None


UNSTABLE = "not the same in two baselines"
OVER_BUDGET = "over the budget"
ALIKE = "second fault skipped: another first fault leads to the same state"
"""Reasons why a case that is possible was not run."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of what is possible was run. ``left_out`` maps a reason to a number of cases."""

    limit: int | None
    possible: int
    run: int
    # By reason, since each calls for something else: a larger budget, or a stable program.
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
    """The options in force, defaults filled in; ``faults`` as text, ``replay`` the one schedule to run.

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
    replay: Schedule | None = None
    command: str = ""
    test: str = field(default="", metadata=ADDED)


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """All that exploring one scenario has shown. ``file`` and ``line`` are the test function's.

    ``error`` says, for the state ``error``, why the scenario could not be explored.
    """

    nodeid: str
    state: Conclusion
    file: str = ""
    line: int = 0
    seed: int = 0
    backend: str = ""
    options: Options = field(default_factory=Options)
    points: tuple[PointSummary, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    variations: tuple[Variation, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    budget: Budget = field(default_factory=lambda: Budget(None, 0, 0))
    timing: Timing = field(default_factory=Timing)
    promises: int = 0
    error: str = ""
    advice: tuple[Advice, ...] = ()
    """What looks wrong in the recording alone, whether or not a case broke."""
    # ADDED: reports written before the field existed can still be read.
    crash_states: StateCounts | None = field(default=None, metadata=ADDED)
    """None where no power loss was asked for, or none can leave anything."""
    shrinking: Shrinking | None = field(default=None, metadata=ADDED)
    """None where no crash state broke the test."""

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many cases have which verdict; every verdict is a key."""
        # Every verdict is a key, so that a reader of the report need not know which may be absent.
        counts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
        for case in self.cases:
            counts[case.verdict] += 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for ``json.dumps``."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ScenarioResult:
        """Rebuild what :meth:`to_dict` gave. Unknown keys are ignored, missing ones take defaults."""
        return from_plain(cls, plain)

    def printable(self) -> ScenarioResult:
        """The same with every text in it as :func:`chaoskit.core.schedule.printable` gives it.

        What leaves the process has to be: surrogates neither cross to xdist's controller nor belong on
        a terminal. Schedules stay as they are, since what they write is ASCII.
        """
        escaped: ScenarioResult = with_text(self, printable, str)
        return escaped

    def renamed(self, change: Callable[[str], str]) -> ScenarioResult:
        """The same with ``change`` made to every text in it, names in schedules included."""
        changed: ScenarioResult = with_text(self, change, change)
        return changed
