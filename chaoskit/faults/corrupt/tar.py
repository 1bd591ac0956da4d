"""tar (POSIX.1-2001 and GNU): headers with a checksum, data without one, two blocks of zeroes."""

from __future__ import annotations

import io
import tarfile

from chaoskit.faults.corrupt.damage import (
    ABSOLUTE,
    MOST,
    Damages,
    cuts,
    first_and_last,
    flips,
    made,
    replaced,
)

_BLOCK = 512
_SIZE, _CHECKSUM, _MAGIC = 124, 148, 257
_SHOWN = 4
"""The most members damaged one by one; the last member is always among them."""


def is_tar(data: bytes) -> bool:
    """Return True for a tar with the POSIX or GNU mark."""
    return data[_MAGIC : _MAGIC + 5] == b"ustar"


def is_sound(data: bytes) -> bool:
    """Return True if every header is valid and every member complete; the members' data have no checksum."""
    try:
        # Strict: other readers take a broken header for the end.
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errorlevel=2) as tar:
            for member in tar:
                if member.size > MOST:
                    return False  # Sparse: a file of holes.
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None and len(file.read()) != member.size:
                    return False
            return not data[tar.offset :].strip(b"\0")
    except (tarfile.TarError, ValueError, OverflowError, OSError):
        return False


def _with_checksum(header: bytes) -> bytes:
    # By POSIX the checksum is taken over the header with its own field as spaces.
    blank = replaced(header, _CHECKSUM, b" " * 8)
    return replaced(header, _CHECKSUM, b"%06o\0 " % sum(blank))


def damages(data: bytes) -> Damages:
    """Enumerate: members, then members that an attacker would add, then the mark at the end."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    for number, member in first_and_last(members, _SHOWN):
        yield from _of_member(f"member{number}", member, data)
    if members:
        yield from _hostile(members[0].name, data)
        last = members[-1]
        end = last.offset_data + -(-last.size // _BLOCK) * _BLOCK
        yield made("end", "missing", data[:end])
        # Two blocks are the mark; many readers accept one or none.
        yield made("end", "one-block", data[:end] + bytes(_BLOCK))


def _of_member(name: str, member: tarfile.TarInfo, data: bytes) -> Damages:
    start, content, size = member.offset, member.offset_data, member.size
    yield from cuts(
        name,
        data,
        *(("data.middle", content + size // 2), ("data.start", content), ("data.end", content + size)),
        *(("header.start", start), ("header.middle", start + _BLOCK // 2)),
    )
    yield from flips(
        name, data, ("checksum", start + _CHECKSUM + 2), ("name", start), ("magic", start + _MAGIC)
    )
    if size:
        yield from flips(name, data, ("data", content))
    # The header that describes the file is right before its data, after extended ones.
    at = content - _BLOCK
    for kind, value in (
        ("plus-1", b"%011o\0" % (size + 1)),
        ("huge", b"77777777777\0"),
        ("negative", b"\xff" * 12),
        ("garbage", b"zzzzzzzzzzz\0"),
    ):
        # With a valid checksum, so that the reader has to check the size itself.
        header = _with_checksum(replaced(data[at : at + _BLOCK], _SIZE, value))
        yield made(name, f"size.{kind}", replaced(data, at, header))
    yield made(name, "zeros.header", replaced(data, start, bytes(_BLOCK)))


def _hostile(first: str, data: bytes) -> Damages:
    """Members that an attacker would add."""
    regular, link = tarfile.REGTYPE, tarfile.SYMTYPE
    for kind, added in (
        ("traversal", [("../evil", regular, "")]),
        ("absolute", [(ABSOLUTE, regular, "")]),
        # Only one level up, like the traversal: what is written there can be found.
        ("symlink-out", [("link", link, ".."), ("link/evil", regular, "")]),
        ("hardlink-out", [("hard", tarfile.LNKTYPE, "../secret")]),
        ("device", [("device", tarfile.CHRTYPE, "")]),
        ("fifo", [("fifo", tarfile.FIFOTYPE, "")]),
        ("duplicate", [(first, regular, "")]),
        ("directory-over-file", [(first, tarfile.DIRTYPE, "")]),
        ("long-name", [("x" * 5000, regular, "")]),
        ("name-not-utf8", [("b\udcffd", regular, "")]),
    ):
        yield made("hostile", kind, _with(data, added))


def _with(data: bytes, added: list[tuple[str, bytes, str]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, to in added:
            member = tarfile.TarInfo(name)
            # Made by hand, since tarfile.add() would need such files on this machine.
            member.type, member.linkname = kind, to
            member.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"evil"))
    # The end mark is removed first: a reader stops there and would not see what follows.
    kept = data.rstrip(b"\0")
    return kept.ljust(-(-len(kept) // _BLOCK) * _BLOCK, b"\0") + out.getvalue()
