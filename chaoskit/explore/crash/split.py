"""From a trace to a script: each operation split into steps, with what it made durable."""

from __future__ import annotations

import errno
from dataclasses import replace

from chaoskit.core.operation import Operation, Trace
from chaoskit.explore.crash.calls import CHANGES, rename
from chaoskit.explore.crash.snapshot import Inode, Snapshot
from chaoskit.explore.crash.steps import Effect, Script, Sync, Witnessed
from chaoskit.explore.crash.tree import FileTree
from chaoskit.faults.calls import FAMILIES

_MS_SYNC = 4
"""From sys/mman.h; with MS_ASYNC alone msync(2) promises nothing."""

_SYNCS = frozenset(("fsync", "fdatasync", "msync", "sync", "syncfs"))
"""sync_file_range is followed as documented: it promises nothing about metadata and does not empty
the disk's cache (sync_file_range(2), "Warning"), so nothing is durable after it."""

_WRITES = frozenset(("write", "copy_file_range", "sendfile", "splice"))
"""The calls that O_SYNC and O_DSYNC concern (open(2), "Synchronized I/O"): those that end in
generic_write_sync of include/linux/fs.h. Changes of size, blocks and modes through such a descriptor were not
durable on mounted file systems; xfs alone forces its log in fallocate (xfs_file_fallocate)."""

_LOST_DATA = frozenset((errno.EIO, errno.ENOSPC, errno.EDQUOT))
"""The errors that report unwritten data when fsync fails; others (EBADF, EINTR) change nothing."""


def script(trace: Trace, snapshot: Snapshot, umask: int | None = None) -> Script:
    """Split the operations of ``trace``, which began at ``snapshot``, into steps.

    Operations that failed have no steps; short writes have those for what was written. ``umask`` is used if
    the trace does not say which mode a new file got; it defaults to that of this process.
    """
    # The current umask: a trace that a backend recorded has the modes themselves.
    splitter = Splitter(trace, snapshot, umask_now() if umask is None else umask)
    for operation in trace:
        splitter.play(operation)
    return splitter.script()


def umask_now() -> int:
    """The umask of this process; 022, the usual one, if /proc does not say."""
    # Not os.umask(), which must set the mask to read it, while other threads may create files.
    try:
        with open("/proc/self/status") as status:
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), 0o022)
    except OSError:
        return 0o022


def mapped_part(operation: Operation) -> range | None:
    """The bytes of its file that an ``msync`` writes; None for other calls, and if unknown."""
    detail = operation.file
    if operation.call != "msync" or detail.offset is None or not detail.length:
        return None
    return range(detail.offset, detail.offset + detail.length)


class Splitter:
    """Plays a trace on a tree, operation by operation, and collects the effects."""

    def __init__(self, trace: Trace, snapshot: Snapshot, umask: int) -> None:
        self.trace = trace
        self.tree = FileTree(snapshot, umask)
        self.effects: list[Effect] = []
        self.promised: list[object] = []

    def play(
        self, operation: Operation, outside: tuple[Effect, ...] = (), learned: int | None = None
    ) -> None:
        """Let ``operation`` take effect; ``learned`` is the first of the steps discovered just before it."""
        tree = self.tree
        tree.begin(operation)
        begin = len(tree.steps)
        sync = closed = flushed = None
        # An unknown result counts as success: the steps are then optional.
        if operation.result is None or operation.result >= 0:
            if operation.call == "close":
                closed = self._early(tree.file(operation)) if operation.file.released else None
            elif operation.call == "rename":
                flushed = self._early(rename(tree, operation))
            elif operation.call == "promise":
                self.promised.append(operation.promised)
            elif FAMILIES[operation.call].witnessed:
                self.promised.append(Witnessed(str(operation)))
            elif operation.call in _SYNCS:
                sync = self._synced(operation)
            elif operation.call in CHANGES:
                CHANGES[operation.call](tree, operation)
        elif operation.call in ("fsync", "fdatasync") and -operation.result in _LOST_DATA:
            sync = Sync(tree.acted_on(operation), failed=True)
        last = len(tree.steps)
        written = operation.call in _WRITES and operation.file.synchronous
        if written and sync is None and last > begin:
            sync = Sync(tree.steps[begin].owner, data_only=True, only=range(begin, last))
        # A call that may not have happened makes nothing durable for certain.
        if sync is not None and operation.result is None:
            sync = None
        # Steps discovered of earlier calls belong to this effect: no state before it could show them.
        first = begin if learned is None else learned
        promises = len(self.promised)
        self.effects.append(Effect(operation.index, first, last, sync, closed, flushed, promises, outside))

    def script(self) -> Script:
        """The script of what was played so far."""
        return Script(
            self.trace,
            self._snapshot(),
            tuple(self.tree.nodes),
            tuple(self.tree.steps),
            tuple(self.effects),
            tuple(self.promised),
            tuple(self.tree.caveats),
        )

    def _snapshot(self) -> Snapshot:
        """The initial snapshot, plus the content of directories that arrived later: no step put it there."""
        snapshot, brought = self.tree.snapshot, self.tree.brought
        return replace(snapshot, entries={**snapshot.entries, **brought}) if brought else snapshot

    def _early(self, inode: Inode | None) -> Inode | None:
        """``inode`` if ext4 writes its data out on its own when it is closed or renamed.

        ext4 looks for delayed blocks first: ext4_alloc_da_blocks in fs/ext4/inode.c returns at once if none
        are reserved. There may be some beside those of fallocate, which is not followed.
        """
        return None if inode in self.tree.preallocated else inode

    def _synced(self, operation: Operation) -> Sync | None:
        if operation.call in ("sync", "syncfs"):
            # syncfs syncs one file system; assume that the scenario's directory is on it.
            return Sync()
        inode = self.tree.acted_on(operation)
        if inode is None or (operation.call == "msync" and not operation.file.flags & _MS_SYNC):
            return None
        return Sync(inode, data_only=operation.call != "fsync", within=mapped_part(operation))
