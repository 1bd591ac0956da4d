"""One process at a time, for as long as an object is open.

A record lock (``lockf``) on a small file beside the target: the kernel releases it when the process dies,
and a forked child does not inherit it, as it would inherit ``flock`` and keep it after its parent's death.
The file is a separate one, since closing any descriptor of a file drops the record locks that the process
has on it, and the target is read by many.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

from chaoskit.runtime.failures.stored import StoreBusy

__all__ = ["Held"]

_guard = threading.Lock()
_ours: dict[tuple[int, int], Held] = {}
"""What this process holds, by device and inode of the lock file: its own locks do not stop a process."""


class Held:
    """The lock of ``target``, which is the file ``NAME.lock`` beside it. That file stays.

    Raises:
        StoreBusy: another process holds it, or another object in this one; names the process.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.lock")
        self.pid = os.getpid()
        with _guard:
            self._refuse_second()
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                _lock(self._descriptor)
            except OSError as error:
                holder = _text(self._descriptor)
                os.close(self._descriptor)
                raise self._busy(f"process {holder}" if holder else "another process") from error
            found = os.fstat(self._descriptor)
            _ours[found.st_dev, found.st_ino] = self
        with contextlib.suppress(OSError):
            # For the message of those that come meanwhile, and for nothing else.
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, b"%d" % self.pid)

    def release(self) -> None:
        """Let the next one in. In a forked child this only forgets the lock, which is the parent's."""
        with _guard:
            for key in [key for key, held in _ours.items() if held is self]:
                del _ours[key]
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def _refuse_second(self) -> None:
        # Asked for by name: to open the file once more and close it again would drop the lock.
        try:
            found = os.stat(self.path)
        except OSError:
            return
        held = _ours.get((found.st_dev, found.st_ino))
        if held is not None and held.pid == self.pid:
            raise self._busy(f"this process ({self.pid})")

    def _busy(self, holder: str) -> StoreBusy:
        return StoreBusy(
            f"{str(self.path)!r} is held by {holder}; expected it to be free",
            hint="Close it there, or share one object. Reading needs no lock.",
        )


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Beyond the text, which others have to be able to read.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _text(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        return os.read(descriptor, 20).decode("ascii", "replace")
    return ""
