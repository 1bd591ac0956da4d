"""Cleaning up after processes that died while they were writing."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.marking import is_marked
from chaoskit.runtime.durable.files.names import Unfinished, parse, unfinished_name
from chaoskit.runtime.durable.files.swapping import remove_tree, restore
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.durable.owners import lives
from chaoskit.runtime.numbers import is_number

__all__ = ["clean_leftovers"]


def clean_leftovers(directory: str | os.PathLike[str], *, older_than: float = 0.0) -> list[Path]:
    """Remove unfinished files and directories that dead processes left behind; return the paths removed.

    A path is removed only if its name is one that this package gives, its owner is dead, and its last change
    was more than ``older_than`` seconds ago. An owner is looked up by its process number and start time; if
    it was in another container or on another machine, a lock decides, which the kernel releases when a
    process dies. Subdirectories are not searched. A directory that an interrupted replacement moved out of
    the way gets its name back, and is not in the list.

    A path that cannot be removed stays, and is not in the list; another call may succeed. Several processes
    may clean the same directory at once.

    Raises:
        OSError: the directory cannot be read.
    """
    kinds.path("directory", directory)
    if not (is_number(older_than) and older_than >= 0):
        raise wrong("older_than", older_than, "seconds, at least 0")
    with os.scandir(directory) as entries:
        found = sorted((Path(entry.path) for entry in entries), key=lambda path: path.name)
    # A tree that a link points to is in use, even if the process that made it is dead.
    in_use = {os.readlink(path) for path in found if path.is_symlink()}
    gone = []
    for path in found:
        known = parse(path.name)
        if known is None or path.name in in_use or not _abandoned(path, known, older_than):
            continue
        if known.kind == "old" and restore(path, path.with_name(known.target)):
            sync_directory(path.parent)
        elif _removed(path):
            gone.append(path)
    return gone


def _abandoned(path: Path, known: Unfinished, older_than: float) -> bool:
    alive = lives(known.owner)
    if alive or (alive is None and is_marked(path)):
        return False
    try:
        return older_than <= 0 or time.time() - path.lstat().st_mtime > older_than
    except OSError:
        return False


def _removed(path: Path) -> bool:
    """Remove one path; return False if that failed, or if another process was faster."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return True
        # Renamed first, so that only one of two cleaners gets it. The rename also changes the parent, which
        # is then synced: were the content removed before the exchange that put this directory here is
        # durable, a power loss would bring the directory back, empty, under the target's name.
        mine = unfinished_name(path.with_name(known.target if (known := parse(path.name)) else path.name))
        os.rename(path, mine)
        sync_directory(path.parent)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        return remove_tree(mine)
    return False
