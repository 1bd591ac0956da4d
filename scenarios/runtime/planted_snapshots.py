"""Snapshots with one thing left out or done otherwise: each of these scenarios must be violated.

Run by ``test_planted.py``; run alone, all of them fail.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from test_snapshots import STATES, check, save, save_first, save_in_an_emergency, snapshots

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Snapshots
from chaoskit.runtime.durable.files import staging
from chaoskit.runtime.durable.reserve import Reserve
from chaoskit.runtime.durable.snapshots import folder

Patch = pytest.MonkeyPatch
SYNCED, KILLED = faults.power_loss(), faults.kill()


def saved(chaos: Chaos) -> None:
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    chaos.run(save, chaos)
    check(chaos)


@scenario(SYNCED, model="strict")
def test_a_snapshot_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(staging, "sync_file", lambda descriptor: None)
    saved(chaos)


def write_in_place(path: Path, pieces: Any, **_: Any) -> None:
    with open(path, "xb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
        os.fsync(file.fileno())


@scenario(KILLED)
def test_a_snapshot_is_written_in_place(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(folder, "write_buffers", write_in_place)
    saved(chaos)


@scenario(SYNCED, model="strict")
def test_the_directory_of_snapshots_is_not_synced(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(folder, "make_directories", lambda path: os.makedirs(path, exist_ok=True))
    chaos.run(save_first, chaos)
    assert not chaos.promised or snapshots(chaos.path).load(default=None) == STATES[0]


@scenario(KILLED)
def test_old_ones_are_removed_before_the_new_one_is_there(chaos: Chaos, monkeypatch: Patch) -> None:
    def hasty(kept: Snapshots, pieces: Any) -> int:
        kept._keep = 1
        for number in kept._numbers():
            kept._remove(number)
        return write(kept, pieces)

    write = Snapshots._write
    monkeypatch.setattr(Snapshots, "_write", hasty)
    saved(chaos)


@scenario(faults.share().only("ENOENT"))
def test_a_directory_that_is_not_found_counts_as_empty(chaos: Chaos, monkeypatch: Patch) -> None:
    """Then numbers begin again, and the new snapshot is older than the old one."""
    numbers = Snapshots._numbers
    monkeypatch.setattr(Snapshots, "_numbers", lambda kept, must_exist=False: numbers(kept))
    saved(chaos)


@scenario(faults.disk())
def test_an_emergency_saves_like_any_other(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(Snapshots, "emergency", Snapshots.save)
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    outcome = chaos.run(save_in_an_emergency, chaos)
    assert outcome.error is None, "an emergency raised"


class Pickles:
    """What programs do without a codec: a pickle has no checksum."""

    def save(self, path: Path, state: object) -> None:
        path.write_bytes(pickle.dumps(state))

    def load(self, path: Path) -> object:
        return pickle.loads(path.read_bytes())


@scenario(KILLED | SYNCED, model="strict")
def test_a_pickle_is_all_there_is(chaos: Chaos) -> None:
    path = chaos.path / "state.pickle"
    Pickles().save(path, STATES[0])
    chaos.run(Pickles().save, path, STATES[1])
    assert Pickles().load(path) in STATES


@scenario(faults.disk().only("full"))
def test_there_is_no_reserve(chaos: Chaos, monkeypatch: Patch) -> None:
    """And old snapshots are not given up: then nothing can be saved on a full disk."""
    monkeypatch.setattr(Reserve, "give_up", lambda reserve: None)
    monkeypatch.setattr(Snapshots, "_remove", lambda kept, number: False)
    for number in (0, 1):
        snapshots(chaos.path).save(STATES[number])
    chaos.run(save_in_an_emergency, chaos)
    assert chaos.promised, "nothing was saved"
