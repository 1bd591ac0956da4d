"""How much Hypothesis tries, and that no thread outlives its test.

Hypothesis: a little and always the same by default, much with --hypothesis-profile=slow.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "slow", max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("CHAOSKIT_PROFILE", "default"))

WITH_THREADS = {"contracts", "runtime"}
"""Folders whose tests start threads in this process."""


@pytest.fixture(autouse=True)
def ended_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait for threads that a test has left to themselves, such as a broken implementation's.

    A workload that the same process forks later would be refused because of them.
    """
    before = set(threading.enumerate())
    yield
    if not WITH_THREADS.isdisjoint(request.path.parts):
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
            assert not thread.is_alive(), f"{thread.name} is still running"
