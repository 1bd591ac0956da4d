"""Checks that a name is really free: on a network share it may vanish while the server replaces it (nfs(5)).

Treating that as "nothing is there" would forget a committed transaction, or remove it as abandoned.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chaoskit.runtime.failures.taxonomy import StorageError

__all__ = ["check_absent", "is_directory"]


def check_absent(path: Path) -> None:
    """Check that a path that was not found is not listed in its directory either.

    Raises:
        StorageError: the path is listed.
    """
    try:
        names = os.listdir(path.parent)
    except FileNotFoundError:
        if path.parent != path:
            check_absent(path.parent)
        return
    except OSError:
        return  # The directory may be entered but not listed, so the answer cannot be checked.
    if path.name in names:
        raise StorageError(
            f"{str(path)!r} is in its directory, and was said not to be there; expected it to be found."
            " Nothing was decided by that answer: try again.",
            context={"path": str(path)},
        )


def is_directory(path: Path) -> bool:
    """True if the path is a directory; False if its name is really free.

    Raises:
        StorageError: as ``check_absent``.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        check_absent(path)
    except NotADirectoryError:
        pass  # A file has the name of a directory above it.
    return False
