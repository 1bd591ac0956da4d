"""What the documentation says of how far the models were held against file systems is what was recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VALIDATION = ROOT / "scenarios" / "validation"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="file systems are mounted on Linux alone")


def shown(place: Path = VALIDATION) -> str:
    done = subprocess.run(
        [sys.executable, str(place / "record.py"), "show"], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else done.stderr


def test_the_page_has_the_sums_of_the_record() -> None:
    """Each line of both tables; python scenarios/validation/record.py show prints them."""
    page = (ROOT / "docs" / "explanation" / "power-loss.md").read_text()
    tables = shown().strip().split("\n\n")
    assert len(tables) == 2
    for table in tables:
        assert table.count("\n") == 5
        assert table in page


def test_no_program_counts_twice(tmp_path: Path) -> None:
    """Two lines about the same numbers are an error that says which, also where their kernels differ."""
    place = tmp_path / "scenarios" / "validation"
    (place / "records").mkdir(parents=True)
    for source in VALIDATION.glob("*.py"):
        (place / source.name).symlink_to(source)
    for name in ("chaoskit", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    part = dict.fromkeys(("cuts", "untold", "legal", "seen", "seconds"), 1)
    part |= {"kind": "two", "rules": "abc", "outside": []}
    kernels = {0: "6.18", 100: "6.19", 150: "6.20"}
    lines = [
        json.dumps(part | {"first": first, "end": first + 100, "kernel": kernel})
        for first, kernel in kernels.items()
    ]
    record = place / "records" / "xfs.jsonl"
    record.write_text("\n".join(lines[:2]))
    assert "| xfs | 0 | 200 | 0 | 0 | 2 | 0; 2 cannot be told | 100 % |" in shown(place)
    record.write_text("\n".join(lines))
    assert "programs two 150 to 250 count twice" in shown(place)
