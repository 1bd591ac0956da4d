"""May this be released? One rule for each thing in a report that can speak against it.

A rule compares one number with a limit. The project sets the limits, in its ``pyproject.toml``::

    [tool.chaoskit.gate]
    age-days = 2
    skipped = 3
    unstruck-points = "off"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from chaoskit.core.case import NO_JUDGEMENT
from chaoskit.core.errors import UsageError, wrong
from chaoskit.report.document import Entry, Report, struck_points
from chaoskit.report.marks import Mark, mark, since

OFF: Final = "off"
Limit = int | Literal["off"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One rule, with the number and the limit that were compared.

    ``value`` is the number and ``limit`` the most allowed; ``what`` says in a few words what the number
    means, ``examples`` name some of the counted things, and ``of`` is their total, if there is one.
    """

    rule: str
    value: int
    limit: Limit
    what: str
    examples: tuple[str, ...] = ()
    of: int | None = None

    @property
    def passes(self) -> bool:
        """True if the limit is kept, or there is none."""
        return self.limit == OFF or self.value <= self.limit

    def __str__(self) -> str:
        word = "off " if self.limit == OFF else "pass" if self.passes else "FAIL"
        most = "" if self.limit == OFF else f", at most {self.limit:,} may be"
        whole = "" if self.of is None else f" of {self.of:,}"
        named = "" if self.passes or not self.examples else f": {', '.join(self.examples[:3])}"
        more = f" and {len(self.examples) - 3:,} more" if named and len(self.examples) > 3 else ""
        return f"{word}  {self.rule:<18} {self.value:,}{whole} {self.what}{most}{named}{more}"


@dataclass(frozen=True, slots=True)
class _Given:
    """The data that the rules examine."""

    report: Report
    baseline: Mark | None
    now: datetime


@dataclass(frozen=True, slots=True)
class _GateRule:
    name: str
    limit: Limit
    what: str
    count: Callable[[_Given], tuple[int, tuple[str, ...], int | None]]


def judge(
    report: Report,
    limits: Mapping[str, Limit] | None = None,
    *,
    baseline: Report | Mark | None = None,
    now: datetime | None = None,
) -> tuple[Judged, ...]:
    """Apply every rule, in the order in which a release manager asks.

    ``limits`` are those that differ from the defaults. Findings that are also in ``baseline`` were released
    before: they count as old. ``now`` is the time from which the report's age is measured.
    """
    earlier = mark(baseline) if isinstance(baseline, Report) else baseline
    given = _Given(report, earlier, now or datetime.now(UTC))
    judged = []
    for rule in RULES:
        value, examples, whole = rule.count(given)
        # The first rule has no limit: what was not examined may not be released.
        limit = (limits or {}).get(rule.name, rule.limit)
        judged.append(Judged(rule.name, value, limit, rule.what, examples, whole))
    return tuple(judged)


def limits_in(file: Path) -> dict[str, Limit]:
    """The limits that a ``pyproject.toml`` sets; none if the file, or the table in it, does not exist.

    Raises:
        UsageError: the file is not TOML, names a rule that does not exist, or gives it no number.
    """
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{file} is not TOML ({error}); expected the rules of the gate in it.") from error
    tool = tables.get("tool", {})
    return checked(tool.get("chaoskit", {}).get("gate", {}), f"[tool.chaoskit.gate] in {file}")


def checked(table: Mapping[str, Any], where: str) -> dict[str, Limit]:
    """The limits in ``table``.

    Raises:
        UsageError: it names a rule that does not exist, or gives it no number.
    """
    free = {rule.name for rule in RULES[1:]}
    for name, value in table.items():
        if name not in free:
            raise wrong(where, name, f"one of {', '.join(sorted(free))}")
        number = type(value) is int and value >= 0
        if not number and value != OFF:
            raise wrong(f"{name} in {where}", value, f"a number from 0 on, or {OFF!r}")
    return dict(table)


def _nothing(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    names = tuple(entry.result.nodeid for entry in given.report.entries)
    return (0 if given.report.totals.cases else 1), names, None


def _entries(given: _Given, bad: Callable[[Entry], bool]) -> tuple[int, tuple[str, ...], int | None]:
    names = tuple(entry.result.nodeid for entry in given.report.entries if bad(entry))
    return len(names), names, len(given.report.entries)


def _unexplored(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    return _entries(given, lambda entry: entry.outcome == "failed" and entry.result.state == "error")


def _skipped(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    return _entries(given, lambda entry: entry.outcome == "skipped")


def _weak(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    def weak(entry: Entry) -> bool:
        oracle = entry.result.oracle
        return oracle is not None and bool(oracle.accepted)

    return _entries(given, weak)


def _findings(given: _Given, *, old: bool) -> tuple[int, tuple[str, ...], int | None]:
    before = set() if given.baseline is None else since(given.baseline, mark(given.report)).still
    ids = [
        f"{finding.id} in {entry.result.nodeid}"
        for entry in given.report.entries
        for finding in entry.result.new_findings
        if ((entry.result.nodeid, finding.id) in before) is old
    ]
    return len(ids), tuple(ids), None


def _unreached(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    stated = [
        (f"{name!r} in {entry.result.nodeid}", number)
        for entry in given.report.entries
        for name, number in entry.result.sometimes.items()
    ]
    missed = tuple(name for name, number in stated if not number)
    return len(missed), missed, len(stated) or None


def _stale(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    ids = [f"{one} in {entry.result.nodeid}" for entry in given.report.entries for one in entry.result.stale]
    return len(ids), tuple(ids), None


def _unstruck(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    names = []
    offered = 0
    for entry in given.report.entries:
        done = struck_points(entry.result)
        able = [point for point in entry.result.points if point.faults]
        offered += len(able)
        names += [f"{point.name} in {entry.result.nodeid}" for point in able if point.index not in done]
    return len(names), tuple(names), offered


def _inconclusive(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    totals = given.report.totals
    cases = (
        f"{entry.result.nodeid}: {case.schedule} is {case.verdict}"
        for entry in given.report.entries
        for case in entry.result.cases
        if case.verdict in NO_JUDGEMENT
    )
    return totals.inconclusive, tuple(cases), totals.cases


def _interrupted(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    ended = tuple(run.created for run in given.report.runs if run.interrupted)
    return len(ended), ended, len(given.report.runs)


def _lost(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    if given.baseline is None:
        return 0, (), None
    lost = since(given.baseline, mark(given.report)).lost
    return len(lost), lost, len(given.baseline.scenarios)


def _age(given: _Given) -> tuple[int, tuple[str, ...], int | None]:
    ages = [(given.now - datetime.fromisoformat(run.created)).days for run in given.report.runs]
    return max(0, *ages, 0), (), None


def _rules() -> Iterator[_GateRule]:
    yield _GateRule("nothing-examined", 0, "runs without a single case", _nothing)
    yield _GateRule("interrupted", 0, "runs stopped early", _interrupted)
    yield _GateRule("unexplored", 0, "scenarios that could not be explored", _unexplored)
    yield _GateRule("new-findings", 0, "findings not stated as known", lambda g: _findings(g, old=False))
    yield _GateRule(
        "old-findings", 0, "such findings that the baseline has, too", lambda g: _findings(g, old=True)
    )
    yield _GateRule("stale-findings", 0, "stated as known and gone", _stale)
    yield _GateRule("inconclusive", 0, "cases without a verdict", _inconclusive)
    yield _GateRule("weak-oracles", 0, "scenarios whose check accepts what it should not", _weak)
    yield _GateRule("never-reached", 0, "states that some case must reach, and none did", _unreached)
    yield _GateRule("skipped", 0, "scenarios skipped", _skipped)
    yield _GateRule("lost-scenarios", 0, "scenarios of the baseline missing", _lost)
    yield _GateRule("unstruck-points", 0, "calls that can fail and were never struck", _unstruck)
    yield _GateRule("age-days", 7, "days old", _age)


RULES: tuple[_GateRule, ...] = tuple(_rules())
"""In the order of the output. Every default is the strictest that a sound project keeps."""
