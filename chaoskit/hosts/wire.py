"""Messages over a pipe: each is its length and a pickle.

They are exchanged only by processes of one user and one project, on machines that the user has named: a
stranger's pickle could execute code.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from chaoskit.explore.crash.worlds import CrashHistory
from chaoskit.explore.job import Expected

_LENGTH = struct.Struct("<I")
_SHARED = (CrashHistory, Expected)
"""Large objects that thousands of jobs of a scenario share: they are sent once."""


def _read_only(content: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(content)


def _reduced(mapping: Mapping[Any, Any]) -> tuple[Callable[[dict[Any, Any]], object], tuple[object]]:
    return _read_only, (dict(mapping),)


class Packer:
    """Packs the messages of one scenario for one host; shared objects are sent only once."""

    def __init__(self) -> None:
        # Keeps the objects alive, so that no other gets the same id.
        self._known: dict[int, object] = {}

    def pack(self, message: object) -> bytes:
        """The frame of a message.

        Raises:
            Exception: whatever an object raises that cannot be packed.
        """
        fresh: dict[int, object] = {}
        body = _dumped(message, self._known, fresh)
        waiting, shared = list(fresh), []
        while waiting:
            number = waiting.pop()
            more: dict[int, object] = {}
            shared.append((number, _dumped(fresh[number], {**self._known, **fresh}, more, itself=True)))
            fresh |= more
            waiting += more
        self._known |= fresh
        # Reversed, because an object found within another has to be unpacked before it.
        return framed(pickle.dumps((shared[::-1], body), pickle.HIGHEST_PROTOCOL))


class _Pickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table[MappingProxyType] = _reduced

    def __init__(self, file: io.BytesIO, known: Mapping[int, object], fresh: dict[int, object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._known = known
        self._fresh = fresh
        self.whole: object = None

    def persistent_id(self, value: object) -> int | None:
        """The number of a shared object; None for others, which are written out."""
        if value is self.whole or not isinstance(value, _SHARED):
            return None
        if id(value) not in self._known:
            self._fresh[id(value)] = value
        return id(value)


def _dumped(
    message: object, known: Mapping[int, object], fresh: dict[int, object], *, itself: bool = False
) -> bytes:
    file = io.BytesIO()
    pickler = _Pickler(file, known, fresh)
    pickler.whole = message if itself else None
    pickler.dump(message)
    return file.getvalue()


class Unpacker:
    """Unpacks the messages of a :class:`Packer`, in the same order."""

    def __init__(self) -> None:
        self._known: dict[int, object] = {}

    def unpack(self, body: bytes) -> Any:
        """The message of a frame without its length."""
        shared, message = pickle.loads(body)
        for number, text in shared:
            self._known[number] = self._loaded(text)
        return self._loaded(message)

    def _loaded(self, text: bytes) -> Any:
        unpickler = pickle.Unpickler(io.BytesIO(text))
        unpickler.persistent_load = self._known.__getitem__  # type: ignore[method-assign]
        return unpickler.load()


def framed(body: bytes) -> bytes:
    """``body`` with its length in front."""
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Splits incoming bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete now, without their lengths."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield frame


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data`` to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
