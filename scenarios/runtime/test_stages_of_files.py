"""A stage that makes files and rows, under every kill, disk error and loss of power at every call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import AtomicStage, OutcomeUnknown, ResilienceError, Store
from chaoskit.runtime.durable.store.protocol import Kind

EVERYTHING = faults.disk() | faults.share() | faults.kill() | faults.power_loss()
PRODUCT = Kind("product")
NAMES = ("a", "b")


def opened(directory: Path) -> Store:
    return Store.open(directory / "store.db", lock_timeout=0.3, reserve=0)


def make(directory: Path, text: str, promise: Callable[[str], None]) -> None:
    with opened(directory) as store:
        with AtomicStage("image", store=store) as stage:
            for name in NAMES:
                stage.create(directory / "out" / name).write_text(text)
            stage.update(lambda tx: tx.put(PRODUCT, "p", text, status="done"))
        promise(text)


def recover(directory: Path) -> None:
    with opened(directory) as store:
        AtomicStage.recover(store)


def attack(chaos: Chaos) -> None:
    make(chaos.path, "old", lambda _: None)
    outcome = chaos.run(make, chaos.path, "new", chaos.promise)
    recover(chaos.path)
    with opened(chaos.path) as store:
        row = store.get(PRODUCT, "p")
    assert row is not None
    assert {(chaos.path / "out" / name).read_text() for name in NAMES} == {row.value}, (
        "rows and files disagree"
    )
    assert not chaos.promised or row.value == "new"
    error = outcome.error
    assert error is None or isinstance(error, OSError | ResilienceError)
    if error is not None and not isinstance(error, OutcomeUnknown):
        assert row.value == "old"
    assert sorted(os.listdir(chaos.path / "out")) == ["a", "b"]


@scenario(EVERYTHING, model="strict", timeout=60, budget=bounded(50))
def test_files_and_rows_agree(chaos: Chaos) -> None:
    """After a recovery: all of a stage, or nothing of it, and nothing left over."""
    attack(chaos)
