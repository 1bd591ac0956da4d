"""What is remembered of earlier reports: one line of JSON for each, in a history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.report.document import Report, broken
from chaoskit.report.files import replace_file
from chaoskit.report.project import Project


class HistoryError(UsageError):
    """A line of a history is not the mark of a report."""


@dataclass(frozen=True, slots=True)
class Brief:
    """One scenario of a remembered report.

    ``findings`` has the ids of its findings, ``known`` those that were stated as known.
    """

    cases: int
    broken: int
    findings: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """One remembered report: its subject, its time (UTC, ISO 8601), and the outcome of each scenario."""

    created: str
    project: Project = field(default_factory=Project)
    scenarios: Mapping[str, Brief] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for people: the version, with the first digits of the commit."""
        commit = self.project.commit[:9] + ("+changes" if self.project.dirty else "")
        return " ".join(filter(None, (self.project.version, commit))) or self.created


@dataclass(frozen=True, slots=True)
class Since:
    """The differences from an earlier report; findings by scenario and id."""

    new: frozenset[tuple[str, str]]
    fixed: frozenset[tuple[str, str]]
    still: frozenset[tuple[str, str]]
    added: tuple[str, ...]
    lost: tuple[str, ...]


def mark(report: Report) -> Mark:
    """The mark of ``report``. For a scenario with several environments it has the worst outcome."""
    scenarios: dict[str, Brief] = {}
    for entry in report.entries:
        result = entry.result
        before = scenarios.get(result.nodeid, Brief(0, 0))
        ids = {finding.id for finding in result.findings}
        known = {finding.id for finding in result.findings if finding.known}
        scenarios[result.nodeid] = Brief(
            before.cases + result.tried,
            before.broken + broken(entry),
            tuple(sorted({*before.findings, *ids})),
            tuple(sorted({*before.known, *known})),
        )
    project = report.runs[-1].project if report.runs else Project()
    return Mark(report.created, project, scenarios)


def since(before: Mark, now: Mark) -> Since:
    """What has changed from one report to another.

    A finding counts as fixed only if its scenario was run: a missing scenario fixes nothing.
    """
    old, new = _findings(before), _findings(now)
    gone = {one for one in old - new if one[0] in now.scenarios and now.scenarios[one[0]].cases}
    return Since(
        new=frozenset(new - old),
        fixed=frozenset(gone),
        still=frozenset(new & old),
        added=tuple(sorted(now.scenarios.keys() - before.scenarios.keys())),
        lost=tuple(sorted(before.scenarios.keys() - now.scenarios.keys())),
    )


def _findings(one: Mark) -> set[tuple[str, str]]:
    return {(name, identity) for name, brief in one.scenarios.items() for identity in brief.findings}


def read_history(path: Path) -> tuple[Mark, ...]:
    """The marks of a history, the oldest first; empty if the file does not exist yet.

    Raises:
        HistoryError: if a line is not what :func:`remember` writes; the message names the line. OSError: if
        the file exists but cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    marks = []
    for number, line in enumerate(lines, 1):
        try:
            marks.append(_parsed(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HistoryError(
                f"{path}:{number} is not a line of a history ({type(error).__name__}: {error}); expected "
                "what 'chaoskit report history' writes. Take the line out, and the rest can be read."
            ) from error
    return tuple(sorted(marks, key=lambda one: one.created))


def remember(path: Path, one: Mark) -> bool:
    """Add a mark to a history, unless it is already there; replace the file in one step.

    Returns: True if it was added.

    Raises:
        HistoryError: if the file is not a history. OSError: if it cannot be read or written.
    """
    marks = read_history(path)
    if one in marks:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted((*marks, one), key=lambda mark: mark.created)
    replace_file(path, "".join(json.dumps(asdict(each), separators=(",", ":")) + "\n" for each in ordered))
    return True


def latest_before(marks: Sequence[Mark], now: Mark) -> Mark | None:
    """The last mark that is older than ``now``."""
    return next((one for one in reversed(marks) if one.created < now.created), None)


def trend(marks: Iterable[Mark], name: str) -> tuple[int | None, ...]:
    """How many findings a scenario had in each report; None if the report does not have it."""
    return tuple(len(one.scenarios[name].findings) if name in one.scenarios else None for one in marks)


def _parsed(plain: Mapping[str, Any]) -> Mark:
    scenarios = {
        name: Brief(one["cases"], one["broken"], tuple(one["findings"]), tuple(one["known"]))
        for name, one in plain["scenarios"].items()
    }
    return Mark(plain["created"], Project(**plain["project"]), scenarios)
