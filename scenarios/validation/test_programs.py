"""Thousands of generated programs of raw calls end watched as they end alone.

``CHAOSKIT_PROGRAMS=10000`` plays that many in each of the four places instead of 1,000. A program that
differs is printed as short as it can be made, ready for ``python -m wild --program``.
"""

from __future__ import annotations

import os

import pytest
from wild.running import played

COUNT = int(os.environ.get("CHAOSKIT_PROGRAMS", "1000"))
_SECONDS = 2.0
"""What one program may take on a busy machine, all its plays together."""


@pytest.mark.parametrize("where", ["--memory", "--disk"])
@pytest.mark.parametrize("who", ["--root", "--user"])
def test_programs_end_the_same(where: str, who: str) -> None:
    """In memory and on a disk, as root and as another user: no result, file, time or lock differs."""
    first = {"--memory": 1_000_000, "--disk": 3_000_000}[where] + {"--root": 0, "--user": 1_000_000}[who]
    options = (where, who, "--first", str(first), "--count", str(COUNT))
    found = played(*options, seconds=600 + _SECONDS * COUNT)
    assert not found.differing, found.text()
    assert found.counts["played"] == COUNT
    # Programs may wait for each other, or for nothing at all, and then say nothing.
    assert found.counts["hung"] + found.counts["unsteady"] < 0.1 * COUNT
