"""Messages for the tests, in a store of each kind."""

from __future__ import annotations

import pytest

from chaoskit.runtime import Outbox, Store


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)
