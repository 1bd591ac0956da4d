"""The directory of a run, and the directories left by runs that were killed together with their guards.

A run holds a lock on its directory, which ends with its last process in any case. So the next run knows which
directories have no run any more, and removes them.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator

from chaoskit.inject import answered, private, processes, removal

if sys.platform != "win32":
    import fcntl

_PREFIX = "chaoskit-"
_NAME = re.compile(_PREFIX + "[a-z0-9_]{8}")
"""A name as :func:`tempfile.mkdtemp` makes it."""


_swept: set[str] = set()
"""The parents that this process has swept already."""


class RunDirectory:
    """A fresh directory below ``parent``; removes whatever dead runs have left beside it."""

    def __init__(self, parent: str) -> None:
        # Once is enough: a run that dies later is left to the next run. Windows has no such locks, so nothing
        # shows which runs are dead.
        if sys.platform != "win32" and parent not in _swept:
            _swept.add(parent)
            with contextlib.suppress(OSError):
                _sweep(parent)
        self.path, self._lock = _made(parent)
        if self._lock >= 0:
            # Hidden from workloads, which could release it.
            private.withhold(self._lock)

    def close(self) -> None:
        """Remove the directory."""
        removal.remove(self.path)
        if self._lock >= 0:
            private.give_back(self._lock)
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """An empty directory for a trial. If the process is killed the next run removes it."""
    run = RunDirectory(tempfile.gettempdir())
    try:
        # One level below, where the program under test does not see the mark.
        place = os.path.join(run.path, "scratch")
        os.mkdir(place, 0o700)
        yield place
    finally:
        run.close()


def _made(parent: str) -> tuple[str, int]:
    """A fresh directory with a mark, and the descriptor that holds its lock."""
    while True:
        # realpath: backends compare the paths of system calls, in which no link is left.
        path = os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _locked(path, wait=True)
        try:
            # Only now: directories without a mark are not cleared, and those with one are locked.
            mark = os.open(os.path.join(path, removal.MARK), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileNotFoundError:
            # Another run removed it, taking it for that of a run that was killed at just this point.
            if lock >= 0:
                os.close(lock)
            continue
        os.write(mark, answered.ourselves().encode())
        os.close(mark)
        return path, lock


def _sweep(parent: str) -> None:
    """Remove the directories of this user's dead runs, and end what those runs left running."""
    for entry in os.scandir(parent):
        if not entry.name.startswith(_PREFIX):
            continue
        if not _is_marked(entry.path):
            _remove_unmarked(entry)
            continue
        lock = _locked_when_dead(entry.path)
        if lock >= 0:
            _clear(entry.path)
            os.close(lock)


def _locked_when_dead(path: str) -> int:
    """The lock on a directory; waits while the last processes of a dead run are being ended."""
    deadline = time.monotonic() + processes.PATIENCE
    while (lock := _locked(path, wait=False)) < 0:
        with contextlib.suppress(OSError), open(os.path.join(path, removal.MARK)) as mark:
            if answered.is_gone(mark.read(256)) and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
        break
    return lock


def _clear(path: str) -> None:
    """End what a dead run has left running, and remove its directory."""
    deadline = time.monotonic() + processes.PATIENCE
    while os.path.lexists(path):
        # No guard is left to do it.
        processes.kill_tree(*answered.survivors(path))
        removal.remove(path)
        # A process that is being ended may have made a file meanwhile.
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)


def _remove_unmarked(entry: os.DirEntry[str]) -> None:
    """Remove an empty directory without a mark, from a run that was killed before it made one."""
    with contextlib.suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        private_one = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
        if _NAME.fullmatch(entry.name) and private_one:
            # The system refuses if there is anything in it.
            os.rmdir(entry.path)


def _is_marked(path: str) -> bool:
    """Return True for a directory of this user made by a run; False for a link."""
    try:
        found = os.lstat(path)
        mark = os.lstat(os.path.join(path, removal.MARK))
    except OSError:
        return False
    ours = found.st_uid == mark.st_uid == os.geteuid()
    return ours and stat.S_ISDIR(found.st_mode) and stat.S_ISREG(mark.st_mode)


def _locked(path: str, *, wait: bool) -> int:
    """A descriptor that holds a lock on a directory; -1 if another process has it, or without locks."""
    if sys.platform == "win32":
        return -1
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if fd >= 0:
            os.close(fd)
        return -1
    return fd
