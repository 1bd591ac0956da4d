"""Traces made by hand: a set-up, then calls that are recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crash_recorder import Recorder

from chaoskit.explore.crash import CrashStates, Snapshot, crash_states, script

ALL = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")
Work = Callable[[Recorder], object]


@pytest.fixture
def states_of(tmp_path: Path) -> Callable[..., CrashStates]:
    """``states_of(setup, work, models=…)``: the crash states of ``work``, run after ``setup``."""
    count = iter(range(1000))

    def states(setup: Work, work: Work, models: object = ALL, **options: object) -> CrashStates:
        directory = tmp_path / str(next(count))
        directory.mkdir()
        setup(Recorder(directory))
        before = Snapshot.take(directory)
        recorder = Recorder(directory)
        work(recorder)
        return crash_states(script(recorder.trace(), before), models, **options)  # type: ignore[arg-type]

    return states
