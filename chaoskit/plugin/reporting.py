"""What becomes of the results: the summary on the terminal, and the report in its directory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import printable
from chaoskit.core.source import of_a_library
from chaoskit.plugin import interruption
from chaoskit.plugin.divided import joined
from chaoskit.plugin.names import NOT_HERE
from chaoskit.plugin.options import detail_for, required
from chaoskit.plugin.outcomes import tell
from chaoskit.report import Collector, Line, Report, summary_lines, write
from chaoskit.report.auditing import audit_lines
from chaoskit.report.collect import shortener
from chaoskit.report.document import Entry
from chaoskit.report.explain import BRIEF, inconclusive_text, violation_text
from chaoskit.report.gate import judge, limits_in
from chaoskit.report.views import views
from chaoskit.report.visible import on_one_line

_WIDTH = 100
_NOT_EXAMINED = (
    "failed, since a scenario that is not examined shows nothing: 'chaoskit doctor' says what is missing "
    "here; chaoskit_required = false in the ini file lets it pass"
)


class Reporting:
    """Collects the results of all processes, in the process that has the terminal.

    ``began`` is when the run began, by the monotonic clock; ``place`` the directory for the report, if any.
    """

    def __init__(self, config: pytest.Config, began: float, place: Path | None) -> None:
        self._config = config
        self._place = place
        self._began = began
        show = bool(config.getoption("chaoskit_show_secrets"))
        self._collector = Collector(config.rootpath, hide=_hidden(config), show_secrets=show)
        self._listed: list[ScenarioResult] = []
        self._report: Report | None = None
        self._written = self._missing = Line("")
        self._apart = ""
        self._by_all: list[Entry] = []

    def take(self, plain: Mapping[str, Any], report: pytest.TestReport) -> None:
        """Add one scenario's result, with the outcome of its test in pytest."""
        if plain["state"] == "listed":
            shorten = shortener({self._config.rootpath: ""})
            self._listed.append(ScenarioResult.from_dict(plain).renamed(shorten))
            return
        # A test that calls pytest.xfail itself is reported as skipped, and so is the scenario.
        self._collector.add(plain, outcome=report.outcome, reason=_reason(report))
        tell(report, self._config.getoption("tbstyle", "auto"))

    def finish(self, session: pytest.Session, exitstatus: int) -> None:
        """All results are here: write the report, and set the exit status accordingly."""
        if number := interruption.disarm():
            session.exitstatus = 128 + number
        # Not in the summary: by then the exit status is fixed, and there may be no summary (--no-summary).
        if not len(self._collector):
            return
        self._report = self._collector.report(
            # The name that users type: the first word may be the path of a script, or pytest's __main__.
            command=["pytest", *map(printable, sys.argv[1:])],
            interrupted=exitstatus == pytest.ExitCode.INTERRUPTED,
            place=next(iter(_hidden(self._config)), None),
            seconds=time.monotonic() - self._began,
        )
        if self._config.pluginmanager.has_plugin("chaoskit-divided"):
            self._join(session, exitstatus)
        if self._replayed_nowhere() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if not self._report.totals.cases and required(self._config) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._missing = Line(_NOT_EXAMINED, {"red": True})
        if self._place is None:
            return
        try:
            self._written = self._write(self._report, self._place)
        except OSError as error:
            # The tests may have taken an hour: the summary is printed in any case.
            self._written = Line(f"report: not written into {self._place}: {error}", {"red": True})
            if exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _join(self, session: pytest.Session, exitstatus: int) -> None:
        """Join the items of each scenario; fail the run for a failure that only the whole shows."""
        assert self._report is not None
        told = {entry.result.nodeid for entry in self._report.entries if entry.outcome == "failed"}
        self._report, self._apart = joined(self._report)
        self._by_all = [
            entry
            for entry in self._report.entries
            if entry.outcome == "failed" and entry.result.nodeid not in told
        ]
        if (self._by_all or self._apart) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, report: Report, place: Path) -> Line:
        judged, wrong_rules = None, ""
        try:
            limits = limits_in(self._config.rootpath / "pyproject.toml")
            judged = judge(report, limits, now=datetime.fromisoformat(report.created))
        except UsageError as error:
            # The gate will repeat this and fail; the report of an hour is written in any case.
            wrong_rules = f"; its rules are the defaults: {error}"
        made, missing = views(report, judged=judged)
        write(report, place, made)
        return Line(f"report: {place}" + (f" (no page: {missing})" if missing else "") + wrong_rules)

    def _replayed_nowhere(self) -> bool:
        """Return True if a schedule was to be replayed but no scenario has it."""
        entries = () if self._report is None else self._report.entries
        asked = self._config.getoption("chaoskit_replay") is not None
        return asked and bool(entries) and all(entry.reason.startswith(NOT_HERE) for entry in entries)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for result in self._listed:
            terminalreporter.section(f"fault points of {result.nodeid}", sep="-")
            for text in _listing(result):
                terminalreporter.write_line(on_one_line(text))
        if self._report is None:
            return
        for entry in self._by_all:
            terminalreporter.section(entry.result.nodeid, sep="_")
            if entry.result.state == "failed":
                shown = violation_text(entry.result, detail_for(self._config))
            else:
                shown = inconclusive_text(entry.result)
            terminalreporter.write_line(shown)
        terminalreporter.section("chaoskit", sep="=")
        for text in audit_lines(self._report.entries):
            terminalreporter.write_line(on_one_line(text))
        for line in (*summary_lines(self._report), *self._notes(self._report), self._missing, self._written):
            if line.text:
                terminalreporter.write_line(line.text, **line.markup)

    def _notes(self, report: Report) -> Iterator[Line]:
        """Notes on how the run is shown, and on what was asked of it."""
        if self._apart:
            yield Line(f"shards: not joined: {self._apart}", {"red": True})
        failed = any(entry.outcome == "failed" and entry.result.findings for entry in report.entries)
        if failed and detail_for(self._config) is BRIEF:
            yield Line("-v shows each finding whole")
        if self._replayed_nowhere():
            yield Line("replay: no scenario has this schedule, so nothing was replayed", {"red": True})


def _hidden(config: pytest.Config) -> dict[Path, str]:
    # Private to pytest: asking for the base directory in the public way would make one.
    factory = getattr(config, "_tmp_path_factory", None)
    basetemp = getattr(factory, "_basetemp", None)
    return {} if basetemp is None else {Path(basetemp): "<tmp>"}


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", "")).removeprefix("reason: ")


def _listing(result: ScenarioResult) -> Iterator[str]:
    for point in result.points:
        own = next((frame for frame in point.stack if not of_a_library(frame.file)), None)
        site = f"  {own.file}:{own.line}" if own else ""
        unstable = "" if point.stable else "  (not in both recordings)"
        yield f"{point.name}{site}{unstable}"
        # Named as .only() and --chaoskit-replay take them.
        yield from _wrapped(point.faults or ("none",))
    faults = sum(len(point.faults) for point in result.points)
    yield f"{len(result.points)} points, {faults} cases"
    for variation in result.variations:
        yield f"not the same in two baselines: {variation.kind}: {variation.text}"


def _wrapped(names: Sequence[str]) -> Iterator[str]:
    """Names with commas, on lines of a hundred characters; no name is broken, though some contain blanks."""
    line = "   "
    for number, name in enumerate(names, 1):
        word = f" {name}," if number < len(names) else f" {name}"
        if len(line) + len(word) > _WIDTH and line.strip():
            yield line
            line = "   "
        line += word
    yield line
