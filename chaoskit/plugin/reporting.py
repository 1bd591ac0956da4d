"""What comes of the results: the summary on the terminal, and the report in its directory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.core.schedule import printable
from chaoskit.report import Collector, Line, Report, summary_lines, write


class Reporting:
    """Takes the results of all processes in the one that has the terminal.

    ``began`` is when the run did, by the monotonic clock; ``place`` the directory for the report, if any.
    """

    def __init__(self, config: pytest.Config, began: float, place: Path | None) -> None:
        self._config = config
        self._place = place
        self._began = began
        self._collector = Collector(config.rootpath, hide=_hidden(config))
        self._listed: list[ScenarioResult] = []
        self._report: Report | None = None
        self._written = Line("")

    def take(self, plain: Mapping[str, Any], report: pytest.TestReport) -> None:
        """One scenario's result, with what pytest made of its test."""
        if plain["state"] == "listed":
            self._listed.append(ScenarioResult.from_dict(plain))
            return
        self._collector.add(plain, outcome=_outcome(report), reason=_reason(report))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        # Not in the summary: the exit status is settled by then, and there may be none (--no-summary).
        if not len(self._collector):
            return
        self._report = self._collector.report(
            # The name as users type it: the first word may be the path of a script, or pytest's __main__.
            command=["pytest", *map(printable, sys.argv[1:])],
            interrupted=exitstatus == pytest.ExitCode.INTERRUPTED,
            place=next(iter(_hidden(self._config)), None),
            seconds=time.monotonic() - self._began,
        )
        if self._place is None:
            return
        try:
            write(self._report, self._place)
            self._written = Line(f"report: {self._place}")
        except OSError as error:
            # The tests may have taken an hour: the summary is printed all the same.
            self._written = Line(f"report: not written into {self._place}: {error}", {"red": True})
            if exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for result in self._listed:
            terminalreporter.section(f"fault points of {result.nodeid}", sep="-")
            for text in _listing(result):
                terminalreporter.write_line(text)
        if self._report is None:
            return
        terminalreporter.section("chaoskit", sep="=")
        lines = summary_lines(self._report)
        for line in (*lines, self._written) if self._written.text else lines:
            terminalreporter.write_line(line.text, **line.markup)


def _hidden(config: pytest.Config) -> dict[Path, str]:
    # Private to pytest: asking for the base directory by its public way would make one.
    factory = getattr(config, "_tmp_path_factory", None)
    basetemp = getattr(factory, "_basetemp", None)
    return {} if basetemp is None else {Path(basetemp): "<tmp>"}


def _outcome(report: pytest.TestReport) -> Any:
    # How pytest marks an expected failure, and an unexpected success (_pytest/skipping.py).
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", "")).removeprefix("reason: ")


def _listing(result: ScenarioResult) -> Iterator[str]:
    for point in result.points:
        site = f"  {point.stack[0].file}:{point.stack[0].line}" if point.stack else ""
        unstable = "" if point.stable else "  (not in both recordings)"
        yield f"{point.name}  {len(point.faults)} faults{site}{unstable}"
    faults = sum(len(point.faults) for point in result.points)
    yield f"{len(result.points)} points, {faults} cases"
    for variation in result.variations:
        yield f"not the same in two baselines: {variation.kind}: {variation.text}"
