"""The content of a directory, and how two contents differ."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from chaoskit.core.case import Difference
from chaoskit.core.schedule import matcher
from chaoskit.explore.contents import Apart, described, first_difference, is_text, told_apart
from chaoskit.explore.depth import within_reach

# Enough for a small state file, and for every magic number: that of tar is at offset 257. A report with whole
# contents would be unreadable.
_SHOWN = 264
"""The first bytes of a file that are kept, to be shown side by side."""
_KEPT_OF_ONE, _KEPT_IN_ALL = 1 << 20, 8 << 20
"""Bytes of binary files kept from a baseline, per file and in all. Small databases are kept whole."""

_BLOCK = 1 << 16
"""Bytes that are hashed at once, or skipped if all of them are zeroes."""
_ZEROES = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One name: its kind (``file``, ``directory``, ``link``, …), permission bits, size and content.

    ``digest`` is a hash of the content, or a link's target; ``head`` the first bytes of a file. Equal size
    and digest mean equal bytes, whether zeroes are written out or left as a hole. ``content`` is more of a
    baseline's file, if kept, and ``apart`` is where a later file differs from it: neither counts when entries
    are compared.
    """

    kind: str
    mode: int
    size: int = 0
    digest: str = ""
    head: bytes = b""
    content: bytes = field(default=b"", compare=False, repr=False)
    apart: Apart | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.kind == "link":
            return f"link to {self.digest}"
        size = f", {self.size} bytes" if self.kind == "file" else ""
        return f"{self.kind}{size}, mode {self.mode:o}"


Snapshot = Mapping[str, FileEntry]
"""Maps paths relative to the directory, with ``/`` between parts, to entries; the root is not included."""

EMPTY: Snapshot = MappingProxyType({})


def take(path: str, *, keep: bool = False, beside: Snapshot = EMPTY) -> Snapshot:
    """Read the whole directory. A file that cannot be read has the kind ``unreadable``.

    ``keep`` retains the contents of binary files, within bounds, so that a snapshot taken later ``beside``
    this one can say where it differs. There are thousands of later ones, and they retain nothing.

    Raises:
        UsageError: if the tree is too deep.
    """
    with within_reach():
        taken = dict(sorted(_walk(path, "")))
    if keep:
        taken = _with_contents(path, taken)
    for name in taken.keys() & beside.keys():
        there, here = beside[name], taken[name]
        if there.content and here.kind == "file" and here.digest != there.digest:
            # Read no more than is kept of the other: the end of a truncated copy is not a difference.
            most = len(there.content) if len(there.content) < there.size else _KEPT_OF_ONE
            apart = first_difference(there.content, _read(f"{path}/{name}", most))
            taken[name] = replace(here, apart=apart)
    return MappingProxyType(taken)


def _with_contents(path: str, taken: dict[str, FileEntry]) -> dict[str, FileEntry]:
    room = _KEPT_IN_ALL
    kept = {}
    for name, entry in taken.items():
        if entry.kind == "file" and entry.size > len(entry.head) and room > 0 and not is_text(entry.head):
            content = _read(f"{path}/{name}", min(room, _KEPT_OF_ONE))
            room -= len(content)
            entry = replace(entry, content=content)
        kept[name] = entry
    return kept


def _read(path: str, size: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(size) or b""
    except OSError:
        return b""


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
    """The first bytes, and a hash of the content that does not need holes to be read.

    Databases and disk images reserve far more than they fill. The hash skips blocks of zeroes and includes
    every other block with its position, so that it does not depend on how zeroes are stored.
    """
    # Not hash(): the digest must be the same in every worker.
    digest = hashlib.blake2b()
    head = os.pread(fd, _SHOWN, 0)
    for offset in _blocks_with_data(fd, size):
        block = os.pread(fd, min(_BLOCK, size - offset), offset)
        # startswith(), since the last block may be shorter.
        if not _ZEROES.startswith(block):
            digest.update(offset.to_bytes(8, "little"))
            digest.update(block)
    return head, digest.hexdigest()


def _blocks_with_data(fd: int, size: int) -> Iterator[int]:
    """The positions of blocks that may hold data, ascending."""
    offset = 0
    while offset < size:
        if size > _BLOCK:
            # The next data (lseek(2)); a file system without holes answers with the offset itself.
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
    """How ``found`` differs from ``expected``, by path. Names that fit the same pattern are equal."""
    expected, found = _settled(expected, patterns), _settled(found, patterns)
    return tuple(
        _difference(path, expected.get(path), found.get(path))
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    )


def _settled(snapshot: Snapshot, patterns: tuple[str, ...]) -> Snapshot:
    """The snapshot with names replaced by wildcards; several names under one wildcard are numbered."""
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
    if not (is_text(expected.head) and is_text(found.head)):
        apart = found.apart or first_difference(*_known_of_both(expected, found))
        return told_apart(apart, (expected.head, expected.size), (found.head, found.size))
    return f"expected {_shown(expected)}, found {_shown(found)}"


def _known_of_both(expected: FileEntry, found: FileEntry) -> tuple[bytes, bytes]:
    """The first bytes of both, as many as are known of both: a cut head does not end with its file."""
    cut = [len(one.head) for one in (expected, found) if len(one.head) < one.size]
    size = min(cut, default=_SHOWN)
    return expected.head[:size], found.head[:size]


def _content(entry: FileEntry) -> str:
    if entry.kind != "file":
        return ""
    return f"holds {_shown(entry) if is_text(entry.head) else described(entry.head, entry.size)}"


def _shown(entry: FileEntry) -> str:
    if not entry.size:
        return "nothing"
    more = "" if entry.size <= len(entry.head) else f" … ({entry.size} bytes)"
    try:
        return repr(entry.head.decode()) + more
    # Shown as bytes: half a character is often exactly what was torn.
    except UnicodeDecodeError:
        return repr(entry.head) + more
