"""The files that a directory must hold, with sizes and checksums: a plain tar has none for its data."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.failures.taxonomy import CorruptArchive

__all__ = ["ManifestEntry", "Manifest"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file (path with slashes, bytes, ``sha256:…``, execute permission), or a link with its target."""

    path: str
    size: int = 0
    checksum: str = ""
    executable: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files and links of a directory tree, sorted by path. Empty directories are not listed."""

    entries: tuple[ManifestEntry, ...]

    @classmethod
    def made(cls, entries: Iterable[ManifestEntry]) -> Self:
        """A manifest of these entries, sorted."""
        return cls(tuple(sorted(entries, key=lambda entry: entry.path)))

    @classmethod
    def of(cls, directory: str | os.PathLike[str]) -> Self:
        """The manifest of what ``directory`` holds now; links are not followed.

        Raises:
            UsageError: an entry is not a file, a directory or a link.
            OSError: the directory, or a file in it, cannot be read.
        """
        return cls.made(_walk(Path(directory)))

    def verify(self, directory: str | os.PathLike[str]) -> None:
        """Compare the manifest with what ``directory`` holds now.

        Raises:
            CorruptArchive: files are missing, changed or not listed; the message names them.
        """
        self.compare(Manifest.of(directory))

    def compare(self, found: Manifest) -> None:
        """Compare with another manifest; raises as :meth:`verify` does."""
        expected = {entry.path: entry for entry in self.entries}
        # Compared both ways: an extra file can do as much harm as a missing one.
        there = {entry.path: entry for entry in found.entries}
        wrongs = [f"{path} is missing" for path in expected if path not in there]
        wrongs += [f"{path} is not listed" for path in there if path not in expected]
        wrongs += [
            f"{path} has changed" for path in expected if path in there and expected[path] != there[path]
        ]
        if wrongs:
            shown = "; ".join(sorted(wrongs)[:10])
            more = f"; and {len(wrongs) - 10} more" if len(wrongs) > 10 else ""
            raise CorruptArchive(
                f"not what the manifest says: {shown}{more}", context={"differences": wrongs}
            )

    def to_json(self) -> str:
        """The manifest as JSON text, which :meth:`from_json` reads."""
        return json.dumps({"format": _FORMAT, "entries": [asdict(entry) for entry in self.entries]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            UsageError: ``text`` is something else, or of a newer format.
        """
        try:
            plain: Any = json.loads(text)
            if plain["format"] != _FORMAT:
                raise wrong("the manifest's format", plain["format"], f"{_FORMAT}", "Use a newer chaoskit.")
            return cls.made(ManifestEntry(**entry) for entry in plain["entries"])
        # A UsageError is a ValueError too, and its message already says what is wrong.
        except UsageError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"not the text of a manifest: {error}. Write it with Manifest.to_json()."
            ) from error


def _walk(root: Path, below: str = "") -> Iterator[ManifestEntry]:
    with os.scandir(root / below) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        # Look at a link itself, since its target may lie outside, or not exist.
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            yield ManifestEntry(path, link=os.readlink(entry.path))
        elif stat.S_ISDIR(mode):
            yield from _walk(root, path)
        elif stat.S_ISREG(mode):
            yield _entry(Path(entry.path), path, bool(mode & 0o111))
        else:
            raise wrong("a member of the directory", entry.path, "a file, a directory or a link")


def _entry(place: Path, path: str, executable: bool) -> ManifestEntry:
    with open(place, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        # Count the bytes that were read: for a file that is still growing, stat would give another size.
        size = file.tell()
    return ManifestEntry(path, size, f"sha256:{digest.hexdigest()}", executable)
