"""Reads the members of a tar with the standard library's parser, guarded, up to the archive's end mark."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, CorruptArchive, UnsafeArchive
from chaoskit.runtime.guarding.archives.limits import ArchiveLimits
from chaoskit.runtime.guarding.archives.members import ArchiveMember, Data
from chaoskit.runtime.guarding.archives.names import checked, shown

_BLOCK = 512
_LONGEST_READ = 1 << 20
"""The most bytes of an extended header, which has to hold a name and a few attributes."""


class Tar:
    """A :class:`~chaoskit.runtime.guarding.archives.members.Container` over an uncompressed tar."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self._current: tarfile.TarInfo | None = None
        self._size = file.seek(0, 2)
        file.seek(0)

    def members(self) -> Iterator[ArchiveMember]:
        guard: Any = _HeadersOnly(self._file, self._limits.members)  # It has what tarfile calls, and no more.
        try:
            # errorlevel need not be set: it concerns only extraction, and errors of reading are always
            # raised.
            with tarfile.open(fileobj=guard, mode="r:", encoding="utf-8") as opened:
                tar: Any = opened  # ``members`` is documented, and missing in the type stubs.
                while (found := tar.next()) is not None:
                    tar.members.clear()  # Otherwise it keeps them all in memory.
                    self._current = found
                    yield self._member(found)
                    self._within_file(found)
                end = tar.offset
        except tarfile.TarError as error:
            if self._current is None:
                # Perhaps a web server's error page, or another format: "truncated header" would mislead.
                raise CorruptArchive(
                    f"it is neither a zip nor a tar, plain or compressed ({error})",
                    hint="Look at what is in it: the download may have failed, or be of another format.",
                ) from error
            raise CorruptArchive(f"no readable tar: {error}") from error
        except (ValueError, EOFError, OverflowError, RecursionError) as error:
            # tarfile parses the numbers in extended headers without checking them.
            raise CorruptArchive(f"a header of the tar is damaged: {error}") from error
        self._ended(end)

    def _member(self, found: tarfile.TarInfo) -> ArchiveMember:
        if found.issparse():
            raise UnsafeArchive(f"{shown(found.name)} is sparse: 512 bytes of it can stand for terabytes")
        if found.size < 0 or found.offset_data < 0:
            raise CorruptArchive(f"{shown(found.name)} has the size {found.size}")
        parts = checked(found.name, self._limits.depth)
        executable = bool(found.mode & 0o111)
        if found.isdir():
            return ArchiveMember(parts, "directory")
        if found.issym() or found.islnk():
            return ArchiveMember(parts, "symlink" if found.issym() else "hardlink", to=found.linkname)
        if not found.isreg():
            raise UnsafeArchive(f"{shown(found.name)} is of type {found.type!r}: a device, a FIFO or unknown")
        return ArchiveMember(parts, "file", found.size, executable)

    def _within_file(self, found: tarfile.TarInfo) -> None:
        """Report a cut member as cut; tarfile would only report that the next one is missing."""
        if found.isreg() and found.offset_data + found.size > self._size:
            raise CorruptArchive(
                f"{shown(found.name)} is cut: {self._size - found.offset_data} of {found.size} bytes"
            )

    @contextlib.contextmanager
    def open(self) -> Iterator[Data]:
        assert self._current is not None
        yield _Section(self._file, self._current.offset_data, self._current.size)

    def _ended(self, offset: int) -> None:
        """Check that the archive ends with its end mark, two blocks of zeroes, and that nothing follows it.

        tarfile treats every unreadable header but the first as the end of the archive: the members after it
        would be missing without an error.
        """
        self._file.seek(offset)
        mark = self._file.read(2 * _BLOCK)
        if len(mark) < 2 * _BLOCK or mark.strip(b"\0"):
            raise CorruptArchive(f"no end mark at byte {offset:,}: the tar is cut, or a header is damaged")
        while block := self._file.read(1 << 16):
            if block.strip(b"\0"):
                raise CorruptArchive(f"data follows the end mark at byte {offset:,}")


class _HeadersOnly:
    """A file for reading headers only: it refuses a long read, and too much data in total.

    The data of members is read elsewhere, so everything that is read here belongs to a header.
    """

    def __init__(self, file: IO[bytes], members: int) -> None:
        self._file = file
        # Every member may have a name and a link of full length; the rest is room for attributes.
        self._left = members * 4 * _BLOCK + 8 * _LONGEST_READ
        self._header = 0

    def read(self, size: int = -1) -> bytes:
        # From Python 3.14.8 on, tarfile reads an extended header in pieces, and everything after it block by
        # block.
        self._header = self._header + size if size != _BLOCK else 0
        if not 0 <= size <= _LONGEST_READ or self._header > _LONGEST_READ:
            asked = max(size, self._header)
            raise ArchiveTooBig(f"an extended header of {asked:,} bytes; the limit is {_LONGEST_READ:,}")
        self._left -= size
        if self._left < 0:
            raise ArchiveTooBig("its headers alone are larger than those of all members that it may have")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Section:
    """A part of a file as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._at, self._left = file, start, size

    def read(self, size: int, /) -> bytes:
        self._file.seek(self._at)
        found = self._file.read(min(size, self._left))
        self._at += len(found)
        self._left -= len(found)
        return found
