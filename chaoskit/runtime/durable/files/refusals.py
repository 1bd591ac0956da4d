"""The file system's errors, raised as the classes of the taxonomy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from chaoskit.runtime.failures.taxonomy import DiskFull, QuotaExceeded, ReadOnlyFilesystem, StaleHandle

__all__ = ["named_refusals"]

# Only errors for which Python has no class: code can go on catching FileNotFoundError and PermissionError.
# By name, since Windows lacks two of the numbers.
_NAMES = {
    getattr(errno, name): cls
    for name, cls in (
        ("ENOSPC", DiskFull),
        ("EDQUOT", QuotaExceeded),
        ("EROFS", ReadOnlyFilesystem),
        ("ESTALE", StaleHandle),
    )
    if hasattr(errno, name)
}


@contextlib.contextmanager
def named_refusals(doing: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise an OSError of the block as DiskFull, QuotaExceeded and so on if its number says so.

    These are OSErrors too, with the same ``errno``. Other errors pass unchanged. ``doing`` completes
    "could not …".
    """
    try:
        yield
    except OSError as error:
        known = _NAMES.get(error.errno or 0)
        if known is None or isinstance(error, known):
            raise
        name = os.fspath(path)
        text = f"could not {doing} {name!r}: {error.strerror}"
        raise known(text, errno=error.errno, filename=name) from error
