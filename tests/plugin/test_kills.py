"""Whatever of a run is killed, in any order, the next start leaves nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import kill_all_but_workloads, left, round_of_kills, started


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_after_the_next_start(tmp_path: Path, seed: int) -> None:
    """Pytest, its workers, their guards and the workload are killed; then a run goes to its end."""
    place = tmp_path / "run"
    place.mkdir()
    round_of_kills(place, seed)
    assert started(place, "--chaoskit-budget", "4").wait() == 0
    assert left(place) == []


def test_what_has_outlived_all_guards_ends_with_the_next_start(tmp_path: Path) -> None:
    """Pytest, workers and guards are killed at once; the workload's processes stay, until the next run."""
    place = tmp_path / "run"
    place.mkdir()
    outlived = 0
    # Between two cases there is no workload, and then nothing is shown.
    for _ in range(20):
        outlived = kill_all_but_workloads(place)
        if outlived:
            break
    assert outlived
    assert started(place, "--chaoskit-budget", "4").wait() == 0
    assert left(place) == []
