"""How much Hypothesis tries, what a pytest inside a test loads, what a fork costs, and that threads end.

Hypothesis: a little and always the same by default, much with --hypothesis-profile=slow.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from stores import new_store_on, postgres, target

from chaoskit.inject import hugepages

__all__ = ["cheap_forks", "ended_threads", "few_plugins", "new_store_on", "postgres", "target"]

# Tests that ask what happens in CI set it: all others are about what users see at their desks.
os.environ.pop("CI", None)

settings.register_profile("default", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "slow", max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("CHAOSKIT_PROFILE", "default"))

WITH_THREADS = {"contracts", "runtime"}
"""Folders whose tests start threads in this process."""


@pytest.fixture(scope="session", autouse=True)
def few_plugins() -> None:
    """Let a pytest that a test starts load the plugin and nothing else by itself.

    All that is installed here takes longer to import than most of them run; what a test needs it names with
    ``-p``. Set when the tests run: the workers of pytest-xdist have been started, with all of theirs.
    """
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "chaoskit.plugin"}


@pytest.fixture(scope="module", autouse=True)
def cheap_forks() -> None:
    """Keep the memory of this process in huge pages, as the harness does in its workers.

    A worker that has collected the whole suite has hundreds of megabytes. Copying the table of their pages
    took two thirds of each test that forks it.
    """
    hugepages.collapse(patience=1.0)


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
