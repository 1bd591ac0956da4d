"""The imaging with one guarantee removed: each of these scenarios must be violated.

Run by ``test_imaging.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import AtomicStage, RecoverySettings, Store
from scenarios.imaging import program, world
from scenarios.imaging.test_imaging import FULL, TIMEOUT, ends_well, falls_back

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def few(monkeypatch: Patch) -> None:
    monkeypatch.setattr(world, "OBSERVATIONS", world.FEW)


@scenario(faults.kill().on(path="state/products/*"), budget=6, timeout=TIMEOUT, oracle="off")
def test_a_product_is_written_in_place(chaos: Chaos, monkeypatch: Patch) -> None:
    """Under its final name, before its row."""

    def straight(self: AtomicStage, path: Path) -> Path:
        return path

    monkeypatch.setattr(AtomicStage, "create", straight)
    ends_well(chaos)


@scenario(faults.kill().on(path="state/products/*"), budget=6, timeout=TIMEOUT, oracle="off")
def test_no_start_recovers(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(program.AtomicStage, "recover", lambda store: None)
    ends_well(chaos)


@scenario(faults.power_loss().on(call="promise"), model="strict", budget=6, timeout=TIMEOUT, oracle="off")
def test_products_are_not_durable(chaos: Chaos, monkeypatch: Patch) -> None:
    not_durable("products.db", monkeypatch)
    ends_well(chaos)


@scenario(faults.power_loss().on(call="promise"), model="strict", budget=6, timeout=TIMEOUT, oracle="off")
def test_stages_are_not_durable(chaos: Chaos, monkeypatch: Patch) -> None:
    """A crash loses more than the stage in progress."""
    not_durable("queue.db", monkeypatch)
    # No further: the round after it leaves more behind, which is not what this is about.
    world.prepare(chaos.path)
    chaos.run(world.run, chaos.path, chaos.promise)
    world.check(chaos.path, chaos.promised)


def not_durable(database: str, monkeypatch: Patch) -> None:
    """Have one of the stores survive crashes of the process, and none of the machine."""
    opened = Store.open

    def weaker(path: Path, **options: Any) -> Store:
        weak = {"durability": "process-crash"} if path.name == database else {}
        return opened(path, **{**options, **weak})

    monkeypatch.setattr(program.Store, "open", weaker)


@scenario(FULL, budget=4, timeout=TIMEOUT, oracle="off")
def test_no_room_on_the_tmpfs_is_the_end(chaos: Chaos, monkeypatch: Patch) -> None:
    made = RecoverySettings.recovery

    def alone(self: RecoverySettings, **code: Any) -> Any:
        return made(self, **{**code, "alternative": None})

    monkeypatch.setattr(RecoverySettings, "recovery", alone)
    falls_back(chaos)
