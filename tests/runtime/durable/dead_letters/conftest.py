"""Letters and messages for the tests, in a store whose clock only moves when told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.runtime import DeadLetters, Outbox, Store
from chaoskit.runtime.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(tmp_path: Path, clock: VirtualClock) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db", durability="memory", clock=clock, reserve=0) as store:
        yield store


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return DeadLetters(store)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)
