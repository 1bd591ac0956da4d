"""Checkpoints for the tests, in a store of the test's whose clock only moves when told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.runtime import Checkpoints, DeadLetters, Store
from chaoskit.runtime.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(tmp_path: Path, clock: VirtualClock) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db", durability="memory", clock=clock, reserve=0) as store:
        yield store


@pytest.fixture
def checkpoints(store: Store) -> Iterator[Checkpoints]:
    """Three attempts for each."""
    with Checkpoints(store, pipeline="p", attempts=3) as checkpoints:
        yield checkpoints


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return DeadLetters(store)
