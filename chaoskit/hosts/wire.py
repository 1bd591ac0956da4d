"""Messages over a pipe: each a pickle behind its length.

They go between processes of one user that run one project, on machines that the user has named; pickles from
elsewhere would execute code.
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
"""What thousands of jobs of one scenario have in common, and is large: it is sent once."""


def _read_only(content: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(content)


def _reduced(mapping: Mapping[Any, Any]) -> tuple[Callable[[dict[Any, Any]], object], tuple[object]]:
    return _read_only, (dict(mapping),)


class Packer:
    """Packs messages to one host, of one scenario: what jobs share goes along the first time only."""

    def __init__(self) -> None:
        # Kept alive, so that no other object gets the same number.
        self._known: dict[int, object] = {}

    def pack(self, message: object) -> bytes:
        """The frame of a message.

        Raises:
            Exception: whatever an object in it raises that cannot be packed.
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
        # What was found last is needed first.
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
        """The number of what is shared; None for what is written out."""
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
    """Takes apart what a :class:`Packer` has packed, in the same order."""

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
    """``body`` behind its length."""
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes frames out of bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now, without their lengths."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield frame


def write_all(fd: int, data: bytes) -> None:
    """Write all of it to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
