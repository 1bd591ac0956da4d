"""The format of an append-only log: a head, then records of length, CRC-32 and bytes.

The CRC covers the record's offset as well. So none of these passes for a record: a run of zeroes, which a
file system may leave in place of data that was not yet written; a record copied to another offset; a record
that is the content of another one. All integers are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

__all__ = [
    "HEAD_SIZE",
    "BadRecord",
    "LogRecord",
    "framed",
    "head",
    "intact_after",
    "parse_head",
    "reader",
    "records",
    "torn_tail",
]

_MAGIC = b"CKLOG\x01\r\n"
_HEAD = struct.Struct("<8sII")
_FRAME = struct.Struct("<II")
_PLACE = struct.Struct("<QI")
_CHUNK = 1 << 20

HEAD_SIZE = _HEAD.size

Read = Callable[[int, int], bytes]
"""``read(offset, size)`` returns ``size`` bytes; fewer only at the end of the file."""


@dataclass(frozen=True)
class LogRecord:
    """One record and its place: the frame begins at ``offset`` and ends before ``end``."""

    offset: int
    end: int
    data: bytes


class BadRecord(Exception):
    """There is no intact record at ``offset``, and the file does not end there."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def head(max_record: int) -> bytes:
    """The first bytes of a log whose records have at most ``max_record`` bytes."""
    return _HEAD.pack(_MAGIC, max_record, crc32(_MAGIC + max_record.to_bytes(4, "little")))


def parse_head(data: bytes) -> int | None:
    """The ``max_record`` that this head was made with; None if ``data`` is not a head."""
    if len(data) != HEAD_SIZE:
        return None
    max_record: int = _HEAD.unpack(data)[1]
    return max_record if head(max_record) == data else None


def framed(data: bytes, offset: int) -> bytes:
    """The bytes to write for a record that begins at ``offset``."""
    return _FRAME.pack(len(data), _sum(data, offset)) + data


def _sum(data: bytes | memoryview, offset: int) -> int:
    return crc32(data, crc32(_PLACE.pack(offset, len(data))))


def records(read: Read, start: int, stop: int, max_record: int) -> Iterator[LogRecord]:
    """The records from ``start`` on, in order, up to ``stop``.

    Raises:
        BadRecord: something other than an intact record comes before ``stop``.
    """
    base, chunk = start, b""
    offset = start
    while offset < stop:
        # One chunk suffices for most records. Only when it does not is the longest possible record read.
        for needed in (_FRAME.size, _FRAME.size + max_record):
            at = offset - base
            if len(chunk) - at < needed and base + len(chunk) < stop:
                base, at = offset, 0
                chunk = read(offset, min(max(needed, _CHUNK), stop - offset))
            record = _record(chunk, at, offset)
            if record is not None:
                break
        else:
            raise BadRecord(offset)
        yield record
        offset = record.end


def _record(chunk: bytes, at: int, offset: int) -> LogRecord | None:
    """The record at ``at`` in a chunk, if it is complete and intact."""
    if len(chunk) - at < _FRAME.size:
        return None
    length, expected = _FRAME.unpack_from(chunk, at)
    begin = at + _FRAME.size
    if length > len(chunk) - begin:
        return None
    data = chunk[begin : begin + length]
    if _sum(data, offset) != expected:
        return None
    return LogRecord(offset, offset + _FRAME.size + length, data)


def intact_after(read: Read, damage: int, stop: int, max_record: int) -> int | None:
    """The offset of the next intact record after a damaged place, or None.

    Tries every byte, since the length of a damaged record cannot be trusted.
    """
    offset = damage + 1
    while offset + _FRAME.size <= stop:
        chunk = read(offset, min(_CHUNK + _FRAME.size + max_record, stop - offset))
        for at in range(min(_CHUNK, max(len(chunk) - _FRAME.size + 1, 0))):
            length = int.from_bytes(chunk[at : at + 4], "little")
            if length <= max_record and _record(chunk, at, offset + at) is not None:
                return offset + at
        offset += _CHUNK
    return None


def torn_tail(read: Read, damage: int, stop: int, max_record: int) -> bool:
    """True if the damage can be the one record that was being written at the moment of the crash.

    It cannot be if an intact record follows, or more bytes than one record can have.
    """
    # Records are appended one at a time, so a crash tears at most one.
    short = stop - damage <= _FRAME.size + max_record
    return short and intact_after(read, damage, stop, max_record) is None


def reader(descriptor: int) -> Read:
    """A function that reads from an open file, at an offset."""

    def read(offset: int, size: int) -> bytes:
        if not hasattr(os, "pread"):
            os.lseek(descriptor, offset, os.SEEK_SET)  # Windows. The log's lock keeps others from moving it.
        pieces = []
        while size:
            piece = os.pread(descriptor, size, offset) if hasattr(os, "pread") else os.read(descriptor, size)
            if not piece:
                break
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return b"".join(pieces)

    return read
