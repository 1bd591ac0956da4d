"""Programs as data: a list of calls that is run on a disk, generated, made smaller and printed.

Some kinds of call are hidden: ``~write-back`` of one file (or just its ``~begin``) and ``~commit`` of the
journal are what the kernel may do at any time by itself, so that a model must allow what they leave
whatever the program was.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_recorder import Recorder
from mounts import libc

from chaoskit.core.operation import Bytes

Call = tuple[Any, ...]
"""The name of a call and its arguments. ``open`` puts a descriptor into a numbered slot for others to use."""
Program = tuple[Call, ...]

_EXCHANGE, _AT_FDCWD, _WRITE, _WAIT_WRITE_WAIT, _MS_SYNC = 2, -100, 2, 7, 4
"""From linux/fs.h, fcntl.h, and sys/mman.h."""
_START_SYNC, _WAIT_SYNC = 0x80089418, 0x40089416
"""``BTRFS_IOC_START_SYNC`` and ``BTRFS_IOC_WAIT_SYNC``: a commit of everything but delayed data."""


def base(recorder: Recorder) -> None:
    """What is there, and durable, before a program begins."""
    recorder.put("a", b"old")
    recorder.put("big", b"*" * 8192)
    recorder.put("part", b"+" * 100)
    recorder.mkdir("d")
    recorder.mkdir("e")
    recorder.put("d/f", b"in d")


class DiskRecorder(Recorder):
    """Also records where the log of the device was after each call: ``positions``."""

    def __init__(self, root: str | os.PathLike[str], position: Callable[[], int]) -> None:
        super().__init__(root)
        self.positions: list[int] = []
        self.maps: list[mmap.mmap] = []
        self._mapped: dict[int, mmap.mmap] = {}
        self._position = position

    def _note(
        self, call: str, name: str, second: str | None, result: int | None, detail: dict[str, Any]
    ) -> None:
        super()._note(call, name, second, result, detail)
        self.positions.append(self._position())

    def sync(self) -> None:
        """``syncfs``: of this file system, and not of all that the machine has."""
        self._do("syncfs", ".", lambda: sync_all_of(self.root))

    def exchange(self, one: str, other: str) -> None:
        """``renameat2`` with RENAME_EXCHANGE."""

        def act() -> None:
            paths = (os.fsencode(self._path(one)), os.fsencode(self._path(other)))
            if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE):
                raise OSError(ctypes.get_errno(), "renameat2")

        replaced = self._about(other).get("inode")
        self._do("rename", one, act, other, **self._about(one), replaced=replaced, flags=_EXCHANGE)

    def removexattr(self, name: str, attribute: str) -> None:
        """``removexattr``."""
        path = self._path(name)
        self._do(
            "removexattr", name, lambda: os.removexattr(path, attribute), **self._about(name), text=attribute
        )

    def store(self, name: str, offset: int, data: bytes, sync: bool) -> None:
        """A store through a shared mapping of a file that stays open, then perhaps ``msync``."""
        fd = self.open(name, os.O_RDWR)
        name, detail = self._opened(fd)
        if offset + len(data) > detail["size_before"]:
            raise OSError(errno.EINVAL, "beyond the end")
        view = mmap.mmap(fd, detail["size_before"])
        self.maps.append(view)
        view[offset : offset + len(data)] = data
        stored = dict(detail, offset=offset, length=len(data), data=Bytes(data))
        self._note("write", name, None, len(data), stored)
        if sync:
            self._do("msync", name, lambda: view.flush() and None, **detail, flags=_MS_SYNC)

    def map(self, name: str) -> int:
        """Map the whole of a file for others to store into; return its descriptor, which stays open."""
        fd = self.open(name, os.O_RDWR)
        size = self._opened(fd)[1]["size_before"]
        if size == 0:
            raise OSError(errno.EINVAL, "nothing to map")
        self._mapped[fd] = mmap.mmap(fd, size)
        self.maps.append(self._mapped[fd])
        return fd

    def store_into(self, fd: int, offset: int, data: bytes) -> None:
        """A store through the mapping of :meth:`map`, in what is left of the file."""
        name, detail = self._opened(fd)
        view = self._mapped[fd]
        # Behind the end of a file that was cut there is no page to store into: the process would die of it.
        if offset + len(data) > min(detail["size_before"], len(view)):
            raise OSError(errno.EINVAL, "beyond the end")
        view[offset : offset + len(data)] = data
        stored = dict(detail, offset=offset, length=len(data), data=Bytes(data))
        self._note("write", name, None, len(data), stored)

    def msync(self, fd: int, offset: int, length: int) -> None:
        """``msync`` of a part of the mapping; the length is cut where that ends."""
        name, detail = self._opened(fd)
        view = self._mapped[fd]
        length = min(length, len(view) - offset)
        if length <= 0:
            raise OSError(errno.ENOMEM, "beyond the mapping")
        detail |= {"offset": offset, "length": length, "flags": _MS_SYNC}
        self._do("msync", name, lambda: view.flush(offset, length) and None, **detail)

    def direct(self, name: str, offset: int, data: bytes) -> None:
        """A write with O_DIRECT, which goes past the page cache."""
        fd = self.open(name, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        try:
            # Memory must be aligned for it, as that of a mapping is.
            view = mmap.mmap(-1, len(data))
            view.write(data)
            name, detail = self._opened(fd)
            detail |= {"offset": offset, "length": len(data), "data": Bytes(data)}
            self._do("write", name, lambda: os.pwrite(fd, view, offset), **detail)
        finally:
            self.close(fd)

    def finish(self) -> None:
        """Close what the program has left open."""
        for view in self.maps:
            view.close()
        for fd in self.descriptors:
            os.close(fd)
        self._open.clear()


def sync_all_of(path: str | os.PathLike[str]) -> None:
    """``syncfs``. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(fd):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)


class Hidden:
    """What the kernel does by itself, brought about from outside the program's directory ``top``."""

    def __init__(self, system: str, top: Path) -> None:
        self.system, self.top = system, top
        self.place = top.parent / "hidden"
        self._open: list[int] = []
        if not self.place.exists():
            self.place.mkdir()
            (self.place / "f").touch()

    def write_back(self, name: str, flags: int = _WAIT_WRITE_WAIT) -> None:
        """Write out the pages of one file, without its metadata."""
        try:
            fd = os.open(self.top / name, os.O_RDONLY)
        except OSError:
            return
        # Not closed before the end: a close may let ext4 write more.
        self._open.append(fd)
        libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), flags)

    def commit(self) -> None:
        """Let all metadata so far go out, as the journal does by itself every few seconds."""
        if self.system == "btrfs":
            fd, number = os.open(self.place, os.O_RDONLY), bytearray(8)
            try:
                fcntl.ioctl(fd, _START_SYNC, number)
                fcntl.ioctl(fd, _WAIT_SYNC, bytes(number))
            finally:
                os.close(fd)
            return
        # On ext4 a directory commits all; on xfs the file must have changed itself.
        path = self.place if self.system == "ext4" else self.place / "f"
        path.chmod(0o755 if path.stat().st_mode & 0o77 == 0 else 0o700)
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def finish(self) -> None:
        """Close what was kept open."""
        for fd in self._open:
            os.close(fd)


def run(program: Program, recorder: DiskRecorder, hidden: Hidden) -> None:
    """Make the calls one after the other. Those that fail are recorded as such, and nothing else."""
    slots: dict[int, int] = {}
    for number, (kind, *arguments) in enumerate(program):
        data = bytes([65 + number % 26])
        try:
            _CALLS[kind](recorder, hidden, slots, data, *arguments)
        except OSError:
            pass


def _put(
    r: DiskRecorder,
    _: Hidden,
    slots: dict[int, int],
    data: bytes,
    name: str,
    size: int,
    flags: int,
    sync: str,
) -> None:
    fd = r.open(name, os.O_WRONLY | flags)
    try:
        r.write(fd, data * size)
        if sync:
            getattr(r, sync)(fd)
    finally:
        r.close(fd)


def _with(flags: int, act: Callable[..., object]) -> Callable[..., None]:
    """A call on a descriptor that is opened for it and closed after it."""

    def call(
        r: DiskRecorder, _: Hidden, slots: dict[int, int], data: bytes, name: str, *arguments: Any
    ) -> None:
        fd = r.open(name, flags)
        try:
            act(r, fd, data, *arguments)
        finally:
            r.close(fd)

    return call


def _allocate(r: DiskRecorder, fd: int, data: bytes, offset: int, size: int, mode: int, then: int) -> None:
    r.fallocate(fd, offset, size, mode)
    if then:
        r.write(fd, data * then, 0)


def _open(
    r: DiskRecorder, _: Hidden, slots: dict[int, int], data: bytes, slot: int, name: str, flags: int
) -> None:
    slots[slot] = r.open(name, os.O_RDWR | flags)


def _map(r: DiskRecorder, _: Hidden, slots: dict[int, int], data: bytes, slot: int, name: str) -> None:
    slots[slot] = r.map(name)


def _slot(act: Callable[..., object]) -> Callable[..., None]:
    """A call on an open descriptor; nothing if its slot is empty."""

    def call(
        r: DiskRecorder, _: Hidden, slots: dict[int, int], data: bytes, slot: int, *arguments: Any
    ) -> None:
        if slot in slots:
            act(r, slots[slot], data, *arguments)

    return call


def _close(r: DiskRecorder, _: Hidden, slots: dict[int, int], data: bytes, slot: int) -> None:
    if slot in slots:
        r.close(slots.pop(slot))


_CALLS: dict[str, Callable[..., None]] = {
    "put": _put,
    "overwrite": _with(os.O_WRONLY, lambda r, fd, data, offset, size: r.write(fd, data * size, offset)),
    "truncate": _with(os.O_WRONLY, lambda r, fd, data, size: r.truncate(fd, size)),
    "fallocate": _with(os.O_RDWR | os.O_CREAT, _allocate),
    "open": _open,
    "write": _slot(lambda r, fd, data, size, offset: r.write(fd, data * size, offset)),
    "fsync": _slot(lambda r, fd, data: r.fsync(fd)),
    "fdatasync": _slot(lambda r, fd, data: r.fdatasync(fd)),
    "range": _slot(lambda r, fd, data, offset, size: r.sync_file_range(fd, offset, size)),
    "close": _close,
    "rename": lambda r, h, s, data, one, other: r.rename(one, other),
    "exchange": lambda r, h, s, data, one, other: r.exchange(one, other),
    "link": lambda r, h, s, data, one, other: r.link(one, other),
    "symlink": lambda r, h, s, data, name: r.symlink("target", name),
    "mkdir": lambda r, h, s, data, name: r.mkdir(name),
    "rmdir": lambda r, h, s, data, name: r.rmdir(name),
    "unlink": lambda r, h, s, data, name: r.unlink(name),
    "setxattr": lambda r, h, s, data, name, key, size: r.setxattr(name, key, data * size),
    "removexattr": lambda r, h, s, data, name, key: r.removexattr(name, key),
    "chmod": lambda r, h, s, data, name, mode: r.chmod(name, mode),
    "store": lambda r, h, s, data, name, offset, size, sync: r.store(name, offset, data * size, sync),
    "map": _map,
    "store into": _slot(lambda r, fd, data, offset, size: r.store_into(fd, offset, data * size)),
    "msync": _slot(lambda r, fd, data, offset, length: r.msync(fd, offset, length)),
    "direct": lambda r, h, s, data, name, offset, size: r.direct(name, offset, data * size),
    "sync": lambda r, h, s, data, name, data_only: r.sync_path(name, data_only),
    "syncfs": lambda r, h, s, data: r.sync(),
    "~write-back": lambda r, h, s, data, name: h.write_back(name),
    "~begin write-back": lambda r, h, s, data, name: h.write_back(name, _WRITE),
    "~commit": lambda r, h, s, data: h.commit(),
}
