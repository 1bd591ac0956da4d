"""Crash states are made smaller in a real run: on any number of workers the same, and it replays."""

from __future__ import annotations

import sys
from pathlib import Path

import inner
import pytest

from chaoskit.core import machine
from chaoskit.report import Report, read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SCENARIO = """
    import os
    from chaoskit import faults, scenario

    NAMES = [f"log{n}" for n in range(7)]

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
        assert not (chaos.promised and {"log1", "log5"} <= set(lost))
"""
"""Two of seven writes must be missing together: no family of states lacks just these."""


def explore(directory: Path, *options: str) -> tuple[inner.Inner, Report]:
    inner.write(directory, SCENARIO)
    return inner.run(directory, "--tb=auto", *options), read(directory / "report")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[inner.Inner, Report]:
    """One run, as one starts it without a thought for its workers."""
    return explore(tmp_path_factory.mktemp("alone"))


def shape(report: Report) -> list[object]:
    (entry,) = report.entries
    result = entry.result
    cases = [(case.schedule, case.verdict, case.finding) for case in result.cases]
    findings = [(f.schedule, f.schedules, f.shrunk_from, f.smallest, f.by_model) for f in result.findings]
    return [cases, findings, result.shrinking, result.crash_states, result.budget]


def test_the_workers_do_not_show(alone: tuple[inner.Inner, Report], tmp_path: Path) -> None:
    """Which cases are run to make a state smaller depends on their answers alone, not on who is first."""
    usable = machine.usable_processors()
    _, others = explore(tmp_path, "--chaoskit-workers", "1" if usable > 1 else "2")
    assert shape(alone[1]) == shape(others)


def test_the_smallest_state_is_printed_and_replays(alone: tuple[inner.Inner, Report], tmp_path: Path) -> None:
    """Two steps are dropped, the larger state is named beside it, and the printed line breaks it again."""
    ran, report = alone
    (finding,) = report.entries[0].result.findings
    assert finding.schedule == "promise()#1=power_loss[drop 2,6]"
    assert finding.smallest is True
    assert f"[{finding.id}] violated: promise()#1=power_loss[drop 2,6]\n" in ran.output
    assert "made smaller from: " in ran.output
    again, replayed = explore(tmp_path, "--chaoskit-replay", finding.schedule)
    assert again.status == 1
    (entry,) = replayed.entries
    assert [case.verdict for case in entry.result.cases] == ["violated"]
    assert entry.result.shrinking is None
