"""Programs that keep the path of their directory: where it can be read, and where it cannot.

Each has a store with ``save`` and ``load``; ``synced=False`` is the bug: a new file takes the place of an
older one before its data is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path


def seen(path: Path, note: str) -> bytes:
    """The path as it stands, with a checksum over it."""
    body = json.dumps({"at": str(path), "note": note}).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def of_seen(path: Path, data: bytes) -> str:
    digest, body = data.split(b"\n")
    assert digest == hashlib.sha256(body).hexdigest().encode(), "the checksum does not fit"
    value = json.loads(body)
    assert value["at"] == str(path), "this belongs elsewhere"
    return str(value["note"])


def packed(path: Path, note: str) -> bytes:
    """The same, compressed: the path cannot be found in it."""
    return zlib.compress(seen(path, note))


def of_packed(path: Path, data: bytes) -> str:
    return of_seen(path, zlib.decompress(data))


def hashed(path: Path, note: str) -> bytes:
    """A checksum over the path, which itself is not kept."""
    return hashlib.sha256(f"{path} {note}".encode()).hexdigest().encode() + b"\n" + note.encode()


def of_hashed(path: Path, data: bytes) -> str:
    digest, note = data.split(b"\n")
    fits = hashlib.sha256(f"{path} {note.decode()}".encode()).hexdigest().encode() == digest
    assert fits, "the checksum does not fit"
    return note.decode()


FORMS: dict[str, tuple[Callable[[Path, str], bytes], Callable[[Path, bytes], str]]] = {
    "seen": (seen, of_seen),
    "packed": (packed, of_packed),
    "hashed": (hashed, of_hashed),
}


def save(path: Path, note: str, form: str, synced: bool) -> Path:
    """Put ``note`` in place of what is there, and return where it is."""
    fresh = path.with_suffix(".new")
    with open(fresh, "wb", buffering=0) as file:
        data = FORMS[form][0](path, note)
        # In two writes, neither of which has all of it.
        file.write(data[:100])
        file.write(data[100:])
        if synced:
            os.fsync(file.fileno())
    os.rename(fresh, path)
    if synced:
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    return path


def load(path: Path, form: str) -> str:
    """What was saved last."""
    return FORMS[form][1](path, path.read_bytes())
