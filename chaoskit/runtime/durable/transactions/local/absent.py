"""Finds out if a name is really free: on a share it may vanish while the server replaces it (nfs(5)).

To take that for "nothing is there" would forget what was committed, or remove it as abandoned.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chaoskit.runtime.failures.taxonomy import StorageError

__all__ = ["check_absent", "is_directory"]


def check_absent(path: Path) -> None:
    """Return if the directory of ``path``, which was said not to be there, does not have its name either.

    Raises:
        StorageError: it has.
    """
    try:
        names = os.listdir(path.parent)
    except FileNotFoundError:
        if path.parent != path:
            check_absent(path.parent)
        return
    except OSError:
        return  # a directory that may be entered and not read: there is no telling
    if path.name in names:
        raise StorageError(
            f"{str(path)!r} is in its directory, and was said not to be there; expected it to be found."
            " Nothing was decided by that answer: try again.",
            context={"path": str(path)},
        )


def is_directory(path: Path) -> bool:
    """True if it is one; False if the name is really free.

    Raises:
        StorageError: as ``check_absent``.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        check_absent(path)
    except NotADirectoryError:
        pass  # a file stands where a directory above it would be
    return False
