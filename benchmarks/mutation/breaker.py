"""Mutation testing of the circuit breaker: how many small bugs, planted one by one, do its tests catch?

``python benchmarks/mutation/breaker.py [MUTANT …]`` copies the package and the breaker's tests to a new
directory and runs mutmut there (``pip install mutmut``), so that nothing here is ever mutated. It prints
the directory; ``mutmut results`` and ``mutmut show MUTANT`` work inside it. ``results/mutation_breaker.md``
has the result with the reason for each survivor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "tests/runtime/test_breaker*.py",
    "tests/contracts/test_breaker.py",
    "tests/contracts/broken_breakers.py",
)
SETTINGS = """\
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["-p", "no:randomly", "-x", "-q"]
filterwarnings = ["error", "ignore::DeprecationWarning"]

[tool.mutmut]
source_paths = ["chaoskit/runtime/breaker/"]
also_copy = ["chaoskit", "tests"]
pytest_add_cli_args_test_selection = ["tests/runtime", "tests/contracts"]
"""


def main() -> int:
    """Copy, run, tell where; mutmut's exit status."""
    place = Path(tempfile.mkdtemp(prefix="mutants-breaker-"))
    shutil.copytree(ROOT / "chaoskit", place / "chaoskit", ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in (*TESTS, "tests/contracts/__init__.py"):
        for test in ROOT.glob(pattern):
            target = place / test.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(test, target)
    (place / "pyproject.toml").write_text(SETTINGS)
    # A few examples of each row are enough here: the other tests do most of the catching.
    environment = {**os.environ, "CHAOSKIT_CONTRACT_EXAMPLES": "30"}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", "run", *sys.argv[1:]], cwd=place, env=environment, check=False
    )
    print(place)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
