"""What a directory holds, and how two such contents differ."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chaoskit.core.case import Difference
from chaoskit.core.schedule import matcher

# Enough for a small state file; a report with whole contents would be unreadable.
_SHOWN = 200
"""Bytes of a small file that are kept to be shown beside each other."""

_BLOCK = 1 << 16
_ZEROES = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One name: its kind (``file``, ``directory``, ``link``, …), permission bits, size and content.

    ``digest`` is a hash of the content, or a link's target; ``head`` the first bytes of a file. Equal
    size and digest mean equal bytes, whether zeroes are written out or left as a hole.
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


Snapshot = Mapping[str, FileEntry]
"""Paths relative to the directory, ``/`` between parts, each with its entry; the root is not in it."""

EMPTY: Snapshot = MappingProxyType({})


def take(path: str) -> Snapshot:
    """Read the whole directory. What cannot be read shows as kind ``unreadable``."""
    return MappingProxyType(dict(sorted(_walk(path, ""))))


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, FileEntry]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for item in entries:
        name = prefix + item.name
        yield name, _entry(item)
        if item.is_dir(follow_symlinks=False):
            yield from _walk(item.path, name + "/")


def _entry(item: os.DirEntry[str]) -> FileEntry:
    status = item.stat(follow_symlinks=False)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return FileEntry("link", mode, 0, os.readlink(item.path))
    if stat.S_ISDIR(status.st_mode):
        return FileEntry("directory", mode)
    if not stat.S_ISREG(status.st_mode):
        return FileEntry("special", mode, 0, str(stat.S_IFMT(status.st_mode)))
    return _file(item.path, mode, status.st_size)


def _file(path: str, mode: int, size: int) -> FileEntry:
    try:
        with open(path, "rb", buffering=0) as file:
            head, digest = _content_of(file.fileno(), size)
    except OSError as error:
        return FileEntry("unreadable", mode, size, error.strerror or str(error))
    return FileEntry("file", mode, size, digest, head)


def _content_of(fd: int, size: int) -> tuple[bytes, str]:
    """The first bytes, and a hash of the rest that does not ask for what a hole holds.

    Data bases and disk images reserve far more than they fill. Blocks of zeroes are left out of the hash
    and each other one goes in with its position, so that it does not show how zeroes are stored.
    """
    # Not the default hash(): it must be the same in every worker.
    digest = hashlib.blake2b()
    head = os.pread(fd, _SHOWN, 0)
    for offset in _blocks_with_data(fd, size):
        block = os.pread(fd, min(_BLOCK, size - offset), offset)
        # Also the last, shorter block.
        if not _ZEROES.startswith(block):
            digest.update(offset.to_bytes(8, "little"))
            digest.update(block)
    return head, digest.hexdigest()


def _blocks_with_data(fd: int, size: int) -> Iterator[int]:
    """The positions of the blocks in which something has been written, ascending."""
    offset = 0
    while offset < size:
        if size > _BLOCK:
            # Where the next data are (lseek(2)); a file system without holes answers with the offset itself.
            try:
                offset = os.lseek(fd, offset, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
        yield offset
        offset += _BLOCK


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
    settled: dict[str, FileEntry] = {}
    for path, entry in snapshot.items():
        name = next((pattern for pattern, e in expressions if e.fullmatch(path)), path)
        number = 1
        # Two temporary files under one wildcard must not hide each other.
        while name in settled:
            number += 1
            name = f"{name.partition(' (')[0]} ({number})"
        settled[name] = entry
    return settled


def _difference(path: str, expected: FileEntry | None, found: FileEntry | None) -> Difference:
    if found is None:
        return Difference(path, "missing", expected=str(expected))
    if expected is None:
        return Difference(path, "extra", found=str(found), detail=_content(found))
    return Difference(path, "changed", str(expected), str(found), _contents(expected, found))


def _contents(expected: FileEntry, found: FileEntry) -> str:
    if expected.kind != "file" or found.kind != "file" or expected.digest == found.digest:
        return ""
    return f"expected {_shown(expected)}, found {_shown(found)}"


def _content(entry: FileEntry) -> str:
    return f"holds {_shown(entry)}" if entry.kind == "file" else ""


def _shown(entry: FileEntry) -> str:
    if not entry.size:
        return "nothing"
    more = "" if entry.size <= len(entry.head) else f" … ({entry.size} bytes)"
    try:
        return repr(entry.head.decode()) + more
    # Shown as bytes: half a character is often just what was torn.
    except UnicodeDecodeError:
        return repr(entry.head) + more
