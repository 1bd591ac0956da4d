"""The standard library's own filter beside ours: an archive that writes outside through ``filter="data"``.

CVE-2025-4517: a path that grows beyond PATH_MAX while its links are followed is no longer resolved, and what
is left of it is taken for a name below the target.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from chaoskit.runtime import UnsafeArchive, extract


def escaping(path: Path, name: str) -> None:
    """An archive whose member ``escape/name`` lies beside the target if links are resolved as tarfile did."""
    long, steps, at = "d" * 247, "abcdefghijklmnop", ""
    with tarfile.open(path, "w") as archive:

        def add(name: str, kind: bytes, link: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o755
            archive.addfile(member)

        for step in steps:
            add(f"{at}{long}", tarfile.DIRTYPE)
            add(f"{at}{step}", tarfile.SYMTYPE, long)
            at += f"{long}/"
        deep = "/".join(steps) + "/" + "l" * 254
        add(deep, tarfile.SYMTYPE, "../" * len(steps))
        add("escape", tarfile.SYMTYPE, f"{deep}/..")
        member = tarfile.TarInfo(f"escape/{name}")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"taken"))


def test_what_escapes_from_the_filter_of_tarfile_is_refused(tmp_path: Path) -> None:
    """Even where this Python's tarfile fails, ours writes nothing outside and leaves nothing behind."""
    escaping(tmp_path / "hostile.tar", "outside")
    with pytest.raises(UnsafeArchive):
        extract(tmp_path / "hostile.tar", tmp_path / "ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.tar"]


def test_the_filter_of_tarfile_lets_it_out(tmp_path: Path) -> None:
    """On the Pythons before 3.11.13, 3.12.11 and 3.13.4: why there is an extractor here."""
    if not hasattr(tarfile, "data_filter"):
        pytest.skip("this tarfile has no filters")
    escaping(tmp_path / "hostile.tar", "outside")
    target = tmp_path / "theirs"
    target.mkdir()
    with tarfile.open(tmp_path / "hostile.tar") as archive:
        try:
            archive.extractall(target, filter="data")
        except (tarfile.TarError, OSError):
            pass
    mended = {(3, 11): 13, (3, 12): 11, (3, 13): 4}.get(sys.version_info[:2], 0)
    if sys.version_info[2] >= mended:
        assert not (tmp_path / "outside").exists()
    elif not (tmp_path / "outside").exists():
        pytest.skip("a vendor has mended this tarfile")
