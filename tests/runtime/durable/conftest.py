"""A store of each kind for the tests, whose clock only moves when told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaoskit.runtime import DeadLetters, Store
from chaoskit.runtime.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(target: str, clock: VirtualClock) -> Iterator[Store]:
    with Store.open(target, durability="memory", clock=clock, reserve=0) as store:
        yield store


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return DeadLetters(store)
