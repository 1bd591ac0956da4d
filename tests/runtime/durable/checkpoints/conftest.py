"""Checkpoints for the tests, in a store of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.runtime import Checkpoints, Store


@pytest.fixture
def checkpoints(store: Store, tmp_path: Path) -> Iterator[Checkpoints]:
    """Three attempts for each."""
    with Checkpoints(store, pipeline="p", attempts=3, base=tmp_path) as checkpoints:
        yield checkpoints
