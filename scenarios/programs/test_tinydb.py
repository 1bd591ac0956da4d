"""tinydb: a database in one JSON file that is written in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit import Chaos, faults, scenario

tinydb = pytest.importorskip("tinydb", reason="needs the dependency group scenarios")

TEXT = "x" * 200


def insert(path: Path, numbers: range, promise: Callable[[int], None] = lambda _: None) -> None:
    with tinydb.TinyDB(path) as database:
        for n in numbers:
            database.insert({"n": n, "text": TEXT})
            promise(n)


def check(chaos: Chaos, path: Path) -> None:
    with tinydb.TinyDB(path, access_mode="r") as database:
        found = [document["n"] for document in database.all()]
    assert found == list(range(len(found)))
    assert set(range(3)) | set(chaos.promised) <= set(found)


@scenario(
    faults.disk() | faults.kill(),
    known={"6ae225": "the file is overwritten in place; a full disk leaves broken JSON"},
)
def test_documents_survive(chaos: Chaos) -> None:
    """Documents that were inserted before, or acknowledged, are there after any error and any kill."""
    insert(chaos.path / "db.json", range(3))
    chaos.run(insert, chaos.path / "db.json", range(3, 5), chaos.promise)
    check(chaos, chaos.path / "db.json")
