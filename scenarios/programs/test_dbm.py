"""dbm.dumb and shelve on top of it: two files that no transaction keeps together."""

from __future__ import annotations

import dbm.dumb
import shelve
from collections.abc import Callable
from pathlib import Path

from chaoskit import Chaos, faults, scenario

OLD = {f"old{n}": "v" * n * 100 for n in range(1, 4)}


def fill(path: Path) -> None:
    with shelve.Shelf(dbm.dumb.open(str(path), "n")) as shelf:
        shelf.update(OLD)


def content(path: Path) -> dict[str, str]:
    with shelve.Shelf(dbm.dumb.open(str(path), "r")) as shelf:
        return dict(shelf)


def add(path: Path, promise: Callable[[str], None]) -> None:
    with shelve.Shelf(dbm.dumb.open(str(path), "w")) as shelf:
        for key in ("new1", "new2"):
            shelf[key] = "fresh"
            promise(key)


def check(chaos: Chaos, path: Path) -> None:
    found = content(path)
    assert {k: v for k, v in found.items() if k in OLD} == OLD
    assert {k: v for k, v in found.items() if k not in OLD}.items() <= {
        "new1": "fresh",
        "new2": "fresh",
    }.items()
    assert set(chaos.promised) <= set(found)


@scenario(faults.kill().on(site="_Database.__setitem__"))
def test_a_shelf_that_is_killed_while_a_key_is_added(chaos: Chaos) -> None:
    """Data first, then one line of the index: killed between them, only the key in question is missing."""
    fill(chaos.path / "shelf")
    chaos.run(add, chaos.path / "shelf", chaos.promise)
    check(chaos, chaos.path / "shelf")


@scenario(
    faults.kill().on(site="_Database._commit"),
    known={
        "46fd0f": "closing moves the index away before it writes the new one, so a kill in between "
        "loses all keys",
        "46177a": "closing moves the index away before it writes the new one, so a kill in between "
        "loses all keys",
    },
)
def test_a_shelf_that_is_killed_while_it_is_closed(chaos: Chaos) -> None:
    """What was in the shelf before, and what was added, is there after a kill in ``close``."""
    fill(chaos.path / "shelf")
    chaos.run(add, chaos.path / "shelf", chaos.promise)
    check(chaos, chaos.path / "shelf")


@scenario(
    faults.disk().on(site="_Database._commit"),
    known={
        "65d2ed": "the same for a disk that is full while the shelf is closed",
        "c82928": "the same for a disk that is full while the shelf is closed",
    },
)
def test_a_shelf_on_a_disk_that_fails_while_it_is_closed(chaos: Chaos) -> None:
    """What was in the shelf before, and what was added, is there after an error in ``close``."""
    fill(chaos.path / "shelf")
    chaos.run(add, chaos.path / "shelf", chaos.promise)
    check(chaos, chaos.path / "shelf")
