"""The times of files, which the kernel takes from the real clock, put to the workload's clock."""

from __future__ import annotations

import contextlib
import os

from chaoskit.inject.kernel.clock.dial import Dial
from chaoskit.inject.kernel.log import Log

_MOST = 5_000
"""Files that are looked at: a look takes some 3 µs for each."""
_TICK = 10_000_000
"""Nanoseconds: file times are as old as the last tick of the kernel's clock (CONFIG_HZ of 100)."""


class FileTimes:
    """Files below one root. A file that was written to since the last look gets the workload's time."""

    def __init__(self, root: str, dial: Dial, log: Log) -> None:
        self._root = root
        self._dial = dial
        self._log = log
        self._since = dial.real() - _TICK
        self._real: dict[str, tuple[int, int]] = {}
        """What was changed: the time that a file was given, and the real one."""

    def follow(self) -> None:
        """Give files that have changed the time at which they did so, as the workload knows it.

        Called before the workload looks at a file, and before time is skipped: so what has changed since
        the last call has done so at the present difference to the real clock.
        """
        if self._dial.moved:
            self.settle()

    def look(self, path: str) -> None:
        """Give one file its time: the workload is about to ask for it. ``path`` is resolved."""
        if path.startswith(self._root):
            with contextlib.suppress(OSError):
                now, ahead = self._dial.real(), self._dial.now(0) - self._dial.real()
                self._settled(path, os.lstat(path), now, ahead)

    def settle(self) -> None:
        """The same, also while there is no difference yet: the clocks are about to be set."""
        now, ahead = self._dial.real(), self._dial.now(0) - self._dial.real()
        try:
            for path, entry in _below(self._root):
                self._settled(path, entry, now, ahead)
        except _TooMany:
            text = f"more than {_MOST} files: their times are those of the real clock"
            self._log.caveat("file-times-real", "", text)
        self._since = now - _TICK

    def _settled(self, path: str, entry: os.stat_result, now: int, ahead: int) -> None:
        # What was given its time before is left alone.
        given = self._real.get(path, (0, 0))[0] == entry.st_mtime_ns
        if self._since <= entry.st_mtime_ns <= now + _TICK and not given:
            self._put(path, entry, entry.st_mtime_ns + ahead)

    def _put(self, path: str, entry: os.stat_result, wanted: int) -> None:
        if wanted == entry.st_mtime_ns:
            # One less, to tell it from a change before the next tick, which is at another time by then.
            wanted -= 1
        # It may be gone by now, or belong to another user.
        with contextlib.suppress(OSError):
            os.utime(path, ns=(entry.st_atime_ns, wanted), follow_symlinks=False)
            self._real[path] = (wanted, entry.st_mtime_ns)

    def give_back(self) -> None:
        """The run is over: what reads the real clock is to find the real times."""
        for path, (given, real) in self._real.items():
            with contextlib.suppress(OSError):
                entry = os.lstat(path)
                if entry.st_mtime_ns == given:
                    os.utime(path, ns=(entry.st_atime_ns, real), follow_symlinks=False)
        self._real.clear()


class _TooMany(Exception):
    """There are more files than can be looked at each time."""


def _below(root: str) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found.append((entry.path, entry.stat(follow_symlinks=False)))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        if len(found) > _MOST:
            raise _TooMany
    return found
