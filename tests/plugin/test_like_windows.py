"""Where there is no Linux: all can be imported, scenarios say why they are skipped, faults by hand strike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import like_windows

TESTS = """
import errno
import pytest
import chaoskit
from chaoskit import contracts, faults, injecting, invariants, runtime, scenario, strategies

@pytest.mark.parametrize("module", [chaoskit, contracts, faults, invariants, runtime, strategies])
def test_names(module):
    for name in module.__all__:
        getattr(module, name)

@scenario(faults.default() | faults.signal("SIGTERM"))
def test_scenario(chaos):
    chaos.run(print, "never")

def test_by_hand(tmp_path):
    (tmp_path / "a").write_text("old")
    with injecting("write(a)#1=ENOSPC", path=tmp_path), pytest.raises(OSError) as caught:
        (tmp_path / "a").write_text("new")
    assert caught.value.errno == errno.ENOSPC

def test_store(tmp_path):
    with pytest.raises(runtime.ConfigurationError, match="record locks"):
        runtime.Store.open(tmp_path / "store.db")

def test_drawn():
    with pytest.raises(chaoskit.ChaoskitError, match="Linux"):
        strategies.world("data", "").run(lambda path, data: None)
"""


def test_the_plugin_needs_nothing_that_windows_lacks(tmp_path: Path) -> None:
    """The scenario is skipped and says what works instead; nothing is left of it."""
    (tmp_path / "test_it.py").write_text(TESTS)
    # Or pytest looks for one in the directories above, and lists what others do there.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-p", "chaoskit.plugin", "-p", "no:cacheprovider", "-rs", "--basetemp", str(tmp_path / "base")]
    done = subprocess.run(
        [sys.executable, like_windows.__file__, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed, 1 skipped" in done.stdout
    assert "processes of Linux" in done.stdout
    assert "chaoskit.injecting" in done.stdout
