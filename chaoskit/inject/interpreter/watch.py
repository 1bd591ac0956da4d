"""The watch inside the interpreter during one run: prepared before the fork, active in the workload."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from types import CodeType

from chaoskit.faults.calls import INSIDE_CALLS
from chaoskit.faults.inside import Inward
from chaoskit.inject.base import Plan
from chaoskit.inject.interpreter import allocator
from chaoskit.inject.interpreter.events import EventSource, events
from chaoskit.inject.interpreter.places import CodePlaces
from chaoskit.inject.interpreter.recording import LineRecorder, Noted
from chaoskit.inject.interpreter.striking import Striker
from chaoskit.inject.interpreter.words import SharedWords


def watch(plan: Plan) -> InnerWatch | None:
    """The watch that a run needs; None if nothing inside the interpreter matters.

    Raises:
        BackendUnavailable: for allocations, if they cannot be made to fail. UsageError: for too many strikes.
    """
    struck = frozenset(strike.point.call for strike in plan.strikes) & INSIDE_CALLS
    # A case that strikes elsewhere is as fast as without a watch.
    if not struck and not (plan.record and plan.inside):
        return None
    return InnerWatch(plan, Inward(plan.inside.families | struck, plan.inside.packages), noting=not struck)


class InnerWatch:
    """The watch over one run. The parent makes it and reads ``words``; the workload does everything else."""

    def __init__(self, plan: Plan, inside: Inward, *, noting: bool) -> None:
        """Prepare; :meth:`begin` makes the changes. Without ``noting`` the strikes of ``plan`` happen.

        Raises:
            BackendUnavailable: as :func:`watch`.
            UsageError: as :func:`watch`.
        """
        self._inside = inside
        self._plan = plan
        self._noting = noting
        self.words = SharedWords(len(plan.strikes))
        self._allocator: allocator.Allocator | None = None
        self._events: EventSource | None = None
        self._recorder: LineRecorder | None = None
        self._crash = -1
        if "alloc" in self._inside.families:
            allocator.prepare()
            if not noting:
                self._crash = os.memfd_create("chaoskit-crash")

    @property
    def counts_allocations(self) -> bool:
        """True if allocations of lines count: then work that only recordings do must not allocate there."""
        return "alloc" in self._inside.families

    def begin(self, boundary: CodeType) -> None:
        """In the workload: watch from here on. Stacks end at the frame that runs ``boundary``."""
        places = CodePlaces(self._inside.packages)
        listener: LineRecorder | Striker
        if self._noting:
            listener = self._recorder = LineRecorder(self.words.words, places, boundary)
        else:
            listener = Striker(self.words, places, self._plan)
        if self._crash >= 0:
            faulthandler.enable(self._crash)
        if "alloc" in self._inside.families:
            self._allocator = allocator.Allocator(self.words.address)
            self._allocator.install()
            recorder = self._recorder or LineRecorder(self.words.words, places, boundary)
            listener.calibrated(_calibration(recorder, places, self._inside.families, self.words.words))
        # A forked child would count in the words of its parent.
        os.register_at_fork(after_in_child=self.over)
        self._events = events(listener, places, self._inside.families, self.words.words)
        self._left: Callable[[], None] = listener.left
        self._events.start()

    def pause(self) -> None:
        """In the workload: its function has returned, and what follows belongs to no line."""
        if self._events is not None:
            self._left()

    def over(self) -> None:
        """In the workload: stop watching. Does nothing if it is over already."""
        if self._events is not None:
            self._left()
            self._events.stop()
            self._events = None
        if self._allocator is not None:
            self._allocator.remove()
            self._allocator = None

    @property
    def descriptors(self) -> frozenset[int]:
        """Descriptors that the workload gets for the watch, and that do not belong to the program."""
        return frozenset({self._crash} - {-1})

    def crash(self) -> str:
        """What faulthandler wrote when the interpreter died of a failed allocation; empty if nothing."""
        return "" if self._crash < 0 else os.pread(self._crash, _LONGEST, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Release what is shared with the workload. Does nothing if that was released already."""
        crash, self._crash = self._crash, -1
        if crash >= 0:
            os.close(crash)

    def noted(self) -> list[Noted]:
        """In the workload: what a recording saw; empty in a case."""
        return [] if self._recorder is None else self._recorder.noted()


_LONGEST = 1 << 16
"""Bytes of a crash report that are kept. faulthandler's text for a hundred frames is shorter."""


def _calibration(
    recorder: LineRecorder, places: CodePlaces, families: frozenset[str], words: memoryview
) -> dict[int, int]:
    """How many allocations the report of a line takes, by the least line number that this holds for.

    A line number is an object, which must be allocated unless it is small: CPython keeps the numbers up to
    256, and from 3.15 on those up to 1024.
    """
    found = {}
    for least in (0, 256, 1024):
        namespace: dict[str, object] = {"__name__": "calibration"}
        exec(compile("\n" * (least + 10) + _EMPTY, "calibration", "exec"), namespace)
        source = events(recorder, places, families, words)
        source.start()
        try:
            namespace["empty"]()  # type: ignore[operator]
        finally:
            source.stop()
        # The second of three empty lines: only the report comes in between.
        found[least] = sorted(one.allocations for one in recorder.noted() if one.call == "alloc")[1]
        recorder.forget()
    return found


_EMPTY = """
def empty():
    a = None
    b = None
    c = None
    d = None
"""
