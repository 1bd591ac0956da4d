"""The known answers come out: which programs lose what, under which models, and which call is to blame."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.report import read

HERE = Path(__file__).parent
MEMORY = ["-o", "chaoskit_tmp=/dev/shm"] if os.access("/dev/shm", os.W_OK) else []
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *MEMORY]

CLEAN = (
    "test_full_discipline",
    "test_data_written_again_after_failed_fsync",
    "test_sqlite_rollback_extra",
    "test_sqlite_wal_full",
)
"""No finding at all."""

BROKEN = {
    "test_replace_without_fsync": (
        ("ext4", "xfs", "btrfs", "strict"),
        "rename-before-sync",
        "`state.tmp` was renamed over `state` before its data was synced",
    ),
    "test_rename_to_new_name_without_fsync": (
        ("ext4", "xfs", "btrfs", "strict"),
        "rename-before-sync",
        "`out.part` was renamed to `out` before its data was synced",
    ),
    "test_create_without_directory": (
        ("strict",),
        "directory-not-synced",
        "the new file `out` was acknowledged (promise()#1 = 0), but its directory `.` was not synced",
    ),
    "test_fsync_tried_again": (
        ("ext4", "xfs", "btrfs"),
        "fsync-failed",
        "fsync of `log` had failed: a later one succeeds without writing the data",
    ),
    "test_sqlite_rollback_full": (
        ("ext4", "xfs", "btrfs"),
        "directory-not-synced",
        "the removal of `db-journal` was acknowledged (promise()#1 = 0),"
        " but its directory `.` was not synced",
    ),
    "test_sqlite_wal_normal": (
        ("ext4", "xfs", "btrfs"),
        "acknowledged-before-sync",
        "what was written to `db-wal` was acknowledged (promise()#1 = 0) before it was synced",
    ),
}
"""Exactly one finding, the models under which it shows, and what it is put down to."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ScenarioResult]:
    """What exploring all programs has shown, by the name of the test."""
    report = tmp_path_factory.mktemp("report")
    command = [*PYTEST, str(HERE / "programs.py"), "--chaoskit-report", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    entries = read(report).entries
    return {entry.result.nodeid.rpartition("::")[2]: entry.result for entry in entries}


@pytest.mark.parametrize("name", CLEAN)
def test_right_programs_are_never_blamed(results: dict[str, ScenarioResult], name: str) -> None:
    """Every crash state was checked, and all passed."""
    result = results[name]
    assert result.state == "passed"
    assert result.findings == ()
    assert result.tried == result.budget.possible > 0


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_program_gives_exactly_one_finding(results: dict[str, ScenarioResult], name: str) -> None:
    """However many states break it, there is one call to blame; models and explanation are as known."""
    models, kind, text = BROKEN[name]
    (finding,) = results[name].findings
    assert finding.advice is not None
    assert (finding.models, finding.advice.kind, finding.advice.text) == (models, kind, text)
    assert finding.advice.fix.count("\n") <= 2
    assert finding.site is not None
    assert Path(finding.site.file).name == "programs.py"


@pytest.mark.parametrize("name", [name for name in BROKEN if "sqlite" in name])
def test_sqlite_loses_commits_but_never_corrupts(results: dict[str, ScenarioResult], name: str) -> None:
    """Every violation is a lost acknowledged commit; the database is whole in all states."""
    broken = [case for case in results[name].cases if case.verdict == "violated"]
    assert broken
    assert all(case.failure and "lost an acknowledged commit" in case.failure.message for case in broken)


@pytest.mark.parametrize("name", ["test_replace_without_fsync", "test_fsync_tried_again"])
def test_a_state_is_replayed_from_its_schedule(results: dict[str, ScenarioResult], name: str) -> None:
    """The line that the finding prints repeats the one case, and it breaks again."""
    (finding,) = results[name].findings
    test = f"{HERE / 'programs.py'}::{name}"
    ended = subprocess.run(
        [*PYTEST, test, "--chaoskit-replay", finding.schedule], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "1 of 1 case broke this scenario: 1 finding." in ended.stdout


def test_warnings_are_given_even_where_nothing_broke(results: dict[str, ScenarioResult]) -> None:
    """The trace of a program shows what is missing; where nothing is, nothing is said."""
    said = {name: {advice.kind for advice in result.advice} for name, result in results.items()}
    assert said["test_full_discipline"] == set()
    assert "rename-before-sync" in said["test_replace_without_fsync"]
    assert "directory-not-synced" in said["test_create_without_directory"]
