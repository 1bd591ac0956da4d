"""Each mistake that files, snapshots and the store avoid is found when it is made: the sweep can fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import postgres
import pytest
from budgets import planted
from planting import missed

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
    "planted_stages.py": {
        "test_files_are_placed_before_the_commit": "kill",
        "test_files_of_a_stage_are_not_synced": "power_loss",
        "test_the_list_of_files_is_another_write": "kill",
    },
    "planted_transactions.py": {
        "test_members_are_not_synced": "power_loss",
        "test_the_link_is_not_synced": "power_loss",
        "test_the_link_is_removed_and_made": "kill",
        "test_the_record_is_written_after_the_link": "kill",
        "test_what_is_not_durably_replaced_is_removed": "power_loss",
        "test_an_id_is_not_remembered": "kill",
        "test_the_claim_is_completed_before_the_commit": "kill",
        "test_copied_to_final_names_without_a_journal": "kill",
        "test_members_are_renamed_out_of_the_stage": "power_loss",
        "test_the_journal_is_not_synced": "power_loss",
        "test_the_journal_is_removed_first": "kill",
        "test_places_are_not_synced": "power_loss",
        "test_a_failure_after_the_decision_is_called_a_failure": "E",
        "test_the_target_is_emptied_and_filled": "kill",
    },
    "planted_quarantine.py": {
        "test_the_reason_is_written_after_the_move": "kill",
        "test_the_item_is_copied": "kill",
        "test_the_move_is_not_synced": "power_loss",
        "test_a_letter_is_marked_before_it_is_told": "kill",
        "test_the_reason_is_cleared_after_a_failed_sync": "EIO",
    },
    "planted_remote_runs.py": {
        "test_a_launch_without_an_answer_is_launched_again": "kill",
        "test_results_of_a_run_that_was_found_late_are_removed": "kill",
        "test_an_end_is_acknowledged_before_it_is_durable": "power_loss",
        "test_a_launch_is_counted_when_it_is_answered": "kill",
        "test_a_launch_that_could_not_be_recorded_is_an_orphan": "ENOSPC",
    },
    "planted_run_folders.py": {
        "test_a_flag_is_written_in_place": "kill",
        "test_a_flag_is_not_synced": "power_loss",
        "test_the_end_of_a_flag_is_not_synced_in_a_folder": "power_loss",
        "test_a_flag_that_cannot_be_looked_at_counts_as_none": "open(long-ago/errorprocessing)#1=EIO",
    },
    "planted_consistency.py": {
        "test_an_orphan_is_copied_and_removed": "kill",
        "test_an_orphan_is_linked_and_removed": "kill",
    },
    "planted_postgres.py": {
        "test_a_write_without_an_id_is_repeated": "exchange",
        "test_the_message_is_another_write": "kill",
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


@planted
@pytest.mark.parametrize("file", PLANTED)
def test_all_that_is_planted_is_found(file: str, tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the mistake invites; no mistake is left out here."""
    if file == "planted_postgres.py" and (reason := postgres.missing()):
        pytest.skip(reason)
    assert missed(Path(__file__).with_name(file), PLANTED[file], tmp_path) == {}
