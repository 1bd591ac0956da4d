"""A lock that lets one process at a time have an object open.

It is a record lock (``lockf``) on a small file beside the target. The kernel releases it when the process
dies, and a forked child does not inherit it. A ``flock`` would be inherited, and outlive the parent in its
child. The lock is on a separate file because closing any descriptor of a file drops all record locks that the
process has on it, and readers open and close the target.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
from pathlib import Path

from chaoskit.runtime.durable.files.names import check_length
from chaoskit.runtime.failures.stored import StoreBusy
from chaoskit.runtime.forks import survive_fork

__all__ = ["Held"]


class _Holdings:
    """The locks of this process, by device and inode of the lock file.

    They are listed here because the kernel lets a process take a record lock again that it already has.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.held: dict[tuple[int, int], Held] = {}
        survive_fork(self)

    def __enter__(self) -> dict[tuple[int, int], Held]:
        self._lock.acquire()
        return self.held

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _after_fork(self) -> None:
        # The locks are the parent's.
        self.held.clear()


_ours = _Holdings()


class Held:
    """The lock of ``target``: the file ``NAME.lock`` beside it, which is never removed.

    Raises:
        StoreBusy: another process holds it, or another object in this one; the message names the process.
        UsageError: the name of ``target`` is too long to append ``.lock``.
    """

    def __init__(self, target: Path) -> None:
        check_length(target, "NAME.lock")
        self.path = target.with_name(f"{target.name}.lock")
        self.pid = os.getpid()
        with _ours as ours:
            self._refuse_second(ours)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                try:
                    _lock(descriptor)
                except OSError as error:
                    holder = _holder(descriptor)
                    raise self._busy(f"process {holder}" if holder else "another process") from error
                self._descriptor, found = descriptor, os.fstat(descriptor)
                ours[found.st_dev, found.st_ino] = self
            except BaseException:
                os.close(descriptor)
                raise

    def release(self) -> None:
        """Release the lock. In a forked child this only forgets it, since the lock is the parent's."""
        with _ours as ours:
            try:
                for key in [key for key, held in ours.items() if held is self]:
                    del ours[key]
            finally:
                with contextlib.suppress(OSError):
                    os.close(self._descriptor)

    def _refuse_second(self, ours: dict[tuple[int, int], Held]) -> None:
        # With stat, not by opening the file: closing it again would drop this process's lock.
        try:
            found = os.stat(self.path)
        except OSError:
            return
        if (found.st_dev, found.st_ino) in ours:
            raise self._busy(f"this process ({self.pid})")

    def _busy(self, holder: str) -> StoreBusy:
        return StoreBusy(
            f"{str(self.path)!r} is held by {holder}; expected it to be free",
            hint="Close it there, or share one object. Reading needs no lock.",
        )


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> int | None:
    """The process that has the lock; None where the system does not report it.

    The holder does not write its number into the lock file, since opening a log must not change the disk.
    """
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    import fcntl

    # struct flock on 64 bits, fcntl_locking(2): type, whence, start, length, pid.
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with contextlib.suppress(OSError):
        kind, *_, pid = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        return int(pid) if kind != fcntl.F_UNLCK and pid > 0 else None
    return None
