"""xz (the .xz file format 1.2): a header, blocks, an index, and a footer that points back."""

from __future__ import annotations

import io
import lzma

from chaoskit.faults.corrupt import damage as common
from chaoskit.faults.corrupt.damage import INNER, MOST, Damage, Damages, cuts, flips, is_within, made

MAGIC = b"\xfd7zXZ\x00"
_BOMB = MOST
_FOOTER = 12


def damages(data: bytes) -> Damages:
    """Enumerate the damages of the container; those of the content are made by :mod:`.formats`."""
    end = len(data)
    # The footer holds the size of the index in units of four bytes, less one.
    index = (int.from_bytes(data[end - 8 : end - 4], "little") + 1) * 4
    yield from cuts("", data, ("footer", end - _FOOTER), ("index", end - _FOOTER - index), ("header", 12))
    yield from flips("header", data, ("magic", 0), ("flags", 7), ("crc", 8))
    yield from flips("block", data, ("header", 12), ("middle", (12 + end - _FOOTER - index) // 2))
    yield from flips("index", data, ("first-byte", end - _FOOTER - index), ("crc", end - _FOOTER - 4))
    yield from flips("footer", data, ("crc", end - _FOOTER), ("backward-size", end - 8), ("flags", end - 3))
    yield made("", "padding", data + bytes(4))
    # Padding has to be a multiple of four bytes.
    yield made("", "padding.bad", data + bytes(3))
    yield made("", "second-stream", data + lzma.compress(b"more", preset=0))
    # Made when it strikes, since it takes compressing 64 MiB.
    yield Damage("", "bomb", lambda: lzma.compress(bytes(_BOMB), preset=0))


def unpacked(data: bytes) -> bytes:
    """The content of all streams."""
    return common.unpacked(data, _engine, INNER, b"\0")


def is_sound(data: bytes) -> bool:
    """Return True if a strict reader accepts it; padding in multiples of four bytes is allowed."""
    # Every stream ends with "YZ". Python's lzma refuses the padding (CPython 3.11 to 3.14 at least).
    streams = data.rstrip(b"\0")
    if (len(data) - len(streams)) % 4:
        return False
    try:
        return bool(streams) and is_within(lzma.LZMAFile(io.BytesIO(streams)))
    except (lzma.LZMAError, EOFError):
        return False


def _engine() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_BOMB * 2)


def packed(data: bytes) -> bytes:
    """The content in one stream."""
    return lzma.compress(data, preset=0)  # A higher preset needs at least 94 MB.
