"""Regressions that are scenarios themselves: a pytest apart from this one runs the files.

A scenario forks, so it refuses a process in which other threads run; another test of the same worker may
have left one.
"""

from __future__ import annotations

import re
from pathlib import Path

import inner
import pytest

from chaoskit.inject.kernel import KernelBackend

FILES = sorted(Path(__file__).parent.glob("scenarios_*.py"))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run of all files prints: a line for each test."""
    words = [
        "-rA",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path_factory.mktemp('all') / 'base'}",
    ]
    _, text = inner.plain(FILES[0].parents[2], *words, *map(str, FILES))
    return text


@pytest.mark.skipif(KernelBackend().unavailable() is not None, reason="the kernel backend does not work here")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_scenario_holds(file: Path, printed: str) -> None:
    """All tests of the file pass, and there are some."""
    outcomes = set(re.findall(rf"^([A-Z]+) \S*{file.name}\b", printed, re.MULTILINE))
    assert outcomes == {"PASSED"}, printed


def test_no_file_is_forgotten() -> None:
    """There are files to run at all."""
    assert FILES
