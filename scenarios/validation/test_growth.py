"""Five thousand cases in one run, and long recordings: memory, descriptors and time stay bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from growing import grown
from recording import PROGRAM

CASES, FILES, OPERATIONS = 5_000, 20_000, 100_000


def test_five_thousand_cases_leave_nothing(tmp_path: Path) -> None:
    """Pytest and workers keep their memory within 5 MB after the first 200 cases, and their descriptors."""
    found = grown(tmp_path, CASES, first=200, seconds=3000)
    assert found.status == 0, found.text
    assert found.problems(5_000_000) == []


@pytest.mark.parametrize(("kind", "count"), [("files", FILES), ("operations", OPERATIONS)])
def test_long_recordings_are_bounded(tmp_path: Path, kind: str, count: int) -> None:
    """20,000 files take at most 60 seconds, and 100,000 operations at most 300 MB."""
    words = [sys.executable, "-c", PROGRAM, str(tmp_path), kind, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["operations"] >= count
    assert figures["megabytes"] <= 300
    if kind == "files":
        assert figures["seconds"] <= 60
