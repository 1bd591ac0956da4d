"""A mark on unfinished files and directories that the kernel removes when their owner dies.

The clean-up first looks for an owner by its process number (``durable.owners``), which means nothing across
containers and machines. There the mark decides. It is a ``flock``, because a directory can carry one, and
because it does not end when another descriptor of the file is closed. A forked child inherits it, which does
no harm: it only delays the clean-up.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["is_marked", "mark"]


def mark(descriptor: int) -> None:
    """Mark an open file or directory until the descriptor is closed. Does nothing where locks don't work."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_marked(path: str | os.PathLike[str]) -> bool:
    """True if a living process has marked the path, or if the mark cannot be checked."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        # O_NONBLOCK: if it is a FIFO, opening it would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
