"""Which files a backend may damage, and look into so that their damages can be enumerated."""

from __future__ import annotations

import os
import re
import stat

MOST = 1 << 20
"""Bytes of a file that is looked at: a larger one would be copied, and read, for each of its damages."""
MOST_IN_ALL = 32 << 20
"""Bytes that are kept for one run."""


def reads(flags: int) -> bool:
    """True if an open with these flags can read what the file held before."""
    writes_only = flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
    return not writes_only and not flags & os.O_TRUNC


def refusal(found: os.stat_result) -> str:
    """Why a file must not be damaged, or cannot be; empty for one that may."""
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return "it is no regular file with content"
    if found.st_size > MOST:
        return f"it has {found.st_size} bytes, and {MOST} is the most that are looked at"
    # A harness that damaged a file of the user's by way of a hard link would be worse than any finding.
    if found.st_nlink != 1:
        return f"it has {found.st_nlink} names, of which one may be outside of the directory"
    return ""


def locked_here(found: os.stat_result) -> bool:
    """True if this process holds a lock on the file, as Linux tells: elsewhere there is no such list.

    Closing any descriptor of a file gives up the locks that a process has on it (fcntl(2)).
    """
    try:
        with open("/proc/locks", "rb") as file:
            locks = file.read()
    except OSError:
        return False
    # By inode alone: on overlayfs and btrfs the device is not the one that stat(2) tells.
    held = re.compile(rf" {os.getpid()} [0-9a-f]+:[0-9a-f]+:{found.st_ino} ".encode())
    return held.search(locks) is not None
