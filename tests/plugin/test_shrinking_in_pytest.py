"""Crash states are made smaller in a real run: on any number of workers the same, and it replays."""

from __future__ import annotations

import sys

import pytest

from chaoskit.report import Report, read

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SCENARIO = """
    import os
    from chaoskit import faults, scenario

    NAMES = [f"log{n}" for n in range(13)]

    def overwrite(path, promise):
        for name in NAMES:
            fd = os.open(path / name, os.O_WRONLY)
            os.write(fd, b"new")
            os.close(fd)
        promise("all")

    @scenario(faults.power_loss())
    def test_it(chaos):
        for name in NAMES:
            (chaos.path / name).write_bytes(b"old")
        chaos.run(overwrite, chaos.path, chaos.promise)
        lost = [name for name in NAMES if (chaos.path / name).read_bytes() == b"old"]
        assert not (chaos.promised and {"log3", "log9"} <= set(lost))
"""
"""Two of thirteen writes must be missing together: no family of states lacks just these."""


def explore(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, Report]:
    pytester.makepyfile(test_it=SCENARIO)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--chaoskit-report", "out", *options)
    return result, read(pytester.path / "out")


def shape(report: Report) -> list[object]:
    (entry,) = report.entries
    result = entry.result
    cases = [(case.schedule, case.verdict, case.finding) for case in result.cases]
    findings = [(f.schedule, f.schedules, f.shrunk_from, f.smallest, f.by_model) for f in result.findings]
    return [cases, findings, result.shrinking, result.crash_states, result.budget]


def test_the_workers_do_not_show(pytester: pytest.Pytester) -> None:
    """Which cases are run to make a state smaller depends on their answers alone, not on who is first."""
    _, alone = explore(pytester)
    _, workers = explore(pytester, "--chaoskit-workers", "2")
    assert shape(alone) == shape(workers)


def test_the_smallest_state_is_printed_and_replays(pytester: pytest.Pytester) -> None:
    """Two steps are dropped, the larger state is named beside it, and the printed line breaks it again."""
    ran, report = explore(pytester)
    (finding,) = report.entries[0].result.findings
    assert finding.schedule == "promise()#1=power_loss[drop 4,10]"
    assert finding.smallest is True
    ran.stdout.fnmatch_lines([f"*[[]{finding.id}[]] violated: promise()#1=power_loss[[]drop 4,10[]]"])
    ran.stdout.fnmatch_lines(["*made smaller from: *"])
    again, replayed = explore(pytester, "--chaoskit-replay", finding.schedule)
    assert again.ret == 1
    (entry,) = replayed.entries
    assert [case.verdict for case in entry.result.cases] == ["violated"]
    assert entry.result.shrinking is None
