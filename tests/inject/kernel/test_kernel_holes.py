"""Holes cost neither time nor room."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.inject.base import Ran
from chaoskit.inject.kernel.files import extents
from chaoskit.inject.kernel.files.payload import PayloadStore

Run = Callable[..., Ran]

SIZE = 1 << 40


@pytest.mark.parametrize("in_memory", [0, 1 << 30], ids=["spilled", "in memory"])
def test_a_copy_has_the_content_and_the_holes(tmp_path: Path, in_memory: int) -> None:
    """Whatever is between two holes is where it was, and the position of the file is as before."""
    place = tmp_path / "sparse"
    with open(place, "w+b") as file:
        for offset in (3, 5_000_000, 9_999_990):
            file.seek(offset)
            file.write(b"data")
        file.truncate(12_000_000)
        file.seek(17)
        kept = PayloadStore(in_memory).copy(file.fileno(), 1, 11_000_000)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 17
    assert kept.read() == place.read_bytes()[1:11_000_001]


def test_zeros_and_holes_are_alike(tmp_path: Path) -> None:
    """What a file system stores as a hole or not makes no difference."""
    (tmp_path / "zeros").write_bytes(bytes(5_000_000) + b"x")
    with open(tmp_path / "holes", "wb") as file:
        file.seek(5_000_000)
        file.write(b"x")
    found = []
    for name in ("zeros", "holes"):
        with open(tmp_path / name, "rb") as file:
            found.append(list(extents.data(file.fileno(), 0, 5_000_001)))
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_a_huge_sparse_file_is_recorded_at_once(root: str, run: Run) -> None:
    """A terabyte of which a page is used is mapped, changed, and renamed in, in the time of a page."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, SIZE)
        with mmap.mmap(fd, mmap.PAGESIZE) as mapped:
            mapped[:4] = b"data"
            mapped.flush()
        os.close(fd)

    ran = run(work, record=True, timeout=20)
    assert (ran.ok, ran.timed_out) == (True, False)
    seen = [payload for one in ran.trace for _, payload in one.file.seen]
    assert [len(payload) for payload in seen] == [SIZE] * len(seen)
    assert seen
