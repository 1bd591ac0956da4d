"""The report as records: the runs from which it was made, and one entry for each scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from chaoskit.core.auditing import SyncResult
from chaoskit.core.case import (
    BROKEN,
    INCONCLUSIVE,
    NO_JUDGEMENT,
    VERDICTS,
    CaseFailure,
    CaseResult,
    RunSummary,
    TimelineEntry,
)
from chaoskit.core.handling import HandlerResult
from chaoskit.core.result import (
    AFTER_FIRST,
    ALIKE,
    ELSEWHERE,
    HANGS_THERE,
    UNSTABLE,
    PointSummary,
    ScenarioResult,
    StateCounts,
)
from chaoskit.report.earlier import earlier
from chaoskit.report.environment import Environment
from chaoskit.report.explain import replay_command
from chaoskit.report.frames import interned, restored
from chaoskit.report.packing import packed, unpacked
from chaoskit.report.project import Project

SCHEMA_VERSION = 4
"""Raised when a reader of the old version would misread a file. New keys alone do not raise it."""

READABLE = (2, 3, SCHEMA_VERSION)
"""The versions that :meth:`Report.from_dict` understands."""

Outcome = Literal["passed", "failed", "skipped"]
"""The outcome of the test in pytest. A test that has only known findings passes."""

OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "skipped")


BRIEF = frozenset(
    (HandlerResult, SyncResult, PointSummary, CaseResult, RunSummary, TimelineEntry, CaseFailure)
)
"""Records of which a file has thousands: fields with their default value are left out."""


@dataclass(frozen=True, slots=True)
class Run:
    """One test run, or one shard of it.

    ``created`` is the end of the run in UTC, as ISO 8601 with a final ``Z``; ``seconds`` its duration;
    ``command`` the command line, program name first; ``interrupted`` is true if it was stopped early, so
    that scenarios may be missing; ``project`` is what was under test.
    """

    created: str
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    interrupted: bool = False
    environment: Environment = field(default_factory=Environment)
    project: Project = field(default_factory=Project)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Run:
        known = _known(cls, plain)
        known["command"] = tuple(plain.get("command", ()))
        known["environment"] = Environment(**_known(Environment, plain.get("environment", {})))
        known["project"] = Project(**_known(Project, plain.get("project", {})))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario: the result of exploring it, its outcome in pytest, and its run.

    ``run`` is an index into :attr:`Report.runs`; ``reason`` says why it was skipped.
    """

    result: ScenarioResult
    outcome: Outcome
    reason: str = ""
    run: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The keys of the result and of the entry, side by side; each finding has its replay command."""
        plain = self.result.to_dict(BRIEF)
        for finding in plain["findings"]:
            # Written out for readers in other languages; ours compute it.
            finding["replay"] = replay_command(self.result, finding["schedule"])
        return {**plain, "outcome": self.outcome, "reason": self.reason, "run": self.run}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Entry:
        result = ScenarioResult.from_dict(plain)
        return cls(result, plain["outcome"], plain.get("reason", ""), plain.get("run", 0))


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all scenarios.

    ``points`` were recorded; at least one fault struck ``points_struck`` of them; ``cases`` were run of
    ``cases_possible``. ``known_findings`` are those that their scenarios state as known; they are not counted
    in ``findings``. ``stale_findings`` are stated but gone; ``weak_oracles`` are scenarios with a check that
    accepts what it should not. ``seconds`` were spent on exploring, added up over all scenarios. ``verdicts``
    counts cases, and ``outcomes`` scenarios. ``crash_states`` adds up those of the scenarios that lose power,
    and is None if there is none.
    """

    scenarios: int = 0
    points: int = 0
    points_struck: int = 0
    cases: int = 0
    cases_possible: int = 0
    findings: int = 0
    known_findings: int = 0
    stale_findings: int = 0
    weak_oracles: int = 0
    inconclusive: int = 0
    seconds: float = 0.0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    crash_states: StateCounts | None = None
    not_waited: float = 0.0
    """Seconds of waiting that runs with virtual time skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report; entries are sorted by test name, then run."""

    runs: tuple[Run, ...]
    entries: tuple[Entry, ...] = ()

    @property
    def totals(self) -> Totals:
        return totals_of(self.entries)

    @property
    def interrupted(self) -> bool:
        """True if one of its runs was stopped early."""
        return any(run.interrupted for run in self.runs)

    @property
    def created(self) -> str:
        """The time at which the last of its runs ended."""
        return max((run.created for run in self.runs), default="")

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries and lists, with keys in the documented order."""
        frames: list[Mapping[str, Any]] = []
        scenarios = [interned(entry.to_dict(), frames) for entry in self.entries]
        return {
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "totals": asdict(self.totals),
            "runs": [asdict(run) for run in self.runs],
            **packed(frames, scenarios),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_dict` gives, or gave from version 2 on; totals are computed again.

        Raises:
            ValueError, KeyError, TypeError or AttributeError: if ``plain`` does not follow the schema.
        """
        # Totals are not read: a file that was edited by hand must not contradict itself.
        runs = tuple(map(Run.from_dict, plain["runs"]))
        frames, scenarios = unpacked(plain) if plain["schema_version"] == SCHEMA_VERSION else earlier(plain)
        entries = in_order(Entry.from_dict(restored(one, frames)) for one in scenarios)
        for entry in entries:
            _check(entry, len(runs))
        return cls(runs, entries)


def _check(entry: Entry, runs: int) -> None:
    """Raise ValueError for an error that would otherwise show only later, in the middle of a view."""
    result = entry.result
    # A negative index would count from the end, and show the wrong run.
    if not 0 <= entry.run < runs:
        raise ValueError(f"{result.nodeid} refers to run {entry.run} of {runs}")
    if entry.outcome not in OUTCOMES:
        raise ValueError(f"{result.nodeid} has the outcome {entry.outcome!r}; expected one of {OUTCOMES}")
    for case in result.cases:
        if case.verdict not in VERDICTS:
            raise ValueError(f"{case.schedule} has the verdict {case.verdict!r}; expected one of {VERDICTS}")
    for several in result.counted:
        if several.verdict not in VERDICTS or several.verdict in NO_JUDGEMENT:
            raise ValueError(f"{several.verdict!r} is not the verdict of a judged case")
    for struck in (*(case.points for case in result.cases), *(one.points for one in result.counted)):
        if any(not 0 <= point < len(result.points) for point in struck):
            raise ValueError(f"{result.nodeid}: a case refers to a point that is not there: {struck}")


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Sorted so that they do not depend on the order of execution or the number of workers."""
    # By name, since xdist ends scenarios in any order.
    return tuple(sorted(entries, key=lambda entry: (entry.result.nodeid, entry.run)))


def totals_of(entries: Iterable[Entry]) -> Totals:
    """Add up ``entries``."""
    entries = tuple(entries)
    results = [entry.result for entry in entries]
    # All keys, even those that are zero: a reader need not check whether one exists.
    verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
    for result in results:
        verdicts.update(result.verdicts)
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    outcomes.update(entry.outcome for entry in entries)
    return Totals(
        scenarios=len(entries),
        points=sum(len(result.points) for result in results),
        points_struck=sum(len(struck_points(result)) for result in results),
        cases=sum(result.tried for result in results),
        # Second faults are found while cases run, so more cases may be run than were planned.
        cases_possible=sum(max(result.budget.possible, result.tried) for result in results),
        findings=sum(len(result.new_findings) for result in results),
        known_findings=sum(len(result.findings) - len(result.new_findings) for result in results),
        stale_findings=sum(len(result.stale) for result in results),
        weak_oracles=sum(result.oracle is not None and bool(result.oracle.accepted) for result in results),
        inconclusive=sum(verdicts[verdict] for verdict in INCONCLUSIVE),
        seconds=round(sum(result.timing.total for result in results), 3),
        verdicts=dict(verdicts),
        outcomes=dict(outcomes),
        crash_states=_states_of(results),
        not_waited=round(sum(result.timing.not_waited for result in results), 3),
    )


def _states_of(results: Iterable[ScenarioResult]) -> StateCounts | None:
    known = [result.crash_states for result in results if result.crash_states is not None]
    if not known:
        return None
    return StateCounts(*(sum(getattr(one, f.name) for one in known) for f in fields(StateCounts)))


def struck_points(result: ScenarioResult) -> frozenset[int]:
    """The indices of the points at which a fault has struck."""
    judged = (case.points for case in result.cases if case.verdict not in NO_JUDGEMENT)
    counted = (one.points for one in result.counted)
    return frozenset(point for points in (*judged, *counted) for point in points)


def left_out(entries: Iterable[Entry]) -> Counter[str]:
    """How many possible cases were not run, by reason."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update(entry.result.budget.left_out)
    return counts


def cut_by_budget(entries: Iterable[Entry]) -> int:
    """How many possible cases a budget left out. A larger budget does not help against other reasons."""
    others = (UNSTABLE, ALIKE, HANGS_THERE, AFTER_FIRST, ELSEWHERE)
    return sum(number for why, number in left_out(entries).items() if why not in others)


def broken(entry: Entry) -> int:
    """How many cases of a scenario broke."""
    return sum(entry.result.verdicts[verdict] for verdict in BROKEN)


def _known(cls: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``plain`` that ``cls`` has. Later minor versions may write others, which are ignored."""
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in plain.items() if key in names}
