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
        """Create the file if it does not exist. On a disk that is full already this does nothing."""
        if not self._size or self._path.exists():
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                _fill(descriptor, self._size)
            except OSError:
                # A part of the reserve helps us little, and other programs may need the space.
                os.unlink(self._path)
                raise
            finally:
                os.close(descriptor)

    @property
    def there(self) -> bool:
        """True if the space is reserved."""
        return self._path.exists()

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
