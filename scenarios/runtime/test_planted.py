"""Each mistake that files, snapshots and the store avoid is found when it is made: the sweep can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from chaoskit.core.result import ScenarioResult
from chaoskit.report import read

HERE = Path(__file__).parent
MEMORY = ["-o", "chaoskit_tmp=/dev/shm"] if os.access("/dev/shm", os.W_OK) else []

PLANTED: Mapping[str, Mapping[str, str]] = {
    "planted_files.py": {
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
    },
    "planted_snapshots.py": {
        "test_a_snapshot_is_not_synced": "power_loss",
        "test_a_snapshot_is_written_in_place": "kill",
        "test_the_directory_of_snapshots_is_not_synced": "power_loss",
        "test_old_ones_are_removed_before_the_new_one_is_there": "kill",
        "test_a_directory_that_is_not_found_counts_as_empty": "open(kept)",
        "test_an_emergency_saves_like_any_other": "persistent",
        "test_a_pickle_is_all_there_is": "kill",
        "test_there_is_no_reserve": "full",
    },
    "planted_checkpoints.py": {
        "test_artefacts_are_not_synced": "power_loss",
        "test_the_letter_is_another_write": "kill",
        "test_the_attempt_is_not_counted": "kill",
        "test_a_batch_acknowledges_before_it_flushes": "kill",
        "test_the_reserve_is_not_given_up": "full",
    },
    "planted_dead_letters.py": {
        "test_publish_and_then_mark": "kill",
        "test_mark_and_then_publish": "kill",
        "test_the_receiver_does_not_deduplicate": "kill",
    },
    "planted_store.py": {
        "test_a_level_without_syncs_is_called_durable": "power_loss",
        "test_the_directory_is_not_synced": "power_loss",
        "test_an_unknown_outcome_is_called_a_failure": "fdatasync",
        "test_the_connection_is_kept_after_an_error": "fdatasync(store.db-wal)",
        "test_the_result_and_the_message_are_two_writes": "kill",
        "test_a_backup_is_written_in_place": "kill",
    },
}
"""By file: what was done wrong, and a part of the schedule that shows it."""


@cache
def results(file: str, report: Path) -> Mapping[str, ScenarioResult]:
    """What exploring all of a file has shown, by the name of the test."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *MEMORY]
    command += [str(HERE / file), "--chaoskit-report", str(report / file)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {entry.result.nodeid.rpartition("::")[2]: entry.result for entry in read(report / file).entries}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports of this run are."""
    return tmp_path_factory.mktemp("planted")


@pytest.mark.parametrize("file", PLANTED)
def test_all_that_is_planted_is_listed(file: str, report: Path) -> None:
    """None is left out here, and none there."""
    assert set(results(file, report)) == set(PLANTED[file])


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, names in PLANTED.items() for name in names]
)
def test_what_is_planted_is_found(file: str, name: str, report: Path) -> None:
    """The invariant breaks, and by the fault that the mistake invites."""
    result = results(file, report)[name]
    violated = [str(case.schedule) for case in result.cases if case.verdict == "violated"]
    assert any(PLANTED[file][name] in schedule for schedule in violated), (result.state, violated[:5])
