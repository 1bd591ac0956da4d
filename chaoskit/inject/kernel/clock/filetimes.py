"""Moves the times of files, which the kernel takes from the real clock, to the workload's clock."""

from __future__ import annotations

import contextlib
import os

from chaoskit.inject.kernel.clock.dial import Dial
from chaoskit.inject.kernel.log import Log

_MOST = 5_000
"""The most files that are examined: each takes some 3 µs."""
_TICK = 10_000_000
"""Nanoseconds by which file times may lag: they are those of the kernel's last tick (CONFIG_HZ of 100)."""


class FileTimes:
    """The files below one root. Those that were written to since the last look get the workload's time."""

    def __init__(self, root: str, dial: Dial, log: Log) -> None:
        self._root = root
        self._dial = dial
        self._log = log
        self._since = dial.real() - _TICK
        self._real: dict[str, tuple[int, int]] = {}
        """By file: the time that it was given, and the real one."""

    def follow(self) -> None:
        """Give changed files the time of the change by the workload's clock.

        This is called before the workload looks at a file and before time is skipped, so all changes since
        the last call belong to the present difference from the real clock.
        """
        if self._dial.moved:
            self.settle()

    def look(self, path: str) -> None:
        """Correct the time of one file that the workload asks about. ``path`` is resolved."""
        if path.startswith(self._root):
            with contextlib.suppress(OSError):
                now, ahead = self._dial.real(), self._dial.now(0) - self._dial.real()
                self._settled(path, os.lstat(path), now, ahead)

    def settle(self) -> None:
        """As :meth:`follow`, even if there is no difference yet, since the clocks are about to be set."""
        now, ahead = self._dial.real(), self._dial.now(0) - self._dial.real()
        try:
            for path, entry in _below(self._root):
                self._settled(path, entry, now, ahead)
        except _TooMany:
            text = f"more than {_MOST} files: their times are those of the real clock"
            self._log.caveat("file-times-real", "", text)
        self._since = now - _TICK

    def _settled(self, path: str, entry: os.stat_result, now: int, ahead: int) -> None:
        # A file that still has the time given to it is left alone.
        given = self._real.get(path, (0, 0))[0] == entry.st_mtime_ns
        if self._since <= entry.st_mtime_ns <= now + _TICK and not given:
            self._put(path, entry, entry.st_mtime_ns + ahead)

    def _put(self, path: str, entry: os.stat_result, wanted: int) -> None:
        if wanted == entry.st_mtime_ns:
            # One less, to distinguish it from a later change within the same tick.
            wanted -= 1
        # The file may be gone by now, or belong to another user.
        with contextlib.suppress(OSError):
            os.utime(path, ns=(entry.st_atime_ns, wanted), follow_symlinks=False)
            self._real[path] = (wanted, entry.st_mtime_ns)

    def give_back(self) -> None:
        """Restore the real times at the end of the run, for programs that read the real clock."""
        for path, (given, real) in self._real.items():
            with contextlib.suppress(OSError):
                entry = os.lstat(path)
                if entry.st_mtime_ns == given:
                    os.utime(path, ns=(entry.st_atime_ns, real), follow_symlinks=False)
        self._real.clear()


class _TooMany(Exception):
    """There are too many files to examine."""


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
