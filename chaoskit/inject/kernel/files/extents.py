"""The parts of a file with data: holes are neither read nor written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

CHUNK = 1024 * 1024
"""The most bytes read at once, and the grid on which pieces end."""


_NO_ATIME = getattr(os, "O_NOATIME", 0)


def opened(path: str) -> int:
    """Open a file of the workload for reading, without changing its access time if possible.

    Raises OSError as an open does.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | _NO_ATIME)
    except PermissionError:
        # Only its owner and root may ask for it (open(2)).
        return os.open(path, flags)


def data(fd: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offsets with their data, in order, from ``start`` to ``end``; everything left out is zero.

    The pieces depend on the content alone, and not on how the file system stores it. The position of ``fd``,
    which may be shared, is the same afterwards. Raises OSError if the file cannot be read.
    """
    zeros = bytes(CHUNK)
    offset = start
    while offset < end:
        found = _next_data(fd, offset)
        if found is None or found >= end:
            return
        # On a grid: the file system chooses where a hole begins.
        offset = max(start, found - found % CHUNK)
        wanted = min(end, offset - offset % CHUNK + CHUNK) - offset
        piece = os.pread(fd, wanted, offset)
        if not piece:
            return
        if piece != zeros[: len(piece)]:
            yield offset, piece
        offset += len(piece)


def _next_data(fd: int, offset: int) -> int | None:
    """Where the next data begins; None if the rest is a hole."""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        # A file system without holes: everything is data.
        return offset
    finally:
        os.lseek(fd, before, os.SEEK_SET)
