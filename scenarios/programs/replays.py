"""Replays each finding of docs/reference/real-programs-found.md: ``python -m scenarios.programs.replays``.

Ends with status 1 if a line does not show the finding any more: the program has changed, or the harness.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "real-programs-found.md"
_ROW = re.compile(r"^\| (?P<program>.+?) \| .+ \| `(?P<id>[0-9a-f]{6})` \| `pytest (?P<line>.+)` \|$", re.M)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One row of the page: the program, the finding's id, and what pytest is given."""

    program: str
    id: str
    argv: tuple[str, ...]

    @property
    def test(self) -> str:
        return self.argv[0]

    @property
    def schedule(self) -> str:
        return self.argv[self.argv.index("--chaoskit-replay") + 1]


def rows() -> list[Replayed]:
    """The rows of the page, in order."""
    found = _ROW.finditer(PAGE.read_text(encoding="utf-8"))
    return [Replayed(row["program"], row["id"], tuple(shlex.split(row["line"]))) for row in found]


def shows(row: Replayed) -> str:
    """What is wrong with a row, with the end of what pytest has said; empty if it shows its finding."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *row.argv]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 1 and f"[{row.id}] " in done.stdout:
        return ""
    return f"status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-500:]}"


def main() -> int:
    """Say of each row if it shows its finding; the number of those that do not is the status, 1 at most."""
    wrong = 0
    for row in rows():
        problem = shows(row)
        print(f"{'no' if problem else 'shown':6} {row.id} {row.program}", flush=True)
        if problem:
            wrong += 1
            print(problem)
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
