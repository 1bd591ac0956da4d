"""What one chaos.run left unsynced can still be lost when the power goes in the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.inject.kernel import KernelBackend

SCENARIO = """
import os
from chaoskit import faults, scenario


def write(path):
    (path / "data").write_bytes(b"x" * 100)             # never synced


def acknowledge(chaos):
    data = chaos.path / "data"
    if data.exists() and data.read_bytes() == b"x" * 100:
        fd = os.open(chaos.path / "ack", os.O_WRONLY | os.O_CREAT)
        os.fsync(fd)
        os.close(fd)
        chaos.promise("saved")


@scenario(faults.power_loss())
def test_two_runs(chaos):
    chaos.run(write, chaos.path)
    chaos.run(acknowledge, chaos)
    assert not chaos.promised or (chaos.path / "data").read_bytes() == b"x" * 100
"""


@pytest.mark.skipif(KernelBackend().unavailable() is not None, reason="the kernel backend does not work here")
def test_the_lost_data_is_found(tmp_path: Path) -> None:
    """In one run the same program is blamed; it does not become right by being two."""
    file = tmp_path / "test_it.py"
    file.write_text(SCENARIO)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "run2:promise()#1=power_loss" in done.stdout
