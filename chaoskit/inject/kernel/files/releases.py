"""Learning that an open file has come to its end, which no single close shows.

A descriptor that is closed may have duplicates: by dup(2), in a child, in a message that is under way
(SCM_RIGHTS), in a mapping. inotify(7) reports a close only when the last of them is gone (``__fput``
of fs/file_table.c calls fsnotify_close and then the file system), so it is asked instead of counting.
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
_ROOM = 4096


class Releases:
    """Watches files; where inotify cannot be had, it never hears of anything."""

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
        """The watched files of which an open description has ended since; each is returned once."""
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

    # The real one: in a test with pyfakefs the garbage collector may find this while ``os`` is another.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._fd >= 0:
            close(self._fd)
