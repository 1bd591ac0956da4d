"""Twenty recordings each: 400 shell pipelines, an installation, commits, a build, a program with handlers."""

from __future__ import annotations

from pathlib import Path

import pytest
from everyday import Everyday, differences, everyday


@pytest.mark.parametrize("one", everyday(pipelines=400), ids=lambda one: one.name)
def test_programs_of_every_day_end_the_same(tmp_path: Path, one: Everyday) -> None:
    """Status, output and files are those that there are without us, each time."""
    if one.missing():
        pytest.skip(f"{one.needs} is not installed")
    assert differences(one, tmp_path, recordings=20) == []
