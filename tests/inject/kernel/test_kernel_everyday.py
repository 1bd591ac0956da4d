"""Shells, installers, builds and programs with signal handlers end recorded as they end alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from everyday import Everyday, differences, everyday


@pytest.mark.parametrize("one", everyday(pipelines=20), ids=lambda one: one.name)
def test_programs_of_every_day_end_the_same(tmp_path: Path, one: Everyday) -> None:
    """Status, output and files are those that there are without us; the validation has 20 recordings."""
    if one.missing():
        pytest.skip(f"{one.needs} is not installed")
    assert differences(one, tmp_path, recordings=1) == []
