"""What reaches a file without a call is known: right programs are not blamed, wrong ones are."""

from __future__ import annotations

from pathlib import Path

import inner
import pytest

from chaoskit.inject.kernel import KernelBackend

SCENARIOS = """
import mmap
import os
import pytest
from chaoskit import faults, scenario


def by_msync(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as memory:
        memory[:3] = b"new"
        memory.flush()
    os.close(fd)


def by_fsync(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as memory:
        memory[:3] = b"new"
    os.fsync(fd)
    os.close(fd)


def unsynced(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as memory:
        memory[:3] = b"new"
    os.close(fd)


def spliced(path):
    reading, writing = os.pipe()
    os.write(writing, b"new")
    fd = os.open(path, os.O_WRONLY)
    os.splice(reading, fd, 3)
    os.fsync(fd)
    os.close(fd)


def work(chaos, store):
    store(chaos.path / "f")
    chaos.promise("new")


def check(chaos, store):
    (chaos.path / "f").write_bytes(bytes(4096))
    chaos.run(work, chaos, store)
    assert not chaos.promised or (chaos.path / "f").read_bytes()[:3] == b"new"


@pytest.mark.parametrize("store", [by_msync, by_fsync, spliced])
@scenario(faults.power_loss())
def test_right(chaos, store):
    check(chaos, store)


@scenario(faults.power_loss())
def test_wrong(chaos):
    check(chaos, unsynced)


def in_parts(path, first):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 3 * 4096) as memory:
        memory[4096:4099] = b"new"
        if first:
            memory.flush(4096, 4096)
        memory[:4] = b"done"
        memory.flush(0, 4096)
    os.close(fd)


def mapped_in_parts(chaos, first):
    (chaos.path / "f").write_bytes(bytes(3 * 4096))
    chaos.run(in_parts, chaos.path / "f", first)
    content = (chaos.path / "f").read_bytes()
    assert not content.startswith(b"done") or content[4096:4099] == b"new"


@scenario(faults.power_loss())
def test_right_in_parts(chaos):
    mapped_in_parts(chaos, True)


@scenario(faults.power_loss())
def test_wrong_in_parts(chaos):
    mapped_in_parts(chaos, False)


@scenario(faults.power_loss(model="btrfs"))
def test_right_on_btrfs(chaos):
    mapped_in_parts(chaos, False)


def appended(chaos, sync):
    # A journal with a mapped head: what was appended is not in the range that is synced.
    fd = os.open(chaos.path / "f", os.O_RDWR)
    with mmap.mmap(fd, 4096) as memory:
        os.pwrite(fd, b"record", 4096)
        if sync:
            os.fdatasync(fd)
        memory[:4] = b"done"
        memory.flush()
    os.close(fd)
    chaos.promise("record")


@pytest.mark.parametrize("sync", [True, False], ids=["right", "wrong"])
@scenario(faults.power_loss(model=("ext4", "xfs")))
def test_appended(chaos, sync):
    (chaos.path / "f").write_bytes(bytes(4096))
    chaos.run(appended, chaos, sync)
    assert not chaos.promised or (chaos.path / "f").read_bytes()[4096:] == b"record"
"""


@pytest.mark.skipif(KernelBackend().unavailable() is not None, reason="the kernel backend does not work here")
def test_no_state_is_made_up_without_what_was_stored(tmp_path: Path) -> None:
    """msync of its range and fsync cover what came by a mapping or a splice; without them it is at stake."""
    file = tmp_path / "test_it.py"
    file.write_text(SCENARIOS)
    _, printed = inner.plain(tmp_path, "-q", "-p", "no:cacheprovider", str(file))
    assert "3 failed, 6 passed" in printed, printed
    assert "test_appended[wrong]" in printed
    assert "test_wrong_in_parts - 1 of" in printed
    assert "wrote a part of `f`, and not what was stored at byte 4096" in printed
    assert "violated: promise()#1=power_loss[" in printed
    assert "=power_loss[all]" not in printed
    assert "`f` was acknowledged" in printed
