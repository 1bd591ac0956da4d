"""A mount that a killed workload could not undo harms nothing, wherever the test's directories are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCENARIO = """
import ctypes, os
from chaoskit import faults, scenario

library = ctypes.CDLL(None, use_errno=True)
SOURCE = {source!r}

def work(path):
    (path / "on").mkdir()
    if library.mount(SOURCE.encode(), bytes(path / "on"), None, 4096, None):
        raise OSError(ctypes.get_errno(), "mount")
    (path / "a").write_text("x")
    if library.umount2(bytes(path / "on"), 0):
        raise OSError(ctypes.get_errno(), "umount")

@scenario(faults.kill())
def test_below_its_own_directory(chaos):
    chaos.run(work, chaos.path)

@scenario(faults.kill())
def test_below_the_directory_of_pytest(chaos, tmp_path):
    # Calls are struck below chaos.path, so the mount is there when the last ones are.
    def late(path):
        (tmp_path / "on").mkdir()
        library.mount(SOURCE.encode(), bytes(tmp_path / "on"), None, 4096, None)
        (path / "a").write_text("x")
        library.umount2(bytes(tmp_path / "on"), 0)
    chaos.run(late, chaos.path)
"""
_CAGE = """
import ctypes, os, sys
library = ctypes.CDLL(None, use_errno=True)
# A mount namespace of its own, from which nothing comes out.
if library.unshare(0x20000) or library.mount(None, b"/", None, 0x44000, None):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("test", "policy"),
    [
        ("test_below_its_own_directory", "all"),
        ("test_below_the_directory_of_pytest", "all"),
        ("test_below_the_directory_of_pytest", "none"),
    ],
)
def test_what_a_left_mount_shows_stays(tmp_path: Path, test: str, policy: str) -> None:
    """The source of a bind mount has its file after the run, whatever pytest keeps; the mount is named."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "important").write_text("x")
    (tmp_path / "test_mounts.py").write_text(_SCENARIO.format(source=str(source)))
    words = ["-P", "-m", "pytest", "-p", "chaoskit.plugin", "-q", "-p", "no:cacheprovider"]
    words += [
        f"test_mounts.py::{test}",
        "-o",
        f"tmp_path_retention_policy={policy}",
        "-o",
        "tmp_path_retention_count=0",
    ]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", _CAGE, *words, "--chaoskit-workers", "2"],
        cwd=tmp_path,
        env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("mounts cannot be made here; needs CAP_SYS_ADMIN")
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(source) == ["important"]
    assert "1 passed" in done.stdout
    assert "left a mount behind at on" in done.stdout
