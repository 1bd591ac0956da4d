"""Without an extra, the parts that need it say which one to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chaoskit.core.extras import missing

WITHOUT = """
import sys
sys.modules[{library!r}] = None  # As if it were not installed.
import chaoskit, chaoskit.runtime
{statement}
"""


@pytest.mark.parametrize(
    ("statement", "library", "extra"),
    [
        ("import chaoskit.contracts", "hypothesis", "contracts"),
        ("import chaoskit.contracts.retry", "hypothesis", "contracts"),
        ("import chaoskit.strategies", "hypothesis", "contracts"),
        ("import chaoskit.plugin", "pytest", "pytest"),
        ("import chaoskit.plugin.scenarios", "pytest", "pytest"),
        ("chaoskit.scenario()", "pytest", "pytest"),
        ("chaoskit.runtime.RetryingAdapter", "requests", "requests"),
        ("chaoskit.runtime.RetryingPool", "urllib3", "urllib3"),
        ("chaoskit.runtime.RetryingTransport", "httpx", "httpx"),
        ("chaoskit.runtime.AsyncRetryingTransport", "httpx", "httpx"),
    ],
)
def test_missing_extra_is_named(statement, library, extra):
    """The last line of the error names the part, the library and the line that installs the extra."""
    program = WITHOUT.format(library=library, statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ModuleNotFoundError: chaoskit.{statement.split('.')[1].rstrip('()')}")
    assert f"needs {library}" in last
    assert last.endswith(f"pip install 'chaoskit[{extra}]'")


def test_another_missing_module_is_no_missing_extra():
    """An error about a module that the library itself lacks stays what it is."""
    error = ModuleNotFoundError("No module named 'attr'", name="attr")
    assert missing(error, "hypothesis", "contracts", "chaoskit.contracts") is error
