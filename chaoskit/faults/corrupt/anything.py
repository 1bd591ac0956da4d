"""Damage to any file: cut, empty, zeroed, doubled, with a tail."""

from __future__ import annotations

from chaoskit.faults.corrupt.damage import Damages, cuts, made

_SECTOR = 512
_BLOCK = 4096


def damages(data: bytes) -> Damages:
    """Enumerate; sizes are those at which disks and file systems cut: 512 and 4096 bytes."""
    if data:
        yield made("", "empty", b"")
    size = len(data)
    # Off by one at either end, for readers that check a length with the wrong comparison.
    yield from cuts("", data, ("half", size // 2), ("all-but-1", size - 1), ("1", 1))
    yield from cuts("", data, ("512", _SECTOR), ("4096", _BLOCK))
    if size > _SECTOR:
        # As after a power loss: the size is there, but the data is not.
        last = (size - 1) // _SECTOR * _SECTOR
        yield made("", "zeros.last-sector", data[:last].ljust(size, b"\0"))
        yield made("", "zeros.second-half", data[: size // 2].ljust(size, b"\0"))
    if data:
        yield made("", "zeros.all", bytes(size))
        # As after an append that was retried because its reply was lost.
        yield made("", "doubled", data + data)
    yield made("", "tail.garbage", data + b"\0garbage")
