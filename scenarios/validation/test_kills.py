"""Two hundred times a run is killed, some or all of its processes in any order: nothing stays after the next.

``CHAOSKIT_KILLS`` is how many times instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killing import left, round_of_kills, started

ROUNDS = int(os.environ.get("CHAOSKIT_KILLS", "200"))
_AT_ONCE = 10


@pytest.mark.parametrize("first", range(1000, 1000 + ROUNDS, _AT_ONCE))
def test_nothing_is_left_after_the_next_start(tmp_path: Path, first: int) -> None:
    """No process, no directory, after ten rounds and a run that goes to its end."""
    place = tmp_path / "run"
    place.mkdir()
    for seed in range(first, first + _AT_ONCE):
        round_of_kills(place, seed)
    assert started(place, "--chaoskit-budget", "4").wait() == 0
    assert left(place) == []
