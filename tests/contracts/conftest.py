"""No thread outlives its test: a scenario that the same process runs later would refuse to fork."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def ended_threads() -> Iterator[None]:
    """Wait for the threads that a broken implementation has left waiting."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), f"{thread.name} is still running"
