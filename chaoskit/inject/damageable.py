"""Which files a backend may damage, and read so that their damages can be enumerated."""

from __future__ import annotations

import os
import re
import stat

MOST = 1 << 20
"""The largest file to read, in bytes: a larger one would be copied and read for each of its damages."""
MOST_IN_ALL = 32 << 20
"""The most bytes kept for one run."""


def reads(flags: int) -> bool:
    """True if an open with these flags can read what the file held before."""
    writes_only = flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
    return not writes_only and not flags & os.O_TRUNC


def refusal(found: os.stat_result) -> str:
    """Why a file must not or cannot be damaged; empty if it may be."""
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return "it is not a regular file with content"
    if found.st_size > MOST:
        return f"it has {found.st_size} bytes, and {MOST} is the most that are looked at"
    # Damaging a file of the user's through a hard link would be worse than any finding.
    if found.st_nlink != 1:
        return f"it has {found.st_nlink} names, of which one may be outside the directory"
    return ""


def locked_here(found: os.stat_result) -> bool:
    """True if this process holds a lock on the file, by Linux's list of locks; False on other systems.

    Closing any descriptor of a file releases the locks that a process has on it (fcntl(2)).
    """
    try:
        with open("/proc/locks", "rb") as file:
            locks = file.read()
    except OSError:
        return False
    # By inode alone: on overlayfs and btrfs the device differs from that of stat(2).
    held = re.compile(rf" {os.getpid()} [0-9a-f]+:[0-9a-f]+:{found.st_ino} ".encode())
    return held.search(locks) is not None
