"""Stages of files and rows with one thing done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

import pytest
from test_stages_of_files import attack

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import AtomicStage
from chaoskit.runtime.durable.transactions import atomic_stage

Patch = pytest.MonkeyPatch


@scenario(faults.kill().on(call="rename"), timeout=60, budget=10)
def test_files_are_placed_before_the_commit(chaos: Chaos, monkeypatch: Patch) -> None:
    """Two renames and then the rows: a kill in between leaves files that no row knows."""
    decide, place = AtomicStage._decide, atomic_stage._place

    def early(self: AtomicStage, files: list[atomic_stage._StageFile]) -> None:
        place(files, sync=True)
        decide(self, files)

    monkeypatch.setattr(AtomicStage, "_decide", early)
    attack(chaos)


@scenario(faults.power_loss(), model="strict", timeout=60, budget=40)
def test_files_of_a_stage_are_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    """The rows are durable, and what they tell of is not."""
    monkeypatch.setattr(atomic_stage, "sync_file", lambda descriptor: None)
    attack(chaos)


@scenario(faults.kill(), timeout=60, budget=40)
def test_the_list_of_files_is_another_write(chaos: Chaos, monkeypatch: Patch) -> None:
    """A kill between the two leaves rows whose files no recovery can finish."""
    decide = AtomicStage._decide

    def in_two(self: AtomicStage, files: list[atomic_stage._StageFile]) -> None:
        updates = tuple(self._updates)
        self._updates.clear()
        self._store.write(lambda tx: [fn(tx) for fn in updates])
        decide(self, files)

    monkeypatch.setattr(AtomicStage, "_decide", in_two)
    attack(chaos)
