"""What a directory must hold: names, sizes, checksums. A plain tar has no checksum of its data."""

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
    """One file: path with slashes, bytes, ``sha256:…`` and execute permission; or a link and its target."""

    path: str
    size: int = 0
    checksum: str = ""
    executable: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a directory tree, sorted by path. Directories count by what is in them."""

    entries: tuple[ManifestEntry, ...]

    @classmethod
    def made(cls, entries: Iterable[ManifestEntry]) -> Self:
        """A manifest of these entries, in order."""
        return cls(tuple(sorted(entries, key=lambda entry: entry.path)))

    @classmethod
    def of(cls, directory: str | os.PathLike[str]) -> Self:
        """What ``directory`` holds now; links are not followed.

        Raises:
            UsageError: something in it is neither file, directory nor link.
            OSError: it cannot be read.
        """
        return cls.made(_walk(Path(directory)))

    def verify(self, directory: str | os.PathLike[str]) -> None:
        """Compare with what ``directory`` holds now.

        Raises:
            CorruptArchive: something is missing, changed, or there beside what is listed; all of it is named.
        """
        self.compare(Manifest.of(directory))

    def compare(self, found: Manifest) -> None:
        """Compare with another manifest; raises as :meth:`verify` does."""
        expected = {entry.path: entry for entry in self.entries}
        # Compared both ways: a file too many can be as wrong as one too few.
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
        """As text; :meth:`from_json` reads it."""
        return json.dumps({"format": _FORMAT, "entries": [asdict(entry) for entry in self.entries]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            UsageError: it is something else, or of a newer format.
        """
        try:
            plain: Any = json.loads(text)
            if plain["format"] != _FORMAT:
                raise wrong("the manifest's format", plain["format"], f"{_FORMAT}", "Use a newer chaoskit.")
            return cls.made(ManifestEntry(**entry) for entry in plain["entries"])
        # It is a ValueError too, and has said already what is wrong.
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
        # The link itself: what it leads to may lie outside, or nowhere.
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
        # What was read, and not what stat says: the two may differ while a file grows.
        size = file.tell()
    return ManifestEntry(path, size, f"sha256:{digest.hexdigest()}", executable)
