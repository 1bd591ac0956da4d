"""Run folders: a directory for each run, which gets a flag when it fails and is then left alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.flag import Flag, FlagInfo
from chaoskit.runtime.durable.recorded import record_error

__all__ = ["FlaggedRun", "RunFolders"]


@dataclass(frozen=True, slots=True)
class FlaggedRun:
    """A run that has failed, and the content of its flag."""

    path: Path
    why: FlagInfo


class RunFolders:
    """The directories below ``root``; one with the file ``flag`` is left alone until the flag is cleared.

    The flag is written atomically and survives a power loss. An unreadable flag counts as set: a failed run
    must not be repeated because of a bad sector.

    Raises:
        UsageError: ``flag`` is not the name of a file in a folder.
    """

    def __init__(self, root: str | os.PathLike[str], *, flag: str = "errorprocessing") -> None:
        if not isinstance(flag, str) or not _is_name(flag):
            raise wrong("flag", flag, "the name of a file within each folder")
        kinds.instance("root", root, str, os.PathLike)
        self._root, self._flag = Path(os.path.abspath(root)), flag

    def due(self) -> Iterator[Path]:
        """The runs without a flag, sorted by name.

        Raises:
            OSError: the root cannot be read, so its runs are unknown; or one without a flag cannot be.
        """
        yield from (path for path in self._all() if self._why(path) is None and _is_run(path))

    def flagged(self) -> Iterator[FlaggedRun]:
        """The runs with a flag, sorted by name, and their reasons.

        Raises:
            OSError: the root cannot be read.
        """
        for path in self._all():
            why = self._why(path)
            if why is not None:
                yield FlaggedRun(path, why)

    def fail(self, name: str, error: BaseException, /, **details: str) -> None:
        """Flag the run as failed with ``error``, durably.

        Raises:
            UsageError: there is no such run, or a detail is not JSON or has one of the names ``chain`` and
                ``traceback``, which are reserved for the error.
            DiskFull, OSError: the flag was not set.
        """
        told = record_error(error)
        kept = {"chain": told["chain"], "traceback": told["traceback"]}
        if taken := sorted(kept.keys() & details):
            hint = "The names chain and traceback are reserved for the error itself."
            raise wrong("the details", taken, "other names", hint)
        Flag(self._of(name) / self._flag).set(f"{told['type']}: {told['message']}", **kept, **details)

    def clear(self, name: str) -> bool:
        """Remove the flag, so that the run is due again; return False if there was none.

        Raises:
            UsageError: there is no such run.
            OSError: the flag is still set.
        """
        return Flag(self._of(name) / self._flag).clear()

    def why(self, name: str) -> FlagInfo | None:
        """Why the run has a flag; None if it has none. Raises UsageError if there is no such run."""
        return self._why(self._of(name))

    def _why(self, folder: Path) -> FlagInfo | None:
        try:
            return Flag(folder / self._flag).read()
        except OSError as error:
            return FlagInfo(f"the flag cannot be looked at: {error}", damaged=True)

    def _all(self) -> list[Path]:
        # Links are not followed: one that leads out of the root is not a run of this root.
        with os.scandir(self._root) as found:
            runs = (one for one in found if one.is_dir(follow_symlinks=False))
            return sorted(Path(one.path) for one in runs if not one.name.startswith("."))

    def _of(self, name: str) -> Path:
        path = self._root / name if _is_name(name) else None
        if path is None or not _is_run(path):
            raise UsageError(
                f"there is no run {name!r} in {str(self._root)!r}; expected the name of a directory there."
            )
        return path


def _is_run(path: Path) -> bool:
    """Return True if ``path`` is a directory. Raises OSError if that cannot be found out."""
    # Not Path.is_dir(): from Python 3.14 on it answers False where the disk has failed. And links are no
    # runs: their target may belong to something else.
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        raise


def _is_name(text: str) -> bool:
    """Return True if ``text`` names an entry of a directory, and nothing above it or elsewhere."""
    # "." and ".." are excluded by hand: pathlib takes ".." for a name.
    return text not in ("", ".", "..") and Path(text).name == text and "\0" not in text
