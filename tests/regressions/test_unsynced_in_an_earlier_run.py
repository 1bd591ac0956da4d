"""What one chaos.run left unsynced can still be lost when the power goes in the next."""

from __future__ import annotations

from pathlib import Path

import inner
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
    status, printed = inner.plain(tmp_path, "-q", "-p", "no:cacheprovider", str(file))
    assert status == 1, printed
    assert "run2:promise()#1=power_loss" in printed


KILLED = """
import os
from chaoskit import faults, scenario


def write(path):
    (path / "data").write_bytes(b"x" * 100)             # never synced


def recover(path, promise):
    if (path / "data").exists() and (path / "data").read_bytes() == b"x" * 100:
        fd = os.open(path / "ack", os.O_WRONLY | os.O_CREAT)
        os.fsync(fd)
        os.close(fd)
        promise("saved")                                 # it was read, so it must be there


@scenario(faults.kill().on(call="end") | faults.power_loss().on(call="promise"), depth=2)
def test_recovery_trusts_the_page_cache(chaos):
    if not chaos.run(write, chaos.path).ok:
        chaos.run(recover, chaos.path, chaos.promise)
    assert not chaos.promised or (chaos.path / "data").read_bytes() == b"x" * 100
"""

LYING = """
import os
from chaoskit import faults, scenario


def write(path):
    fd = os.open(path / "data", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 100)
    try:
        os.fsync(fd)
    except OSError:
        pass                                             # the next one will tell
    os.close(fd)


def again(path, promise):
    fd = os.open(path / "data", os.O_WRONLY)
    os.fsync(fd)
    os.close(fd)
    promise("saved")


@scenario(faults.fsync_lies())
def test_a_later_run_syncs(chaos):
    chaos.run(write, chaos.path)
    chaos.run(again, chaos.path, chaos.promise)
    assert not chaos.promised or (chaos.path / "data").read_bytes() == b"x" * 100
"""


@pytest.mark.skipif(KernelBackend().unavailable() is not None, reason="the kernel backend does not work here")
@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        (KILLED, "end()#1=kill; run2:promise()#1=power_loss["),
        (LYING, "fsync(data)#1=EIO; run2:promise()#1=power_loss["),
    ],
    ids=["a kill, then a recovery", "an fsync that failed"],
)
def test_what_a_fault_left_unsynced_is_lost_in_a_later_run(tmp_path: Path, text: str, schedule: str) -> None:
    """A recovery that reads it from memory, and an fsync of pages that count as clean; both replay."""
    file = tmp_path / "test_it.py"
    file.write_text(text)
    words = ("-q", "-p", "no:cacheprovider", str(file))
    status, printed = inner.plain(tmp_path, *words)
    assert status == 1, printed
    assert f"violated: {schedule}" in printed, printed
    found = printed.split("violated: ", 1)[1].splitlines()[0]
    status, printed = inner.plain(tmp_path, *words, "--chaoskit-replay", found)
    assert status == 1, printed
    assert f"violated: {found}" in printed
