"""The result of exploring one scenario: plain frozen records.

They cross process borders (worker to test process, xdist worker to controller) and become the JSON of the
report, so every field has a type that :mod:`chaoskit.core.plain` knows. :meth:`ScenarioResult.to_dict` and
:meth:`ScenarioResult.from_dict` are exact inverses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from chaoskit.core.auditing import SyncResult
from chaoskit.core.case import NO_JUDGEMENT, VERDICTS, CaseResult, OutsidePromise, Verdict
from chaoskit.core.counted import (
    CountedCases,
    RecoveryTimes,
    counted,
    recovery_times,
    without_arguments,
)
from chaoskit.core.evidence import Part
from chaoskit.core.finding import Advice, Finding
from chaoskit.core.handling import HandlerResult
from chaoskit.core.operation import Caveat, Frame
from chaoskit.core.plain import ADDED, from_plain, to_plain, with_text
from chaoskit.core.schedule import Schedule, printable

Conclusion = Literal["passed", "failed", "inconclusive", "listed", "skipped", "error"]
"""``passed``: there are no findings but known ones. ``error``: the scenario could not be explored at all (it
fails without faults, or was used wrongly). ``skipped``: it skipped itself, or there is no backend."""


@dataclass(frozen=True, slots=True)
class PointSummary:
    """One operation of the recording, and the faults offered there.

    ``name`` is the point's text in schedules; ``place`` its run, process and thread as in a schedule, empty
    for the workload's first thread in the first run. ``outcome`` is what the call returned in the recording
    (``0``, ``-ENOENT``, empty if unknown). ``stable`` is true if both recordings have this point. ``faults``
    are those offered; ``explored`` counts those that were run.
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
    """A difference between the two recordings of the baseline.

    ``kind``: ``name`` (a wildcard was found: ``text`` is the pattern), ``only in first``, ``only in
    second`` (operations), ``outcome`` (an operation that succeeded once and failed once).
    """

    kind: Literal["name", "only in first", "only in second", "outcome"]
    text: str
    site: Frame | None = None


UNSTABLE = "not the same in two baselines"
OVER_BUDGET = "over the budget"
ALIKE = "second fault skipped: another first fault leads to the same state"
HANGS_THERE = "three cases that strike at the same line have hung"
AFTER_FIRST = "a case before them has broken, and one was enough"
ELSEWHERE = "in the other shards"
"""Reasons why a possible case was not run."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many of the possible cases were run. ``left_out`` maps a reason to a number of cases."""

    limit: int | None
    possible: int
    run: int
    # By reason, since each calls for something else: a larger budget, or a stable program.
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many contents a power loss may leave on the disk, and how many of those were checked.

    ``possible`` counts the legal combinations of persisted steps that were enumerated after each operation at
    which the power may fail; ``distinct`` those that differ in content or in the promises before them.
    ``checked`` of the distinct ones were built and judged; ``left_out`` is the rest: over the budget, not
    stable, or not judged.
    """

    possible: int
    distinct: int
    checked: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Shrinking:
    """The cost of making crash states smaller: ``cases`` were run for it, beyond any budget.

    At most ``limit_each`` are run for one state and ``limit_all`` for a scenario.
    """

    cases: int
    limit_each: int
    limit_all: int


@dataclass(frozen=True, slots=True)
class OracleTrial:
    """The trial of the test's own check on states that no working program leaves.

    ``tried`` counts those states; ``accepted`` names the ones that the check wrongly let pass, each as the
    object of "your check accepts".
    """

    tried: int = 0
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of wall-clock time by phase."""

    baseline: float = 0.0
    second_baseline: float = 0.0
    cases: float = 0.0
    total: float = 0.0
    not_waited: float = 0.0
    """Waiting skipped in all runs because their time was virtual; not part of the other figures."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options in force, defaults filled in. ``faults`` is text; ``families`` has only the names of the
    families, without what narrows them; ``replay`` is the one schedule to run.

    ``command`` is empty for a test; for ``chaoskit explore`` it has the options and the program, quoted for a
    shell. ``test`` names a test relative to where pytest was started; a node id is relative to the root
    directory.
    """

    faults: str = ""
    families: tuple[str, ...] = ()
    depth: int = 1
    budget: int | None = None
    workers: int = 1
    timeout: float = 0.0
    model: tuple[str, ...] = ()
    allow_inconclusive: float = 0.0
    invariants: tuple[str, ...] = ()
    replay: Schedule | None = None
    command: str = ""
    test: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The result of exploring one scenario. ``file`` and ``line`` are those of the test function.

    ``error`` says why the scenario was not explored, for the states ``error`` and ``skipped``. ``plan`` is a
    digest of the planned cases: machines with equal digests would run the same cases.
    """

    nodeid: str
    state: Conclusion
    file: str = ""
    line: int = 0
    seed: int = 0
    backend: str = ""
    options: Options = field(default_factory=Options)
    plan: str = ""
    points: tuple[PointSummary, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    counted: tuple[CountedCases, ...] = ()
    """Cases that are not in ``cases``; see :meth:`aggregated`."""
    findings: tuple[Finding, ...] = ()
    variations: tuple[Variation, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    budget: Budget = field(default_factory=lambda: Budget(None, 0, 0))
    timing: Timing = field(default_factory=Timing)
    promises: int = 0
    outside: tuple[OutsidePromise, ...] = ()
    """Those of ``promises`` that the test itself made in the baseline, outside any run."""
    error: str = ""
    advice: tuple[Advice, ...] = ()
    """What looks wrong in the recording alone, whether or not a case broke."""
    crash_states: StateCounts | None = None
    """None if no power loss was asked for, or if no crash state is possible."""
    shrinking: Shrinking | None = None
    """None where no crash state broke the test."""
    oracle: OracleTrial | None = None
    """None if the check was not tried: in a replay, in a listing, or because it was switched off."""
    known: Mapping[str, str] = field(default_factory=dict)
    """The findings that the scenario states as known: by id, why each is accepted."""
    sometimes: Mapping[str, int] = field(default_factory=dict, metadata=ADDED)
    """For each state that some case must reach: in how many cases it was; 0: its purpose is untested."""
    handlers: tuple[HandlerResult, ...] | None = field(default=None, metadata=ADDED)
    """The exception handlers of every module in which a workload called a function that has one; None if they
    were not watched."""
    promise: str = field(default="", metadata=ADDED)
    """What the scenario is about: the first sentence of the test's docstring, the same for all parameters."""
    resumed: Mapping[str, int] = field(default_factory=dict, metadata=ADDED)
    """Where named recoveries resumed, compared with the promises: how often each answer occurred."""
    syncs: tuple[SyncResult, ...] | None = field(default=None, metadata=ADDED)
    """What each sync protects; None if that was not asked for."""
    part: Part | None = field(default=None, metadata=ADDED)
    """What a shard needs to be joined with the others; None for a complete result."""
    recovery: RecoveryTimes | None = None
    """None if the test names no recovery, and until the cases are counted: see :meth:`aggregated`."""
    stale: tuple[str, ...] = ()
    """Ids in ``known`` that no case showed although every case was run."""

    @property
    def tried(self) -> int:
        """How many cases were run, whether or not each still has a record."""
        return len(self.cases) + sum(one.count for one in self.counted)

    @property
    def new_findings(self) -> tuple[Finding, ...]:
        """The findings that are not stated as known."""
        return tuple(finding for finding in self.findings if not finding.known)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """The number of cases with each verdict; every verdict is a key."""
        # Every verdict is a key, so that a reader of the report need not know which may be absent.
        counts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
        for case in self.cases:
            counts[case.verdict] += 1
        for several in self.counted:
            counts[several.verdict] += several.count
        return counts

    def aggregated(self) -> ScenarioResult:
        """The same result, with all cases counted but those that illustrate a finding or could not be judged.

        This is what a file holds: thousands of cases that passed say no more than their number, and the
        schedules of those that broke are listed with their finding.
        """
        shown = {finding.schedule: bool(finding.known) for finding in self.findings}
        kept = tuple(
            _brief(case, known=shown.get(case.schedule, False))
            for case in self.cases
            if case.schedule in shown or case.verdict in NO_JUDGEMENT
        )
        keeps = {case.index for case in kept}
        rest = counted((case for case in self.cases if case.index not in keeps), self.counted)
        points = tuple(
            replace(point, faults=tuple(dict.fromkeys(map(without_arguments, point.faults))))
            for point in self.points
        )
        times = self.recovery or recovery_times(self.cases)
        return replace(self, cases=kept, counted=rest, points=points, recovery=times)

    def to_dict(self, brief: frozenset[type] = frozenset()) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for ``json.dumps``; ``brief`` is as in ``to_plain``."""
        plain: dict[str, Any] = to_plain(self, brief)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ScenarioResult:
        """Rebuild what :meth:`to_dict` gave. Unknown keys are ignored, missing ones take defaults."""
        return from_plain(cls, plain)

    def printable(self) -> ScenarioResult:
        """The same result, with every text passed through :func:`chaoskit.core.schedule.printable`.

        Do this to whatever leaves the process: surrogates neither cross to xdist's controller nor belong on a
        terminal. Schedules stay as they are, since they are written in ASCII.
        """
        escaped: ScenarioResult = with_text(self, printable, str)
        return escaped

    def renamed(self, change: Callable[[str], str]) -> ScenarioResult:
        """The same result, with ``change`` applied to every text in it, names in schedules included."""
        changed: ScenarioResult = with_text(self, change, change)
        return changed


def _brief(case: CaseResult, *, known: bool) -> CaseResult:
    """The case without what its finding repeats, and without the timeline if the finding is ``known``."""
    failure = case.failure and replace(case.failure, text="")
    timeline = None if known else case.timeline
    return replace(case, failure=failure, differences=(), timeline=timeline)
