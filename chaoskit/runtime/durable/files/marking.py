"""A mark on what is unfinished that the kernel takes away when its owner dies.

An owner is asked for by its process number (``durable.owners``), which says nothing across containers and
machines. There the mark decides. It is ``flock``, since a directory can carry that, and since it does not
end when another descriptor of the file is closed; that a forked child inherits it delays a clean-up, and
does no harm.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["is_marked", "mark"]


def mark(descriptor: int) -> None:
    """Mark an open file or directory until the descriptor is closed; without effect where it can't be."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_marked(path: str | os.PathLike[str]) -> bool:
    """True if a living process has marked it, or if there is no telling."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        # O_NONBLOCK: it might be a FIFO, whose opening waits for a writer.
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
