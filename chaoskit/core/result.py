"""What exploring one scenario has shown: plain frozen records.

They cross process borders (worker to test process, xdist worker to controller) and become the JSON
of the report, so every field is one of those that :mod:`chaoskit.core.plain` knows.
:meth:`ScenarioResult.to_dict` and :meth:`ScenarioResult.from_dict` are exact inverses.
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
"""``passed`` has no findings but known ones; ``error``: the scenario could not be explored at all (it fails
without faults, wrong use); ``skipped``: it was not, by its own wish or for want of a backend."""


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
HANGS_THERE = "three cases that strike at the same line have hung"
AFTER_FIRST = "a case before them has broken, and one was enough"
ELSEWHERE = "in the other shards"
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
class OracleTrial:
    """Whether the test's own check notices states that no working program leaves.

    ``tried`` states were put before it, and ``accepted`` says which of them it let pass that it should not
    have, each as the object of "your check accepts".
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
    """What all runs did not wait, since their time was virtual. It is in none of the others."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options in force, defaults filled in; ``faults`` as text, ``families`` their names without whatever
    narrows them; ``replay`` the one schedule to run.

    ``command`` is empty for a test; for ``chaoskit explore`` its options and the program, as a shell
    would be given them. ``test`` names a test where pytest was started; a node id does so only in the
    root directory.
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
    """All that exploring one scenario has shown. ``file`` and ``line`` are the test function's.

    ``error`` says, for the states ``error`` and ``skipped``, why the scenario was not explored. ``plan`` is a
    digest of the cases that were planned: equal ones mean that two machines would run the same.
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
    """Those of ``promises`` that the test itself has made in the baseline, outside of every run."""
    error: str = ""
    advice: tuple[Advice, ...] = ()
    """What looks wrong in the recording alone, whether or not a case broke."""
    crash_states: StateCounts | None = None
    """None where no power loss was asked for, or none can leave anything."""
    shrinking: Shrinking | None = None
    """None where no crash state broke the test."""
    oracle: OracleTrial | None = None
    """None where the check was not tried: in a replay, in a listing, or because that was not wanted."""
    known: Mapping[str, str] = field(default_factory=dict)
    """The findings that the scenario states as known: by id why each is accepted."""
    sometimes: Mapping[str, int] = field(default_factory=dict, metadata=ADDED)
    """In how many cases each state was reached that some case must reach; 0: what it is for was not tried."""
    handlers: tuple[HandlerResult, ...] | None = field(default=None, metadata=ADDED)
    """The handlers of exceptions of all modules in which a workload called a function that has one; None
    where that was not noted."""
    promise: str = field(default="", metadata=ADDED)
    """What the scenario is about: the first sentence of its test's docstring, the same for all of its
    parameters."""
    resumed: Mapping[str, int] = field(default_factory=dict, metadata=ADDED)
    """Where named recoveries went on, measured by what had been promised: in words, with their numbers."""
    syncs: tuple[SyncResult, ...] | None = field(default=None, metadata=ADDED)
    """What each sync is good for; None where that was not asked."""
    part: Part | None = field(default=None, metadata=ADDED)
    """What a shard knows to be joined with the others; None for a whole."""
    recovery: RecoveryTimes | None = None
    """None where the test names no recovery, and before the cases are counted: see :meth:`aggregated`."""
    stale: tuple[str, ...] = ()
    """Ids in ``known`` of which no case showed anything although every case was run."""

    @property
    def tried(self) -> int:
        """How many cases were run, whether or not each still has a record."""
        return len(self.cases) + sum(one.count for one in self.counted)

    @property
    def new_findings(self) -> tuple[Finding, ...]:
        """Those that are not stated as known."""
        return tuple(finding for finding in self.findings if not finding.known)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many cases have which verdict; every verdict is a key."""
        # Every verdict is a key, so that a reader of the report need not know which may be absent.
        counts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
        for case in self.cases:
            counts[case.verdict] += 1
        for several in self.counted:
            counts[several.verdict] += several.count
        return counts

    def aggregated(self) -> ScenarioResult:
        """The same with all cases counted but those that show a finding or could not be judged.

        That is what a file holds: thousands of cases that passed say nothing that their number does not, and
        the schedules of those that broke stand with their finding.
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


def _brief(case: CaseResult, *, known: bool) -> CaseResult:
    """A case without what its finding has as well, and without the timeline if that asks for no action."""
    failure = case.failure and replace(case.failure, text="")
    timeline = None if known else case.timeline
    return replace(case, failure=failure, differences=(), timeline=timeline)
