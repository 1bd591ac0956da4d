"""Regressions that are scenarios themselves: each file is run by a pytest of its own.

A scenario forks, so it refuses a process in which other threads run; another test of the same worker may
have left one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.inject.kernel import KernelBackend

FILES = sorted(Path(__file__).parent.glob("scenarios_*.py"))


@pytest.mark.skipif(KernelBackend().unavailable() is not None, reason="the kernel backend does not work here")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_scenario_holds(file: Path, tmp_path: Path) -> None:
    """All tests of the file pass, and there are some."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist"]
    command += ["-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", str(file)]
    done = subprocess.run(command, cwd=file.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 0


def test_no_file_is_forgotten() -> None:
    """There are files to run at all."""
    assert FILES
