"""Reads the Python stack of a waiting thread from the memory of its process.

The workload's process is a fork of this one, so its frames, code objects and strings have our layout, which
``layout`` finds; the layout of another interpreter is found by running it (``interpreters``). A layout is
checked against ``sys._getframe`` before it is used (:func:`calibrate`). If the check fails, stacks are empty
and :attr:`Layout.missing` has the reason.

Nothing runs in the observed process: no signal, no handler, no pipe. So threads that block signals, ``vfork``
children and calls inside C libraries are read like any other.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from chaoskit.core.operation import Frame
from chaoskit.inject.kernel.workload import imports
from chaoskit.inject.kernel.workload.layout import (
    FRAME_BYTES,
    STRING_LENGTH,
    STRING_STATE,
    TAG,
    Layout,
    back,
    current_thread_state,
    find,
    frame_address,
    interpreter,
)
from chaoskit.inject.kernel.workload.memory import Memory

_WORD = struct.Struct("=Q")
# How many bytes below a frame are read with it: some twenty frames of ordinary functions.
_WINDOW = 2048
# An infinite recursion must not be read to its end.
_MAX_FRAMES = 200


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The addresses of the interpreter's record and the calling thread's, which are the same in a fork."""

    interpreter: int = 0
    state: int = 0


def whereabouts() -> Whereabouts:
    """The records of the calling thread; both 0 if stacks cannot be read anyway."""
    return Whereabouts() if calibrate().missing else Whereabouts(interpreter(), current_thread_state())


_layout: Layout | None = None


def calibrate() -> Layout:
    """The layout of this interpreter, found and checked once per process; a fork inherits it."""
    global _layout
    if _layout is None:
        _layout = _tried(find())
    return _layout


def _tried(layout: Layout) -> Layout:
    """Return ``layout`` if it passes the check, else one that says why not."""
    if layout.missing:
        return layout
    memory = Memory(os.getpid())
    try:
        _check(layout, memory)
    except (LookupError, OSError, struct.error) as error:
        return Layout(missing=f"the layout of this interpreter's frames was not recognised ({error})")
    finally:
        memory.close()
    return layout


def _check(layout: Layout, memory: Memory) -> None:
    """Read our own stack from memory and compare. Raises LookupError if it differs."""
    frame = sys._getframe()
    reader = StackReader(memory, layout)
    seen = reader.walk(frame_address(memory, frame), stop=0)
    expected: list[tuple[str, str]] = []
    walk: FrameType | None = frame
    while walk is not None and len(expected) < 3:
        expected.append((walk.f_code.co_filename, walk.f_code.co_qualname))
        walk = walk.f_back
    if [(one.file, one.function) for one in seen[: len(expected)]] != expected:
        raise LookupError("a walk through our own frames gave other frames")
    # Skip the innermost frame: its line changes during the reading.
    if seen[1].line != back(frame).f_lineno:
        raise LookupError("a walk through our own frames gave other lines")


@dataclass(frozen=True, slots=True)
class _Code:
    file: str
    name: str
    lines: tuple[int, ...]
    """The line of each code unit of two bytes."""


class StackReader:
    """Reads stacks from one address space and remembers its code objects."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._layout = layout
        self._codes: dict[tuple[object, ...], _Code | None] = {}

    def of_thread(self, state: int, stop: int) -> tuple[Frame, ...]:
        """The frames of the thread with the record at ``state``, up to the code object ``stop``."""
        if self._layout.missing:
            return ()
        address: int | None = state
        for offset in self._layout.thread_frame:
            address = self._memory.word((address or 0) + offset)
            if not address:
                return ()
        return self.walk(address or 0, stop)

    def find_thread(self, interpreter: int, native_id: int) -> int | None:
        """The record of the thread with this kernel identifier; None if the interpreter has none."""
        if self._layout.missing:
            return None
        state = self._memory.word(interpreter + self._layout.thread_first)
        for _ in range(10_000):
            if not state or self.is_thread(state, native_id):
                return state
            state = self._memory.word(state + self._layout.thread_next)
        return None

    def is_thread(self, state: int, native_id: int) -> bool:
        """Return True if the record at ``state`` belongs to the thread with this kernel identifier."""
        return self._memory.word(state + self._layout.thread_native_id) == native_id

    def walk(self, address: int, stop: int) -> tuple[Frame, ...]:
        """The frames from that at ``address`` outwards."""
        found = self._frames(address, stop)
        codes = self._known([code for code, _ in found])
        start = self._layout.code_start
        frames = []
        for code, instruction in found:
            info = codes[code]
            if info is not None:
                unit = (instruction - code - start) // 2
                line = info.lines[unit] if 0 <= unit < len(info.lines) else 0
                frames.append(Frame(info.file, line, info.name))
        return tuple(frames)

    def _frames(self, address: int, stop: int) -> list[tuple[int, int]]:
        """The code object and instruction pointer of each frame."""
        layout, found = self._layout, []
        window, begin = b"", 0
        for _ in range(_MAX_FRAMES):
            # Callers are just below in the same chunk of memory, so one read usually has them all.
            if not begin <= address <= begin + len(window) - FRAME_BYTES:
                begin = max(address - _WINDOW, 0)
                window = self._memory.read(begin, _WINDOW + FRAME_BYTES)
                if len(window) < _WINDOW + FRAME_BYTES:
                    # The chunk begins nearer, or this frame is elsewhere.
                    begin, window = address, self._memory.read(address, FRAME_BYTES)
            at = address - begin
            if len(window) - at < FRAME_BYTES:
                break
            code = _WORD.unpack_from(window, at + layout.frame_code)[0] & TAG
            # The workload's frames end here; the rest are the test runner's.
            if code == stop:
                break
            found.append((code, _WORD.unpack_from(window, at + layout.frame_instruction)[0]))
            address = _WORD.unpack_from(window, at + layout.frame_previous)[0]
            if not address:
                break
        return found

    def _known(self, addresses: Sequence[int]) -> dict[int, _Code | None]:
        """The code object at each address; None if it cannot be read as one."""
        layout = self._layout
        fields = (layout.code_name, layout.code_file, layout.code_lines, layout.code_first_line)
        start, size = min(fields), max(fields) + 8 - min(fields)
        once = list(dict.fromkeys(addresses))
        heads = self._memory.read_each([(address + start, size) for address in once])
        known: dict[int, _Code | None] = dict.fromkeys(once)
        whole = {address: head for address, head in zip(once, heads, strict=True) if len(head) == size}
        for key, (address, head) in zip(self._keys(whole, start), whole.items(), strict=True):
            if key not in self._codes:
                self._codes[key] = self._load_code(head, start)
            known[address] = self._codes[key]
        return known

    def _keys(self, heads: dict[int, bytes], start: int) -> list[tuple[object, ...]]:
        """A key for each code object that differs from all others, even those freed by now."""
        if self._layout.numbered:
            return list(heads.items())
        # An address does not suffice, since it is reused after a free. So the key includes how name, file and
        # lines begin.
        layout = self._layout
        offsets = (layout.code_name, layout.code_file, layout.code_lines)
        places = [
            (_WORD.unpack_from(head, offset - start)[0] + STRING_LENGTH, 256)
            for head in heads.values()
            for offset in offsets
        ]
        begin = [
            blob[: 48 + _WORD.unpack_from(blob)[0]] if len(blob) >= 8 else b""
            for blob in self._memory.read_each(places)
        ]
        return [(*item, *begin[3 * i : 3 * i + 3]) for i, item in enumerate(heads.items())]

    def _load_code(self, head: bytes, start: int) -> _Code | None:
        layout = self._layout
        (first_line,) = struct.unpack_from("=i", head, layout.code_first_line - start)
        table = self._bytes(_WORD.unpack_from(head, layout.code_lines - start)[0])
        file = self._string(_WORD.unpack_from(head, layout.code_file - start)[0])
        name = self._string(_WORD.unpack_from(head, layout.code_name - start)[0])
        # Omit shims, by which the interpreter enters Python from C and which have no line, and our measuring
        # of imports.
        if table is None or not file or name is None:
            return None
        if file.startswith("<shim") or file == imports.__file__:
            return None
        return _Code(file, name, _lines(table, first_line))

    def _bytes(self, address: int) -> bytes | None:
        size = self._memory.word(address + 16)
        # No location table has 16 MiB, so something else is at this address.
        if size is None or not 0 <= size < 1 << 24:
            return None
        return self._memory.read(address + self._layout.bytes_content, size)

    def _string(self, address: int) -> str | None:
        head = self._memory.read(address, 40)
        if len(head) < 40:
            return None
        (length,) = _WORD.unpack_from(head, STRING_LENGTH)
        (state,) = struct.unpack_from("=I", head, STRING_STATE)
        place = self._layout.strings.kinds.get(state & self._layout.strings.mask)
        if place is None or length > 1 << 16:
            return None
        offset, width = place
        raw = self._memory.read(address + offset, length * width)
        return raw.decode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width], "replace")


def _lines(table: bytes, first_line: int) -> tuple[int, ...]:
    """Decode a location table into one line per code unit.

    Format: ``Objects/locations.md`` (``InternalDocs/code_objects.md`` from 3.13 on) in CPython: each entry
    starts with a byte whose high bit is set, with a code in bits 3 to 6 and the number of code units minus
    one in bits 0 to 2. The line is relative to the previous entry.
    """
    out: list[int] = []
    line, position = first_line, 0
    while position < len(table):
        head = table[position]
        position += 1
        kind, units = head >> 3 & 15, (head & 7) + 1
        shown = line
        # This code unit belongs to no line.
        if kind == 15:
            shown = 0
        elif kind >= 13:
            delta, position = _signed_varint(table, position)
            line = shown = line + delta
        elif kind >= 10:
            line = shown = line + kind - 10
        out += [shown] * units
        while position < len(table) and not table[position] & 0x80:
            position += 1
    return tuple(out)


def _signed_varint(table: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = table[position]
        position += 1
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            return (-(value >> 1) if value & 1 else value >> 1), position
