"""Directories that are there after a power loss, with all above them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chaoskit.runtime.durable.files.refusals import named_refusals
from chaoskit.runtime.durable.files.syncing import sync_directory

__all__ = ["make_directories", "paths_below"]


def make_directories(path: str | os.PathLike[str]) -> None:
    """Make a directory and those above it that are missing; all are durable when this returns.

    ``os.makedirs`` leaves the new names unsynced, so that a power loss may take a directory together with
    the synced files in it. One that is there already is not an error. A failure leaves what was made before
    it, which is durable.

    Raises:
        FileExistsError: one of the names belongs to something other than a directory.
        OSError: as ``os.mkdir``, or when syncing fails.
    """
    wanted = Path(os.path.abspath(path))
    missing = []
    while not wanted.is_dir():
        missing.append(wanted)
        wanted = wanted.parent
    # The deepest one that exists may be of a run that was killed before it could sync; those above it had
    # been synced before it was made. Where nothing can be written, nothing was.
    if os.access(wanted.parent, os.W_OK):
        with named_refusals("sync the directory", wanted.parent):
            sync_directory(wanted.parent)
    with named_refusals("make the directory", path):
        for one in reversed(missing):
            _make(one)


def paths_below(directory: Path) -> list[Path]:
    """All that is below a directory, in the order of names. Links are listed, and not followed.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        # One that is gone by now is not below it any more.
        if not isinstance(error, FileNotFoundError):
            raise error

    # Not rglob: it takes a folder that cannot be read for an empty one. Until CPython 3.12 that is so where
    # permission is missing, since then after any error.
    found: list[Path] = []
    for folder, folders, files in os.walk(directory, onerror=refuse):
        found += (Path(folder, name) for name in (*folders, *files))
    return sorted(found)


def _make(path: Path) -> None:
    """Make one directory in one that exists."""
    made = True
    try:
        os.mkdir(path)
    except OSError:
        # Another process was quicker, or the answer to a call that took effect was lost.
        if not path.is_dir():
            raise
        made = False
    try:
        sync_directory(path.parent)
    except OSError:
        # Syncing again would succeed without doing anything; making it again is a new change.
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
