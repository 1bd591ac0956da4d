"""A plugin of pytest: each test replays its own line, as ``--chaoskit-replay`` does one for all of them.

Apart from :mod:`planting`, since pytest imports it early: it must not import chaoskit, which is rewritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest

VARIABLE = "PLANTED_LINES"
"""The variable of the environment with the schedules: in JSON, by the name of the test."""


# Before the plugin of chaoskit, which reads the option when it sets a test up.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Set the option for this test alone; a test without a line explores as ever."""
    item.config.option.chaoskit_replay = json.loads(os.environ[VARIABLE]).get(item.name)
    try:
        return (yield)
    finally:
        item.config.option.chaoskit_replay = None
