"""Decorated functions keep their types, for mypy and for pyright."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import budgets
import pytest

pytestmark = budgets.once

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "api.py", HERE / "wrong.py"
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--python-version=3.11"],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}

# Some versions of pyright's package bring the program itself from npm when they first run. The suite does
# not need that: without a network it is given up at once, and the test is skipped.
ENVIRONMENT = {
    "npm_config_prefer_offline": "true",
    "npm_config_fetch_retries": "0",
    "npm_config_fetch_timeout": "20000",
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
}
LONGEST = 180


def errors(checker: str, file: Path, cache: Path) -> list[int]:
    """The lines of ``file`` in which ``checker`` finds an error."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install {checker}")
    command = [sys.executable, *CHECKERS[checker]]
    if checker == "mypy":
        command.append(f"--cache-dir={cache}")
    try:
        done = subprocess.run(
            [*command, str(file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=HERE,
            env={**os.environ, **ENVIRONMENT},
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(
            f"{checker} did not end within {LONGEST} s; without a network it cannot fetch what it needs"
        )
    found = re.findall(rf"{re.escape(file.name)}:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    if not found and "0 errors" not in done.stdout and done.returncode:
        pytest.skip(f"{checker} does not run here: {(done.stderr or done.stdout).strip()[-200:]}")
    return sorted({int(line) for line in found})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where mypy keeps what it has understood of the package."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("checker", CHECKERS)
def test_users_code_is_understood(checker, cache):
    """Parameters, results, methods and coroutines are what they were before the decorator."""
    assert errors(checker, RIGHT, cache) == []


@pytest.mark.parametrize("checker", CHECKERS)
def test_mistakes_are_found(checker, cache):
    """Wrong arguments to a decorated function, to ``retry``, and the bare decorator, each in its line."""
    marked = [n for n, line in enumerate(WRONG.read_text().splitlines(), 1) if "# wrong" in line]
    assert errors(checker, WRONG, cache) == marked
