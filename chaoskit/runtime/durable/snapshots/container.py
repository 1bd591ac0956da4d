"""The bytes of a snapshot: an envelope, the state in JSON, raw buffers, and a checksum over all of them.

=======================  ===================================================================
bytes                    content
=======================  ===================================================================
0 to 8                   the magic, with characters that a transfer as text would change
8 to 12, 12 to 16        version of this format; CRC-32 of the envelope
16 to 24                 length of the envelope
24 to …                  the envelope, JSON: ``checksum``, ``state`` and ``buffers`` (their lengths), ``meta``
…                        the state, JSON
…                        each buffer, at the next multiple of 64 bytes
the rest                 the digest of everything before it
=======================  ===================================================================

All integers are little-endian. The envelope has its own CRC, so that ``meta`` can be read without the rest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, TypeAlias
from zlib import crc32

from chaoskit.runtime.durable.snapshots.checksums import digest_of, size_of
from chaoskit.runtime.failures.stored import RecordCorrupt, StoreTooNew

__all__ = ["PREFIX_SIZE", "Buffer", "Envelope", "Unpacked", "envelope_length", "pack", "read_envelope"]
__all__ += ["unpack"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_MAGIC = b"\x89CKS\r\n\x1a\n"
_PREFIX = struct.Struct("<8sIIQ")
_FORMAT = 1
_ALIGN = 64

PREFIX_SIZE = _PREFIX.size


@dataclass(frozen=True)
class Envelope:
    """The facts about a snapshot that can be read without its state. Lengths are in bytes."""

    checksum: str
    state: int
    buffers: list[int]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Unpacked:
    """The content of a snapshot whose checksum was verified."""

    state: Any
    buffers: list[memoryview]


def pack(state: Any, meta: dict[str, Any], buffers: Sequence[Buffer], checksum: str) -> list[Buffer]:
    """The snapshot in pieces, so that large buffers need not be copied.

    Raises:
        UnicodeEncodeError: a text holds a lone surrogate.
    """
    text = _json(state)
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    envelope = _json({"checksum": checksum, "state": len(text), "buffers": sizes, "meta": meta})
    prefix = _PREFIX.pack(_MAGIC, _FORMAT, crc32(envelope), len(envelope))
    pieces: list[Buffer] = [prefix, envelope, text]
    length = len(prefix) + len(envelope) + len(text)
    for buffer, size in zip(buffers, sizes, strict=True):
        # Loaded arrays use the memory that the file was read into, and must be aligned there.
        padding = -length % _ALIGN
        pieces += [bytes(padding), buffer]
        length += padding + size
    return [*pieces, digest_of(checksum, pieces)]


def _json(value: Any) -> bytes:
    # json would write NaN, which is not JSON. The check for cycles is off: the encoder has already made it.
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    ).encode()


def unpack(data: memoryview) -> Unpacked:
    """Verify a snapshot and split it into its parts.

    Raises:
        RecordCorrupt: these are not bytes that ``pack`` made.
        StoreTooNew: a newer version made them.
        ConfigurationError: the checksum cannot be computed here.
    """
    envelope = read_envelope(data)
    offset = start = _PREFIX.size + envelope_length(data[: _PREFIX.size])
    offset += envelope.state
    buffers = []
    for size in envelope.buffers:
        offset += -offset % _ALIGN
        buffers.append(data[offset : offset + size])
        offset += size
    digest_size = size_of(envelope.checksum)
    if digest_size is None:
        expected = "expected one that this version knows"
        raise StoreTooNew(f"the snapshot has the checksum {envelope.checksum!r}; {expected}")
    if data.nbytes != offset + digest_size:
        raise _corrupt(f"has {data.nbytes} bytes", f"{offset + digest_size}")
    # In constant time, as a keyed digest would need: timing must not reveal it byte by byte.
    if not compare_digest(digest_of(envelope.checksum, [data[:offset]]), data[offset:]):
        raise _corrupt(f"does not have the {envelope.checksum} that it was written with", "an unchanged file")
    return Unpacked(_parsed(data[start : start + envelope.state]), buffers)


def envelope_length(prefix: Buffer) -> int:
    """The length in bytes of the envelope that follows these first ``PREFIX_SIZE`` bytes.

    Raises:
        RecordCorrupt, StoreTooNew: as ``unpack``.
    """
    if memoryview(prefix).nbytes < _PREFIX.size:
        raise _corrupt("ends within its first bytes", "a whole file")
    magic, version, _, length = _PREFIX.unpack(prefix)
    # Before the version, which means nothing in another kind of file.
    if magic != _MAGIC:
        raise _corrupt("does not begin as a snapshot does", "the bytes of a snapshot")
    if version > _FORMAT:
        raise StoreTooNew(f"the snapshot has format {version}; expected {_FORMAT} or less")
    return int(length)


def read_envelope(data: Buffer) -> Envelope:
    """The envelope. ``data`` begins with the first byte of the snapshot, and holds the envelope at least.

    Raises:
        RecordCorrupt, StoreTooNew: as ``unpack``.
    """
    view = memoryview(data)
    length = envelope_length(view[: _PREFIX.size])
    text = view[_PREFIX.size : _PREFIX.size + length]
    if text.nbytes != length or crc32(text) != _PREFIX.unpack(view[: _PREFIX.size])[2]:
        raise _corrupt("has an envelope that is not what was written", "an unchanged file")
    found = _parsed(text)
    try:
        envelope = Envelope(found["checksum"], found["state"], found["buffers"], found["meta"])
        lengths = [envelope.state, *envelope.buffers]
    except (TypeError, LookupError) as error:
        raise _corrupt("has an envelope without its parts", "checksum, state, buffers and meta") from error
    if not envelope.buffers or not all(type(one) is int and one >= 0 for one in lengths):
        raise _corrupt("has an envelope without lengths", "one for the state and one for each buffer")
    return envelope


def _parsed(text: memoryview) -> Any:
    try:
        return json.loads(bytes(text), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _corrupt(f"cannot be read: {error}", "JSON") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _corrupt(seen: str, expected: str) -> RecordCorrupt:
    return RecordCorrupt(
        f"the snapshot {seen}; expected {expected}", hint="Do not use it; load the snapshot before it."
    )
