"""The error for a directory tree that is too deep to be read or written by paths."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from chaoskit.core.errors import UsageError


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """A block that goes through a tree by paths, one call for each level.

    A program may build a tree that is deeper than that, relative to its open directories. To follow it there,
    snapshots and crash states would need an open descriptor for each level, so such a tree is refused.

    Raises:
        UsageError: for a path that the kernel calls too long, and for more levels than Python can recurse.
    """
    try:
        yield
    except RecursionError:
        raise _too_deep("it has hundreds of levels") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise _too_deep("a path has more than 4,095 bytes") from None


def _too_deep(why: str) -> UsageError:
    return UsageError(
        f"the tree below the scenario's directory is too deep to be copied and compared: {why}; expected "
        "paths of at most 4,095 bytes and at most 400 levels. Use fewer levels or shorter names in the "
        "scenario."
    )
