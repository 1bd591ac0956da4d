"""The page of traps names tests that exist, and a mistake that is made for each of most of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "durable-traps.md"
PLACES = (ROOT / "tests" / "runtime", ROOT / "scenarios" / "runtime")
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_every_test_that_the_page_names_exists() -> None:
    """What is said to be shown is shown by a test of that name in that file."""
    named = NAMED.findall(PAGE.read_text("utf-8"))
    assert len(named) > 80
    gone = [
        f"{file}::{name}"
        for file, name in named
        if not any(
            f"\ndef {name}(" in path.read_text("utf-8") for place in PLACES if (path := place / file).exists()
        )
    ]
    assert gone == []
