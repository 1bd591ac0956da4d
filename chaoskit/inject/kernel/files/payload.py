"""The data of writes, held in memory up to a bound, and beyond it in a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaoskit.core.operation import Bytes, Payload
from chaoskit.inject.kernel.files import extents

IN_MEMORY = 32 * 1024 * 1024
"""Bytes of captured data kept in memory for one run; later data goes to a file."""


@dataclass(frozen=True, slots=True)
class Spilled:
    """A payload in the spill file; forked processes may read it at the same time."""

    file: _SpillFile
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        return self.part(0, self.length)

    def part(self, start: int, length: int) -> bytes:
        # One pread returns at most 2 GiB. A reader that asks for too much gets what there is.
        wanted, offset = max(0, min(length, self.length - start)), self.offset + start
        found = os.pread(self.file.fd, wanted, offset)
        while len(found) < wanted:
            more = os.pread(self.file.fd, wanted - len(found), offset + len(found))
            if not more:
                break
            found += more
        return found

    # A process not forked from this one cannot read our file.
    def __reduce__(self) -> tuple[type[Bytes], tuple[bytes]]:
        return (Bytes, (self.read(),))


WHOLE = 1 << 63
"""More bytes than any file has."""


class _SpillFile:
    """A file that stays open while a payload refers to it."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(prefix="chaoskit-") as file:
            # The name is gone already; the descriptor must outlive the Python object.
            self.fd = os.dup(file.fileno())
        self.size = 0

    def append(self, data: bytes) -> Spilled:
        return self.sparse(len(data), iter(((0, data),)))

    def sparse(self, length: int, parts: Iterator[tuple[int, bytes]]) -> Spilled:
        """Store a payload of ``length`` bytes, all zero except for ``parts``, which have offsets in it."""
        begin = self.size
        for offset, data in parts:
            view, place = memoryview(data), begin + offset
            while view:
                written = os.pwrite(self.fd, view, place)
                place += written
                view = view[written:]
        # Parts that were not written are holes here, too.
        self.size = begin + length
        os.ftruncate(self.fd, self.size)
        return Spilled(self, begin, length)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Closed with the last payload, which may outlive the run; by the real close, even while pyfakefs
        # replaces ``os`` in this module.
        close(self.fd)


class PayloadStore:
    """Takes the payloads of one run."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._left = in_memory
        self._file: _SpillFile | None = None

    def keep(self, data: bytes) -> Payload:
        """Store ``data``."""
        if len(data) <= self._left:
            self._left -= len(data)
            return Bytes(data)
        return self._spilled().append(data)

    def copy(self, fd: int, start: int, length: int) -> Payload:
        """Store up to ``length`` bytes of a file, with little of it in memory at a time.

        Raises OSError if the file cannot be read.
        """
        length = max(0, min(length, os.fstat(fd).st_size - start))
        parts = extents.data(fd, start, start + length)
        if length > self._left:
            return self._spilled().sparse(length, ((offset - start, part) for offset, part in parts))
        whole = bytearray(length)
        for offset, part in parts:
            whole[offset - start : offset - start + len(part)] = part
        return self.keep(bytes(whole))

    def _spilled(self) -> _SpillFile:
        if self._file is None:
            self._file = _SpillFile()
        return self._file
