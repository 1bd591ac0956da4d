"""Disk space set aside for the moment when the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["Reserve"]


class Reserve:
    """A file that occupies ``size`` bytes until they are needed; with a size of 0 there is no reserve."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def lay_by(self) -> None:
        """Create the file, or restore its full size. If the disk is full already, this does nothing."""
        there = self._room()
        if not self._size or there >= self._size:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                _fill(descriptor, self._size)
            except OSError:
                # Keep what was there before, but no more: a partial reserve is of little use to us, and other
                # programs may need the space.
                if there < 0:
                    os.unlink(self._path)
                else:
                    os.truncate(self._path, there)
                raise
            finally:
                os.close(descriptor)

    def lend(self, size: int) -> bool:
        """Shrink the file by ``size`` bytes; return False if it is gone, or all of it was lent before."""
        there = self._room()
        if there <= 0:
            return False
        try:
            os.truncate(self._path, max(there - size, 0))
        except OSError:
            return False
        return True

    def _room(self) -> int:
        """The number of bytes in reserve; -1 if there is no file."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return -1

    @property
    def there(self) -> bool:
        """True if space is reserved."""
        return self._room() > 0

    def give_up(self) -> bool:
        """Remove the file, so that its space can be used; return False if that is not possible."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    # Written out: a file that was only extended to its size may occupy no blocks.
    while size:
        size -= os.write(descriptor, bytes(min(size, 1 << 20)))
