"""What a workload writes outside the scenario's directory, and whether it is synced.

Files are often made in another directory and moved in when they are complete: ``tempfile`` and
``shutil.move`` are the commonest way to replace a file in Python. Calls there are not operations, and nothing
strikes them; but unsynced data is no safer for having been moved.
"""

from __future__ import annotations

import os
import stat

from chaoskit.faults.calls import CallFamily
from chaoskit.inject import processes


class Elsewhere:
    """The files outside that a test wrote and did not sync, by their present names.

    ``unsynced`` has those of earlier runs, and is updated. Without ``heeds`` nothing is noted: only a
    recording needs it.
    """

    def __init__(self, unsynced: set[str], heeds: bool) -> None:
        self._heeds = heeds
        self._unsynced = unsynced

    def called(self, row: CallFamily, link: str, tid: int, fd: int) -> None:
        """Note a call of a family on descriptor ``fd`` of thread ``tid``, which refers to ``link``."""
        # Pipes and sockets have no names that begin so.
        if not self._heeds or not link.startswith(os.sep):
            return
        if row.syncs == "file":
            self._unsynced.discard(link)
            return
        writes = row.dirties or row.copies or row.unseen
        # The kind of file is checked last, since it costs two more calls.
        if writes and link not in self._unsynced and _is_written_later(tid, fd):
            self._unsynced.add(link)

    def all_synced(self) -> None:
        """Everything is on the disk: sync(2)."""
        self._unsynced.clear()

    def renamed(self, source: str, target: str) -> None:
        """Note a rename outside the root."""
        self._unsynced.discard(target)
        below = source + os.sep
        for name in [name for name in self._unsynced if name == source or name.startswith(below)]:
            self._unsynced.remove(name)
            self._unsynced.add(target + name[len(source) :])

    def unsynced(self, path: str) -> bool:
        """True if the workload wrote this file, and the data may not be on the disk."""
        return path in self._unsynced


def _is_written_later(tid: int, fd: int) -> bool:
    """True if data written to the descriptor need not be on the disk when the call returns.

    With O_SYNC and O_DSYNC it is there by then, and a device is not a file.
    """
    try:
        if not stat.S_ISREG(os.stat(f"/proc/{tid}/fd/{fd}").st_mode):
            return False
    except OSError:
        return False
    for line in processes.read(f"/proc/{tid}/fdinfo/{fd}").splitlines():
        if line.startswith(b"flags:"):
            return not int(line.split()[1], 8) & os.O_DSYNC
    return True
