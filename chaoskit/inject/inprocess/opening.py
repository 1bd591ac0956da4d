"""``open`` for files below the root, so that faults strike where data leaves the buffers.

Data written to a file object first stays in its buffers. The system call that fails comes later, with other
sizes, so a fault at the object's ``write`` would be unreal. The object is built here as :func:`io.open`
builds it, with the same buffers, on a raw file that uses the functions of ``os``.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import warnings
from typing import Any

from chaoskit.core.operation import FileDetail
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.run import WatchedRun

_LARGEST_BUFFER = 8 * 1024 * 1024
"""The most that ``io.open`` takes over from a file system's block size, from 3.14 on."""
_ALWAYS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)


class RawFile(io.RawIOBase):
    """A :class:`io.FileIO` for one run: unbuffered, on a descriptor, through the functions of ``os``."""

    def __init__(self, run: WatchedRun, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self._run = run
        self._os = run.machine.os
        self._closefd = closefd
        self._fd = -1
        self._abandoned = False
        self._reads = "r" in mode or "+" in mode
        self._writes = mode[0] in "wax" or "+" in mode
        if mode[0] in "ax":
            self.mode = f"{mode[0]}b+" if self._reads else f"{mode[0]}b"
        else:
            self.mode = "rb+" if self._reads and self._writes else "rb" if self._reads else "wb"
        if isinstance(file, int):
            self._fd = file
        else:
            if not closefd:
                raise ValueError("Cannot use closefd=False with file name")
            flags = _flags(mode)
            self._fd = opener(file, flags) if opener is not None else self._os.open(file, flags, 0o666)
            if self._fd < 0:
                raise ValueError(f"opener returned {self._fd}")
        self.name = file
        try:
            with run.within():
                found = self._os.fstat(self._fd)
                if stat.S_ISDIR(found.st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file)
                self._block = found.st_blksize if hasattr(found, "st_blksize") and found.st_blksize else 0
                if mode[0] == "a":
                    run.machine.seek(self._fd, 0, os.SEEK_END)
        except BaseException:
            if closefd and not isinstance(file, int):
                self._os.close(self._fd)
            self._fd = -1
            raise
        run.descriptors.owned(self._fd)
        run.raw_files.add(self)

    def __repr__(self) -> str:
        if self.closed:
            return "<_io.FileIO [closed]>"
        return f"<_io.FileIO name={self.name!r} mode={self.mode!r} closefd={self._closefd}>"

    def __del__(self) -> None:
        if self._fd >= 0 and self._closefd and not self.closed:
            self._run.unclosed.append(f"unclosed file {self!r}")
            # The files of a process that has ended are closed with it: nothing to warn about.
            if not (self._run.over and self._run.dead):
                warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def abandon(self) -> None:
        """Close it as the end of a process does: data still in a buffer is not written any more."""
        self._abandoned = True
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._closefd and self._run.descriptors.get(fd) is not None:
            self._run.descriptors.closed(fd)
            self._os.close(fd)

    def close(self) -> None:
        """Close the descriptor; raises what that raises, but is closed in any case."""
        if self.closed:
            return
        fd, self._fd = self._fd, -1
        try:
            super().close()
        finally:
            if fd >= 0 and self._closefd:
                self._os.close(fd)

    def fileno(self) -> int:
        """The descriptor."""
        self._check()
        return self._fd

    @property
    def closefd(self) -> bool:
        """True if the descriptor is closed with the file."""
        return self._closefd

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        self._check()
        return self._reads

    def writable(self) -> bool:
        self._check()
        return self._writes

    def seekable(self) -> bool:
        """True unless it is a pipe or the like."""
        self._check()
        try:
            with self._run.within():
                self._run.machine.position(self._fd)
        except OSError:
            return False
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check()
        with self._run.within():
            return self._run.machine.seek(self._fd, offset, whence)

    def tell(self) -> int:
        self._check()
        with self._run.within():
            return self._run.machine.position(self._fd)

    def truncate(self, size: int | None = None) -> int:
        self._wants(self._writes, "writing")
        size = self.tell() if size is None else size
        self._os.ftruncate(self._fd, size)
        self._run.machine.truncated(self._fd)
        return size

    def readinto(self, buffer: Any) -> int:
        self._wants(self._reads, "reading")
        view = memoryview(buffer).cast("B")
        data = self._os.read(self._fd, len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Everything up to the end, in two reads if the file does not grow: the second finds the end."""
        self._wants(self._reads, "reading")
        with self._run.within():
            size = self._os.fstat(self._fd).st_size - self._run.machine.position(self._fd)
        parts = []
        while part := self._os.read(self._fd, max(size + 1, io.DEFAULT_BUFFER_SIZE if size < 0 else 1)):
            parts.append(part)
            size = max(size - len(part), 1)
        return b"".join(parts)

    def write(self, data: Any) -> int:
        self._wants(self._writes, "writing")
        if self._abandoned:
            # The finalizer empties the buffer of a process that has ended: nothing gets out.
            return memoryview(data).nbytes
        return int(self._os.write(self._fd, bytes(memoryview(data).cast("B"))))

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _wants(self, able: bool, what: str) -> None:
        self._check()
        if not able:
            raise io.UnsupportedOperation(f"File not open for {what}")

    @property
    def buffer_size(self) -> int:
        """The buffer size that :func:`io.open` would choose."""
        if sys.version_info >= (3, 14):
            return max(min(self._block, _LARGEST_BUFFER), io.DEFAULT_BUFFER_SIZE)
        return self._block if self._block > 1 else io.DEFAULT_BUFFER_SIZE


def _flags(mode: str) -> int:
    made = {
        "r": 0,
        "w": os.O_CREAT | os.O_TRUNC,
        "a": os.O_CREAT | os.O_APPEND,
        "x": os.O_CREAT | os.O_EXCL,
    }[mode[0]]
    access = os.O_RDWR if "+" in mode else os.O_RDONLY if mode[0] == "r" else os.O_WRONLY
    return made | access | _ALWAYS


def understood(run: WatchedRun, original: Any, args: Any, words: Any) -> PythonCall | None:
    """A call of ``open`` for a file below the root; not an operation itself, but its raw file makes some."""
    names = ("file", "mode", "buffering", "encoding", "errors", "newline", "closefd", "opener")
    given = {**dict(zip(names, args, strict=False)), **words}
    file, mode = given.get("file"), given.get("mode", "r")
    if isinstance(file, int):
        inside = run.descriptors.get(file) is not None
    else:
        inside = run.descriptors.below(run.descriptors.resolved(file, follow=True)) is not None
    # A wrong mode is left to the original, which says what is wrong.
    if not inside or not _is_mode(mode):
        return None
    return PythonCall("", "", "open", lambda: built(run, given), FileDetail)


def _is_mode(mode: Any) -> bool:
    return (
        isinstance(mode, str)
        and bool(mode)
        and len(set(mode)) == len(mode)
        and set(mode) <= set("rwxabt+")
        and len(set(mode) & set("rwxa")) == 1
        and not {"b", "t"} <= set(mode)
    )


def built(run: WatchedRun, given: dict[str, Any]) -> Any:
    """The file object that :func:`io.open` would make of these arguments.

    Raises:
        ValueError: for arguments that do not go together, with the message of :func:`io.open`.
    """
    mode, buffering = given.get("mode", "r"), given.get("buffering", -1)
    binary = "b" in mode
    _check_text(given, binary)
    kind = next(one for one in mode if one in "rwxa") + ("+" if "+" in mode else "")
    file = given["file"]
    file = file if isinstance(file, int) else os.fspath(file)
    raw = RawFile(run, file, kind, given.get("closefd", True), given.get("opener"))
    made: Any = raw
    try:
        lines = buffering == 1 and not binary
        if buffering == 0:
            if binary:
                return raw
            raise ValueError("can't have unbuffered text I/O")
        size = raw.buffer_size if buffering < 0 or buffering == 1 else buffering
        if "+" in mode:
            made = io.BufferedRandom(raw, size)
        elif kind[0] == "r":
            made = io.BufferedReader(raw, size)
        else:
            made = io.BufferedWriter(raw, size)
        if binary:
            return made
        text = io.TextIOWrapper(
            made, io.text_encoding(given.get("encoding")), given.get("errors"), given.get("newline"), lines
        )
        made = text
        text.mode = mode  # type: ignore[misc]
        return text
    except BaseException:
        made.close()
        raise


def _check_text(given: dict[str, Any], binary: bool) -> None:
    for name in ("encoding", "errors", "newline"):
        if binary and given.get(name) is not None:
            raise ValueError(f"binary mode doesn't take {'an' if name[0] == 'e' else 'a'} {name} argument")
