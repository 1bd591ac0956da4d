"""What pytest and the report are told of a scenario beside its findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from chaoskit.core.case import CaseFailure, CaseResult
from chaoskit.core.finding import Finding
from chaoskit.core.result import Budget, Conclusion, ScenarioResult
from chaoskit.core.schedule import printable
from chaoskit.plugin.divided import whole
from chaoskit.plugin.state import STATE, Underway

_BY_ITS_OWN_WISH = (pytest.skip.Exception, pytest.xfail.Exception)


@dataclass(frozen=True)
class CrashLine:
    """Where a scenario failed and why, in a line; ``--tb=line`` shows the findings below it."""

    path: str
    lineno: int
    message: str
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join((f"{self.path}:{self.lineno}: {self.message}", *self.findings))


@dataclass(frozen=True)
class ToldFailure:
    """What pytest shows of a failure that the harness tells: the text as it is, and a line for summaries.

    Of a plain text pytest would repeat all in its short summary wherever ``CI`` is set.
    """

    text: str
    reprcrash: CrashLine

    def __str__(self) -> str:
        return self.text


def tell(report: pytest.TestReport, style: str) -> None:
    """Give a failure that is a plain text its line for summaries. Workers of xdist can send text alone.

    In the ``--tb`` style ``line`` pytest prints the text and the line: there the text is its head alone.
    """
    if report.failed and isinstance(report.longrepr, str):
        path, line, _ = report.location
        lines = [one for one in report.longrepr.splitlines() if one]
        head = "".join(lines[:1])
        crash = CrashLine(path, (line or 0) + 1, head, tuple(lines[1:]))
        # Pytest asks for the one attribute only, which its types do not say.
        report.longrepr = cast(Any, ToldFailure(head if style == "line" else report.longrepr, crash))


def unexplored(item: pytest.Item, call: pytest.CallInfo[None]) -> ScenarioResult | None:
    """What the report says of a scenario that was skipped or failed before its first case."""
    if call.when == "teardown" or call.excinfo is None:
        return None
    at = item.stash.get(STATE, None)
    if at is not None and at.stopped is not None and at.job.schedule.strikes:
        return _stopped(at, at.stopped)
    _, line, _ = item.reportinfo()
    error = call.excinfo.exconly(tryshort=True)
    state: Conclusion = "skipped" if call.excinfo.errisinstance(_BY_ITS_OWN_WISH) else "error"
    result = ScenarioResult(whole(item), state, file=str(item.path), line=(line or 0) + 1, error=error)
    return result.printable()


def _stopped(state: Underway, failure: CaseFailure) -> ScenarioResult:
    """What the report says after a debugger has stopped in the first case that broke: this one case."""
    question, schedule = state.exploration.question(state.seconds), str(state.job.schedule)
    runs = () if state.chaos is None else state.chaos.observed().runs
    case = CaseResult(0, schedule, "violated", runs=runs, failure=failure, attempts=1, finding=0)
    call = str(state.job.schedule.strikes[-1].point)
    finding = Finding(0, "violated", schedule, (schedule,), call, None, (), failure)
    result = ScenarioResult(
        question.nodeid,
        "failed",
        file=question.file,
        line=question.line,
        seed=question.seed,
        backend=question.backend,
        options=question.options,
        cases=(case,),
        findings=(finding,),
        budget=Budget(None, 1, 1),
        error="stopped in a debugger: the cases before this one, which passed, are not counted",
    )
    return result.printable()


def make_printable(report: pytest.TestReport) -> None:
    """Names that are not UTF-8 escaped in all that pytest shows of a scenario, and xdist sends."""
    text = report.longrepr
    if isinstance(text, tuple):
        report.longrepr = (text[0], text[1], printable(text[2]))
    elif text is not None and printable(str(text)) != str(text):
        report.longrepr = printable(str(text))
    report.sections = [(printable(title), printable(content)) for title, content in report.sections]
