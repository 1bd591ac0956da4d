"""The lock between processes: POSIX record locks on bytes of one small file beside the database.

Byte 0 is the store's: held around opening, migrating, each commit and each checkpoint. Byte 1 is the place
at the head of the line: a process that has waited for long takes it, and all others leave byte 0 to it.
Without it the process that has just released the lock would mostly be the next to take it, since those that
wait look only now and then. Bytes from 1000 on are the owners', one for each process that claims: held
means alive. The kernel releases them when the process dies, keeps them while it is suspended, and a forked
child does not inherit them (as it would ``flock``: a child that outlives its killed parent would hold the
lock for ever).

POSIX locks have one trap: closing *any* descriptor of the file drops all of the process's locks on it. So
a process opens the file once, and all its stores share the descriptor.
"""

from __future__ import annotations

import errno
import os
import random
import struct
import sys
import threading
from contextlib import suppress
from fcntl import F_GETLK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_UN, fcntl, lockf
from pathlib import Path
from typing import ClassVar

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.failures.stored import StoreBusy
from chaoskit.runtime.failures.taxonomy import StorageError

__all__ = ["FIRST_OWNER", "LockFile"]

FIRST_OWNER = 1000
_OWNERS = 10_000
# What a lock answers when another process has it, or when the system has no locks left for the moment.
_BUSY = frozenset({errno.EAGAIN, errno.EACCES, errno.ENOLCK, errno.EDEADLK})
# struct flock as Linux lays it out on 64 bits; elsewhere the holder's pid stays unknown.
_FLOCK = "hhqqi4x" if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
# Long enough that waiting costs no processor, short against a sync. Measured with 8 processes: the longest
# wait was 191 to 562 ms, where SQLite's own busy handler let one wait for 11.9 s.
_PAUSE = (0.0002, 0.002)
# Handing over costs time in which none works, so processes compete until one has waited for this long.
_PATIENCE = 0.05
# How long byte 0 is left to the head of the line. It may be suspended: then it comes when it can, as before.
_COURTESY = 0.25
_LEFT = BlockingIOError(errno.EAGAIN, "left to a process that had waited longer")


class LockFile:
    """The lock file of one store, in this process. Made by :meth:`open`, which shares it."""

    _open: ClassVar[dict[tuple[int, int], LockFile]] = {}
    _guard: ClassVar = threading.Lock()

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd
        self.pid = os.getpid()
        self.longest = 0.0
        self._users = 0
        self._suspended: int | None = None
        # Seeded by the process, so that two that wait do not wake in step.
        self._jitter = random.Random(self.pid)

    @classmethod
    def open(cls, path: Path) -> LockFile:
        """The lock file under ``path``; created if it is not there. Close it as often as it was opened."""
        with cls._guard:
            # By name first: if this process has the file open already, opening it again would need a
            # close, and that close would drop the locks.
            found = cls._known(path)
            if found is None:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                try:
                    seen = os.fstat(fd)
                    found = cls._open.setdefault((seen.st_dev, seen.st_ino), cls(path, fd))
                except BaseException:
                    # No lock is dropped by this: this process has none on a file that it does not know.
                    os.close(fd)
                    raise
            found._users += 1
            return found

    @classmethod
    def _known(cls, path: Path) -> LockFile | None:
        try:
            seen = os.stat(path)
        except FileNotFoundError:
            return None
        found = cls._open.get((seen.st_dev, seen.st_ino))
        return found if found is not None and found.pid == os.getpid() else None

    def close(self) -> None:
        with self._guard:
            self._users -= 1
            if self._users:
                return
            try:
                for key, one in list(self._open.items()):
                    if one is self:
                        del self._open[key]
            finally:
                # An error of close comes after the descriptor is gone; nothing was written through it.
                with suppress(OSError):
                    os.close(self.fd)

    def same_file(self) -> bool:
        """True if the path still names the file that is locked here."""
        return self._known(self.path) is self

    def acquire(self, timeout: float, clock: Clock) -> None:
        """Take byte 0, within ``timeout`` seconds. Threads of one process exclude each other elsewhere.

        To release it call ``lockf(lock.fd, LOCK_UN, 1, 0)`` as the first thing of a ``finally``: a call
        into C, which no signal handler can come before. Releasing what is not held does no harm.

        Raises:
            StoreBusy: another process held it all the time; names it.
        """
        try:
            refused = self._try(0) if self._head() is None else _LEFT
            if refused is not None:
                try:
                    self._wait(timeout, clock, refused)
                finally:
                    # Taken or not; and what releases byte 0 need not know of this one.
                    lockf(self.fd, LOCK_UN, 1, 1)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be locked: {error.strerror}") from error

    def _wait(self, timeout: float, clock: Clock, refused: OSError) -> None:
        begun = clock.monotonic()
        first = False
        while True:
            waited = clock.monotonic() - begun
            if waited >= timeout:
                raise self._busy(waited, refused)
            if not first and waited >= _PATIENCE:
                first = self._try(1) is None
            pause = _PAUSE[0] if first else self._jitter.uniform(*_PAUSE)
            clock.sleep(min(pause, timeout - waited))
            head = None if first else self._head()
            if head is not None:
                if clock.monotonic() - begun < _COURTESY:
                    continue
                self._suspended = head
            again = self._try(0)
            if again is None:
                self.longest = max(self.longest, clock.monotonic() - begun)
                return
            refused = again

    def _head(self) -> int | None:
        """The process at the head of the line; None if there is none, or one that does not take its turn."""
        try:
            head = self.holder(1)
        except OSError:
            return None  # courtesy alone: byte 0 says who writes
        if head is None or head != self._suspended:
            self._suspended = None
            return head
        return None

    def _busy(self, waited: float, error: OSError) -> StoreBusy:
        pid = self.holder(0)
        holder = f"process {pid}" if pid else f"another process ({error.strerror})"
        return StoreBusy(
            f"{self.path} was held by {holder} for {waited:.3g} s; expected it sooner."
            " Nothing was changed; try again or raise lock_timeout.",
            context={"pid": pid},
        )

    def release(self) -> None:
        lockf(self.fd, LOCK_UN, 1, 0)

    def holder(self, byte: int) -> int | None:
        """The other process that holds a byte, or None: free, this process's, or the system does not say."""
        if _FLOCK is None:
            return None
        asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, byte, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(self.fd, F_GETLK, asked))
        return None if kind == F_UNLCK else pid

    def held(self, byte: int) -> bool:
        """True if another process holds an owner's byte, and so lives."""
        if _FLOCK is not None:
            asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, byte, 1, 0)
            return bool(struct.unpack(_FLOCK, fcntl(self.fd, F_GETLK, asked))[0] != F_UNLCK)
        if self._try(byte) is not None:
            return True
        lockf(self.fd, LOCK_UN, 1, byte)
        return False

    def take_owner(self) -> int:
        """Take the first free byte of the owners, until the process ends. Call with byte 0 held.

        Raises:
            StoreBusy: the system has no lock left to give.
        """
        for byte in range(FIRST_OWNER, FIRST_OWNER + _OWNERS):
            refused = self._try(byte)
            if refused is None:
                return byte
            # Without another process in the way it is the system that refuses, and would each time.
            if refused.errno not in (errno.EAGAIN, errno.EACCES) or not self.held(byte):
                raise StoreBusy(
                    f"{self.path} gives no lock to this owner: {refused.strerror}; expected a free one."
                    " Nothing was changed; try again."
                )
        raise StorageError(f"{self.path} has {_OWNERS:,} owners; expected fewer processes than that.")

    def _try(self, byte: int) -> OSError | None:
        try:
            lockf(self.fd, LOCK_EX | LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in _BUSY:
                return error
            raise
        return None


def _forget() -> None:
    """In a forked child: the locks are the parent's. The descriptors stay open; closing them is no use."""
    LockFile._guard = threading.Lock()
    LockFile._open = {}


os.register_at_fork(after_in_child=_forget)
