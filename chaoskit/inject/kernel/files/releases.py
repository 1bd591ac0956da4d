"""Learn that an open file has been released, which no single close shows.

A closed descriptor may have duplicates: by dup(2), in a child, in a message in transit (SCM_RIGHTS), in a
mapping. inotify(7) reports a close only when the last of them is gone (``__fput`` of fs/file_table.c calls
fsnotify_close and then the file system), so it replaces counting.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

_EVENT = struct.Struct("iIII")
_CLOSED = 0x08 | 0x10
"""IN_CLOSE_WRITE and IN_CLOSE_NOWRITE of linux/inotify.h."""
_ONCE = 0x80000000
"""IN_ONESHOT: a release is reported once, and the watch ends with it."""
_ROOM = 4096
"""Bytes of events that are read at once; the rest waits for the next read."""


class Releases:
    """Watches files; without inotify it never reports anything."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watched: dict[int, tuple[int, int]] = {}

    def watch(self, path: str, inode: tuple[int, int]) -> None:
        """Watch for the next release of a file: of any of its open descriptions, in any process."""
        number = self._library.inotify_add_watch(
            self._fd, os.fsencode(path), ctypes.c_uint32(_CLOSED | _ONCE)
        )
        if number >= 0:
            self._watched[number] = inode

    def heard(self) -> set[tuple[int, int]]:
        """The watched files that had an open description released since the last call."""
        found = set()
        while self._watched:
            try:
                events = os.read(self._fd, _ROOM)
            except OSError:
                break
            for number, mask, _, _ in _EVENT.iter_unpack(events):
                inode = self._watched.pop(number, None) if mask & _CLOSED else None
                if inode is not None:
                    found.add(inode)
        return found

    # The real os.close: with pyfakefs the garbage collector may find this while ``os`` is replaced.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._fd >= 0:
            close(self._fd)
