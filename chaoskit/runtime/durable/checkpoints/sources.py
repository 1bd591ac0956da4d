"""The files that a step reads and writes, identified by checksum.

A file whose size, times and inode are unchanged counts as unchanged, unless the caller wants it read. A file
that was written less than two seconds before it was read is always read again: a second write within one tick
of the file system's clock leaves the times as they are.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.files.directories import paths_below
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.files.syncing import sync_directory, sync_file
from chaoskit.runtime.durable.store.files import typed_errors
from chaoskit.runtime.failures.taxonomy import CheckpointError, FileMissing

__all__ = ["Artefact", "Checksum", "Fingerprint", "Outputs", "Source", "fingerprint_of", "is_same"]

PIECE = 1 << 20
"""Bytes per read."""
ENDS = ("", "-wal", "-shm", ".lock", ".reserve")
"""What follows the store's name in the names of its files."""
TICK = 2_000_000_000
"""Nanoseconds of the coarsest file system clock, FAT's."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """The identity of an input other than a file: ``Checksum("sha256:9f86d0…")``, or any ``NAME:TEXT``.

    Raises:
        UsageError: the text has another form.
    """

    text: str

    def __post_init__(self) -> None:
        name, colon, rest = kinds.text("checksum", self.text).partition(":")
        if not (name and colon and rest):
            raise wrong("checksum", self.text, "NAME:TEXT, such as 'sha256:9f86d0…'")


Source = str | os.PathLike[str] | Checksum


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of an input. For a file, size and stamp show without reading it that it is unchanged."""

    checksum: str
    path: str | None = None
    size: int = 0
    stamp: tuple[int, ...] = ()
    """Modification time and change time in nanoseconds, and inode; empty if they prove nothing."""

    def __post_init__(self) -> None:
        # JSON returns it as a list.
        object.__setattr__(self, "stamp", tuple(self.stamp))

    def to_value(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {**asdict(self), "stamp": list(self.stamp)}


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file or directory that a step made. ``path`` is relative to the base directory, or absolute."""

    path: str
    size: int
    checksum: str


def fingerprint_of(source: Source, base: Path | None = None) -> Fingerprint:
    """Read the input. A path below ``base`` is recorded relative to it.

    Raises:
        FileMissing, FilesystemError: the input cannot be read.
        CheckpointError: it was changed while it was read.
    """
    if isinstance(source, Checksum):
        return Fingerprint(source.text)
    path = os.path.abspath(source)
    with typed_errors("read the source", Path(path)):
        # Before and after: if the file is written while it is read, its checksum belongs to no version of it.
        before = os.stat(path)
        checksum = f"sha256:{_digest(Path(path))}"
        after = os.stat(path)
    if _stamp(before) != _stamp(after) or before.st_size != after.st_size:
        raise CheckpointError(
            f"the source {path!r} was written to while it was read; expected it to stay as it is."
            " Start when it is complete."
        )
    # The change time too: programs can set the modification time, but not this one.
    fresh = time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) < TICK
    # Relative, so that a store that is moved together with its inputs still recognizes them.
    inside = base is not None and Path(path).is_relative_to(base)
    name = Path(path).relative_to(base).as_posix() if base is not None and inside else path
    return Fingerprint(checksum, name, after.st_size, () if fresh else _stamp(after))


def is_same(
    source: Source | None, kept: Fingerprint | None, *, read: bool = False, base: Path | None = None
) -> bool:
    """True if the input is unchanged. ``source`` None: that at the recorded path.

    With ``read`` the file is read even if its size and stamp are unchanged.
    """
    known = None if kept is None or kept.path is None else os.path.join(base or "", kept.path)
    if source is None:
        if known is None:
            return True
        source = known
    if kept is None:
        return False
    if isinstance(source, Checksum):
        return source.text == kept.checksum
    path = os.path.abspath(source)
    try:
        seen = os.stat(path)
        # A different size proves different content without reading. A bare checksum has no size to compare.
        if seen.st_size != kept.size and kept.path is not None:
            return False
        if not read and path == known and kept.stamp and _stamp(seen) == kept.stamp:
            return True
        return fingerprint_of(path).checksum == kept.checksum
    except (FileNotFoundError, FileMissing):
        return False


def _stamp(seen: os.stat_result) -> tuple[int, int, int]:
    return (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


class Outputs:
    """The files that steps make, relative to ``base``. The store's own files are refused.

    To read one of those would mean to close it afterwards, and closing any descriptor of a file drops the
    locks that SQLite holds on it in this process.
    """

    def __init__(self, base: Path, store: Path | None) -> None:
        self.base = Path(os.path.abspath(base))
        # By real paths, so that links to the database are refused as well.
        files = [] if store is None else [store.with_name(store.name + end) for end in ENDS]
        self._names = frozenset(os.path.realpath(one) for one in files)

    def take(self, paths: Sequence[str | os.PathLike[str]], *, sync: bool) -> tuple[Artefact, ...]:
        """Compute the checksums of a step's artefacts and, with ``sync``, make the files durable.

        Raises:
            CheckpointError: an artefact does not exist.
            FilesystemError: an artefact, or a folder in it, cannot be read.
            UsageError: a single path was given, not in a list.
        """
        if isinstance(paths, str | os.PathLike):
            raise wrong("artefacts", paths, "several paths in a list", f"For a single one: [{str(paths)!r}].")
        found = []
        for given in paths:
            path = self.base / given
            if not path.exists():
                raise CheckpointError(
                    f"the artefact {str(path)!r} is not there; expected it before its step is complete."
                    " Write it first, or leave it out."
                )
            with typed_errors("keep the artefact", path):
                if sync:
                    self._sync(path)
                size, checksum = self._look(path)
            inside = path.is_relative_to(self.base)
            name = path.relative_to(self.base).as_posix() if inside else str(path)
            found.append(Artefact(name, size, checksum))
        return tuple(found)

    def _sync(self, path: Path) -> None:
        """Make files durable, together with the names that lead to them."""
        for one in self._files(path):
            _sync_file(one)
        if path.is_dir():
            for folder in (path, *paths_below(path)):
                if folder.is_dir() and not folder.is_symlink():
                    sync_directory(folder)
        sync_directory(path.parent)

    def damage(self, artefact: Artefact, *, read: bool = True) -> str:
        """What is wrong with an artefact, or an empty text. Without ``read`` only sizes are compared."""
        path = self.base / artefact.path
        try:
            if not read:
                # A pipeline asks this about every step when it starts; to read terabytes would take hours.
                size = sum(os.stat(one).st_size for one in self._files(path))
                return "" if size == artefact.size else f"has {size:,} bytes instead of {artefact.size:,}"
            size, checksum = self._look(path)
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if size != artefact.size:
            return f"has {size:,} bytes instead of {artefact.size:,}"
        return "" if checksum == artefact.checksum else "has different content"

    def refuse(self, path: Path) -> None:
        """Raise UsageError if a path is one of the store's own files."""
        if os.path.realpath(path) in self._names:
            raise wrong("path", str(path), "a file that is not the store's", "Keep the two apart.")

    def _look(self, path: Path) -> tuple[int, str]:
        files = list(self._files(path))
        size = sum(os.stat(one).st_size for one in files)
        if not path.is_dir():
            return size, f"sha256:{_digest(path)}"
        whole = hashlib.sha256()
        for one in files:
            line = f"{one.relative_to(path).as_posix()}\0{_digest(one)}\n"
            whole.update(line.encode(errors="surrogateescape"))
        return size, f"sha256-tree:{whole.hexdigest()}"

    def _files(self, path: Path) -> Iterator[Path]:
        """The file itself, or every file below it, sorted by path. Links are not followed."""
        if not path.is_dir():
            self.refuse(path)
            yield path
            return
        # Sorted: two directories with the same content may list it in different orders, and the checksum
        # must be the same.
        for one in paths_below(path):
            if stat.S_ISREG(one.lstat().st_mode) and os.path.realpath(one) not in self._names:
                yield one


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(PIECE):
            state.update(piece)
    return state.hexdigest()


def _sync_file(path: Path) -> None:
    with open_regular(path) as file:
        sync_file(file.fileno())
