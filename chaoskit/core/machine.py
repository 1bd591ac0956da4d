"""What several parts need to know about the machine: processors, file systems, writable places."""

from __future__ import annotations

import os
from pathlib import Path

from chaoskit.core.errors import wrong


def usable_processors() -> int:
    """How many processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        # A container or taskset often grants fewer than the machine has.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""
SMALL = 256 << 20
"""Bytes below which a sweep may fill the real disk: captured data is spilled to files, and several workers
run at the same time, though the directory of each case is removed at once."""


def memory() -> Path | None:
    """A directory in memory that is writable and has room; None if there is none.

    A case that syncs is many times faster there, and nothing it writes has to survive.
    """
    try:
        room = os.statvfs(MEMORY)
    except (AttributeError, OSError):
        return None
    # Not f_bfree: some blocks are reserved for root. Docker gives 64 MiB in all, and some sandboxes none.
    enough = room.f_bavail * room.f_frsize >= SMALL
    return MEMORY if enough and os.access(MEMORY, os.W_OK | os.X_OK) else None


def filesystem_of(place: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds ``place``, as the mount table calls it; empty if unknown."""
    try:
        rows = [line.split(" ") for line in mounts.read_text("utf-8", "surrogateescape").splitlines()]
    except OSError:
        return ""
    wanted = os.path.realpath(place)
    best, kind = -1, ""
    for row in rows:
        # Blanks in a mount point are written as \040 (fstab(5)).
        point = row[1].replace("\\040", " ")
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one is on top.
        if inside and len(point) >= best:
            best, kind = len(point), row[2]
    return kind


def check_place(option: str, directory: Path) -> None:
    """Check that a report can be written into ``directory`` later; create nothing yet.

    Call it before the cases run: they may take an hour, and their results must not be lost.

    Raises:
        UsageError: naming ``option`` and the part of the path that stands in the way.
    """
    nearest = next(path for path in (directory, *directory.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        what = "is a file" if nearest.exists() else "is a symbolic link to nothing"
        hint = f"{nearest} {what}: name another place, or remove it."
    elif not os.access(nearest, os.W_OK | os.X_OK):
        hint = f"{nearest} may not be written by this user: name another place, or change its permissions."
    else:
        return
    raise wrong(option, str(directory), "a directory that is there or can be made", hint)
