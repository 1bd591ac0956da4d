"""What is remembered of a report when the next one is made: one line of JSON for each, in a history."""

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

    ``findings`` has their ids, ``known`` those of them that were stated as known.
    """

    cases: int
    broken: int
    findings: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """One report, remembered: of what, when (UTC, ISO 8601), and what came of each scenario."""

    created: str
    project: Project = field(default_factory=Project)
    scenarios: Mapping[str, Brief] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How people call it: the version, with the first digits of the commit."""
        commit = self.project.commit[:9] + ("+changes" if self.project.dirty else "")
        return " ".join(filter(None, (self.project.version, commit))) or self.created


@dataclass(frozen=True, slots=True)
class Since:
    """What is not as it was in an earlier report; findings by scenario and id."""

    new: frozenset[tuple[str, str]]
    fixed: frozenset[tuple[str, str]]
    still: frozenset[tuple[str, str]]
    added: tuple[str, ...]
    lost: tuple[str, ...]


def mark(report: Report) -> Mark:
    """What is remembered of ``report``. Of a scenario that is there for several environments the worst."""
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

    A finding counts as fixed only if its scenario was run: one that is gone has not been mended.
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
    """The marks of a history, the oldest first; none where there is no such file yet.

    Raises:
        HistoryError: a line is not what :func:`remember` writes; it is named.
        OSError: the file is there and cannot be read.
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
                f"{path}:{number} is no line of a history ({type(error).__name__}: {error}); expected what "
                "'chaoskit report history' writes. Take the line out, and the rest can be read."
            ) from error
    return tuple(sorted(marks, key=lambda one: one.created))


def remember(path: Path, one: Mark) -> bool:
    """Add a mark to a history, unless it is there already: the file is replaced in one step.

    Returns: True if it was added.

    Raises:
        HistoryError: the file is not a history.
        OSError: it cannot be read or written.
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
    """How many findings a scenario had in each report; None where it was not there."""
    return tuple(len(one.scenarios[name].findings) if name in one.scenarios else None for one in marks)


def _parsed(plain: Mapping[str, Any]) -> Mark:
    scenarios = {
        name: Brief(one["cases"], one["broken"], tuple(one["findings"]), tuple(one["known"]))
        for name, one in plain["scenarios"].items()
    }
    return Mark(plain["created"], Project(**plain["project"]), scenarios)
