"""bzip2: streams of blocks that begin at any bit, each with a CRC, and one over all."""

from __future__ import annotations

import bz2

from chaoskit.faults.corrupt.damage import Damage, Damages, cuts, flips, made, replaced

MAGIC = b"BZh"
_BOMB = 64 << 20


def damages(data: bytes) -> Damages:
    """Enumerate the damages of the container; those of the content are made by :mod:`.formats`."""
    end = len(data)
    yield from cuts("", data, ("header", 4), ("block-header", 10), ("end-mark", end - 5))
    yield from flips("", data, ("magic", 0), ("crc", end - 3))
    # Levels are 1 to 9: a 0 asks for blocks of no size.
    yield made("header", "level", replaced(data, 3, b"0"))
    # 10 bytes in, behind the magic of the block, is its CRC.
    yield from flips("block1", data, ("magic", 4), ("crc", 10), ("middle", (14 + end) // 2))
    yield made("", "second-stream", data + bz2.compress(b"more"))
    yield Damage("", "bomb", lambda: bz2.compress(bytes(_BOMB), 9))


def unpacked(data: bytes) -> bytes:
    """The content; at most 64 MiB of it."""
    return bz2.BZ2Decompressor().decompress(data, _BOMB)


def is_sound(data: bytes) -> bool:
    """True if a strict reader takes it."""
    try:
        bz2.decompress(data)
    except (OSError, ValueError):
        return False
    return bool(data)


def packed(data: bytes) -> bytes:
    """The content in one stream."""
    return bz2.compress(data)
