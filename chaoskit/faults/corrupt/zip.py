"""zip (APPNOTE.TXT 6.3): members with local headers, a central directory, an end record that leads to it."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Iterator

from chaoskit.faults.corrupt.damage import (
    ABSOLUTE,
    MOST,
    Damage,
    Damages,
    cuts,
    first_and_last,
    flipped,
    flips,
    made,
    replaced,
)

MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_BOMB = MOST
_SHOWN = 4
"""The most members damaged one by one; the last member is always among them."""
_LINK = 0o120777
"""The mode of a symbolic link (inode(7))."""


def damages(data: bytes) -> Damages:
    """Enumerate: members, the directory and its end record, then members that an attacker would add."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members, start = archive.infolist(), archive.start_dir
    # From the end, as readers search it: a member may contain an archive.
    end = data.rindex(b"PK\x05\x06")
    for number, info in first_and_last(members, _SHOWN):
        yield from _of_member(f"member{number}", info, data)
    for number, at in _entries(data, start, len(members)):
        yield from _of_entry(f"entry{number}", at, data)
    yield from cuts("end", data, ("start", end), ("middle", end + 10))
    for name, at in (
        *(("count", 10), ("directory-size", 12), ("directory-offset", 16)),
        *(("comment-length", 20), ("signature", 0)),
    ):
        yield from flips("end", data, (name, end + at))
    yield from _hostile(members[0].filename if members else "a", data)


def is_sound(data: bytes) -> bool:
    """Return True if the directory and the members agree, and every checksum is right."""
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
            warnings.simplefilter("ignore")
            # By the directory: no member yields more than that.
            small = sum(info.file_size for info in archive.infolist()) <= MOST
            return small and archive.testzip() is None
    # An unknown method, an encrypted member, an impossible offset: each raises a different class.
    except Exception:
        return False


def _of_member(name: str, info: zipfile.ZipInfo, data: bytes) -> Damages:
    start = info.header_offset
    # From the local header: its extra field may differ from the one in the directory.
    name_length, extra_length = struct.unpack_from("<HH", data, start + 26)
    content = start + 30 + name_length + extra_length
    middle = content + info.compress_size // 2
    yield from cuts(name, data, ("data.middle", middle), ("data.start", content), ("header", start + 10))
    yield from flips(name, data, ("signature", start), ("crc", start + 14), ("name", start + 30))
    if info.compress_size:
        yield from flips(name, data, ("data", middle))


def _entries(data: bytes, at: int, count: int) -> Iterator[tuple[int, int]]:
    """Number and offset of the entries of the central directory, which begins at ``at``."""
    for number in range(1, count + 1):
        # The directory itself is damaged: use the entries found so far.
        if data[at : at + 4] != b"PK\x01\x02":
            return
        if number < _SHOWN or number == count:
            yield number, at
        at += 46 + sum(struct.unpack_from("<HHH", data, at + 28))


def _of_entry(name: str, at: int, data: bytes) -> Damages:
    yield from cuts(name, data, ("middle", at + 20))
    for field, offset in (
        *(("crc", 16), ("compressed-size", 20), ("size", 24), ("offset", 42)),
        *(("method", 10), ("flags.encrypted", 8), ("name", 46)),
    ):
        yield from flips(name, data, (field, at + offset))
    yield made(name, "offset.huge", replaced(data, at + 42, b"\xff\xff\xff\x7f"))
    yield made(name, "size.huge", replaced(data, at + 24, b"\xff\xff\xff\x7f"))
    # Bit 11 of the flags: without it the name is in code page 437.
    yield made(name, "flag.utf8", flipped(data, at + 9, 3))


def _hostile(first: str, data: bytes) -> Damages:
    """Members that an attacker would add."""
    yield made("hostile", "traversal", _with(data, "../evil"))
    yield made("hostile", "absolute", _with(data, ABSOLUTE))
    yield made("hostile", "symlink-out", _with(data, "link", b"..", _LINK))
    yield made("hostile", "duplicate", _with(data, first, b"other"))
    yield made("hostile", "backslash", _with(data, "..\\evil"))
    yield made("hostile", "drive", _with(data, "C:evil"))
    yield Damage("hostile", "bomb", lambda: _with(data, "bomb", bytes(_BOMB), method=zipfile.ZIP_DEFLATED))


def _with(
    data: bytes, name: str, content: bytes = b"evil", mode: int = 0, method: int = zipfile.ZIP_STORED
) -> bytes:
    out = io.BytesIO(data)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # A duplicate name is intended.
        info = zipfile.ZipInfo(name)
        info.filename = name  # ZipInfo would turn a Windows backslash into a slash.
        # 3 is Unix: only then are the upper bits a mode, and the member a link.
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, content, method)
    return out.getvalue()
