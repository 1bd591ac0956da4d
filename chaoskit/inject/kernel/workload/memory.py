"""Reading and writing the memory of another process.

A descriptor on ``/proc/PID/mem`` stays with the address space it was opened on: after an exec it
reads empty and is opened again. Needs the same user and a dumpable target (ptrace(2), access mode
checks); a child of ours is both.
"""

from __future__ import annotations

import os
import struct

_WORD = struct.Struct("=Q")
_IOVEC = struct.Struct("=QQ")
_PATH_MAX = 4096


class Unreadable(Exception):
    """A process cannot be looked into, or is gone; the argument says why."""


class Memory:
    """The memory of one process."""

    __slots__ = ("_fd", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd = -1

    def close(self) -> None:
        """Release the descriptor; the object opens another when it is used again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def descriptor(self) -> int:
        """The open descriptor on the memory."""
        return self._fd if self._fd >= 0 else self._open()

    def _open(self) -> int:
        try:
            self._fd = os.open(f"/proc/{self._pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as why:
            raise Unreadable(str(why)) from None
        return self._fd

    def read(self, address: int, size: int) -> bytes:
        """Read up to ``size`` bytes; fewer where the mapping ends, none where there is none."""
        if size <= 0:
            return b""
        fd = self.descriptor()
        try:
            data = os.pread(fd, size, address)
        except (OSError, OverflowError):
            return b""
        if not data:
            self.close()
            try:
                data = os.pread(self._open(), size, address)
            except OSError:
                return b""
        # A read ends where a mapping does, and another may follow.
        while len(data) < size:
            try:
                more = os.pread(self._fd, size - len(data), address + len(data))
            except OSError:
                break
            if not more:
                break
            data += more
        return data

    def write(self, address: int, data: bytes) -> bool:
        """Write all of ``data``; False where that is not possible."""
        fd = self.descriptor()
        try:
            return os.pwrite(fd, data, address) == len(data) if data else True
        except OSError:
            return False

    def string(self, address: int) -> bytes | None:
        """Read a string that ends in NUL, without it; None if there is none of a path's length."""
        fd = self.descriptor()
        try:
            # Most names are short; a page border behind one ends the read early, and the rest
            # is read as well.
            data = os.pread(fd, 256, address)
        except (OSError, OverflowError):
            return None
        end = data.find(b"\0")
        if end < 0:
            data = self.read(address, _PATH_MAX)
            end = data.find(b"\0")
        return data[:end] if end >= 0 else None

    def word(self, address: int) -> int | None:
        """Read one machine word."""
        data = self.read(address, 8)
        return _WORD.unpack(data)[0] if len(data) == 8 else None

    def vector(self, address: int, count: int) -> list[tuple[int, int]]:
        """Read ``count`` entries of ``struct iovec``: (address, length)."""
        # No more than the kernel takes (UIO_MAXIOV, writev(2)).
        return list(_IOVEC.iter_unpack(self.read(address, 16 * min(count, 1024))[: 16 * count]))

    def gather(self, vector: list[tuple[int, int]]) -> bytes:
        """The bytes that a vector of buffers holds."""
        return b"".join(self.read(base, length) for base, length in vector)

    def scatter(self, vector: list[tuple[int, int]], data: bytes) -> bool:
        """Write ``data`` into a vector of buffers."""
        for base, length in vector:
            if not data:
                break
            if not self.write(base, data[:length]):
                return False
            data = data[length:]
        return not data
