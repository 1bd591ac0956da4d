"""Two renames that Python does not offer: exchange two names, and rename only to a free name.

Linux has them as ``renameat2`` (rename(2)), macOS as ``renamex_np``. Not every file system supports them: on
one that does not they raise ``Unsupported`` and change nothing.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["Identity", "Unsupported", "exchange", "identity", "rename", "rename_to_free_name"]

Identity = tuple[int, int]
"""Device and inode, which a file keeps when it is renamed."""

_AT_FDCWD = -100
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


class Unsupported(Exception):
    """The system or the file system does not offer this rename; nothing was changed."""


def identity(path: str | os.PathLike[str]) -> Identity | None:
    """The file that a name stands for, without following links; None if it cannot be looked up."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def rename(source: Path, target: Path) -> None:
    """As ``os.replace``, but succeed if only the answer was lost, which can happen on a network share.

    Raises:
        OSError: the names are as they were.
    """
    before = identity(source)
    try:
        os.replace(source, target)
    except OSError:
        if before is None or identity(target) != before:
            raise


def exchange(one: Path, other: Path) -> None:
    """Exchange two names in one step; both exist at every moment.

    Raises:
        Unsupported: the caller has to use another way.
        OSError: as rename(2).
    """
    # RENAME_EXCHANGE in linux/fs.h, RENAME_SWAP in sys/stdio.h.
    _rename(one, other, linux_flag=2, macos_flag=2)


def rename_to_free_name(source: Path, target: Path) -> None:
    """Rename, but never replace anything.

    Raises:
        FileExistsError: the name is taken; an empty directory counts too.
        Unsupported: the caller has to use another way.
        OSError: as rename(2).
    """
    # RENAME_NOREPLACE in linux/fs.h, RENAME_EXCL in sys/stdio.h.
    _rename(source, target, linux_flag=1, macos_flag=4)


def _rename(source: Path, target: Path, *, linux_flag: int, macos_flag: int) -> None:
    call = _system_call()
    if call is None:
        raise Unsupported
    before = identity(source)
    number = call(os.fsencode(source), os.fsencode(target), linux_flag, macos_flag)
    # A share may lose the answer to a call that took effect. Then the target's name stands for the source.
    if number == 0 or (before is not None and identity(target) == before):
        return
    if number in _CANNOT:
        raise Unsupported
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@functools.cache
def _system_call() -> Callable[[bytes, bytes, int, int], int] | None:
    """A function that returns 0 or the error number; None where the C library has no such call."""
    if sys.platform == "win32":
        return None
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        function = getattr(library, "renamex_np", None)
    else:
        function = getattr(library, "renameat2", None)
    if function is None:
        return None

    def call(source: bytes, target: bytes, linux_flag: int, macos_flag: int) -> int:
        if sys.platform == "darwin":
            failed = function(source, target, ctypes.c_uint(macos_flag))
        else:
            failed = function(_AT_FDCWD, source, _AT_FDCWD, target, ctypes.c_uint(linux_flag))
        return ctypes.get_errno() if failed else 0

    return call
