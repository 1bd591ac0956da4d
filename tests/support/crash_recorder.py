"""Making calls and writing down the operations, where no backend is needed or none can run.

For tests of everything that works on traces, and for comparing a model with what a mounted file
system really shows. Only what is called through the recorder is seen.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chaoskit.core.operation import ROOT, Bytes, FileDetail, Operation, OrdinalCounter, PromiseDetail, Trace

MS_SYNC = 4  # asm-generic/mman-common.h


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Recorder:
    """Acts below ``root`` as the calls of the same names do; names are relative to it.

    A call that fails is recorded with minus its errno and raises as usual. ``synchronous`` of the
    records follows the flags with which a descriptor was opened.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(root)
        self._operations: list[Operation] = []
        self._open: dict[int, tuple[str, int]] = {}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that were opened and not closed."""
        return tuple(self._open)

    def trace(self) -> Trace:
        """Everything so far."""
        ordinals = OrdinalCounter()
        operations = tuple(replace(one, ordinal=ordinals.next(one.key)) for one in self._operations)
        return Trace(operations, root=self.root)

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name) if name != ROOT else self.root

    def _do(
        self, call: str, name: str, action: Callable[[], Any], second: str | None = None, **detail: Any
    ) -> Any:
        try:
            value = action()
        except OSError as error:
            self._note(call, name, second, -(error.errno or errno.EIO), detail)
            raise
        self._note(call, name, second, value if isinstance(value, int) else 0, detail)
        return value

    def _note(
        self, call: str, name: str, second: str | None, result: int | None, detail: dict[str, Any]
    ) -> None:
        operation = Operation(
            len(self._operations), call, name, second, result=result, detail=FileDetail(**detail)
        )
        self._operations.append(operation)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.lstat(self._path(name))
        except OSError:
            return None

    def _about(self, name: str) -> dict[str, Any]:
        status = self._status(name)
        if status is None:
            return {}
        return {"inode": (status.st_dev, status.st_ino), "links": status.st_nlink}

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """Return the descriptor."""
        before = self._status(name)
        try:
            fd = os.open(self._path(name), flags, mode)
        except OSError as error:
            self._note("open", name, None, -(error.errno or errno.EIO), {"flags": flags})
            raise
        status = os.fstat(fd)
        detail = {
            "fd": fd,
            "flags": flags,
            "mode": mode,
            "inode": (status.st_dev, status.st_ino),
            "created": before is None,
            "made_mode": stat.S_IMODE(status.st_mode),
            "truncated": before is not None and bool(flags & os.O_TRUNC),
            "size_before": before.st_size if before is not None else None,
        }
        self._note("open", name, None, fd, detail)
        self._open[fd] = (name, flags)
        return fd

    def _opened(self, fd: int) -> tuple[str, dict[str, Any]]:
        name, flags = self._open[fd]
        status = os.fstat(fd)
        synchronous = ""
        if flags & os.O_DSYNC:
            synchronous = "O_SYNC" if flags & os.O_SYNC == os.O_SYNC else "O_DSYNC"
        about = {"fd": fd, "inode": (status.st_dev, status.st_ino), "size_before": status.st_size}
        return name, {**about, "synchronous": synchronous}

    def write(self, fd: int, data: bytes, offset: int | None = None) -> int:
        """``write``, or ``pwrite`` when an offset is given."""
        name, detail = self._opened(fd)
        _, flags = self._open[fd]
        position = os.lseek(fd, 0, os.SEEK_CUR) if offset is None else offset
        if flags & os.O_APPEND:
            position = detail["size_before"]
        detail |= {"offset": position, "length": len(data), "data": Bytes(data)}
        action = (lambda: os.write(fd, data)) if offset is None else (lambda: os.pwrite(fd, data, offset))
        written: int = self._do("write", name, action, **detail)
        return written

    def close(self, fd: int) -> None:
        """``close``; ``released`` is recorded if no duplicate of :meth:`dup` is left."""
        name, detail = self._opened(fd)
        opening = self._open.pop(fd)
        released = all(other is not opening for other in self._open.values())
        self._do("close", name, lambda: os.close(fd), **detail, released=released)

    def dup(self, fd: int) -> int:
        """``dup``: not recorded, since it changes nothing on the disk. Return the new descriptor."""
        copy = os.dup(fd)
        self._open[copy] = self._open[fd]
        return copy

    def fsync(self, fd: int) -> None:
        """``fsync``."""
        name, detail = self._opened(fd)
        self._do("fsync", name, lambda: os.fsync(fd), **detail)

    def fdatasync(self, fd: int) -> None:
        """``fdatasync``."""
        name, detail = self._opened(fd)
        self._do("fdatasync", name, lambda: os.fdatasync(fd), **detail)

    def msync(self, fd: int, offset: int, length: int) -> None:
        """``msync`` of a part of a mapping, with ``MS_SYNC``: it writes what ``write`` has put there, too."""
        name, detail = self._opened(fd)
        detail |= {"offset": offset, "length": length, "flags": MS_SYNC}
        with mmap.mmap(fd, max(1, detail["size_before"])) as mapped:
            length = min(length, len(mapped) - offset)
            self._do("msync", name, lambda: mapped.flush(offset, length) if length > 0 else None, **detail)

    def sync_file_range(self, fd: int, offset: int, length: int) -> None:
        """``sync_file_range``, waiting before and after."""
        name, detail = self._opened(fd)
        function = ctypes.CDLL(None).sync_file_range
        arguments = (fd, ctypes.c_int64(offset), ctypes.c_int64(length), 7)
        self._do(
            "sync_file_range", name, lambda: function(*arguments), **detail, offset=offset, length=length
        )

    def truncate(self, fd: int, length: int) -> None:
        """``ftruncate``."""
        name, detail = self._opened(fd)
        self._do("truncate", name, lambda: os.ftruncate(fd, length), **detail, length=length)

    def fallocate(self, fd: int, offset: int, length: int, mode: int = 0) -> None:
        """``fallocate``; ``mode`` as in linux/falloc.h."""
        name, detail = self._opened(fd)
        detail |= {"offset": offset, "length": length, "mode": mode}
        function = ctypes.CDLL(None, use_errno=True).fallocate
        arguments = (fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
        self._do("fallocate", name, lambda: _checked(function(*arguments)), **detail)

    def fchmod(self, fd: int, mode: int) -> None:
        """``fchmod``."""
        name, detail = self._opened(fd)
        self._do("chmod", name, lambda: os.fchmod(fd, mode), **detail, mode=mode)

    def rename(self, source: str, target: str) -> None:
        """``rename``."""
        detail, replaced = self._about(source), self._about(target)
        self._do(
            "rename",
            source,
            lambda: os.rename(self._path(source), self._path(target)),
            target,
            **detail,
            replaced=replaced.get("inode"),
        )

    def link(self, source: str, target: str) -> None:
        """``link``."""
        self._do(
            "link",
            source,
            lambda: os.link(self._path(source), self._path(target)),
            target,
            **self._about(source),
        )

    def symlink(self, text: str, name: str) -> None:
        """``symlink``: a link called ``name`` that says ``text``."""
        self._do("symlink", name, lambda: os.symlink(text, self._path(name)), text=text)

    def unlink(self, name: str) -> None:
        """``unlink``."""
        self._do("unlink", name, lambda: os.unlink(self._path(name)), **self._about(name))

    def mkdir(self, name: str, mode: int = 0o755) -> None:
        """``mkdir``."""
        os.mkdir(self._path(name), mode)
        detail = {**self._about(name), "mode": mode, "directory": True}
        made = self._status(name)
        if made is not None:
            detail["made_mode"] = stat.S_IMODE(made.st_mode)
        self._note("mkdir", name, None, 0, detail)

    def rmdir(self, name: str) -> None:
        """``rmdir``."""
        self._do("rmdir", name, lambda: os.rmdir(self._path(name)), **self._about(name), directory=True)

    def chmod(self, name: str, mode: int) -> None:
        """``chmod``."""
        self._do("chmod", name, lambda: os.chmod(self._path(name), mode), **self._about(name), mode=mode)

    def setxattr(self, name: str, attribute: str, value: bytes) -> None:
        """``setxattr``."""
        path, about = self._path(name), self._about(name)
        self._do(
            "setxattr",
            name,
            lambda: os.setxattr(path, attribute, value),
            **about,
            text=attribute,
            data=Bytes(value),
        )

    def sync(self) -> None:
        """``sync``."""
        self._do("sync", ROOT, os.sync)

    def promise(self, value: object) -> None:
        """What the program tells the outside world."""
        self._operations.append(
            Operation(len(self._operations), "promise", "", result=0, detail=PromiseDetail(value))
        )

    # What programs do so often that tests would repeat it.

    def put(self, name: str, data: bytes, flags: int = os.O_WRONLY | os.O_CREAT, sync: bool = False) -> None:
        """Open, write, perhaps fsync, close."""
        fd = self.open(name, flags)
        self.write(fd, data)
        if sync:
            self.fsync(fd)
        self.close(fd)

    def sync_path(self, name: str, data_only: bool = False) -> None:
        """Open, fsync (or fdatasync), close: a file or a directory."""
        fd = self.open(name)
        (self.fdatasync if data_only else self.fsync)(fd)
        self.close(fd)
