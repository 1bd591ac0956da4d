"""Reads the members of a zip and checks what ``zipfile`` does not: overlaps, prefixes, types, sizes."""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, CorruptArchive, UnsafeArchive
from chaoskit.runtime.guarding.archives.limits import ArchiveLimits
from chaoskit.runtime.guarding.archives.members import ArchiveMember, Data
from chaoskit.runtime.guarding.archives.names import checked, shown

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
"""LZMA is left out: with LZMA the archive decides how much memory its reader needs."""
_ENCRYPTED = 0x1
_LOCAL_HEADER = 30
"""Bytes of a local header before its name (APPNOTE.TXT 4.3.7)."""
_END_MARK, _END_RECORD = b"PK\x05\x06", 22
"""The mark of the end record, and its size in bytes without the comment (APPNOTE.TXT 4.3.16)."""
_ZIP64_MARK, _ZIP64_LOCATOR = b"PK\x06\x07", 20
"""The mark of the zip64 locator, which in a large zip precedes the end record, and its size (4.3.15)."""
_ELSEWHERE = 0xFFFF
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)
"""The errors that ``zipfile`` raises for damage."""


class Zip:
    """A :class:`~chaoskit.runtime.guarding.archives.members.Container` over a zip."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self._archive: zipfile.ZipFile | None = None
        self._current: zipfile.ZipInfo | None = None

    def members(self) -> Iterator[ArchiveMember]:
        with _told(), zipfile.ZipFile(_BoundedDirectory(self._file, self._limits.members)) as archive:
            found = archive.infolist()
            if len(found) > self._limits.members:
                raise ArchiveTooBig(f"{len(found):,} members; the limit is {self._limits.members:,}")
            self._apart(found, archive.start_dir)
            self._ended(len(archive.comment), len(found))
            self._archive = archive
            for self._current in found:
                yield self._member(self._current)

    def _apart(self, found: list[zipfile.ZipInfo], directory: int) -> None:
        """Check that the members fill the archive from its first byte and do not share any bytes.

        If many members point to one piece of compressed data, the zip is a bomb without nesting (D. Fifield,
        "A better zip bomb", WOOT 2019). Data before the first member is meant for a reader of another format.
        """
        if not found and directory:
            raise UnsafeArchive("it lists no member, and something precedes its directory")
        end = 0
        for info in sorted(found, key=lambda info: info.header_offset):
            if info.header_offset < end or (end == 0 and info.header_offset):
                raise UnsafeArchive(
                    f"{shown(info.filename)} shares bytes with another member, or others precede it"
                )
            end = info.header_offset + _LOCAL_HEADER + info.compress_size
        if end > directory:
            raise UnsafeArchive("its last member reaches into the archive's directory")

    def _ended(self, comment: int, listed: int) -> None:
        """Check that the end record ends the file, and that its count of members matches the directory.

        zipfile searches for the record and ignores what follows it. It lists members by the size of the
        directory, while other readers use the count: where the two differ, some readers would miss members
        without an error.
        """
        self._file.seek(0, 2)
        at = max(0, self._file.tell() - _END_RECORD - comment)
        self._file.seek(at)
        end = self._file.read(_END_RECORD)
        if not end.startswith(_END_MARK):
            raise CorruptArchive("data follows the record that ends the zip")
        (said,) = struct.unpack_from("<H", end, 10)
        self._file.seek(max(0, at - _ZIP64_LOCATOR))
        # A large zip has the count in another record (APPNOTE.TXT 4.4.1.4).
        if said == _ELSEWHERE and self._file.read(len(_ZIP64_MARK)) == _ZIP64_MARK:
            return
        if said != listed:
            raise CorruptArchive(f"its directory has {listed:,} members, and its last record counts {said:,}")

    def _member(self, info: zipfile.ZipInfo) -> ArchiveMember:
        # zipfile cuts ``filename`` at a NUL; ``orig_filename`` still has the rest, which has to be refused.
        name = info.orig_filename if "\0" in info.orig_filename else info.filename
        if info.flag_bits & _ENCRYPTED:
            raise CorruptArchive(f"{shown(name)} is encrypted", hint="Unpack it with its password first.")
        if info.compress_type not in _METHODS:
            raise CorruptArchive(
                f"{shown(name)} is compressed by method {info.compress_type}",
                hint="Pack it with deflate or bzip2, or without compression.",
            )
        parts = checked(name, self._limits.depth)
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if info.is_dir():
            if info.file_size:
                raise CorruptArchive(
                    f"{shown(name)} is a directory, and has {info.file_size:,} bytes of data"
                )
            return ArchiveMember(parts, "directory")
        if kind == stat.S_IFLNK:
            return ArchiveMember(parts, "symlink", to=self._link(info))
        if kind not in (0, stat.S_IFREG):
            raise UnsafeArchive(f"{shown(name)} is of type {kind:o}: not a file, a directory or a link")
        return ArchiveMember(parts, "file", info.file_size, bool(mode & 0o111))

    def _link(self, info: zipfile.ZipInfo) -> str:
        if info.file_size > 4096:
            raise UnsafeArchive(
                f"the target of the link {shown(info.filename)} has {info.file_size:,} bytes; the limit is"
                " 4,096"
            )
        with self.open() as data:
            return data.read(4096).decode("utf-8", "surrogateescape")

    @contextlib.contextmanager
    def open(self) -> Iterator[Data]:
        assert self._archive is not None
        assert self._current is not None
        with _told(), self._archive.open(self._current) as data:
            yield data


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Raise every kind of damage to a zip as CorruptArchive."""
    try:
        yield
    except _DAMAGED as error:
        raise CorruptArchive(f"the zip is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        if error.errno is None:  # This is how bz2 reports invalid data.
            raise CorruptArchive(f"the zip is damaged: {error}") from error
        raise


class _BoundedDirectory:
    """The archive's file, from which no more can be read at once than a directory of ``members`` needs."""

    def __init__(self, file: IO[bytes], members: int) -> None:
        self._file = file
        self._most = members * 320 + (1 << 17)

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise ArchiveTooBig(f"a directory of {size:,} bytes; the limit is {self._most:,}")
        # zipfile has already found the comment at the end, and reads it with an unbounded read().
        return self._file.read(size if size >= 0 else self._most)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
