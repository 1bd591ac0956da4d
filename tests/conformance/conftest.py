"""Every backend that works here, and a workload's directory, for the suite that all backends must pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.inject import backends
from chaoskit.inject.base import Backend, Command, Plan, Ran


@pytest.fixture(params=backends.NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """One backend after the other; those that do not work on this machine are skipped with their reason."""
    found, reason = backends.found(request.param)
    if found is None:
        pytest.skip(f"{request.param}: {reason}")
    return found


@pytest.fixture
def root(tmp_path: Any) -> str:
    """A fresh directory, resolved as a plan wants it."""
    return os.path.realpath(tmp_path)


@pytest.fixture
def run(backend: Backend, root: str) -> Callable[..., Ran]:
    """Run a workload once below ``root`` under a schedule."""

    def run(work: Callable[[], Any] | Command, schedule: str = "", **options: Any) -> Ran:
        plan = Plan(root, strikes=Schedule.parse(schedule).strikes, **{"timeout": 20.0, **options})
        return backend.run(work, plan)

    return run
