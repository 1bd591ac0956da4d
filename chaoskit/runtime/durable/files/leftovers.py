"""Cleaning up after those who died while they were writing."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from chaoskit.runtime.durable.files.marking import is_marked
from chaoskit.runtime.durable.files.names import Unfinished, parse, unfinished_name
from chaoskit.runtime.durable.files.swapping import remove_tree, restore
from chaoskit.runtime.durable.files.syncing import sync_directory
from chaoskit.runtime.durable.owners import lives

__all__ = ["clean_leftovers"]


def clean_leftovers(directory: str | os.PathLike[str], *, older_than: float = 0.0) -> list[Path]:
    """Remove what dead processes have left unfinished in a directory; the paths that are gone.

    Only what has a name that this package makes, whose owner is dead (by its process number and start, or
    across containers and machines by a lock that the kernel takes away), and which was last changed more
    than ``older_than`` seconds ago. Directories below are not looked into. A directory that was moved out
    of the way by a replacement that did not end is put back under its name, and is not in the list.

    What cannot be removed stays, and is not in the list; another call may succeed. Several processes may
    clean the same directory at once.

    Raises:
        OSError: the directory cannot be read.
    """
    with os.scandir(directory) as entries:
        found = sorted((Path(entry.path) for entry in entries), key=lambda path: path.name)
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
    """Remove one; False if it could not be, or if another process was quicker."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return True
        # The name is taken over first: of two cleaners one gets it. The directory is thereby changed and
        # synced: were its content removed before its last exchange is durable, a power loss would bring
        # it back, empty, under the name of the target.
        mine = unfinished_name(path.with_name(known.target if (known := parse(path.name)) else path.name))
        os.rename(path, mine)
        sync_directory(path.parent)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        return remove_tree(mine)
    return False
