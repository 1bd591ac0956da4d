"""Files that can change without a call: their content is read at the calls that make it matter.

Stores into a shared mapping are not system calls, and what a splice will move is not known in advance. The
files concerned are read when they are synced, closed or renamed, and when the workload ends; readers of the
trace compare that with the effect of its calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator

from chaoskit.core.operation import Payload
from chaoskit.inject.kernel.files import extents
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.files.payload import WHOLE, PayloadStore

Identity = tuple[int, int]


class Unseen:
    """Keeps each file open privately, so that names do not matter. Must be closed."""

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._files: dict[Identity, int] = {}
        self._last: dict[Identity, bytes] = {}

    def close(self) -> None:
        """Forget all files."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
        self._last.clear()

    def watch(self, path: str) -> bool:
        """Watch the regular file at ``path``, which may change unseen; False if it cannot be read."""
        try:
            # Opened again: a duplicate would share the position with the caller, and hold its locks.
            fd = extents.opened(path)
        except OSError:
            return False
        facts = os.fstat(fd)
        identity = (facts.st_dev, facts.st_ino)
        if identity in self._files or not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            return True
        self._files[identity] = fd
        return True

    def at(self, call: FileCall, inode: Identity | None) -> tuple[tuple[Identity, Payload], ...]:
        """The content of files concerned by a call on ``inode``, if they have changed."""
        if not self._files:
            return ()
        if call.row.reveals:
            # A mapped file may have lost its name since: then it may be any of them.
            known = inode is not None or call.row.syncs != "mapping"
            return tuple(self._changed([inode] if known else self._files))
        if call.row.syncs == "all":
            return self.all()
        if inode is not None:
            self._last.pop(inode, None)
        return ()

    def all(self) -> tuple[tuple[Identity, Payload], ...]:
        """The content of all files."""
        return tuple(self._changed(self._files))

    def _changed(self, files: Iterable[Identity | None]) -> Iterator[tuple[Identity, Payload]]:
        for identity in files:
            if identity is None or identity not in self._files:
                continue
            with contextlib.suppress(OSError):
                digest = _digest(self._files[identity])
                if digest != self._last.get(identity):
                    self._last[identity] = digest
                    yield identity, self._store.copy(self._files[identity], 0, WHOLE)


def _digest(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
    for offset, part in extents.data(fd, 0, size):
        digest.update(offset.to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
