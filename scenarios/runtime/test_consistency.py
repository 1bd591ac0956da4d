"""Repairs of what does not agree, under disk errors, kills and loss of power."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario
from chaoskit.runtime import (
    Consistency,
    FileExists,
    FileRows,
    NoOrphans,
    RemoveRow,
    SetColumns,
    SqliteRows,
)

EVERYTHING = faults.disk() | faults.kill() | faults.power_loss()
TIMEOUT = 30

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def prepared(root: Path) -> None:
    """A product without its file, and a file without its product: one of the name is in quarantine."""
    (root / "files").mkdir()
    (root / "quarantine").mkdir()
    (root / "quarantine" / "orphan").write_text("earlier")
    (root / "files" / "orphan").write_text("pixels")
    with closing(sqlite3.connect(root / "products.db", isolation_level=None)) as products:
        products.execute("create table products(id text, path text, status text)")
        products.execute("insert into products values('a', 'lost', 'done')")


def subject(root: Path) -> Consistency:
    return Consistency(
        {
            "products": SqliteRows(root / "products.db", "products", timeout=0.3),
            "files": FileRows(root / "files", quarantine=root / "quarantine"),
        },
        [
            FileExists(
                "products",
                root / "files",
                when=lambda row: row["status"] == "done",
                remedy=SetColumns({"status": "again"}),
            ),
            # Of any age: what a power loss has left has the times of its recovery.
            NoOrphans("files", of=[("products", "path")], younger=0, remedy=RemoveRow()),
        ],
    )


def repair(root: Path) -> None:
    rules = subject(root)
    rules.repair(rules.check(), dry_run=False)


def judge(root: Path) -> None:
    """Nothing is lost or doubled at once, and a repair later everything agrees."""
    kept = [*(root / "files").iterdir(), *(root / "quarantine").iterdir()]
    assert sorted(path.read_text() for path in kept) == ["earlier", "pixels"]
    repair(root)
    assert subject(root).check().ok
    assert sorted(path.read_text() for path in (root / "quarantine").iterdir()) == ["earlier", "pixels"]
    assert list((root / "files").iterdir()) == [], "a file is left where no product names it"
    with closing(sqlite3.connect(root / "products.db")) as products:
        assert products.execute("select * from products").fetchall() == [("a", "lost", "again")]


@scenario(EVERYTHING, model="ext4", timeout=TIMEOUT, budget=bounded(120))
def test_a_repair_loses_nothing_and_can_be_repeated(chaos: Chaos) -> None:
    """Whatever fails in it, and wherever it is killed or power is lost."""
    prepared(chaos.path)
    chaos.run(repair, chaos.path)
    judge(chaos.path)
