"""Snapshots of a directory, and how two of them differ."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from chaoskit.explore.observation import Observation
from chaoskit.explore.snapshot import differences, take


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A directory with one of each kind."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("content")
    (tmp_path / "link").symlink_to("sub/file")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    return tmp_path


def test_equal_directories_do_not_differ(full: Path) -> None:
    """Taking twice gives the same; access and modification times do not matter."""
    before = take(str(full))
    os.utime(full / "sub" / "file", (1, 1))
    assert differences(before, take(str(full))) == ()
    assert list(before) == ["binary", "fifo", "link", "sub", "sub/file"]


def test_each_kind_of_change_is_told(full: Path) -> None:
    """Missing, extra, other content, other mode, other target, other kind."""
    before = take(str(full))
    (full / "sub" / "file").write_text("other!!")
    (full / "link").unlink()
    (full / "link").symlink_to("elsewhere")
    (full / "fifo").unlink()
    (full / "new").touch()
    os.chmod(full / "sub", 0o700)
    found = {d.path: d for d in differences(before, take(str(full)))}
    assert {path: d.change for path, d in found.items()} == {
        "fifo": "missing", "link": "changed", "new": "extra", "sub": "changed", "sub/file": "changed",
    }  # fmt: skip
    assert found["sub/file"].detail == "expected 'content', found 'other!!'"
    assert found["link"].expected == "link to sub/file"
    assert found["new"].detail == "holds nothing"


def test_large_files_are_compared_whole_and_shown_in_part(tmp_path: Path) -> None:
    """A difference behind the first bytes is one; only the beginning is shown."""
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    before = take(str(tmp_path))
    (tmp_path / "a").write_bytes(b"x" * 9_999 + b"y")
    [found] = differences(before, take(str(tmp_path)))
    assert "(10000 bytes)" in found.detail
    assert len(found.detail) < 1000


def test_a_hole_is_not_read(tmp_path: Path) -> None:
    """A sparse file costs what it holds: data bases map a terabyte of nothing, and every case looks at it."""
    with open(tmp_path / "sparse", "wb") as file:
        file.write(b"begin")
        file.seek(1 << 39)
        file.write(b"middle")
        file.truncate(1 << 40)
    began = time.monotonic()
    entry = take(str(tmp_path))["sparse"]
    assert time.monotonic() - began < 5
    assert (entry.size, entry.head[:6]) == (1 << 40, b"begin\0")


@pytest.mark.parametrize("size", [10, 1 << 16, 300_000, 1 << 20])
@pytest.mark.parametrize("data", [0, 1, 70_001, 299_999])
def test_a_hole_and_written_zeroes_are_equal(tmp_path: Path, size: int, data: int) -> None:
    """Content is what a reader sees, however it is stored; one other byte anywhere is a difference."""
    content = bytearray(size)
    content[data % size] = 1
    (tmp_path / "a").write_bytes(content)
    written = take(str(tmp_path))
    with open(tmp_path / "a", "wb") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"\1", data % size)
    assert differences(written, take(str(tmp_path))) == ()
    for other in {(data + 1) % size, (data + 65_536) % size} - {data % size}:
        with open(tmp_path / "a", "r+b") as file:
            os.pwrite(file.fileno(), b"\0", data % size)
            os.pwrite(file.fileno(), b"\1", other)
        assert differences(written, take(str(tmp_path)))
        with open(tmp_path / "a", "r+b") as file:
            os.pwrite(file.fileno(), b"\0", other)


def test_names_under_a_wildcard_are_equal(tmp_path: Path) -> None:
    """Files whose names vary are compared by their number and content."""
    (tmp_path / "tmp1.db").write_text("a")
    before = take(str(tmp_path))
    (tmp_path / "tmp1.db").rename(tmp_path / "tmp2.db")
    assert differences(before, take(str(tmp_path)), ("tmp*.db",)) == ()
    (tmp_path / "tmp3.db").write_text("b")
    assert [d.change for d in differences(before, take(str(tmp_path)), ("tmp*.db",))] == ["extra"]


def test_a_missing_directory_is_empty(tmp_path: Path) -> None:
    """A workload may remove chaos.path itself."""
    assert dict(take(str(tmp_path / "gone"))) == {}


def test_snapshots_travel(full: Path) -> None:
    """An observation with a snapshot comes out of a pickle as it went in."""
    seen = Observation(snapshot=take(str(full)))
    assert dict(pickle.loads(pickle.dumps(seen)).snapshot) == dict(seen.snapshot)
