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
"""The families that can prove a damage: reads, and a close once the program has seen the size."""


_TOO_SHORT = 12
"""Bytes of the shortest Parquet file: two magic numbers and a length."""


@dataclass(slots=True)
class DamagedFile:
    """A damaged file: the first call that reads it proves the damage. It answers no call itself."""

    path: str
    size: int
    inode: tuple[int, int]
    accessed: int
    """The time of the last access, as it was left."""
    families: ClassVar[frozenset[str]] = READERS

    def answer(self, call: Call, as_operation: Callable[[], Operation]) -> Answer:
        """Notice if ``call`` reads the file, under whatever name, or closes it having seen its size."""
        assert isinstance(call, FileCall)
        try:
            found = os.stat(f"/proc/{call.task.tid}/fd/{call.fd}")
        except OSError:
            return None, ""
        if (found.st_dev, found.st_ino) != self.inode:
            return None, ""
        # zipfile, for example, seeks to the end and reads nothing of a file that is too short. pyarrow asks
        # for the size by fstat, which does not stop: hardly another reader leaves so little of a file unread.
        met = call.family != "close" or self.size < _TOO_SHORT or _position(call) > 0
        return None, "read" if met else ""

    def was_read(self) -> bool:
        """Notice a reader that makes no visible call, such as one through a private mapping.

        The kernel updates the access time (mount(2), MS_RELATIME), since our write came after the last one.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.inode and found.st_atime_ns != self.accessed


def effect(label: str, call: FileCall) -> FaultEffect:
    """Damage the file that ``call`` opens.

    Raises:
        CannotExecute: if it cannot be damaged in this way; see :func:`.held.damageable`.
        OSError: if it cannot be written.
    """
    # Imported here: the formats load archive and database modules, which most runs do not need.
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
    """The position of the caller's descriptor."""
    for line in processes.read(f"/proc/{call.task.tid}/fdinfo/{call.fd}").splitlines():
        if line.startswith(b"pos:"):
            return int(line.split()[1])
    return 0


def _overwrite(path: str, data: bytes, found: os.stat_result) -> None:
    """Change the content of a file, but not its inode or times."""
    try:
        # Non-blocking: another process would never give back a lease while we hold its call.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except PermissionError:
        fd = _opened_against_its_mode(path, found)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        # Bit rot does not change a file's date; the time of its last status change cannot be set.
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(fd)


def _opened_against_its_mode(path: str, found: os.stat_result) -> int:
    """A descriptor for writing to a read-only file of ours; its mode stays."""
    mode = stat.S_IMODE(found.st_mode)
    os.chmod(path, mode | stat.S_IWUSR)
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    finally:
        os.chmod(path, mode)
