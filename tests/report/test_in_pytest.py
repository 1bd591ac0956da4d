from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import inner
import jsonschema
import pytest

from chaoskit.report import Report, read, schema

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SCENARIOS = """
    import pytest
    from chaoskit import faults, scenario

    def save(path):
        (path / "a").write_text("new")

    @scenario(faults.kill())
    def test_good(chaos):
        chaos.run(save, chaos.path)

    @scenario(faults.kill())
    def test_bad(chaos):
        (chaos.path / "a").write_text("old")
        chaos.run(save, chaos.path)
        assert (chaos.path / "a").read_text()

    @pytest.mark.skip(reason="not here")
    @scenario(faults.kill())
    def test_skipped(chaos):
        chaos.run(save, chaos.path)

    @scenario(faults.kill())
    def test_broken(chaos):
        chaos.run(int, "x")

    def test_ordinary():
        pass
"""


def explore(
    place: Path, *options: str, plugins: tuple[str, ...] = (), source: str = SCENARIOS
) -> tuple[int, str, Report]:
    """The exit status of a run, what it printed, and its report."""
    (place / "test_it.py").write_text(textwrap.dedent(source))
    (place / "pytest.ini").touch()
    status, printed = inner.plain(place, "--chaoskit-report", "out", *options, plugins=plugins)
    return status, printed, read(place / "out")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """One run of all of them, for the tests that read it: its directory, and the lines that it printed."""
    place = tmp_path_factory.mktemp("alone")
    return place, explore(place)[1].splitlines()


def shape(report: Report) -> list[tuple[object, ...]]:
    """What must not depend on how the run was organised."""
    return [
        (
            entry.result.nodeid,
            entry.outcome,
            entry.reason,
            [(case.schedule, case.verdict) for case in entry.result.cases],
            [(finding.schedule, finding.schedules) for finding in entry.result.findings],
        )
        for entry in report.entries
    ]


def test_every_scenario_is_in_the_report(alone):
    """Passed, failed, skipped and broken scenarios are reported with reasons; other tests are not."""
    report = read(alone[0] / "out")
    outcomes = {entry.result.nodeid.partition("::")[2]: entry.outcome for entry in report.entries}
    assert outcomes == {
        "test_bad": "failed",
        "test_broken": "failed",
        "test_good": "passed",
        "test_skipped": "skipped",
    }
    reasons = {entry.result.nodeid.partition("::")[2]: entry.reason for entry in report.entries}
    assert reasons["test_skipped"] == "not here"
    errors = [entry.result.error for entry in report.entries if entry.result.nodeid.endswith("test_broken")]
    assert errors[0].startswith("ValueError: invalid literal for int()")
    assert report.totals.findings == 1


def test_workers_do_not_show(tmp_path, alone):
    """Alone, on chaoskit's workers, under xdist and in reverse order the report has the same content."""
    *_, workers = explore(tmp_path, "--chaoskit-workers", "2")
    *_, distributed = explore(tmp_path, "-n", "2", plugins=("xdist.plugin",))
    assert shape(read(alone[0] / "out")) == shape(workers) == shape(distributed)


def test_file_follows_the_schema_and_names_no_path(alone):
    """What a real run writes passes the schema, and has no absolute path of this project in it."""
    place, _ = alone
    text = (place / "out" / "report.json").read_text()
    jsonschema.validate(json.loads(text), schema.load())
    assert str(place) not in text
    assert str(Path(sys.prefix)) not in text


def test_terminal_ends_with_the_summary(alone):
    """The totals stand above pytest's own summary, which stays the last line."""
    _, lines = alone
    pytest.LineMatcher(lines).fnmatch_lines(
        [
            "*= chaoskit =*",
            "test_it.py::test_bad: failed; *",
            "    *violated: write(a)#1=kill",
            "4 scenarios, * points (* struck), * cases: 1 finding in * s",
            "verdicts: *",
            "report: *out",
        ]
    )
    assert lines[-1].startswith("=")
    assert "2 failed, 2 passed, 1 skipped" in lines[-1]


POWER = """
    from chaoskit import faults, scenario

    def save(path):
        (path / "tmp").write_bytes(b"x" * 9000)
        (path / "tmp").rename(path / "a")

    @scenario(faults.power_loss(), budget=3)
    def test_power(chaos):
        (chaos.path / "a").write_bytes(b"x" * 9000)
        chaos.run(save, chaos.path)
"""


def test_every_view_says_how_many_crash_states_there_were(tmp_path):
    """Possible, distinct, checked and left out: in the JSON, the Markdown and the terminal of a real run."""
    _, printed, report = explore(tmp_path, source=POWER)
    (entry,) = report.entries
    counts = entry.result.crash_states
    assert counts.checked == 3 == entry.result.tried
    assert counts.possible > counts.distinct > counts.left_out == counts.distinct - 3
    numbers = f"{counts.possible} possible, {counts.distinct} distinct, 3 checked, {counts.left_out} left out"
    assert f"crash states: {numbers}" in printed.splitlines()
    assert numbers in (tmp_path / "out" / "summary.md").read_text()


def test_interrupted_run_says_so(tmp_path):
    """After Ctrl-C the report holds what had ended, marked as incomplete."""
    (tmp_path / "test_stop.py").write_text("def test_stop():\n    raise KeyboardInterrupt\n")
    status, _, report = explore(tmp_path, "test_it.py::test_good", "test_stop.py", "test_it.py::test_bad")
    assert status == pytest.ExitCode.INTERRUPTED
    assert [entry.result.nodeid for entry in report.entries] == ["test_it.py::test_good"]
    assert report.interrupted
