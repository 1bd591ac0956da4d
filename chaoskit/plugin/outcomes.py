"""What pytest and the report get about a scenario apart from its findings."""

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
    """Where and why a scenario failed, in one line; ``--tb=line`` shows the findings below it."""

    path: str
    lineno: int
    message: str
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join((f"{self.path}:{self.lineno}: {self.message}", *self.findings))


@dataclass(frozen=True)
class ToldFailure:
    """A failure reported by the harness, as pytest shows it: the text as it is, and a line for summaries.

    pytest would repeat all of a plain text in its short summary wherever ``CI`` is set.
    """

    text: str
    reprcrash: CrashLine

    def __str__(self) -> str:
        return self.text


def tell(report: pytest.TestReport, style: str) -> None:
    """Give a failure that is plain text its line for summaries: xdist workers can send only text.

    In the ``--tb`` style ``line`` pytest prints both the text and the line, so the text is cut to its head.
    """
    if report.failed and isinstance(report.longrepr, str):
        path, line, _ = report.location
        lines = [one for one in report.longrepr.splitlines() if one]
        head = "".join(lines[:1])
        crash = CrashLine(path, (line or 0) + 1, head, tuple(lines[1:]))
        # pytest reads only this attribute, though its types ask for more.
        report.longrepr = cast(Any, ToldFailure(head if style == "line" else report.longrepr, crash))


def unexplored(item: pytest.Item, call: pytest.CallInfo[None]) -> ScenarioResult | None:
    """The result of a scenario that was skipped or failed before its first case."""
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
    """The result after a debugger stopped in the first broken case: only that case."""
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
    """Escape names that are not UTF-8 in everything that pytest shows of a scenario, and xdist sends."""
    text = report.longrepr
    if isinstance(text, tuple):
        report.longrepr = (text[0], text[1], printable(text[2]))
    elif text is not None and printable(str(text)) != str(text):
        report.longrepr = printable(str(text))
    report.sections = [(printable(title), printable(content)) for title, content in report.sections]
