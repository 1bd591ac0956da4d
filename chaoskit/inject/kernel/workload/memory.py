"""Reads and writes the memory of another process.

A descriptor of ``/proc/PID/mem`` belongs to one address space: after an exec it reads empty and is opened
again. This needs the same user and a dumpable target (ptrace(2), access mode checks), as our children are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from chaoskit.inject.kernel.seccomp import abi

_WORD = struct.Struct("=Q")
_IOVEC = struct.Struct("=QQ")
_AT_ONCE = 1 << 20
"""Up to this many bytes are read into a buffer first."""
_PAGE = os.sysconf("SC_PAGESIZE")
_MOST_PARTS = 1024
"""How many parts one call accepts: UIO_MAXIOV (process_vm_readv(2))."""
_PATH_MAX = 4096


class Unreadable(Exception):
    """A process cannot be inspected, or is gone; the argument says why."""


class Memory:
    """The memory of one process."""

    __slots__ = ("_fd", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd = -1

    def close(self) -> None:
        """Close the descriptor; the next use opens another one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def descriptor(self) -> int:
        """The open descriptor of the memory."""
        return self._fd if self._fd >= 0 else self._open()

    def _open(self) -> int:
        try:
            self._fd = os.open(f"/proc/{self._pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as why:
            raise Unreadable(str(why)) from None
        return self._fd

    def read(self, address: int, size: int) -> bytes:
        """Read up to ``size`` bytes; fewer if the mapping ends, none if there is none."""
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
        # A read ends with its mapping, but another may follow.
        while len(data) < size:
            try:
                more = os.pread(self._fd, size - len(data), address + len(data))
            except OSError:
                break
            if not more:
                break
            data += more
        return data

    def data(self, address: int, size: int) -> bytes:
        """Read up to ``size`` bytes, but only what a call of the process itself could read.

        Unlike :meth:`read`, which has the rights of a debugger, it ends at an unreadable page (``PROT_NONE``,
        a guard page).
        """
        if size <= _AT_ONCE:
            room = ctypes.create_string_buffer(size)
            got = self._copied(room, size, [(address, size)])
            return room.raw[:got]
        # Test one byte of each page; then large data can be read directly into its place.
        end = address + size
        pages = range(address - address % _PAGE, end, _PAGE)
        room = ctypes.create_string_buffer(_MOST_PARTS)
        for first in range(0, len(pages), _MOST_PARTS):
            some = [(max(page, address), 1) for page in pages[first : first + _MOST_PARTS]]
            got = self._copied(room, len(some), some)
            if got < len(some):
                end = some[got][0]
                break
        return self.read(address, end - address)

    def _copied(self, room: ctypes.Array[ctypes.c_char], size: int, parts: list[tuple[int, int]]) -> int:
        """Copy parts of the memory into ``room``, and return the number of bytes."""
        words = [ctypes.addressof(room), size, *(word for part in parts for word in part)]
        vectors = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words))
        remote = ctypes.c_void_p(ctypes.addressof(vectors) + _IOVEC.size)
        return max(0, int(abi.libc().process_vm_readv(self._pid, vectors, 1, remote, len(parts), 0)))

    def read_each(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read each of ``places``, (address, size in bytes), as :meth:`read` does."""
        return [self.read(address, size) for address, size in places]

    def write(self, address: int, data: bytes) -> bool:
        """Write all of ``data`` as a call of the process itself could; False if it could not.

        Unlike :meth:`overwrite` it does not change read-only memory.
        """
        if not data:
            return True
        room = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        vectors = ctypes.create_string_buffer(struct.pack("=4Q", room, len(data), address, len(data)))
        remote = ctypes.c_void_p(ctypes.addressof(vectors) + _IOVEC.size)
        done = int(abi.libc().process_vm_writev(self._pid, vectors, 1, remote, 1, 0))
        if done < 0 and ctypes.get_errno() not in (errno.EFAULT, errno.EINVAL):
            # Its first thread has ended before the others; or it may not be inspected, and this raises.
            return self.overwrite(address, data)
        return done == len(data)

    def overwrite(self, address: int, data: bytes) -> bool:
        """Write all of ``data``, even to read-only memory; False if nothing is mapped there."""
        fd = self.descriptor()
        try:
            return os.pwrite(fd, data, address) == len(data) if data else True
        except OSError:
            return False

    def string(self, address: int) -> bytes | None:
        """Read a string up to its NUL; None if it is unreadable, or longer than a path may be."""
        fd = self.descriptor()
        try:
            # Most names are short. If the read ends early at a mapping's end, read the rest too.
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
        # No more than the kernel accepts (UIO_MAXIOV, writev(2)).
        return list(_IOVEC.iter_unpack(self.read(address, 16 * min(count, 1024))[: 16 * count]))

    def gather(self, vector: list[tuple[int, int]]) -> bytes:
        """The content of a vector of buffers, as :meth:`data` reads it."""
        return b"".join(self.data(base, length) for base, length in vector)

    def scatter(self, vector: list[tuple[int, int]], data: bytes) -> bool:
        """Write ``data`` into a vector of buffers."""
        for base, length in vector:
            if not data:
                break
            if not self.write(base, data[:length]):
                return False
            data = data[length:]
        return not data
