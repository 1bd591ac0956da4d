"""Starting a cage from a test, and hearing what came of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chaoskit

_SUPPORT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Played:
    """What a cage said: the programs that differ, one line each, and how many were played."""

    differing: list[dict[str, Any]]
    counts: dict[str, int]

    def text(self) -> str:
        """The differences, for the message of a failed test."""
        return "\n".join(f"{one['seed']}: {one['differs']}\n  {one['program']}" for one in self.differing)


def played(*options: str, seconds: float) -> Played:
    """Play programs in a cage of their own; see ``python -m wild --help`` for the options.

    Raises:
        RuntimeError: if it did not come to its end, with what it said.
    """
    place = tempfile.mkdtemp(prefix="wild-")
    # The programs of another user must get there.
    os.chmod(place, 0o755)
    roots = os.pathsep.join((str(_SUPPORT), str(Path(chaoskit.__file__).resolve().parent.parent)))
    try:
        # The guard of the process that is killed here ends its programs.
        done = subprocess.run(
            [sys.executable, "-m", "wild", "--place", place, *options],
            env={**os.environ, "PYTHONPATH": roots, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not lines or "played" not in lines[-1]:
        raise RuntimeError(f"the cage ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return Played(lines[:-1], lines[-1])
