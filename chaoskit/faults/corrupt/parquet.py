"""Parquet (apache/parquet-format): pages between two magics, a footer, and its length."""

from __future__ import annotations

from chaoskit.faults.corrupt.damage import Damages, cuts, flips, made, replaced

MAGIC = b"PAR1"


def is_parquet(data: bytes) -> bool:
    """Return True for a file that begins and ends with the magic."""
    return data[:4] == data[-4:] == MAGIC and len(data) >= 12


def is_sound(data: bytes) -> bool:
    """Return True if it has both magics, and is long enough for a footer of the length that it states."""
    end = len(data)
    return is_parquet(data) and 0 < int.from_bytes(data[end - 8 : end - 4], "little") <= end - 12


def damages(data: bytes) -> Damages:
    """Enumerate: cuts at the borders, then the footer and its length, the pages, and the magics."""
    end = len(data)
    footer = end - 8 - int.from_bytes(data[end - 8 : end - 4], "little")
    yield from cuts(
        "footer", data, ("start", footer), ("middle", (footer + end - 8) // 2), ("length", end - 8)
    )
    yield from cuts("", data, ("magic", end - 4), ("first-page", 4 + (footer - 4) // 4))
    yield from flips("footer", data, ("first-byte", footer), ("middle", (footer + end - 8) // 2))
    yield made("footer", "length.zero", replaced(data, end - 8, bytes(4)))
    yield made("footer", "length.huge", replaced(data, end - 8, b"\xff\xff\xff\x7f"))
    yield made("footer", "length.plus-1", replaced(data, end - 8, (end - 7 - footer).to_bytes(4, "little")))
    yield from flips(
        "pages", data, ("first-byte", 4), ("middle", (4 + footer) // 2), ("last-byte", footer - 1)
    )
    yield made("pages", "zeros.middle", replaced(data, (4 + footer) // 2, bytes(min(64, (footer - 4) // 4))))
    yield made("", "magic.encrypted", replaced(data, end - 4, b"PARE"))
    yield from flips("", data, ("magic.first", 0), ("magic.last", end - 1))
