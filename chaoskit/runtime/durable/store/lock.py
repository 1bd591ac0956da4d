"""The lock between processes: POSIX record locks on bytes of a small file beside the database.

Byte 0 is the store's lock, held while a process opens or migrates the store, commits or checkpoints. Byte 1
is the head of the line: a process that has waited long takes it, and all others leave byte 0 to that process.
Without it, the process that has just released the lock would usually get it again, since waiting processes
look only now and then. The bytes from 1000 on belong to owners, one for each process that claims: an owner is
alive while its byte is held. The kernel releases these locks when the process dies, and keeps them while it
is suspended. A forked child does not inherit them. It would inherit a ``flock``, and if its parent were
killed, hold that for as long as it lives.

POSIX locks have one trap: closing *any* descriptor of the file drops all locks that the process has on it. So
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
# The errors of a lock that another process holds, or for which the system has no resources at the moment.
_BUSY = frozenset({errno.EAGAIN, errno.EACCES, errno.ENOLCK, errno.EDEADLK})
# struct flock on 64-bit Linux; on other systems the holder's pid stays unknown.
_FLOCK = "hhqqi4x" if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
# Long enough to cost hardly any processor time, and short compared with a sync. Measured with 8 processes,
# the longest wait was 191 to 562 ms; with SQLite's own busy handler it was 11.9 s.
_PAUSE = (0.0002, 0.002)
# No process works while the lock is handed over to a chosen one, so all compete until one has waited this
# long.
_PATIENCE = 0.05
# How long byte 0 is left to the head of the line. It may be suspended, so after that all compete again.
_COURTESY = 0.25
_LEFT = BlockingIOError(errno.EAGAIN, "left to a process that had waited longer")


class LockFile:
    """The lock file of one store in this process. Use :meth:`open`, which shares one object."""

    _open: ClassVar[dict[tuple[int, int], LockFile]] = {}
    _guard: ClassVar = threading.Lock()

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd
        self.pid = os.getpid()
        self.longest = 0.0
        self._users = 0
        self._suspended: int | None = None
        # Seeded differently in each process, so that two waiting ones do not wake in step.
        self._jitter = random.Random(self.pid)

    @classmethod
    def open(cls, path: Path) -> LockFile:
        """The lock file at ``path``, created if it does not exist. Close it as often as it was opened."""
        with cls._guard:
            # By stat first: a second descriptor would have to be closed, and that would drop the locks of
            # this process.
            found = cls._known(path)
            if found is None:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                try:
                    seen = os.fstat(fd)
                    found = cls._open.setdefault((seen.st_dev, seen.st_ino), cls(path, fd))
                except BaseException:
                    # Drops no lock, since this process has none yet on a file that it has not opened before.
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
                # Linux closes the descriptor even if close fails, and nothing was written through it.
                with suppress(OSError):
                    os.close(self.fd)

    def same_file(self) -> bool:
        """True if the path still names the file that this object locks."""
        return self._known(self.path) is self

    def acquire(self, timeout: float, clock: Clock) -> None:
        """Take byte 0 within ``timeout`` seconds. It does not exclude other threads of this process.

        To release it, call ``lockf(lock.fd, LOCK_UN, 1, 0)`` as the first thing in a ``finally``: a call into
        C, so that no signal handler runs before it. Releasing a lock that is not held does no harm.

        Raises:
            StoreBusy: other processes held it for all of that time; the message names the last one.
            StorageError: the file cannot be locked.
        """
        try:
            refused = self._try(0) if self._head() is None else _LEFT
            if refused is not None:
                try:
                    self._wait(timeout, clock, refused)
                finally:
                    # Released here in any case: the code that releases byte 0 does not know about byte 1.
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
        """The process at the head of the line; None if there is none, or if it has not taken its turn."""
        try:
            head = self.holder(1)
        except OSError:
            return None  # The line is only a courtesy; byte 0 decides which process writes.
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
        """The other process that holds a byte; None if it is free or ours, or the system does not say."""
        if _FLOCK is None:
            return None
        asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, byte, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(self.fd, F_GETLK, asked))
        return None if kind == F_UNLCK else pid

    def held(self, byte: int) -> bool:
        """True if another process holds an owner's byte, and so is alive."""
        if _FLOCK is not None:
            asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, byte, 1, 0)
            return bool(struct.unpack(_FLOCK, fcntl(self.fd, F_GETLK, asked))[0] != F_UNLCK)
        if self._try(byte) is not None:
            return True
        lockf(self.fd, LOCK_UN, 1, byte)
        return False

    def take_owner(self) -> int:
        """Take the first free owner's byte, until the process ends. Call with byte 0 held.

        Raises:
            StoreBusy: the system has no lock left to give.
            StorageError: all owners' bytes are taken.
        """
        for byte in range(FIRST_OWNER, FIRST_OWNER + _OWNERS):
            refused = self._try(byte)
            if refused is None:
                return byte
            # If no process holds the byte, the system has run out of locks, and would refuse every other too.
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
    """Forget the locks in a forked child: they are the parent's. The descriptors need not be closed."""
    LockFile._guard = threading.Lock()
    LockFile._open = {}


os.register_at_fork(after_in_child=_forget)
