"""Stores for the tests, in a directory of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.runtime import Store
from chaoskit.runtime.clock import VirtualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, clock: VirtualClock) -> Iterator[Store]:
    """A store at the level at which nothing waits for the disk."""
    with Store.open(path, durability="memory", clock=clock, reserve=0) as store:
        yield store
