"""A training that is killed, or loses power, at any point ends where the baseline does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from budgets import bounded, planted
from planting import Planted, Shown, missed

from chaoskit import Chaos, faults, scenario
from chaoskit.invariants import resumes_from_newest

numpy = pytest.importorskip("numpy")
pytest.importorskip("safetensors")

from scenarios.training import loop  # noqa: E402
from scenarios.training.savers import SAVERS  # noqa: E402

CRASHES = faults.kill() | faults.power_loss()
LAST = [resumes_from_newest]
"""What is resumed is the newest checkpoint that was called saved, or one after it."""


def train(made: Callable[[Path], Any], folder: Path, saved: Callable[[int], object]) -> list[float]:
    return loop.train(made(folder), saved)


def resume(made: Callable[[Path], Any], folder: Path) -> int:
    return loop.resume(made(folder))


def ends_alike(chaos: Chaos, made: Callable[[Path], Any]) -> None:
    """A training that is struck, what it would resume from, and the training after it."""
    folder = chaos.path / "kept"
    chaos.run(train, made, folder, chaos.promise)
    chaos.sometimes("it went on from a checkpoint", chaos.recover(resume, made, folder))
    assert loop.train(made(folder)) == loop.expected()


@pytest.mark.parametrize("saver", SAVERS)
@scenario(CRASHES, invariants=LAST, model="strict", budget=bounded(8))
def test_it_goes_on_from_the_newest(chaos: Chaos, saver: str) -> None:
    """With the runtime's snapshots, and with files of safetensors and joblib that are published whole."""
    ends_alike(chaos, SAVERS[saver])


@pytest.mark.parametrize("saver", SAVERS)
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, saver: str) -> None:
    """To the last bit, with what the generator would draw next."""
    state = loop.State.first()
    for _ in range(3):
        state.advance()
    SAVERS[saver](tmp_path).save(state)
    other = SAVERS[saver](tmp_path).load()
    assert other is not None
    for one in (state, other):
        one.advance()
    assert other.plain()["drawn"] == state.plain()["drawn"]
    assert other.weights.tobytes() == state.weights.tobytes()


PLANTED: Planted = {
    "test_save_file_of_safetensors": Shown(
        "promise()#3=power_loss[drop 4]", "which is older than the newest promise"
    ),
    "test_dump_of_joblib": "kill",
    "test_savez_of_numpy": "kill",
    "test_renamed_and_not_synced": Shown(
        "promise()#1=power_loss[drop 2]", "which is nothing that was ever promised"
    ),
    "test_the_generator_is_not_saved": "kill",
}
"""What each twin does otherwise, and the case that shows it, or a part of its schedule."""


@planted
def test_each_missing_guarantee_is_found(tmp_path: Path) -> None:
    """The invariant breaks, and by the fault that the guarantee is there for."""
    assert missed(Path(__file__).with_name("planted_training.py"), PLANTED, tmp_path) == {}
