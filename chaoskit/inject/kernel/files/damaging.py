"""A file that is damaged in place just before it is opened, and the proof that the damage was met."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Operation
from chaoskit.faults.corrupt.words import in_words
from chaoskit.inject import processes
from chaoskit.inject.kernel.border import Answer, CannotExecute, FaultEffect
from chaoskit.inject.kernel.files import held
from chaoskit.inject.kernel.files.calls import FileCall
from chaoskit.inject.kernel.log import Call

READERS = frozenset({"read", "mmap", "close"})
"""The families by which a program learns what a file holds, or gives it up for its size alone."""


@dataclass(slots=True)
class DamagedFile:
    """A file is damaged, and that shows at the first call that reads it. It answers no call itself."""

    path: str
    size: int
    inode: tuple[int, int]
    accessed: int
    """The time of the last access, as it was left."""
    families: ClassVar[frozenset[str]] = READERS

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """Look if ``call`` reads the file, whatever its name is by now, or closes it having seen its size."""
        assert isinstance(call, FileCall)
        try:
            found = os.stat(f"/proc/{call.task.tid}/fd/{call.fd}")
        except OSError:
            return None, ""
        if (found.st_dev, found.st_ino) != self.inode:
            return None, ""
        # zipfile, for one, seeks to the end and reads nothing of a file that is too short. Of an empty one
        # there is nothing to read, and no place to go.
        met = call.family != "close" or not self.size or _position(call) > 0
        return None, "read" if met else ""

    def was_read(self) -> bool:
        """Look for a reader that makes no call which is seen, such as one by a private mapping.

        The kernel notes the access (mount(2), MS_RELATIME): our writing came after the last one.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.inode and found.st_atime_ns != self.accessed


def effect(label: str, call: FileCall) -> FaultEffect:
    """Damage the file that ``call`` is about to open.

    Raises:
        CannotExecute: if it cannot be damaged in this way; see :func:`.held.damageable`.
        OSError: if it cannot be written.
    """
    # Here and not above: the formats load archive and database modules, which most runs have no use for.
    from chaoskit.faults.corrupt import formats

    found = held.damageable(call)
    before = held.content(call, found)
    try:
        after = formats.damaged(before, label)
    except UsageError as why:
        raise CannotExecute(str(why)) from None
    assert call.path is not None
    path = os.path.realpath(call.path)
    _overwrite(path, after, found)
    damaged = DamagedFile(path, len(after), (found.st_dev, found.st_ino), found.st_atime_ns)
    text = f"{in_words(label)} ({len(before)} bytes before, {len(after)} now)"
    return FaultEffect(text, standing=damaged, shown=damaged.was_read)


def _position(call: FileCall) -> int:
    """Where the next read would be, as the caller's descriptor has it."""
    for line in processes.read(f"/proc/{call.task.tid}/fdinfo/{call.fd}").splitlines():
        if line.startswith(b"pos:"):
            return int(line.split()[1])
    return 0


def _overwrite(path: str, data: bytes, found: os.stat_result) -> None:
    """Change the content of a file, and neither its inode nor its times."""
    try:
        # Not waiting: a lease of another process would never be given back while we hold the kernel's answer.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except PermissionError:
        fd = _opened_against_its_mode(path, found)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        # What rots on a disk does not change its date; the time of its last change of status cannot be set.
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(fd)


def _opened_against_its_mode(path: str, found: os.stat_result) -> int:
    """A descriptor to write a file of ours by that can only be read; its mode is as before."""
    mode = stat.S_IMODE(found.st_mode)
    os.chmod(path, mode | stat.S_IWUSR)
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    finally:
        os.chmod(path, mode)
