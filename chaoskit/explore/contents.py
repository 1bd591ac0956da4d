"""Where two contents of a file differ, in one line: format, offset, and sixteen bytes of each side."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN = 16
"""Bytes of each side shown from the first difference on: one line of a hex dump."""

# Text has no control characters but line ends and tabs.
_BINARY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"SQLite format 3\0", "SQLite database"),
    (0, b"\x37\x7f\x06\x82", "SQLite write-ahead log"),
    (0, b"\x37\x7f\x06\x83", "SQLite write-ahead log"),
    (0, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", "SQLite rollback journal"),
    (16, b"\xde\xc0\xef\xbe", "LMDB data"),
    (0, b"PAR1", "Parquet file"),
    (0, b"ARROW1", "Arrow file"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    (0, b"\x93NUMPY", "NumPy array"),
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"PK\x05\x06", "empty zip archive"),
    (257, b"ustar", "tar archive"),
    (0, b"\x1f\x8b", "gzip stream"),
    (0, b"BZh", "bzip2 stream"),
    (0, b"\xfd7zXZ\0", "xz stream"),
    (0, b"\x28\xb5\x2f\xfd", "zstd stream"),
    (0, b"\x04\x22\x4d\x18", "lz4 stream"),
    (0, b"DIRC", "git index"),
    (0, b"PACK", "git pack"),
    (0, b"\x7fELF", "ELF file"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"%PDF-", "PDF document"),
    (0, b"GIF8", "GIF image"),
)
"""Formats by their magic number at an offset, from their documentation; file(1) has them, too."""


@dataclass(frozen=True, slots=True)
class Apart:
    """The first difference of two contents: where it is, and the bytes of each side from there on."""

    offset: int
    expected: bytes
    found: bytes


def first_difference(expected: bytes, found: bytes) -> Apart | None:
    """Where two contents differ, which may be the end of the shorter one; None if they are equal."""
    length = min(len(expected), len(found))
    if expected[:length] == found[:length]:
        offset = length
        if len(expected) == len(found):
            return None
    else:
        offset = _parting(expected, found, length)
    return Apart(offset, expected[offset : offset + SHOWN], found[offset : offset + SHOWN])


def _parting(expected: bytes, found: bytes, length: int) -> int:
    # A binary search, so that C does the comparing: byte by byte takes seconds for a database.
    low, high = 0, length
    while high - low > 1:
        middle = (low + high) // 2
        if expected[low:middle] == found[low:middle]:
            low = middle
        else:
            high = middle
    return low


def format_of(head: bytes) -> str:
    """The format of a file that begins like this; empty if unknown."""
    for offset, magic, name in _FORMATS:
        if head[offset : offset + len(magic)] == magic:
            return name
    if len(head) >= 2 and head[0] == 0x80 and head[1] in (2, 3, 4, 5):
        return "pickle"
    return "zeroes" if head and not head.strip(b"\0") else ""


def is_text(head: bytes) -> bool:
    """True if these first bytes of a file are text; the last character may be cut off."""
    text = head.decode("utf-8", "ignore")
    return len(head) - len(text.encode()) < 4 and not _BINARY.search(text) and _decodes(head)


def _decodes(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # Only at the end, where the last character may be cut off.
        return error.end == len(head) and error.reason == "unexpected end of data"
    return True


def in_hex(data: bytes) -> str:
    """Bytes as in a hex dump, with the readable characters beside them; ``nothing`` at the end of a file."""
    if not data:
        return "nothing"
    readable = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{data.hex(' ')} |{readable}|"


def described(head: bytes, size: int) -> str:
    """Describe one binary content: its format, if it has a known one, and its first bytes."""
    return f"{format_of(head) or 'binary data'} of {size} bytes, begins {in_hex(head[:SHOWN])}"


def told_apart(apart: Apart | None, expected: tuple[bytes, int], found: tuple[bytes, int]) -> str:
    """Describe how two contents differ, at least one of them binary, each given as first bytes and size."""
    kinds = (_kind(*expected), _kind(*found))
    kind = kinds[0] if kinds[0] == kinds[1] else f"expected {kinds[0]}, found {kinds[1]}"
    if apart is None:
        known = min(len(expected[0]), len(found[0]))
        return f"{kind}; the first {known} bytes are equal"
    where = f"first difference at byte {apart.offset} (0x{apart.offset:x})"
    return f"{kind}; {where}: expected {in_hex(apart.expected)}, found {in_hex(apart.found)}"


def _kind(head: bytes, size: int) -> str:
    if not size:
        return "nothing"
    return format_of(head) or ("text" if is_text(head) else "binary data")
