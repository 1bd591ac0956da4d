"""Run folders: one directory for each run, marked on disk when it has failed, and then left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.files.flag import Flag, FlagInfo
from chaoskit.runtime.durable.recorded import record_error

__all__ = ["FlaggedRun", "RunFolders"]


@dataclass(frozen=True, slots=True)
class FlaggedRun:
    """One run that has failed, and what its flag says."""

    path: Path
    why: FlagInfo


class RunFolders:
    """The directories below ``root``; one that has the file ``flag`` is left alone until it is cleared.

    The flag is written whole and survives a power loss. One that cannot be read counts as set: a run that
    failed is not done again for a bad sector.

    Raises:
        UsageError: ``flag`` is not a name within a folder.
    """

    def __init__(self, root: str | os.PathLike[str], *, flag: str = "errorprocessing") -> None:
        if not isinstance(flag, str) or not _is_name(flag):
            raise wrong("flag", flag, "the name of a file within each folder")
        self._root, self._flag = Path(os.path.abspath(root)), flag

    def due(self) -> Iterator[Path]:
        """The runs that are not marked, by name.

        Raises:
            OSError: the root cannot be read; nothing is known of its runs then.
        """
        yield from (path for path in self._all() if self._why(path) is None and path.is_dir())

    def flagged(self) -> Iterator[FlaggedRun]:
        """The runs that are, by name, with the reason.

        Raises:
            OSError: the root cannot be read.
        """
        for path in self._all():
            why = self._why(path)
            if why is not None:
                yield FlaggedRun(path, why)

    def fail(self, name: str, error: BaseException, /, **details: str) -> None:
        """Mark the run as failed with ``error``, durably.

        Raises:
            UsageError: there is no such run, or a detail that is not JSON or is named as what is kept of the
                error: ``chain`` and ``traceback``.
            DiskFull, OSError: it is not marked.
        """
        told = record_error(error)
        kept = {"chain": told["chain"], "traceback": told["traceback"]}
        if taken := sorted(kept.keys() & details):
            raise wrong("the details", taken, "other names", "These two are kept of the error itself.")
        Flag(self._of(name) / self._flag).set(f"{told['type']}: {told['message']}", **kept, **details)

    def clear(self, name: str) -> bool:
        """Have the run looked at again; False if it was not marked.

        Raises:
            UsageError: there is no such run.
            OSError: it is still marked.
        """
        return Flag(self._of(name) / self._flag).clear()

    def why(self, name: str) -> FlagInfo | None:
        """Why the run is marked; None if it is not. Raises UsageError if there is no such run."""
        return self._why(self._of(name))

    def _why(self, folder: Path) -> FlagInfo | None:
        try:
            return Flag(folder / self._flag).read()
        except OSError as error:
            return FlagInfo(f"the flag cannot be looked at: {error}", damaged=True)

    def _all(self) -> list[Path]:
        # Links are not followed: one that leads out of the root is none of its runs.
        with os.scandir(self._root) as found:
            runs = (one for one in found if one.is_dir(follow_symlinks=False))
            return sorted(Path(one.path) for one in runs if not one.name.startswith("."))

    def _of(self, name: str) -> Path:
        path = self._root / name if _is_name(name) else None
        # A link is none of the runs that are listed, and what it leads to may be another's.
        if path is None or path.is_symlink() or not path.is_dir():
            raise UsageError(
                f"there is no run {name!r} in {str(self._root)!r}; expected the name of a directory there."
            )
        return path


def _is_name(text: str) -> bool:
    """True if ``text`` names something within a directory, and not above it or elsewhere."""
    # By hand: to pathlib ".." is a name.
    return text not in ("", ".", "..") and Path(text).name == text and "\0" not in text
