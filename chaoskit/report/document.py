"""The report as records: the runs it was made from, and one entry for each scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from chaoskit.core.case import BROKEN, INCONCLUSIVE, VERDICTS
from chaoskit.core.plain import ADDED
from chaoskit.core.result import ALIKE, UNSTABLE, ScenarioResult, StateCounts
from chaoskit.report.environment import Environment
from chaoskit.report.explain import replay_command

SCHEMA_VERSION = 1
"""Raised when a reader of the old version would misread a file. New keys alone do not raise it."""

Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]
"""What pytest made of the test: ``xfailed`` is a known finding, stated as such in the test."""

OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "skipped", "xfailed", "xpassed")


@dataclass(frozen=True, slots=True)
class Run:
    """One test run, or one shard of it.

    ``created`` is the end of the run in UTC, as ISO 8601 with a final ``Z``; ``seconds`` its duration;
    ``command`` the command line, program name first; ``interrupted`` is true if it was stopped early, so
    that scenarios may be missing.
    """

    created: str
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    interrupted: bool = False
    environment: Environment = field(default_factory=Environment)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Run:
        known = _known(cls, plain)
        known["command"] = tuple(plain.get("command", ()))
        known["environment"] = Environment(**_known(Environment, plain.get("environment", {})))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario: what exploring it has shown, what pytest made of it, and in which run.

    ``run`` is an index into :attr:`Report.runs`; ``reason`` says why it was skipped or is expected to fail.
    """

    result: ScenarioResult
    outcome: Outcome
    reason: str = ""
    run: int = 0

    @property
    def known(self) -> bool:
        """The test states its findings as known."""
        return self.outcome == "xfailed"

    def to_dict(self) -> dict[str, Any]:
        """The result's own keys and the entry's, side by side; with each finding how to replay it."""
        plain = self.result.to_dict()
        for finding in plain["findings"]:
            # Written out for readers in other languages; ours work it out again.
            finding["replay"] = replay_command(self.result, finding["schedule"])
        return {**plain, "outcome": self.outcome, "reason": self.reason, "run": self.run}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Entry:
        result = ScenarioResult.from_dict(plain)
        return cls(result, plain["outcome"], plain.get("reason", ""), plain.get("run", 0))


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all scenarios.

    ``points`` were recorded, ``points_struck`` of them had at least one fault strike; ``cases`` were run
    of ``cases_possible``. ``known_findings`` are those of scenarios that state them (strict xfail) and are
    not counted in ``findings``. ``seconds`` were spent on exploring, all scenarios added up. ``verdicts``
    counts cases, and ``outcomes`` scenarios. ``crash_states`` adds up those of the scenarios that lose
    power, and is None if there is none.
    """

    scenarios: int = 0
    points: int = 0
    points_struck: int = 0
    cases: int = 0
    cases_possible: int = 0
    findings: int = 0
    known_findings: int = 0
    inconclusive: int = 0
    seconds: float = 0.0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    crash_states: StateCounts | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known; entries are sorted by test name, then run."""

    runs: tuple[Run, ...]
    entries: tuple[Entry, ...] = ()

    @property
    def totals(self) -> Totals:
        return totals_of(self.entries)

    @property
    def interrupted(self) -> bool:
        """One of its runs was stopped early."""
        return any(run.interrupted for run in self.runs)

    @property
    def created(self) -> str:
        """When the last of its runs ended."""
        return max((run.created for run in self.runs), default="")

    def to_dict(self) -> dict[str, Any]:
        """The whole as dictionaries and lists, in the documented order of keys."""
        return {
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "totals": asdict(self.totals),
            "runs": [asdict(run) for run in self.runs],
            "scenarios": [entry.to_dict() for entry in self.entries],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_dict` gave; totals are computed again.

        Raises:
            ValueError, KeyError, TypeError or AttributeError: it does not follow the schema.
        """
        # Totals are not read: a file that was edited by hand must not contradict itself.
        runs = tuple(map(Run.from_dict, plain["runs"]))
        entries = in_order(map(Entry.from_dict, plain["scenarios"]))
        for entry in entries:
            _check(entry, len(runs))
        return cls(runs, entries)


def _check(entry: Entry, runs: int) -> None:
    """Raise ValueError for what would only fail later, in the middle of a view."""
    result = entry.result
    # Negative indices would be taken from the end, and show the wrong run.
    if not 0 <= entry.run < runs:
        raise ValueError(f"{result.nodeid} refers to run {entry.run} of {runs}")
    if entry.outcome not in OUTCOMES:
        raise ValueError(f"{result.nodeid} has the outcome {entry.outcome!r}; expected one of {OUTCOMES}")
    for case in result.cases:
        if case.verdict not in VERDICTS:
            raise ValueError(f"{case.schedule} has the verdict {case.verdict!r}; expected one of {VERDICTS}")
        if any(not 0 <= point < len(result.points) for point in case.points):
            raise ValueError(f"{case.schedule} refers to a point that is not there: {case.points}")


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Sorted so that neither the order of execution nor the number of workers shows."""
    # By name, since xdist ends scenarios in any order.
    return tuple(sorted(entries, key=lambda entry: (entry.result.nodeid, entry.run)))


def totals_of(entries: Iterable[Entry]) -> Totals:
    """Add up ``entries``."""
    entries = tuple(entries)
    results = [entry.result for entry in entries]
    # All keys, also those that are zero: a reader need not ask whether one is there.
    verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
    for result in results:
        verdicts.update(result.verdicts)
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    outcomes.update(entry.outcome for entry in entries)
    return Totals(
        scenarios=len(entries),
        points=sum(len(result.points) for result in results),
        points_struck=sum(points_struck(result) for result in results),
        cases=sum(len(result.cases) for result in results),
        # Second faults are found while cases run, so there may be more than were planned.
        cases_possible=sum(max(result.budget.possible, len(result.cases)) for result in results),
        findings=sum(len(entry.result.findings) for entry in entries if not entry.known),
        known_findings=sum(len(entry.result.findings) for entry in entries if entry.known),
        inconclusive=sum(verdicts[verdict] for verdict in INCONCLUSIVE),
        seconds=round(sum(result.timing.total for result in results), 3),
        verdicts=dict(verdicts),
        outcomes=dict(outcomes),
        crash_states=_states_of(results),
    )


def _states_of(results: Iterable[ScenarioResult]) -> StateCounts | None:
    known = [result.crash_states for result in results if result.crash_states is not None]
    if not known:
        return None
    return StateCounts(*(sum(getattr(one, f.name) for one in known) for f in fields(StateCounts)))


def points_struck(result: ScenarioResult) -> int:
    """At how many points of the recording a fault has struck."""
    return len({point for case in result.cases if case.verdict not in INCONCLUSIVE for point in case.points})


def left_out(entries: Iterable[Entry]) -> Counter[str]:
    """How many possible cases were not run, by reason."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update(entry.result.budget.left_out)
    return counts


def cut_by_budget(entries: Iterable[Entry]) -> int:
    """How many possible cases a budget has left out. Against the other reasons a larger one does not help."""
    return sum(number for why, number in left_out(entries).items() if why not in (UNSTABLE, ALIKE))


def broken(entry: Entry) -> int:
    """How many cases of a scenario broke."""
    return sum(entry.result.verdicts[verdict] for verdict in BROKEN)


def _known(cls: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that ``cls`` has. Later minor versions may write others, which are ignored."""
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in plain.items() if key in names}
