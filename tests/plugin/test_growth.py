"""A run of many cases needs no more memory and descriptors at its end than soon after its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest
from growing import grown

_MOST = 5_000_000


def test_cases_leave_neither_memory_nor_descriptors(tmp_path: Path) -> None:
    """Pytest and its worker stay as they are; the validation has five thousand cases."""
    found = grown(tmp_path, 300, first=100, workers=1)
    assert found.status == 0, found.text
    assert found.problems(_MOST) == []


@pytest.mark.parametrize("leak", ["memory", "descriptors"])
def test_a_leak_is_seen(tmp_path: Path, leak: str) -> None:
    """What a test keeps of each case shows in the figures of its worker."""
    found = grown(tmp_path, 160, first=60, workers=1, leak=leak)
    assert any("worker" in problem for problem in found.problems(_MOST)), found.text
