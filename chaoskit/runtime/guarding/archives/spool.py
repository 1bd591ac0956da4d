"""Decompresses an archive's stream into an unnamed file that never exceeds its limit.

A compressed tar is decompressed completely before anything in it is trusted. If it were read as a stream, a
gzip file that was cut before its trailer would end without an error, and an extended header of 400 MB would
be in memory before the first member was seen.
"""

from __future__ import annotations

import bz2
import lzma
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from chaoskit.runtime.failures.taxonomy import ArchiveTooBig, CorruptArchive, UnsafeArchive
from chaoskit.runtime.guarding.archives.zstd import zstd_decompressor

_STEP = 1 << 16
_XZ_MEMORY = 64 << 20
"""The most bytes that an xz decompressor may use: 32 bytes of input can ask for a dictionary of 3 GiB."""


class Decompressor(Protocol):
    """The common interface of the decompressors of bz2, lzma and zstd; :class:`_Gzip` adapts zlib to it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """Gives zlib the interface of the other decompressors."""

    def __init__(self) -> None:
        self._made = zlib.decompressobj(wbits=31)  # 31: gzip header and trailer, with CRC and length checked.

    @property
    def eof(self) -> bool:
        return self._made.eof

    @property
    def needs_input(self) -> bool:
        return not self._made.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._made.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._made.decompress(self._made.unconsumed_tail + data, max_length)


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


MAGICS: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", _xz),
    (b"\x28\xb5\x2f\xfd", zstd_decompressor),
    # Skippable frames (RFC 8878, 3.1.2): pzstd, which compresses in threads, begins with one.
    *((bytes([0x50 + n]) + b"\x2a\x4d\x18", zstd_decompressor) for n in range(16)),
)
"""The magic bytes of each format. The old ``.lzma`` is left out: it has no checksum and no end mark."""


def compression(head: bytes) -> Callable[[], Decompressor] | None:
    """The factory of a decompressor for a file that begins with ``head``; None if it is not compressed."""
    return next((make for magic, make in MAGICS if head.startswith(magic)), None)


def spool(
    source: IO[bytes], make: Callable[[], Decompressor], limit: int, directory: Path | None
) -> IO[bytes]:
    """Decompress all of ``source``, to at most ``limit`` bytes, into an unnamed file.

    The file is made in ``directory``; None means the system's directory for temporary files.

    Concatenated streams count as one, as in all the tools. Anything else after a stream counts as damage,
    although the tools ignore it: otherwise an archive could carry data that only some readers see.

    Raises:
        ArchiveTooBig: it unpacks to more than ``limit``, or decompressing needs more memory than allowed.
        ConfigurationError: it is compressed with zstd, and no module here can read that.
        CorruptArchive: it is damaged, cut, or followed by something else.
    """
    into = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - given to the caller
    try:
        _decompress(source, make, limit, into)
    except (zlib.error, lzma.LZMAError, ValueError, EOFError) as error:
        into.close()
        raise _damaged(error) from error
    except OSError as error:
        into.close()
        if error.errno is None:  # This is how bz2 reports invalid data.
            raise _damaged(error) from error
        raise
    except BaseException as error:
        into.close()
        if type(error).__name__ == "ZstdError":  # Its class is in a module that may be missing.
            raise _damaged(error) from error
        raise
    into.seek(0)
    return into


def _damaged(error: BaseException) -> CorruptArchive | UnsafeArchive:
    # lzma and zstd each have one class for all errors, so only the text shows that memory was the problem.
    if "memory" in str(error).lower():
        return ArchiveTooBig(
            "its compression needs more memory than it may use: 64 MiB for xz, a window of 32 MiB for zstd",
            hint="Compress it again, xz with -6 or less, zstd without --long and --ultra.",
        )
    return CorruptArchive(f"the compressed stream is damaged: {error}")


def _decompress(source: IO[bytes], make: Callable[[], Decompressor], limit: int, into: IO[bytes]) -> None:
    made, total, given = make(), 0, b""
    while True:
        if made.eof:
            given = made.unused_data or source.read(_STEP)
            # tar and tapes pad to the record size with zeroes, which mean nothing.
            while given and not given.strip(b"\0"):
                given = source.read(_STEP)
            if not given:
                return
            made = make()
        elif made.needs_input:
            given = source.read(_STEP)
            if not given:
                raise EOFError("it ends in the middle")
        out = made.decompress(given, _STEP)
        given = b""
        total += len(out)
        if total > limit:
            raise ArchiveTooBig(f"it unpacks to more than {limit:,} bytes")
        into.write(out)
