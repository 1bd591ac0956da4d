"""Watch for exceptions that reach a handler, inside the workload's process.

``sys.monitoring`` reports each instruction once and then no more, so it costs next to nothing. The trace
function of Python 3.11 makes all Python code slower: there watching is off by default.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

from chaoskit.inject.handlers.codes import begins, handled_lines
from chaoskit.inject.handlers.marks import Marks
from chaoskit.inject.handlers.sites import Handlers


def cheap() -> bool:
    """True if watching has no measurable cost with this Python."""
    return hasattr(sys, "monitoring")


@contextlib.contextmanager
def watching(one: HandlerWatch | None) -> Iterator[None]:
    """Let ``one``, if given, watch within the block."""
    if one is None:
        yield
        return
    one.start()
    try:
        yield
    finally:
        one.stop()


class HandlerWatch:
    """Notes in ``marks`` which handlers run, from :meth:`start` to :meth:`stop`."""

    def __init__(self, handlers: Handlers, marks: Marks) -> None:
        self._handlers = handlers
        self.marks = marks
        self._tool = -1
        # By identity; the object is kept, so that its identity is not reused.
        self._offsets: dict[int, tuple[CodeType, dict[int, int]]] = {}

    def start(self) -> None:
        """Begin. If another trace function is active, such as a debugger's, nothing is noted."""
        if cheap():
            self._monitor(sys.monitoring)  # type: ignore[attr-defined,unused-ignore]
        elif sys.gettrace() is None:
            threading.settrace(self._traced)
            sys.settrace(self._traced)

    def stop(self) -> None:
        """End."""
        if self._tool >= 0:
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
            monitoring.set_events(self._tool, 0)
            for code, _ in self._offsets.values():
                monitoring.set_local_events(self._tool, code, 0)
            for event in (monitoring.events.PY_START, monitoring.events.INSTRUCTION):
                monitoring.register_callback(self._tool, event, None)
            monitoring.free_tool_id(self._tool)
            self._tool = -1
        elif sys.gettrace() == self._traced:
            threading.settrace(None)
            sys.settrace(None)

    def _monitor(self, monitoring: Any) -> None:
        # 4 and 3 are reserved for no kind of tool; a debugger (0) and coverage (1) are the likeliest to come.
        free = (tool for tool in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(tool) is None)
        self._tool = next(free, -1)
        if self._tool < 0:
            return
        events, offsets = monitoring.events, self._offsets

        def started(code: CodeType, _: int) -> object:
            if self._entered(code):
                monitoring.set_local_events(self._tool, code, events.INSTRUCTION)
            return monitoring.DISABLE

        def executed(code: CodeType, at: int) -> object:
            known = offsets.get(id(code))
            number = None if known is None else known[1].get(at)
            if number is not None:
                self.marks.ran(number)
            return monitoring.DISABLE

        monitoring.use_tool_id(self._tool, "chaoskit handlers")
        monitoring.register_callback(self._tool, events.PY_START, started)
        monitoring.register_callback(self._tool, events.INSTRUCTION, executed)
        # An earlier tool with this number may have disabled events for good.
        monitoring.restart_events()
        monitoring.set_events(self._tool, events.PY_START)

    def _entered(self, code: CodeType) -> bool:
        """True if ``code`` has handlers of the project; afterwards their places in it are known."""
        numbers = self._handlers.functions.get((code.co_filename, code.co_firstlineno, code.co_name))
        if numbers is None or not code.co_exceptiontable:
            return False
        if id(code) in self._offsets:
            return True
        sites = [self._handlers.sites[number][1] for number in numbers]
        found = begins(code, sites)
        lines = self._handlers.lines
        marked = {
            at: lines[code.co_filename, line]
            for at, line in handled_lines(code).items()
            if (code.co_filename, line) in lines
        }
        for number, site in zip(numbers, sites, strict=True):
            self.marks.called(number, site in found)
            if site in found:
                marked[found[site]] = number
        self._offsets[id(code)] = code, marked
        return True

    def _traced(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        code = frame.f_code
        # The cheapest check first: most functions have no handler.
        if not code.co_exceptiontable or not self._entered(code):
            return None
        frame.f_trace_lines = False
        offsets, ran = self._offsets[id(code)][1], self.marks.ran

        def inside(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            if event == "exception":
                # Only from here on, so that a function without exceptions costs no more than its call.
                frame.f_trace_opcodes = True
            elif event == "opcode" and (number := offsets.get(frame.f_lasti)) is not None:
                ran(number)
            return inside

        return inside
