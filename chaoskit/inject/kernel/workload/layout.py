"""Where this interpreter keeps what a stack is read from: frames, code objects, strings, threads.

The layout is not taken from a table of versions: it is found by looking at objects of this process whose
content is known, so that a build no one has seen before is read as well, or is refused with a reason.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from types import CodeType, FrameType
from typing import Any

from chaoskit.inject.kernel.workload.memory import Memory, Unreadable

_WORD = struct.Struct("=Q")
TAG = 0xFFFFFFFFFFFFFFFC
"""What of a reference in a frame is the address: from 3.14 on, the two low bits are a tag."""
_F_FRAME = 24
"""In a frame object: after reference count, type and ``f_back``, the pointer to the frame itself."""
# Enough for the fields that are read, in every version so far.
FRAME_BYTES = 96
_THREAD_BYTES = 1024
# The record is that large: locks, caches and counters come before the threads.
_INTERPRETER_BYTES = 1 << 18
STRING_STATE, STRING_LENGTH = 32, 16


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
    numbered: bool = sys.version_info >= (3, 12)
    """True where every code object has a number, ``co_version``, between the fields read here."""
    missing: str = ""
    """Why stacks cannot be read; empty when they can."""


def written(layout: Layout) -> tuple[Any, ...]:
    """``layout`` as plain numbers and texts, for another process."""
    return astuple(layout)


def read(values: tuple[Any, ...]) -> Layout:
    """The layout of which :func:`written` gave ``values``."""
    layout = Layout(*values)
    return replace(layout, strings=_Strings(*layout.strings))  # type: ignore[misc]


def current_thread_state() -> int:
    """The address of the interpreter's record of the calling thread."""
    get = ctypes.pythonapi.PyThreadState_Get
    get.restype = ctypes.c_void_p
    return int(get())


def interpreter() -> int:
    get = ctypes.pythonapi.PyInterpreterState_Get
    get.restype = ctypes.c_void_p
    return int(get())


def _first_thread() -> int:
    head = ctypes.pythonapi.PyInterpreterState_ThreadHead
    head.restype = ctypes.c_void_p
    return int(head(ctypes.c_void_p(interpreter())))


def find() -> Layout:
    """The layout of this interpreter; its ``missing`` says why there is none."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # Every object has a longer head there, and each thread may run a private copy of the byte code,
        # so that a place in it tells no line.
        return Layout(missing="this is a free-threaded build of Python, whose frames are not read yet")
    try:
        return _Calibration().layout()
    except Unreadable as error:
        return Layout(missing=f"this process may not look at its own memory ({error})")
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
            strings = _strings(self.memory)
            return replace(Layout(thread_frame=way, strings=strings), **fields)  # type: ignore[arg-type]
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
        address = frame_address(self.memory, here)
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
        return self._frame(here, back(here)), way

    def _frame(self, inner: FrameType, outer: FrameType) -> dict[str, int]:
        near = self._words(frame_address(self.memory, inner), FRAME_BYTES)
        far_address = frame_address(self.memory, outer)
        far = self._words(far_address, FRAME_BYTES)
        # In both frames at the same offset: one alone could be a coincidence.
        code = next(
            o
            for o, word in near.items()
            if word & TAG == id(inner.f_code) and far.get(o, 0) & TAG == id(outer.f_code)
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
        record = interpreter()
        during, newest = self._words(record, _INTERPRETER_BYTES), _first_thread()
        go.set()
        thread.join()
        after, remaining = self._words(record, _INTERPRETER_BYTES), _first_thread()
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


def back(frame: FrameType) -> FrameType:
    """The caller's frame. Raises LookupError if there is none."""
    if frame.f_back is None:
        raise LookupError("a frame without a caller")
    return frame.f_back


def frame_address(memory: Memory, frame: FrameType) -> int:
    """The address of the frame behind a frame object. Raises LookupError if it cannot be read."""
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
    states = {text: struct.unpack("=I", memory.read(id(text) + STRING_STATE, 4))[0] for text in samples}
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
