"""Directories that survive a power loss, together with their parents."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.syncing import sync_directory

__all__ = ["make_directories", "paths_below"]


def make_directories(path: str | os.PathLike[str]) -> None:
    """Create a directory and its missing parents; all of them are durable when this returns.

    ``os.makedirs`` leaves the new names unsynced, so that a power loss may remove a directory together with
    the synced files in it. A directory that exists already is not an error. After a failure, the directories
    created so far stay, and are durable.

    Raises:
        FileExistsError: one of the names belongs to something other than a directory.
        OSError: as ``os.mkdir``, or when syncing fails.
    """
    wanted = Path(os.path.abspath(kinds.path("path", path)))
    missing = []
    while not wanted.is_dir():
        missing.append(wanted)
        wanted = wanted.parent
    # The deepest directory that exists may come from a run that was killed before it could sync. Those above
    # it were synced before it was created. If its parent is read-only, no run has created anything there.
    if os.access(wanted.parent, os.W_OK):
        with named_refusals("sync the directory", wanted.parent):
            sync_directory(wanted.parent)
    with named_refusals("make the directory", path):
        for one in reversed(missing):
            _make(one)


def paths_below(directory: Path) -> list[Path]:
    """Everything below a directory, sorted by path. Links are listed, but not followed.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        # A folder that was removed during the walk is no longer below the directory.
        if not isinstance(error, FileNotFoundError):
            raise error

    # Not rglob, which treats a folder that cannot be read as empty: up to CPython 3.12 when permission is
    # denied, since then after any error.
    found: list[Path] = []
    for folder, folders, files in os.walk(directory, onerror=refuse):
        found += (Path(folder, name) for name in (*folders, *files))
    return sorted(found)


def _make(path: Path) -> None:
    """Create one directory; its parent exists."""
    made = True
    try:
        os.mkdir(path)
    except OSError:
        # Another process was faster, or the call took effect and its answer was lost.
        if not path.is_dir():
            raise
        made = False
    try:
        sync_directory(path.parent)
    except OSError:
        # The sync is not repeated, since it would succeed without writing. Removed here, the directory is
        # created again by the next attempt, and that is a new change to sync.
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
