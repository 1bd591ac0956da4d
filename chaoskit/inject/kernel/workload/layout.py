"""The layout of this interpreter's frames, code objects, strings and threads, for reading stacks.

There is no table of versions: the layout is found by examining objects of this process whose content is
known. So an unknown build can be read too, or is refused with a reason.
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
"""The address bits of a reference in a frame: from 3.14 on, the two low bits are a tag."""
_F_FRAME = 24
"""Offset in a frame object of the pointer to the frame itself: after reference count, type and ``f_back``."""
# Enough in every version so far for the fields that we read.
FRAME_BYTES = 96
_THREAD_BYTES = 1024
# So many because locks, caches and counters come before the threads.
_INTERPRETER_BYTES = 1 << 18
STRING_STATE, STRING_LENGTH = 32, 16


@dataclass(frozen=True, slots=True)
class _Strings:
    """Where a string keeps its characters: (offset, width) for each value of the state bits."""

    mask: int
    kinds: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes, as found in one interpreter."""

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
    """In the interpreter's record: the pointer to its first thread."""
    thread_next: int = 0
    thread_native_id: int = 0
    strings: _Strings = _Strings(0, {})
    numbered: bool = sys.version_info >= (3, 12)
    """True if code objects have a number, ``co_version``, between the fields read here."""
    missing: str = ""
    """Why stacks cannot be read; empty if they can."""


def written(layout: Layout) -> tuple[Any, ...]:
    """``layout`` as plain numbers and texts, for another process."""
    return astuple(layout)


def read(values: tuple[Any, ...]) -> Layout:
    """The layout that :func:`written` turned into ``values``."""
    layout = Layout(*values)
    return replace(layout, strings=_Strings(*layout.strings))  # type: ignore[misc]


def current_thread_state() -> int:
    """The address of the calling thread's record in the interpreter."""
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
        # Objects have a longer head there, and each thread may run a private copy of the byte code, whose
        # addresses do not lead to a line.
        return Layout(missing="this is a free-threaded build of Python, whose frames are not read yet")
    try:
        return _Calibration().layout()
    except Unreadable as error:
        return Layout(missing=f"this process may not look at its own memory ({error})")
    except (LookupError, OSError, struct.error) as error:
        return Layout(missing=f"the layout of this interpreter's frames was not recognised ({error})")


class _Calibration:
    """Examines this process through ``/proc/self/mem``, in the way that others are read later."""

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

        Reads only with ``os.pread``: a call of a Python function would become the running frame.
        """
        # A frame object points to the frame itself; we search other pointers to it.
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
            # From 3.11 on there may be one more step, through the current C frame.
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
        # The offset must fit both frames: a single match could be a coincidence.
        code = next(
            o
            for o, word in near.items()
            if word & TAG == id(inner.f_code) and far.get(o, 0) & TAG == id(outer.f_code)
        )
        previous = next(o for o, word in near.items() if word == far_address)
        end = id(outer.f_code) + sys.getsizeof(outer.f_code)
        for offset, word in far.items():
            # The instruction pointer minus its progress is the beginning of the byte code.
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
        # Small numbers occur everywhere, so compare two code objects.
        first = next(
            o
            for o in range(16, 252, 4)
            if struct.unpack_from("=i", head, o)[0] == code.co_firstlineno
            and struct.unpack_from("=i", beside, o)[0] == other.co_firstlineno
        )
        # A text that occurs nowhere else.
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
        """Find the kernel's thread identifier, by the records of two threads."""
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
        """Find the head of the list of threads: it is the newest thread, not the running one."""
        # A further thread changes the head of the list, which tells it from constant pointers.
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
    """Starts a thread that examines its own record, and waits for it."""

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
    """Find which bits of a string's state word tell position and width of its characters."""
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
    """A mask for ``kind``, ``compact`` and ``ascii``, which are adjacent in a string's state.

    Their position differs between builds (after two bits or a byte for ``interned``), even within 3.14. Some
    bits around them are never written, and mean nothing.
    """
    for shift in range(28):
        if all(
            state >> shift & 0x1F == width | 1 << 3 | ascii_only << 4 for state, width, ascii_only in samples
        ):
            return 0x1F << shift
    raise LookupError("the kind of a string was not found in its state")
