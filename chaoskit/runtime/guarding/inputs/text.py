"""Reads a whole text file."""

from __future__ import annotations

import os

from chaoskit.runtime.guarding.inputs.decoding import Position, named, pieces
from chaoskit.runtime.numbers import whole

__all__ = ["read_text"]


def read_text(path: str | os.PathLike[str], *, encoding: str = "utf-8", limit: int = 64 << 20) -> str:
    """Return the text of a file, with its line ends unchanged, without a byte order mark.

    Args:
        limit: the most characters; a longer file is refused before all of it is in memory.

    Raises:
        MalformedData: the file has bytes that do not decode as ``encoding``, a NUL, or more than ``limit``
            characters. The error has ``file``, ``line`` and ``column``, counted from 1.
        OSError: the file cannot be read.
    """
    whole("limit", limit, 0)
    found, size = [], 0
    with open(path, "rb") as file:
        for piece in pieces(file, named(path), encoding):
            size += len(piece)
            found.append(piece)
            if size > limit:
                place = Position(named(path))
                place.advance("".join(found)[:limit])
                raise place.error(
                    f"it has more than {limit:,} characters", "Raise the limit, if that is right."
                )
    return "".join(found)
