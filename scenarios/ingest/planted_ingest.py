"""The ingest with one guarantee removed: each of these scenarios must be violated.

Run by ``test_ingest.py``, which says what each of them shows; run alone, all of them fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amazon import HOST, served

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import Claim, Transaction, make_directories
from scenarios.ingest import program, targets
from scenarios.ingest.test_ingest import TIMEOUT, ends_well

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def amazon() -> Iterator[int]:
    with served() as port:
        yield port


class OneByOne:
    """A transaction by name: each part goes to where readers look as soon as it is there."""

    def __init__(self, table: Path, id: str) -> None:
        self._table, self._id = table, id

    def __enter__(self) -> OneByOne:
        self._table.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add(self, name: str, content: Path) -> None:
        (self._table / name).write_bytes(content.read_bytes())

    def check(self, validator: Any) -> None:
        pass

    def commit(self, *, complete: Claim) -> None:
        complete.complete({"id": self._id})


@scenario(faults.kill().on(path="tables/**"), budget=6, timeout=TIMEOUT, oracle="off")
def test_parts_are_written_under_their_final_names(chaos: Chaos, monkeypatch: Patch) -> None:
    def begun(self: targets.Directory, table: str, id: str) -> Any:
        return OneByOne(self.root / table, id)

    monkeypatch.setattr(targets.Directory, "transaction", begun)
    ends_well(chaos)


@scenario(faults.kill().on(path="tables/**"), budget=3, timeout=TIMEOUT, oracle="off")
def test_completed_before_the_commit(chaos: Chaos, monkeypatch: Patch) -> None:
    commit = Transaction.commit

    def late(self: Transaction, *, complete: Claim | None = None) -> Any:
        assert complete is not None
        complete.complete({"id": self.id})
        return commit(self)

    monkeypatch.setattr(Transaction, "commit", late)
    ends_well(chaos)


@scenario(
    faults.power_loss().on(path="state/ingest.db-wal"),
    model="strict",
    budget=6,
    timeout=TIMEOUT,
    oracle="off",
)
def test_tables_are_not_durable(chaos: Chaos, monkeypatch: Patch) -> None:
    def begun(self: targets.Directory, table: str, id: str) -> Transaction:
        make_directories((self.root / table).parent)
        return Transaction.local(self.root / table, id=id, durability="process-crash")

    monkeypatch.setattr(targets.Directory, "transaction", begun)
    ends_well(chaos)


@scenario(faults.kill().on(path="state/staging/**"), budget=3, timeout=TIMEOUT, oracle="off")
def test_staging_is_never_cleaned(chaos: Chaos, monkeypatch: Patch) -> None:
    monkeypatch.setattr(program.Ingest, "_clean", lambda self: None)
    ends_well(chaos)


@scenario(faults.kill().on(host=HOST), budget=6, timeout=TIMEOUT, oracle="off")
def test_the_bucket_is_never_cleaned(chaos: Chaos, amazon: int, monkeypatch: Patch) -> None:
    monkeypatch.setattr(program, "recover_transactions", lambda place, **options: None)
    ends_well(chaos, amazon)
