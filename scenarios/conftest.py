"""What all scenarios share."""

from __future__ import annotations

import pytest
from budgets import planted

# The classifier loads its rules at the first failure in a process, and each case is a process.
from chaoskit.runtime.failures import built_in  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the planted mistakes, the longest: at the end they would keep one process busy alone."""
    items.sort(key=lambda item: planted.mark not in item.own_markers)
