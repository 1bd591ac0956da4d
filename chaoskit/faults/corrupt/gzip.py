"""gzip (RFC 1952): members with a header, deflated data, a CRC-32 and the length modulo 2**32."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.faults.corrupt import damage as common
from chaoskit.faults.corrupt.damage import (
    INNER,
    MOST,
    Damage,
    Damages,
    cuts,
    flipped,
    flips,
    is_within,
    made,
    replaced,
)

MAGIC = b"\x1f\x8b"
_BOMB = MOST
_NAME, _EXTRA = 8, 4


@dataclass(frozen=True, slots=True)
class _Member:
    start: int
    payload: int
    end: int


def _members(data: bytes) -> Iterator[_Member]:
    start = total = 0
    while data[start : start + 2] == MAGIC:
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof:
            total += len(engine.decompress(engine.unconsumed_tail or data[start:], 1 << 20))
            if total > MOST:
                return
            if not engine.eof and not engine.unconsumed_tail:
                return
        end = len(data) - len(engine.unused_data)
        payload = start + 10
        if data[start + 3] & _EXTRA:
            payload += 2 + int.from_bytes(data[payload : payload + 2], "little")
        if data[start + 3] & _NAME:
            payload = data.index(b"\0", payload) + 1
        yield _Member(start, payload, end)
        start = end


def damages(data: bytes) -> Damages:
    """Enumerate the damages of the container; those of the content are made by :mod:`.formats`."""
    yield from flips("", data, ("magic", 0))
    yield made("header", "method", replaced(data, 2, b"\x07"))
    yield made("header", "flag.reserved", flipped(data, 3, 7))
    yield made("header", "flag.extra-field", flipped(data, 3, 2))
    for number, member in enumerate(_members(data), 1):
        name, trailer = f"member{number}", member.end - 8
        middle = (member.payload + trailer) // 2
        yield from cuts(
            name,
            data,
            *(("trailer", trailer), ("crc", member.end - 4), ("length", member.end - 1)),
            *(("middle", middle), ("first-byte", member.payload + 1), ("after-header", member.payload)),
            ("header", member.start + 5),
        )
        yield from flips(
            name,
            data,
            *(("crc", trailer), ("length", member.end - 4)),
            *(("middle", middle), ("first-byte", member.payload), ("last-byte", trailer - 1)),
        )
    yield made("", "second-member", data + gzip.compress(b"more", mtime=0))
    yield Damage("", "bomb", lambda: gzip.compress(bytes(_BOMB), 9, mtime=0))


def unpacked(data: bytes) -> bytes:
    """The content of all members."""
    return common.unpacked(data, lambda: zlib.decompressobj(wbits=31), INNER, b"\0")


def is_sound(data: bytes) -> bool:
    """Return True if a strict reader accepts it: every member is complete, and nothing comes after them."""
    try:
        # Python accepts no bytes at all as an empty stream, although that has a header and a trailer.
        return bool(data) and is_within(gzip.GzipFile(fileobj=io.BytesIO(data)))
    except (OSError, EOFError, zlib.error):
        return False


def packed(data: bytes) -> bytes:
    """The content in one member."""
    return gzip.compress(data, mtime=0)
