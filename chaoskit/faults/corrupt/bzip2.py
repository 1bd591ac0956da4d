"""bzip2: streams of blocks that begin at any bit, each with a CRC, and one over all."""

from __future__ import annotations

import bz2
import io

from chaoskit.faults.corrupt import damage as common
from chaoskit.faults.corrupt.damage import (
    INNER,
    MOST,
    Damage,
    Damages,
    cuts,
    flips,
    is_within,
    made,
    replaced,
)

MAGIC = b"BZh"
_BOMB = MOST


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
    """The content of all streams."""
    return common.unpacked(data, bz2.BZ2Decompressor, INNER)


def is_sound(data: bytes) -> bool:
    """Return True if a strict reader accepts it."""
    try:
        return bool(data) and is_within(bz2.BZ2File(io.BytesIO(data)))
    except (OSError, EOFError):
        return False


def packed(data: bytes) -> bytes:
    """The content in one stream."""
    return bz2.compress(data)
