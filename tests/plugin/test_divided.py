"""Scenarios whose cases are spread over the workers of xdist, as items that are joined again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import inner
import pytest

from chaoskit.report import Report, read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

SOURCE = """
    import os
    import pytest
    import saving
    from chaoskit import faults, scenario

    @pytest.fixture(autouse=True)
    def _noted(request):
        with open("ran", "a") as notes:
            notes.write(f"{os.environ.get('PYTEST_XDIST_WORKER')} {request.node.name}\\n")

    @scenario(faults.disk().only("EIO", "ENOSPC") | faults.kill() | faults.power_loss())
    @pytest.mark.parametrize("save", [saving.save, saving.overwrite], ids=["safe", "wrong"])
    def test_saves(chaos, save):
        saving.save(chaos.path, {"n": 1})
        chaos.run(save, chaos.path, {"n": 2})
        assert saving.load(chaos.path) in ({"n": 1}, {"n": 2})

    @scenario(faults.kill())
    def test_plain(chaos):
        chaos.run(saving.save, chaos.path, {"n": 1})

    @pytest.mark.parametrize("number", [1])
    def test_of_the_project(number):
        assert number
"""

KNOWN = """
    import saving
    from chaoskit import faults, scenario

    @scenario(faults.kill(), known={{"{known}": "accepted"}})
    def test_known(chaos):
        chaos.run(saving.overwrite, chaos.path, {{"n": 1}})
        assert not (chaos.path / "job.json").exists() or saving.load(chaos.path)
"""


def run(directory: Path, source: str, *options: str, xdist: bool = True) -> inner.Inner:
    """One run; with xdist its two workers, and no worker of the harness beside them."""
    inner.write(directory, source)
    (directory / "ran").unlink(missing_ok=True)
    if not xdist:
        return inner.run(directory, "--chaoskit-workers=1", *options)
    return inner.run(directory, "-n2", "--chaoskit-workers=1", *options, plugins=("xdist.plugin",))


def shown(report: Report) -> dict[str, Any]:
    """By scenario, all that does not depend on how long something took."""
    return {
        entry.result.nodeid: (
            entry.outcome,
            entry.result.state,
            [asdict(one) for one in entry.result.findings],
            entry.result.verdicts,
            entry.result.crash_states,
            entry.result.budget,
            entry.result.part,
        )
        for entry in report.entries
    }


def ran(directory: Path) -> dict[str, set[str]]:
    """The names of the items whose fixture was set up, by the worker of xdist."""
    pairs = [line.split() for line in (directory / "ran").read_text().splitlines()]
    return {worker: {name for where, name in pairs if where == worker} for worker, _ in pairs}


def test_items_joined_are_the_scenario(tmp_path: Path) -> None:
    """Divided over two workers, a run has the report of one that is not: names, findings and numbers."""
    whole = run(tmp_path, SOURCE, xdist=False)
    undivided = read(tmp_path / "report")
    divided = run(tmp_path, SOURCE, "--chaoskit-shards=auto")

    assert shown(read(tmp_path / "report")) == shown(undivided)
    assert [scenario["nodeid"] for scenario in divided.report["scenarios"]] == [
        "test_inner.py::test_plain",
        "test_inner.py::test_saves[safe]",
        "test_inner.py::test_saves[wrong]",
    ]
    assert (whole.status, divided.status) == (1, 1)
    assert divided.outcomes["test_of_the_project[1]"] == "passed"
    assert "shard1of2" not in "".join(line for line in divided.output.splitlines() if "pytest '" in line)
    names = {name for worker in ran(tmp_path).values() for name in worker}
    assert names >= {"test_saves[safe-shard1of2]", "test_saves[safe-shard2of2]", "test_plain[shard2of2]"}


def test_each_item_runs_its_part(tmp_path: Path) -> None:
    """One scenario alone is divided evenly, and its parts are run on both workers."""
    divided = run(tmp_path, SOURCE, "--chaoskit-shards=2", "-k", "test_saves and safe")

    # Two baselines for each item, and its share of the cases beside them.
    parts = [result for result in divided.results.values() if result["part"]]
    tried = [sum(len(case["schedule"]) > 0 for case in part["cases"]) for part in parts]
    assert len(tried) == 2
    assert abs(tried[0] - tried[1]) <= 1
    assert sum(tried) == divided.report["totals"]["cases"] > 20
    assert sorted(ran(tmp_path)) == ["gw0", "gw1"]


def test_a_replay_names_the_scenario(tmp_path: Path) -> None:
    """The line that is printed replays, also where an ini file divides every run."""
    run(tmp_path, SOURCE, "--chaoskit-shards=2", "-k", "wrong")
    line = read(tmp_path / "report").entries[0].result.findings[0].schedule
    name = "test_inner.py::test_saves[wrong]"
    (tmp_path / "pytest.ini").write_text("[pytest]\nchaoskit_shards = 2\n")

    replayed = inner.run(tmp_path, name, f"--chaoskit-replay={line}")

    assert replayed.outcomes == {"test_saves[wrong]": "failed"}
    assert f"violated: {line}" in replayed.output


def test_known_findings_are_judged_by_all(tmp_path: Path) -> None:
    """A known finding passes; a new one, which no item can tell from it, fails the run at its end."""
    new = run(tmp_path, KNOWN.format(known="000000"), "--chaoskit-shards=2")
    (finding,) = read(tmp_path / "report").entries[0].result.findings
    known = run(tmp_path, KNOWN.format(known=finding.id), "--chaoskit-shards=2")

    assert set(new.outcomes.values()) == {"passed"}
    assert new.status == 1
    assert f"[{finding.id}] violated" in new.output
    assert known.status == 0
    assert read(tmp_path / "report").entries[0].outcome == "passed"


@pytest.mark.parametrize(
    ("shards", "status", "text"),
    [("0", 4, "--chaoskit-shards is 0"), ("many", 4, "--chaoskit-shards is 'many'"), ("1", 0, "")],
)
def test_numbers_of_shards(tmp_path: Path, shards: str, status: int, text: str) -> None:
    """One is the whole; anything but a number of parts is refused before a test runs."""
    done = run(tmp_path, SOURCE, f"--chaoskit-shards={shards}", "-k", "plain or project", xdist=False)
    assert done.status == status
    assert text in done.output
    assert set(done.outcomes) <= {"test_plain", "test_of_the_project[1]"}


def test_shards_and_hosts_are_refused_together(tmp_path: Path) -> None:
    """Both divide the cases of a scenario; nothing runs, and the message says which to leave out."""
    done = run(tmp_path, SOURCE, "--chaoskit-shards=2", "--chaoskit-hosts=popen", xdist=False)
    assert done.status == 4
    assert "--chaoskit-shards is 2 (int); expected 1 together with --chaoskit-hosts." in done.output
    assert not done.outcomes
    alone = run(tmp_path, SOURCE, "--chaoskit-shards=1", "--chaoskit-hosts=popen", "-k", "plain", xdist=False)
    assert alone.outcomes == {"test_plain": "passed"}
