"""The decompressed stream of an archive, in a file without a name, never larger than it may be.

A compressed tar is decompressed completely before anything in it is trusted. Read as a stream, a gzip file
that was cut before its trailer ends without an error, and an extended header of 400 MB is in memory before
the first member is seen.
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
"""Bytes that a decompressor of xz may use: 32 bytes of input can ask for a dictionary of 3 GiB."""


class Decompressor(Protocol):
    """What bz2, lzma and zstd have in common; :class:`_Gzip` gives it to gzip."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """Gives zlib the interface of the others."""

    def __init__(self) -> None:
        self._made = zlib.decompressobj(wbits=31)  # 31: a gzip header and trailer, CRC and length checked.

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
    # Frames to be skipped: pzstd, which compresses in threads, begins with one.
    *((bytes([0x50 + n]) + b"\x2a\x4d\x18", zstd_decompressor) for n in range(16)),
)
"""How a compressed stream begins. The old ``.lzma`` is not among them: it has no checksum and no end."""


def compression(head: bytes) -> Callable[[], Decompressor] | None:
    """What makes a decompressor for a file that begins with ``head``; None if it is not compressed."""
    return next((make for magic, make in MAGICS if head.startswith(magic)), None)


def spool(
    source: IO[bytes], make: Callable[[], Decompressor], limit: int, directory: Path | None
) -> IO[bytes]:
    """Decompress ``source`` to its end into a file without a name, at most ``limit`` bytes.

    The file is in ``directory``, None for the system's place for such files.

    Concatenated streams count as one, as in all the tools. Anything else behind a stream is damage, though
    the tools let it pass: otherwise an archive could carry data that only some readers see.

    Raises:
        ArchiveTooBig: it unpacks to more, or needs more memory for that than it may have.
        ConfigurationError: it is compressed with zstd, and there is nothing here to read it.
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
    # Both libraries have one class for all that can be wrong, and only the text tells them apart.
    if "memory" in str(error).lower():
        return ArchiveTooBig(
            "its compression needs more memory than it may have: 64 MiB for xz, a window of 32 MiB for zstd",
            hint="Compress it again, xz with -6 or less, zstd without --long and --ultra.",
        )
    return CorruptArchive(f"the compressed stream is damaged: {error}")


def _decompress(source: IO[bytes], make: Callable[[], Decompressor], limit: int, into: IO[bytes]) -> None:
    made, total, given = make(), 0, b""
    while True:
        if made.eof:
            given = made.unused_data or source.read(_STEP)
            # tar pads to its record size, and so do tapes: zeroes after the end mean nothing.
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
