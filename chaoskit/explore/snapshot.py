"""What a directory holds, and how two such states differ."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chaoskit.core.schedule import matcher
from chaoskit.explore.result import Difference

_SHOWN = 200
"""Bytes of a small file that are kept to be shown beside each other."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name: its kind (``file``, ``directory``, ``link``, …), permission bits, size and content.

    ``digest`` is a hash of the content, or a link's target; ``head`` the first bytes of a file.
    """

    kind: str
    mode: int
    size: int = 0
    digest: str = ""
    head: bytes = b""

    def __str__(self) -> str:
        if self.kind == "link":
            return f"link to {self.digest}"
        size = f", {self.size} bytes" if self.kind == "file" else ""
        return f"{self.kind}{size}, mode {self.mode:o}"


Snapshot = Mapping[str, Entry]
"""Paths relative to the directory, ``/`` between parts, each with its entry; the root is not in it."""

EMPTY: Snapshot = MappingProxyType({})


def take(path: str) -> Snapshot:
    """Read the whole directory. What cannot be read shows as kind ``unreadable``."""
    return MappingProxyType(dict(sorted(_walk(path, ""))))


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, Entry]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for item in entries:
        name = prefix + item.name
        yield name, _entry(item)
        if item.is_dir(follow_symlinks=False):
            yield from _walk(item.path, name + "/")


def _entry(item: os.DirEntry[str]) -> Entry:
    status = item.stat(follow_symlinks=False)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", mode, 0, os.readlink(item.path))
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", mode)
    if not stat.S_ISREG(status.st_mode):
        return Entry("special", mode, 0, str(stat.S_IFMT(status.st_mode)))
    return _file(item.path, mode, status.st_size)


def _file(path: str, mode: int, size: int) -> Entry:
    try:
        with open(path, "rb") as file:
            head = file.read(_SHOWN)
            file.seek(0)
            digest = hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        return Entry("unreadable", mode, size, error.strerror or str(error))
    return Entry("file", mode, size, digest, head)


def differences(
    expected: Snapshot, found: Snapshot, patterns: tuple[str, ...] = ()
) -> tuple[Difference, ...]:
    """What ``found`` has otherwise than ``expected``, by path. Names that fit a pattern are equal."""
    expected, found = _settled(expected, patterns), _settled(found, patterns)
    return tuple(
        _difference(path, expected.get(path), found.get(path))
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    )


def _settled(snapshot: Snapshot, patterns: tuple[str, ...]) -> Snapshot:
    """The snapshot under wildcards; several names under one wildcard get a number."""
    if not patterns:
        return snapshot
    expressions = [(pattern, matcher(pattern)) for pattern in patterns]
    settled: dict[str, Entry] = {}
    for path, entry in snapshot.items():
        name = next((pattern for pattern, e in expressions if e.fullmatch(path)), path)
        number = 1
        while name in settled:
            number += 1
            name = f"{name.partition(' (')[0]} ({number})"
        settled[name] = entry
    return settled


def _difference(path: str, expected: Entry | None, found: Entry | None) -> Difference:
    if found is None:
        return Difference(path, "missing", expected=str(expected))
    if expected is None:
        return Difference(path, "extra", found=str(found), detail=_content(found))
    return Difference(path, "changed", str(expected), str(found), _contents(expected, found))


def _contents(expected: Entry, found: Entry) -> str:
    if expected.kind != "file" or found.kind != "file" or expected.digest == found.digest:
        return ""
    return f"expected {_shown(expected)}, found {_shown(found)}"


def _content(entry: Entry) -> str:
    return f"holds {_shown(entry)}" if entry.kind == "file" else ""


def _shown(entry: Entry) -> str:
    if not entry.size:
        return "nothing"
    more = "" if entry.size <= len(entry.head) else f" … ({entry.size} bytes)"
    try:
        return repr(entry.head.decode()) + more
    except UnicodeDecodeError:
        return repr(entry.head) + more
