"""The Python stack of a thread in another process, read from its memory while it waits.

The workload's process is a fork of this one and runs the same interpreter, so the layout of its
frames, code objects and strings is ours. The layout is not taken from a table of versions: it is
found by looking at objects of this process whose content is known (:func:`calibrate`), and what is
found is checked against ``sys._getframe`` before it is used. Where that fails, stacks are empty and
the reason is kept in :attr:`Layout.missing`.

Nothing runs in the observed process: no signal, no handler, no pipe. A thread that blocks signals,
a ``vfork`` child or a call made inside of a C library is read like any other.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import CodeType, FrameType

from chaoskit.core.operation import Frame
from chaoskit.inject.kernel.workload.memory import Memory

_WORD = struct.Struct("=Q")
_TAG = 0xFFFFFFFFFFFFFFFC
"""From 3.14 on, the two low bits of a reference in a frame are a tag."""
_F_FRAME = 24
"""In a frame object: after reference count, type and ``f_back``, the pointer to the frame itself."""
# Enough for the fields that are read, in every version so far.
_FRAME_BYTES = 96
_THREAD_BYTES = 1024
# The record is that large: locks, caches and counters come before the threads.
_INTERPRETER_BYTES = 1 << 18
# A recursion that never ends must not be read to its end.
_MAX_FRAMES = 200
_NUMBERED = sys.version_info >= (3, 12)
"""True where every code object has a number, ``co_version``, between the fields read here."""
_STRING_STATE, _STRING_LENGTH = 32, 16


@dataclass(frozen=True, slots=True)
class _Strings:
    """Where a string keeps its characters: by the bits of its state word, (offset, width)."""

    mask: int
    kinds: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes, as found in this interpreter."""

    frame_code: int = 0
    frame_previous: int = 0
    frame_instruction: int = 0
    code_start: int = 0
    code_name: int = 0
    code_file: int = 0
    code_lines: int = 0
    code_first_line: int = 0
    bytes_content: int = 0
    thread_frame: tuple[int, ...] = ()
    thread_first: int = 0
    """In the interpreter's record: the pointer to the first of its threads."""
    thread_next: int = 0
    thread_native_id: int = 0
    strings: _Strings = _Strings(0, {})
    missing: str = ""
    """Why stacks cannot be read; empty when they can."""


def current_thread_state() -> int:
    """The address of the interpreter's record of the calling thread."""
    get = ctypes.pythonapi.PyThreadState_Get
    get.restype = ctypes.c_void_p
    return int(get())


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Addresses of the interpreter's record and of the calling thread's; a fork has them too."""

    interpreter: int = 0
    state: int = 0


def whereabouts() -> Whereabouts:
    """Where the calling thread is; nowhere if stacks cannot be read anyway."""
    return Whereabouts() if calibrate().missing else Whereabouts(_interpreter(), current_thread_state())


def _interpreter() -> int:
    get = ctypes.pythonapi.PyInterpreterState_Get
    get.restype = ctypes.c_void_p
    return int(get())


def _first_thread() -> int:
    head = ctypes.pythonapi.PyInterpreterState_ThreadHead
    head.restype = ctypes.c_void_p
    return int(head(ctypes.c_void_p(_interpreter())))


_layout: Layout | None = None


def calibrate() -> Layout:
    """Find the layout of this interpreter, once per process; a fork inherits it."""
    global _layout
    if _layout is None:
        _layout = _find()
    return _layout


def _find() -> Layout:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # Every object has a longer head there, and each thread may run a private copy of the byte code,
        # so that a place in it tells no line.
        return Layout(missing="this is a free-threaded build of Python, whose frames are not read yet")
    try:
        return _Calibration().layout()
    except (LookupError, OSError, struct.error) as error:
        return Layout(missing=f"the layout of this interpreter's frames was not recognised ({error})")


class _Calibration:
    """Looks at this process through ``/proc/self/mem``, as it will at another."""

    def __init__(self) -> None:
        self.memory = Memory(os.getpid())

    def layout(self) -> Layout:
        try:
            frame, way = self._look()
            code = self._code(self._look.__code__)
            thread = self._threads()
            fields = frame | code | thread
            found = replace(Layout(thread_frame=way, strings=_strings(self.memory)), **fields)  # type: ignore[arg-type]
            _check(found, self.memory)
            return found
        except StopIteration:
            raise LookupError("a field that should be there was not found") from None
        finally:
            self.memory.close()

    def _look(self) -> tuple[dict[str, int], tuple[int, ...]]:
        """Find the running frame from the thread's record, and the fields of a frame.

        Reads with ``os.pread`` alone: a call of a Python function would be the running frame.
        """
        # A frame object points to the frame itself; what else points there is what we look for.
        here = sys._getframe()
        address = _frame_address(self.memory, here)
        state, fd = current_thread_state(), self.memory.descriptor()
        way: tuple[int, ...] | None = None
        blob = os.pread(fd, _THREAD_BYTES, state)
        for offset in range(0, len(blob) - 7, 8):
            (word,) = _WORD.unpack_from(blob, offset)
            if word == address:
                way = (offset,)
                break
            try:
                inner = os.pread(fd, 24, word) if word > 4096 else b""
            except (OSError, OverflowError):
                continue
            # From 3.11 on the way may have one step more: through the current C frame.
            found = [o for (o,) in ((0,), (8,), (16,)) if inner[o : o + 8] == _WORD.pack(address)]
            if found:
                way = (offset, found[0])
                break
        if way is None:
            raise LookupError("no running frame in the thread state")
        return self._frame(here, _back(here)), way

    def _frame(self, inner: FrameType, outer: FrameType) -> dict[str, int]:
        near = self._words(_frame_address(self.memory, inner), _FRAME_BYTES)
        far_address = _frame_address(self.memory, outer)
        far = self._words(far_address, _FRAME_BYTES)
        # In both frames at the same offset: one alone could be a coincidence.
        code = next(
            o
            for o, word in near.items()
            if word & _TAG == id(inner.f_code) and far.get(o, 0) & _TAG == id(outer.f_code)
        )
        previous = next(o for o, word in near.items() if word == far_address)
        end = id(outer.f_code) + sys.getsizeof(outer.f_code)
        for offset, word in far.items():
            # The instruction pointer less how far it has come is where the byte code begins.
            start = word - outer.f_lasti - id(outer.f_code)
            if id(outer.f_code) < word < end and 64 <= start <= 512 and start % 8 == 0:
                return {
                    "frame_code": code,
                    "frame_previous": previous,
                    "frame_instruction": offset,
                    "code_start": start,
                }
        raise LookupError("no instruction pointer in a frame")

    def _code(self, code: CodeType) -> dict[str, int]:
        words = self._words(id(code), 256)
        head = self.memory.read(id(code), 256)
        lines = next(o for o, word in words.items() if word == id(code.co_linetable))
        other = self._threads.__code__
        beside = self.memory.read(id(other), 256)
        # Small numbers occur everywhere, so two code objects are compared.
        first = next(
            o
            for o in range(16, 252, 4)
            if struct.unpack_from("=i", head, o)[0] == code.co_firstlineno
            and struct.unpack_from("=i", beside, o)[0] == other.co_firstlineno
        )
        # Text that stands nowhere else.
        sample = b"chaoskit calibrates"
        content = self.memory.read(id(sample), 64).index(sample)
        return {
            "code_lines": lines,
            "code_first_line": first,
            "code_file": next(o for o, word in words.items() if word == id(code.co_filename)),
            "code_name": next(o for o, word in words.items() if word == id(code.co_qualname)),
            "bytes_content": content,
        }

    def _threads(self) -> dict[str, int]:
        """Compare the records of two threads whose kernel identifiers are known."""
        first, second = _ThreadProbe(self.memory), _ThreadProbe(self.memory)
        native = [
            o
            for o, word in first.words.items()
            if word == first.native_id and second.words[o] == second.native_id
        ]
        if not native:
            raise LookupError("no kernel thread identifier in the thread state")
        return {
            "thread_native_id": native[0],
            "thread_next": next(
                o for o, word in first.words.items() if word == first.next == second.words[o] == second.next
            ),
            "thread_first": self._first(),
        }

    def _first(self) -> int:
        """Find the head of the list of threads: the newest one, not the running one."""
        # With one more thread the head of the list is another, so it can be told from what stays.
        go, running = threading.Event(), threading.Event()

        def stay() -> None:
            running.set()
            go.wait()

        thread = threading.Thread(target=stay, name="chaoskit-calibration")
        thread.start()
        running.wait()
        interpreter = _interpreter()
        during, newest = self._words(interpreter, _INTERPRETER_BYTES), _first_thread()
        go.set()
        thread.join()
        after, remaining = self._words(interpreter, _INTERPRETER_BYTES), _first_thread()
        return next(o for o, word in during.items() if word == newest and after.get(o) == remaining)

    def _words(self, address: int, size: int) -> dict[int, int]:
        blob = self.memory.read(address, size)
        return {o: _WORD.unpack_from(blob, o)[0] for o in range(0, len(blob) - 7, 8)}


class _ThreadProbe:
    """Starts a thread that looks at its own record, and waits for it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.state = self.next = self.native_id = 0
        self.words: dict[int, int] = {}
        thread = threading.Thread(target=self._look, name="chaoskit-calibration")
        thread.start()
        thread.join()

    def _look(self) -> None:
        following = ctypes.pythonapi.PyThreadState_Next
        following.restype = ctypes.c_void_p
        self.state = current_thread_state()
        self.native_id = threading.get_native_id()
        self.next = int(following(ctypes.c_void_p(self.state)) or 0)
        blob = self.memory.read(self.state, _THREAD_BYTES)
        self.words.update({o: _WORD.unpack_from(blob, o)[0] for o in range(0, len(blob) - 7, 8)})


def _back(frame: FrameType) -> FrameType:
    if frame.f_back is None:
        raise LookupError("a frame without a caller")
    return frame.f_back


def _frame_address(memory: Memory, frame: FrameType) -> int:
    address = memory.word(id(frame) + _F_FRAME)
    if address is None:
        raise LookupError("a frame object that cannot be read")
    return address


def _strings(memory: Memory) -> _Strings:
    """Learn which bits of a string's state word tell where its characters are, and how wide."""
    samples = {
        "".join(["ascii", "7"]): 1,
        chr(0xE9) + "t\xe9": 1,
        chr(0x4E2D) + "x": 2,
        chr(0x1F600) + "x": 4,
    }
    states = {text: struct.unpack("=I", memory.read(id(text) + _STRING_STATE, 4))[0] for text in samples}
    mask = _state_mask([(states[text], width, text.isascii()) for text, width in samples.items()])
    kinds = {}
    for text, width in samples.items():
        raw = text.encode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width])
        kinds[states[text] & mask] = (memory.read(id(text), 128).index(raw), width)
    return _Strings(mask, kinds)


def _state_mask(samples: Sequence[tuple[int, int, bool]]) -> int:
    """The bits of ``kind``, ``compact`` and ``ascii``, which follow each other in a string's state.

    Where they start differs between builds (behind two bits or a byte for ``interned``), even within
    3.14; the bits around them are in part never written, so they tell nothing.
    """
    for shift in range(28):
        if all(
            state >> shift & 0x1F == width | 1 << 3 | ascii_only << 4 for state, width, ascii_only in samples
        ):
            return 0x1F << shift
    raise LookupError("the kind of a string was not found in its state")


def _check(layout: Layout, memory: Memory) -> None:
    """Read our own stack as if it were another's, and compare. Raises LookupError if it differs."""
    frame = sys._getframe()
    reader = StackReader(memory, layout)
    seen = reader.walk(_frame_address(memory, frame), stop=0)
    expected: list[tuple[str, str]] = []
    walk: FrameType | None = frame
    while walk is not None and len(expected) < 3:
        expected.append((walk.f_code.co_filename, walk.f_code.co_qualname))
        walk = walk.f_back
    if [(one.file, one.function) for one in seen[: len(expected)]] != expected:
        raise LookupError("a walk through our own frames gave other frames")
    # Not the line of the innermost frame: it moves while it is read.
    if seen[1].line != _back(frame).f_lineno:
        raise LookupError("a walk through our own frames gave other lines")


@dataclass(frozen=True, slots=True)
class _Code:
    file: str
    name: str
    lines: tuple[int, ...]
    """Line by code unit of two bytes."""


class StackReader:
    """Reads stacks from one address space; code objects are remembered as long as it lives."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._layout = layout
        self._codes: dict[tuple[object, ...], _Code | None] = {}

    def of_thread(self, state: int, stop: int) -> tuple[Frame, ...]:
        """The frames of the thread whose record is at ``state``; ends before code object ``stop``."""
        if self._layout.missing:
            return ()
        address: int | None = state
        for offset in self._layout.thread_frame:
            address = self._memory.word((address or 0) + offset)
            if not address:
                return ()
        return self.walk(address or 0, stop)

    def find_thread(self, interpreter: int, native_id: int) -> int | None:
        """The record of the thread with a kernel identifier; None if the interpreter has none."""
        if self._layout.missing:
            return None
        state = self._memory.word(interpreter + self._layout.thread_first)
        for _ in range(10_000):
            if not state or self.is_thread(state, native_id):
                return state
            state = self._memory.word(state + self._layout.thread_next)
        return None

    def is_thread(self, state: int, native_id: int) -> bool:
        """Return True if the record at ``state`` is that of the thread with a kernel identifier."""
        return self._memory.word(state + self._layout.thread_native_id) == native_id

    def walk(self, address: int, stop: int) -> tuple[Frame, ...]:
        """Follow the frames from the one at ``address`` outwards."""
        layout, frames = self._layout, []
        for _ in range(_MAX_FRAMES):
            blob = self._memory.read(address, _FRAME_BYTES)
            if len(blob) < _FRAME_BYTES:
                break
            code = _WORD.unpack_from(blob, layout.frame_code)[0] & _TAG
            # The workload's own frames end here; below are the test runner's.
            if code == stop:
                break
            info = self._code(code)
            if info is not None:
                unit = (_WORD.unpack_from(blob, layout.frame_instruction)[0] - code - layout.code_start) // 2
                line = info.lines[unit] if 0 <= unit < len(info.lines) else 0
                frames.append(Frame(info.file, line, info.name))
            address = _WORD.unpack_from(blob, layout.frame_previous)[0]
            if not address:
                break
        return tuple(frames)

    def _code(self, address: int) -> _Code | None:
        layout = self._layout
        start = min(layout.code_name, layout.code_file, layout.code_lines, layout.code_first_line)
        end = 8 + max(layout.code_name, layout.code_file, layout.code_lines, layout.code_first_line)
        head = self._memory.read(address + start, end - start)
        if len(head) < end - start:
            return None
        key = (address, head) if _NUMBERED else (address, head, *self._beginnings(head, start))
        if key not in self._codes:
            self._codes[key] = self._load_code(head, start)
        return self._codes[key]

    def _beginnings(self, head: bytes, start: int) -> Iterator[bytes]:
        """How name, file and lines of a code object begin.

        Their addresses are not enough to know it again: what is freed is soon in use for the next.
        """
        layout = self._layout
        for offset in (layout.code_name, layout.code_file, layout.code_lines):
            blob = self._memory.read(_WORD.unpack_from(head, offset - start)[0] + _STRING_LENGTH, 256)
            length = _WORD.unpack_from(blob)[0] if len(blob) >= 8 else 0
            yield blob[: 48 + length]

    def _load_code(self, head: bytes, start: int) -> _Code | None:
        layout = self._layout
        (first_line,) = struct.unpack_from("=i", head, layout.code_first_line - start)
        table = self._bytes(_WORD.unpack_from(head, layout.code_lines - start)[0])
        file = self._string(_WORD.unpack_from(head, layout.code_file - start)[0])
        name = self._string(_WORD.unpack_from(head, layout.code_name - start)[0])
        # A shim is how the interpreter enters Python from C; it has no line.
        if table is None or file is None or name is None or not file or file.startswith("<shim"):
            return None
        return _Code(file, name, _lines(table, first_line))

    def _bytes(self, address: int) -> bytes | None:
        size = self._memory.word(address + 16)
        if size is None or not 0 <= size < 1 << 24:
            return None
        return self._memory.read(address + self._layout.bytes_content, size)

    def _string(self, address: int) -> str | None:
        head = self._memory.read(address, 40)
        if len(head) < 40:
            return None
        (length,) = _WORD.unpack_from(head, _STRING_LENGTH)
        (state,) = struct.unpack_from("=I", head, _STRING_STATE)
        place = self._layout.strings.kinds.get(state & self._layout.strings.mask)
        if place is None or length > 1 << 16:
            return None
        offset, width = place
        raw = self._memory.read(address + offset, length * width)
        return raw.decode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width], "replace")


def _lines(table: bytes, first_line: int) -> tuple[int, ...]:
    """Decode a location table to one line per code unit.

    Format: ``Objects/locations.md`` (``InternalDocs/code_objects.md`` from 3.13 on) in CPython: each
    entry starts with a byte with its high bit set, that holds a code in bits 3 to 6 and the number
    of code units less one in bits 0 to 2; the line is a difference to that of the entry before.
    """
    out: list[int] = []
    line, position = first_line, 0
    while position < len(table):
        head = table[position]
        position += 1
        kind, units = head >> 3 & 15, (head & 7) + 1
        shown = line
        # A code unit that belongs to no line.
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
