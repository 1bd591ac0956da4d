"""Disk space set aside for the moment when the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["Reserve"]


class Reserve:
    """A file that occupies ``size`` bytes until they are needed. A size of 0 reserves nothing."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def lay_by(self) -> None:
        """Create the file, or make it whole again. On a disk that is full already this does nothing."""
        there = self._room()
        if not self._size or there >= self._size:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                _fill(descriptor, self._size)
            except OSError:
                # A part of the reserve helps us little, and other programs may need the space. What was there
                # before stays.
                if there < 0:
                    os.unlink(self._path)
                else:
                    os.truncate(self._path, there)
                raise
            finally:
                os.close(descriptor)

    def lend(self, size: int) -> bool:
        """Make the file smaller by so many bytes; False if it is gone, or all of it was lent before."""
        there = self._room()
        if there <= 0:
            return False
        try:
            os.truncate(self._path, max(there - size, 0))
        except OSError:
            return False
        return True

    def _room(self) -> int:
        """Bytes that are laid by; -1 if the file is not there."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return -1

    @property
    def there(self) -> bool:
        """True if space is reserved."""
        return self._room() > 0

    def give_up(self) -> bool:
        """Remove the file, so that its space can be used; False if there is none that can be removed."""
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
