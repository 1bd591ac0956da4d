"""Opening a path that must be a regular file, to read all of it."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

from chaoskit.runtime.failures.taxonomy import FilesystemError

__all__ = ["open_regular"]

# O_NONBLOCK: opening a FIFO would otherwise wait for a writer, forever if none comes. It has no effect on a
# regular file.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open the file at ``path`` for reading.

    Raises:
        FilesystemError: it is a FIFO, a device or a socket: reading it may never end, or never return data.
        IsADirectoryError, OSError: as the system reports them.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            kind = next((name for is_one, name in _KINDS if is_one(mode)), "something else")
            raise FilesystemError(
                f"{os.fspath(path)!r} is {kind}; expected a regular file",
                hint="Write its content into a file first.",
                errno=errno.EINVAL,
                filename=os.fspath(path),
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
