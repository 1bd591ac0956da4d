"""Each mistake that the file primitives avoid is found when it is made: the sweep can fail."""

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

PLANTED = {
    "test_makedirs_does_not_sync": "power_loss",
    "test_a_directory_that_is_there_is_taken_as_it_is": "power_loss",
    "test_a_directory_is_not_synced": "power_loss",
    "test_a_file_is_not_synced": "power_loss",
    "test_the_directory_of_a_file_is_not_synced": "power_loss",
    "test_a_failed_sync_is_tried_again": "fsync(.state.ck-*-1)#1=EIO; ",
    "test_a_file_is_written_in_place": "kill",
    "test_a_directory_that_cannot_be_synced_is_no_matter": "EIO",
    "test_a_lost_answer_is_taken_for_a_failure": "lost[EIO]",
    "test_two_renames_instead_of_an_exchange": "kill",
    "test_a_tree_is_not_synced": "power_loss",
    "test_the_old_tree_is_removed_too_early": "power_loss",
    "test_a_link_is_swapped_before_its_tree_is_there": "power_loss",
    "test_what_was_moved_away_is_taken_for_rubbish": "kill",
    "test_a_record_is_not_synced": "power_loss",
    "test_records_have_no_checksum": "power_loss",
    "test_a_torn_tail_is_not_cut": "kill[torn",
    "test_what_a_killed_process_appended_is_shown_unsynced": "power_loss",
    "test_a_log_goes_on_where_its_sync_failed": "fdatasync(log)#2=EIO; ",
    "test_a_log_is_opened_after_a_failed_sync": "run2:promise",
    "test_the_end_of_a_flag_is_not_synced": "power_loss",
    "test_a_damaged_flag_counts_as_none": "kill",
}
"""What was done wrong, and a part of the schedule that shows it."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ScenarioResult]:
    """What exploring all of them has shown, by the name of the test."""
    report = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *MEMORY]
    command += [str(HERE / "planted_files.py"), "--chaoskit-report", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {entry.result.nodeid.rpartition("::")[2]: entry.result for entry in read(report).entries}


def test_all_that_is_planted_is_listed(results: dict[str, ScenarioResult]) -> None:
    """None is left out here, and none there."""
    assert set(results) == set(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(results: dict[str, ScenarioResult], name: str) -> None:
    """The invariant breaks, and by the fault that the mistake invites."""
    result = results[name]
    violated = [case.schedule for case in result.cases if case.verdict == "violated"]
    assert any(PLANTED[name] in str(schedule) for schedule in violated), (result.state, violated[:5])
