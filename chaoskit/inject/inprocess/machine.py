"""The file system on which calls are made: the machine's, or the one that pyfakefs keeps in memory."""

from __future__ import annotations

import os
import sys
from typing import Any


class HostMachine:
    """The operating system's file system. ``os`` is the module through which a workload reaches it."""

    os: Any = os
    in_memory = False

    def seek(self, fd: int, offset: int, whence: int) -> int:
        """Move the position of a descriptor, and return it."""
        return os.lseek(fd, offset, whence)

    def position(self, fd: int) -> int:
        """The position of a descriptor."""
        return os.lseek(fd, 0, os.SEEK_CUR)

    def truncated(self, fd: int) -> None:
        """The file of a descriptor was made longer or shorter."""


class FakeMachine(HostMachine):
    """The file system of pyfakefs, while its patcher is active."""

    in_memory = True

    def __init__(self, patcher: Any) -> None:
        self.os = patcher.fake_modules["os"]
        self.patcher = patcher
        self.files = patcher.fs

    def seek(self, fd: int, offset: int, whence: int) -> int:
        # Its lseek returns nothing.
        handle = self.files.get_open_file(fd)
        handle.raw_io = True
        handle.seek(offset, whence)
        return int(handle.tell())

    def position(self, fd: int) -> int:
        return int(self.files.get_open_file(fd).tell())

    def truncated(self, fd: int) -> None:
        # Its ftruncate changes the file but not the open file object, which would restore the old size.
        handle = self.files.get_open_file(fd)
        handle._file_epoch = -1
        handle._sync_io()


def machine() -> HostMachine:
    """The file system that a workload would see now."""
    # Not imported: a program that does not use pyfakefs must not load it.
    pyfakefs = sys.modules.get("pyfakefs.fake_filesystem_unittest")
    patcher = None if pyfakefs is None else pyfakefs.Patcher.PATCHER
    if patcher is None or not getattr(patcher, "is_patching", True) or not patcher.fake_modules:
        return HostMachine()
    return FakeMachine(patcher)
