"""Events for lines, calls and awaits of the program, from ``sys.monitoring`` or the trace function of 3.11.

CPython raises KeyboardInterrupt where it checks for signals (``CHECK_EVAL_BREAKER`` in its ceval.c): when a
function begins, when a generator resumes after a ``yield``, when a loop turns, and when a call of something
not written in Python has returned. Not between any two lines: striking at the end of a ``with`` would find
bugs that no program has.

A line that calls a function of the program, or waits, begins again when that is over.
"""

from __future__ import annotations

import _thread
import inspect
import opcode
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol

from chaoskit.inject.interpreter.freelists import settle_within
from chaoskit.inject.interpreter.places import CodePlaces
from chaoskit.inject.interpreter.words import BESIDE

_SUSPENDS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_STEP = 2
"""Bytes of an instruction."""
_YIELD_VALUE = opcode.opmap["YIELD_VALUE"]
_RETURN_VALUE = opcode.opmap["RETURN_VALUE"]
_LOAD_SPECIAL = opcode.opmap.get("LOAD_SPECIAL", -1)
"""Looks up ``__enter__`` and ``__exit__``, from 3.14 on; before that a ``with`` makes no calls itself."""
_CONSTANTS = frozenset(
    opcode.opmap[name] for name in ("LOAD_CONST", "LOAD_COMMON_CONSTANT") if name in opcode.opmap
)
_EVENTS = (
    *("LINE", "JUMP", "CALL", "C_RETURN"),
    *("PY_START", "PY_YIELD", "PY_RESUME", "PY_RETURN", "PY_UNWIND", "PY_THROW"),
)
_EXITS = frozenset({"__exit__", "__aexit__", "__del__"})
"""Functions whose beginning is not a place for interrupts: no program could guard against them there."""


class EventListener(Protocol):
    """Receives each event of the program's own code in the main thread; may raise."""

    def line(self, code: CodeType, number: int, told: int) -> None:
        """A line begins or resumes. ``told`` is the number that came with the event."""

    def looked(self, code: CodeType, number: int) -> None:
        """Python checks for signals at a line: its function begins, or a loop turns."""

    def returned(self, code: CodeType, offset: int, callee: object) -> None:
        """A call has returned, at this offset of the code, and its result is not stored yet."""

    def waits(self, code: CodeType, number: int) -> None:
        """A task is suspended at this line, the innermost one of the program that waits."""

    def left(self, told: int = 0) -> None:
        """The line that began last stops for now. ``told`` is as for :meth:`line`."""


class EventSource(Protocol):
    """A source of events, active from :meth:`start` to :meth:`stop`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def events(
    listener: EventListener, places: CodePlaces, families: frozenset[str], words: memoryview
) -> EventSource:
    """The source of events of this Python, for operations of these families; ``words`` are the run's."""
    made = Monitoring if hasattr(sys, "monitoring") else Tracing
    return made(listener, places, families, words)


def _elsewhere() -> bool:
    """True in a thread that is not the main one, where signals are never handled."""
    return bool(_thread._count()) and threading.current_thread() is not threading.main_thread()


class Monitoring:
    """Events of ``sys.monitoring`` (PEP 669). Code outside the program costs one event per function."""

    def __init__(
        self, listener: EventListener, places: CodePlaces, families: frozenset[str], words: memoryview
    ) -> None:
        self._listener = listener
        self._words = words
        self._places = places
        self._families = families
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._tool = -1
        self._lines: dict[int, dict[int, int]] = {}
        # By name first, since looking up a name needs no allocation.
        self._exits: dict[str, dict[int, frozenset[int]]] = {}
        self._waiting = False
        self._mask = 0

    def start(self) -> None:
        """Begin; leave a tool alone that already uses the same number."""
        monitoring, events = self._monitoring, self._monitoring.events
        # As in HandlerWatch: the numbers that no kind of tool is reserved for come first.
        self._tool = next(tool for tool in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(tool) is None)
        monitoring.use_tool_id(self._tool, "chaoskit")
        wanted: dict[int, tuple[bool, Callable[..., Any]]] = {
            events.LINE: ("alloc" in self._families, self._line),
            events.JUMP: ("line" in self._families, self._jump),
            events.CALL: ("returned" in self._families, _nothing),
            events.PY_YIELD: (True, self._yield),
            events.PY_RESUME: (True, self._resume),
            events.PY_RETURN: ("alloc" in self._families, self._return),
        }
        for event, (on, callback) in wanted.items():
            if on:
                self._mask |= event
                monitoring.register_callback(self._tool, event, callback)
        if "returned" in self._families:
            # It comes with the event for calls, and cannot be requested alone.
            monitoring.register_callback(self._tool, events.C_RETURN, self._returned)
        monitoring.register_callback(self._tool, events.PY_START, self._start)
        monitoring.register_callback(self._tool, events.PY_THROW, self._throw)
        monitoring.register_callback(self._tool, events.PY_UNWIND, self._unwind)
        everywhere = events.PY_START | (events.PY_THROW if "await" in self._families else 0)
        everywhere |= events.PY_UNWIND if "alloc" in self._families else 0
        monitoring.set_events(self._tool, everywhere)

    def stop(self) -> None:
        """End; nothing is called any more."""
        if self._tool >= 0:
            self._monitoring.set_events(self._tool, 0)
            for event in _EVENTS:
                self._monitoring.register_callback(self._tool, getattr(self._monitoring.events, event), None)
            self._monitoring.free_tool_id(self._tool)
            self._tool = -1

    def _start(self, code: CodeType, offset: int) -> object:
        if not self._places.known(code):
            if not self._places.own(sys._getframe(1)):
                return self._monitoring.DISABLE
            self._monitoring.set_local_events(self._tool, code, self._mask)
            if exits := exits_of_with(code):
                self._exits.setdefault(code.co_name, {})[id(code)] = exits
        self._waiting = False
        if "line" in self._families and code.co_name not in _EXITS and not _elsewhere():
            self._listener.looked(code, code.co_firstlineno)
        settle_within(self._words)
        return None

    def _line(self, code: CodeType, number: int) -> None:
        if _elsewhere():
            self._words[BESIDE] = 1
            return
        exits = self._exits.get(code.co_name)
        if exits is not None:
            self._listener.left()
            if sys._getframe(1).f_lasti in exits.get(id(code), ()):
                return
        self._listener.line(code, number, number)

    def _jump(self, code: CodeType, offset: int, destination: int) -> None:
        if destination < offset and not _elsewhere():
            self._listener.looked(code, self._line_at(code, destination))
        settle_within(self._words)

    def _returned(self, code: CodeType, offset: int, callee: object, _: object) -> None:
        if self._places.known(code) and not _elsewhere() and not is_entry_of_with(code, offset):
            self._listener.returned(code, offset, callee)
        settle_within(self._words)

    def _yield(self, code: CodeType, offset: int, value: object) -> None:
        if code.co_flags & _SUSPENDS or not self._goes_on(offset):
            # From here on other code runs, which does not belong to the line.
            self._listener.left(offset)
        self._suspended(code, offset, value)

    def _suspended(self, code: CodeType, offset: int, value: object) -> None:
        if "await" not in self._families or not code.co_flags & _SUSPENDS or _elsewhere():
            return
        # An asynchronous generator yields a value: nothing waits.
        if type(value).__name__ == "async_generator_wrapped_value":
            return
        # Callers of a coroutine that waits are suspended right after it.
        if not self._waiting:
            self._waiting = True
            self._listener.waits(code, self._line_at(code, offset))

    def _resume(self, code: CodeType, offset: int) -> None:
        self._waiting = False
        if not _elsewhere():
            number = self._line_at(code, offset)
            if "line" in self._families and _looks(code, offset) and code.co_name not in _EXITS:
                self._listener.looked(code, number)
            if "alloc" in self._families:
                self._listener.line(code, number, offset)
        settle_within(self._words)

    def _return(self, code: CodeType, offset: int, value: object) -> None:
        if not _elsewhere() and not self._goes_on(offset) and code.co_flags & _SUSPENDS:
            # What an event loop does with a result belongs to no line, and no program can make it safe.
            self._listener.left(offset)

    def _unwind(self, code: CodeType, offset: int, error: object) -> None:
        if code.co_flags & _SUSPENDS and self._places.known(code) and not _elsewhere():
            caller = sys._getframe(1).f_back
            if caller is None or not self._places.own(caller):
                self._listener.left(offset)

    def _goes_on(self, offset: int) -> bool:
        """Control returns from the frame of an event: if to a line of the program, that line resumes."""
        caller = sys._getframe(2).f_back
        if "alloc" not in self._families or caller is None or not self._places.own(caller):
            return False
        self._listener.line(caller.f_code, caller.f_lineno or 0, offset)
        return True

    def _throw(self, code: CodeType, *_: object) -> None:
        if self._places.known(code):
            self._waiting = False
        settle_within(self._words)

    def _line_at(self, code: CodeType, offset: int) -> int:
        lines = self._lines.get(id(code))
        if lines is None:
            ranges = [(start, end, line) for start, end, line in code.co_lines() if line is not None]
            lines = {at: line for start, end, line in ranges for at in range(start, end, 2)}
            self._lines[id(code)] = lines
        return lines.get(offset, code.co_firstlineno)


def exits_of_with(code: CodeType) -> frozenset[int]:
    """The offsets where a ``with`` is left and its line begins again.

    Allocations there are the interpreter's (a tuple for the arguments of a lock's ``__exit__``), and ``with``
    is the safest that a program can be.
    """
    body = code.co_code
    except_start, push = opcode.opmap["WITH_EXCEPT_START"], opcode.opmap["PUSH_EXC_INFO"]
    found = set()
    for at in range(0, len(body) - 4, 2):
        # The arguments of __exit__: three times None.
        if body[at : at + 2] == body[at + 2 : at + 4] == body[at + 4 : at + 6] and body[at] in _CONSTANTS:
            found.add(at)
        if body[at] == except_start or (body[at] == push and body[at + 2] == except_start):
            found.add(at)
    return frozenset(found)


def is_entry_of_with(code: CodeType, offset: int) -> bool:
    """True if the call at ``offset`` is the one that a ``with`` makes of ``__enter__``.

    CPython 3.14 checks for signals after it, before it has noted that ``__exit__`` must be called, so Ctrl-C
    can leave a lock locked; 3.15 has fixed it, and 3.13 never checked there
    (https://github.com/python/cpython/issues/148874). No program can guard against it.
    """
    return offset >= _STEP and code.co_code[offset - _STEP] == _LOAD_SPECIAL


def _resumes(code: CodeType, offset: int) -> int:
    """What the ``RESUME`` at ``offset`` follows: 0 the function's beginning, 1 ``yield``, more an await."""
    return code.co_code[offset + 1] & 3


def _looks(code: CodeType, offset: int) -> bool:
    """True for a ``RESUME`` that checks for signals: CPython does not check after an await."""
    return _resumes(code, offset) < 2


def _nothing(*_: object) -> None:
    """Ignore the beginning of a call: only its return matters."""


class Tracing:
    """Events of a trace and a profile function, for Python 3.11; they replace existing ones."""

    def __init__(
        self, listener: EventListener, places: CodePlaces, families: frozenset[str], words: memoryview
    ) -> None:
        self._listener = listener
        self._words = words
        self._places = places
        self._families = families
        self._waiting = False
        self._exits: dict[int, frozenset[int]] = {}

    def start(self) -> None:
        """Begin."""
        if "returned" in self._families:
            sys.setprofile(self._profile)
        if "alloc" in self._families:
            threading.settrace(self._beside)
        sys.settrace(self._called)

    def stop(self) -> None:
        """End."""
        threading.settrace(None)
        sys.settrace(None)
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        local = None
        if not _elsewhere() and self._places.own(frame):
            self._waiting = False
            self._entered(frame)
            local = _TracedFrame(self, frame.f_lasti).event
        settle_within(self._words)
        return local

    def _entered(self, frame: FrameType) -> None:
        code = frame.f_code
        goes_on = bool(_resumes(code, frame.f_lasti))
        if "line" in self._families and _looks(code, frame.f_lasti) and code.co_name not in _EXITS:
            self._listener.looked(code, frame.f_lineno if goes_on else code.co_firstlineno)
        if "alloc" in self._families and goes_on:
            self._listener.line(code, frame.f_lineno, 0)

    def _beside(self, frame: FrameType, event: str, _: object) -> None:
        """The trace function of threads that begin while allocations count."""
        if self._places.own(frame):
            self._words[BESIDE] = 1

    def _profile(self, frame: FrameType, event: str, callee: object) -> None:
        if event == "c_return" and not _elsewhere() and self._places.known(frame.f_code):
            self._listener.returned(frame.f_code, frame.f_lasti, callee)
        settle_within(self._words)

    def event(self, frame: FrameType, event: str, value: object, before: int) -> None:
        """One event in a frame of the program; ``before`` is its position at the last one."""
        if event == "line":
            if "line" in self._families and frame.f_lasti < before:
                self._listener.looked(frame.f_code, frame.f_lineno)
            # Last: from here on allocations are the line's.
            if "alloc" in self._families:
                self._listener.left()
                if frame.f_lasti not in self._exits_of(frame.f_code):
                    self._listener.line(frame.f_code, frame.f_lineno, 0)
        elif event == "return":
            self._over(frame, value)

    def _over(self, frame: FrameType, value: object) -> None:
        """Control leaves a frame: if to a line of the program, that line resumes."""
        suspends, yields = frame.f_code.co_flags & _SUSPENDS, _yields(frame)
        caller = frame.f_back
        if caller is None or "alloc" not in self._families or not self._places.own(caller):
            caller = None
        if (yields and (suspends or caller is None)) or (suspends and caller is None):
            self._listener.left()
        # An error that leaves the frame is reported as a return, too.
        elif caller is not None and (yields or frame.f_code.co_code[frame.f_lasti] == _RETURN_VALUE):
            self._listener.line(caller.f_code, caller.f_lineno, 0)
        if yields:
            self._suspended(frame, value)

    def _exits_of(self, code: CodeType) -> frozenset[int]:
        found = self._exits.get(id(code))
        if found is None:
            self._exits[id(code)] = found = exits_of_with(code)
        return found

    def _suspended(self, frame: FrameType, value: object) -> None:
        if "await" not in self._families or not frame.f_code.co_flags & _SUSPENDS:
            return
        if type(value).__name__ != "async_generator_wrapped_value" and not self._waiting:
            self._waiting = True
            self._listener.waits(frame.f_code, frame.f_lineno)


class _TracedFrame:
    """The position of one frame at the last event: going back means that a loop turns."""

    __slots__ = ("_last", "_tracing")

    def __init__(self, tracing: Tracing, last: int) -> None:
        self._tracing = tracing
        self._last = last

    def event(self, frame: FrameType, event: str, value: object) -> Callable[..., Any]:
        """The local trace function."""
        before, self._last = self._last, frame.f_lasti
        self._tracing.event(frame, event, value, before)
        return self.event


def _yields(frame: FrameType) -> bool:
    """True if the frame yields a value or waits, rather than returning."""
    at = frame.f_lasti
    return at >= 0 and frame.f_code.co_code[at] == _YIELD_VALUE
