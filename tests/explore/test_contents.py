"""How two contents of a file are shown beside each other."""

from __future__ import annotations

import pickle
import sqlite3
import tarfile
from pathlib import Path

import pytest

from chaoskit.explore.contents import first_difference, format_of, in_hex, is_text
from chaoskit.explore.snapshot import differences, take


def between(directory: Path, before: bytes, after: bytes) -> str:
    """The detail of the one difference between two contents of a file, as a case shows it."""
    (directory / "f").write_bytes(before)
    baseline = take(str(directory), keep=True)
    (directory / "f").write_bytes(after)
    [found] = differences(baseline, take(str(directory), beside=baseline))
    return found.detail


def test_c7_a_binary_difference_is_an_offset_and_sixteen_bytes_of_each_side(tmp_path: Path) -> None:
    """Not an escaped blob: where it begins, and a line of a hex dump for both."""
    data = bytes(range(256)) * 20
    other = data[:3000] + b"\0" * 100 + data[3100:]
    detail = between(tmp_path, data, other)
    assert "first difference at byte 3000 (0xbb8)" in detail
    assert f"expected {data[3000:3016].hex(' ')} |" in detail
    assert "found 00 00 00" in detail
    assert len(detail) < 250


@pytest.mark.parametrize("at", [0, 1, 199, 200, 4095, 65536, 1 << 19])
def test_the_offset_is_exact_wherever_it_is(tmp_path: Path, at: int) -> None:
    """In the first bytes, at their end, and far behind them."""
    data = b"\0\1" * (1 << 19)
    other = bytearray(data)
    other[at] ^= 0x80
    assert f"first difference at byte {at} " in between(tmp_path, data, bytes(other))


def test_a_file_that_was_cut_ends_at_the_difference(tmp_path: Path) -> None:
    """What is missing shows as nothing, on the side that has ended."""
    data = b"\xff\0" * 4000
    detail = between(tmp_path, data, data[:5000])
    assert "first difference at byte 5000 (0x1388): expected ff 00 " in detail
    assert detail.endswith("found nothing")
    assert "expected binary data, found nothing" in between(tmp_path, data, b"")


def test_a_database_is_named(tmp_path: Path) -> None:
    """The format by its magic; of a file that is another one now, both."""
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("create table t (x)")
        connection.execute("insert into t values (zeroblob(20000))")
    connection.close()
    data = (tmp_path / "db").read_bytes()
    other = bytearray(data)
    other[9000] ^= 1
    detail = between(tmp_path, data, bytes(other))
    assert detail.startswith("SQLite database; first difference at byte 9000 ")
    zeroes = between(tmp_path, data, bytes(len(data)))
    assert zeroes.startswith("expected SQLite database, found zeroes; first difference at byte 0 ")


def test_text_is_shown_as_text(tmp_path: Path) -> None:
    """The twin: nothing changes for what a person can read, a cut character at the end of it included."""
    assert between(tmp_path, b"old\n", "näw\n".encode()) == "expected 'old\\n', found 'näw\\n'"
    assert is_text(("x" * 199 + "ä").encode()[:200])
    assert not is_text(b"abc\xff")
    assert not is_text(b"abc\0")


def test_an_extra_binary_file_is_named(tmp_path: Path) -> None:
    """How it begins, and what it is."""
    before = take(str(tmp_path), keep=True)
    (tmp_path / "x").write_bytes(pickle.dumps([1], protocol=4))
    [found] = differences(before, take(str(tmp_path), beside=before))
    assert found.detail.startswith("holds pickle of ")
    assert "begins 80 04 95" in found.detail


def test_formats_are_known_by_what_writes_them(tmp_path: Path) -> None:
    """A tar archive has its magic far from its beginning, and still within what is kept."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(__file__, "x")
    assert format_of((tmp_path / "a.tar").read_bytes()[:300]) == "tar archive"
    assert format_of(b"") == ""
    assert format_of(b"\0" * 9) == "zeroes"
    assert format_of(b"hello") == ""


def test_a_snapshot_of_a_case_keeps_no_content(tmp_path: Path) -> None:
    """There are thousands of cases: what one sends is bounded by what is shown."""
    data = b"\xff\0" * 100_000
    (tmp_path / "f").write_bytes(data)
    baseline = take(str(tmp_path), keep=True)
    (tmp_path / "f").write_bytes(data[:-1] + b"\1")
    assert len(pickle.dumps(dict(take(str(tmp_path), beside=baseline)))) < 2000
    assert baseline == take(str(tmp_path)) or baseline["f"] != take(str(tmp_path))["f"]


def test_equal_contents_do_not_part() -> None:
    """And what is shown at an end is said in a word."""
    assert first_difference(b"abc", b"abc") is None
    assert in_hex(b"") == "nothing"
