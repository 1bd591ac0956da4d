"""One run in this process: its calls, the strikes among them, and the record of both."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any, Protocol

from chaoskit.core.operation import (
    Caveat,
    Detail,
    Frame,
    Operation,
    OrdinalCounter,
    Place,
    PromiseDetail,
    Receipt,
)
from chaoskit.core.schedule import Fault, Strike, point_of
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.shapes import shape_of
from chaoskit.inject import plain
from chaoskit.inject.armed import Armed, waiting
from chaoskit.inject.base import PeerRequest, Plan
from chaoskit.inject.inprocess import effects
from chaoskit.inject.inprocess.call import CannotStrike, PythonCall
from chaoskit.inject.inprocess.damaging import HeldContents
from chaoskit.inject.inprocess.death import ProcessKilled, WorkloadStopped
from chaoskit.inject.inprocess.descriptors import Descriptors
from chaoskit.inject.inprocess.lasting import LastingCondition
from chaoskit.inject.inprocess.machine import HostMachine
from chaoskit.inject.inprocess.underway import LongOperation

_OURS = os.path.dirname(__file__)
_HARNESS = (
    os.path.join(os.path.dirname(_OURS), ""),
    os.path.join(os.path.dirname(os.path.dirname(_OURS)), "session", ""),
)
_DEEPEST = 200
"""Frames of a stack that are kept: an infinite recursion must not be walked to its end at every call."""


class NamedPeers(Protocol):
    """The peer that a name or address stands for."""

    def asked(self, original: Any, args: tuple[Any, ...], words: dict[str, Any]) -> PythonCall | None: ...


Rule = Callable[[Operation], Fault | None]
"""Takes each operation before it takes effect, and returns the fault to inject, if any."""


class WatchedRun:
    """What one workload does while it is armed; see :mod:`chaoskit.inject.inprocess.arming`."""

    def __init__(
        self, plan: Plan, machine: HostMachine, rules: Sequence[Rule] = (), by_hand: bool = False
    ) -> None:
        self.plan = plan
        self.machine = machine
        self.descriptors = Descriptors(plan.root, machine)
        self.held = HeldContents(machine, self.descriptors)
        self.operations: list[Operation] = []
        self.receipts: list[Receipt] = []
        self.caveats: dict[tuple[str, str], Caveat] = {}
        self.promised: list[Any] = []
        self.unclosed: list[str] = []
        self.raw_files: weakref.WeakSet[Any] = weakref.WeakSet()
        self.reached = 0
        self.died_of: int | None = None
        """The signal that counts as having killed the workload."""
        self.exited: int | None = None
        """The exit status if it ended itself."""
        self.stopped = threading.Event()
        self.over = False
        self.lasting: list[LastingCondition] = []
        self.clock_offset = 0
        """Nanoseconds by which the wall clock is ahead."""
        self.frozen_at: int | None = None
        self.move_clock: Callable[[int], object] = lambda nanoseconds: None
        self.read_clock: Callable[[], int] = lambda: 0
        self.requests: list[PeerRequest] = []
        self.by_hand = by_hand
        self.rules = rules
        self._armed = waiting(plan)
        self._whole = plan.record or bool(rules)
        self.connections: NamedPeers | None = None
        self.requesting = threading.local()
        """``now`` is True while a thread carries out a request that is an operation itself."""
        self._ordinals = OrdinalCounter()
        self._threads: dict[int, int] = {threading.get_ident(): 0}
        self._pid = os.getpid()
        self._here = threading.local()
        # Two threads of a workload must not be in here at once: operations have one order.
        self._lock = threading.RLock()

    @property
    def concerns_clocks(self) -> bool:
        """True if clock reads may be struck, or count; finding every name of a clock takes time."""
        named = any(armed.family == "clock" for armed in self._armed)
        return self.sees_waits or (self.by_hand and (named or bool(self.rules)))

    @property
    def sees_waits(self) -> bool:
        """True if sleeps are operations."""
        return self.plan.time is not None and self.plan.time.operations

    def passes(self) -> bool:
        """Return True if a call is not the workload's: made by chaoskit, by a child, or after the end."""
        return self.over or getattr(self._here, "depth", 0) > 0 or os.getpid() != self._pid

    @contextmanager
    def within(self) -> Iterator[None]:
        """While the block lasts, calls of this thread are made without being observed."""
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth -= 1

    @contextmanager
    def without(self) -> Iterator[None]:
        """While the block lasts, calls of this thread are observed again, as parts of a larger call."""
        depth, self._here.depth = getattr(self._here, "depth", 0), 0
        try:
            yield
        finally:
            self._here.depth = depth

    @property
    def dead(self) -> bool:
        """True once the workload counts as ended."""
        return self.died_of is not None or self.exited is not None

    def refuse_if_dead(self) -> None:
        """Raise the error that each call of an ended workload raises.

        Raises:
            ProcessKilled: if it has ended.
            WorkloadStopped: if it has hung.
        """
        if self.dead:
            raise ProcessKilled(
                f"killed at an earlier call: {self.receipts[-1].strike if self.receipts else ''}"
            )
        if self.stopped.is_set():
            raise WorkloadStopped

    def die(self, signal: int) -> None:
        """End the workload as a signal does, now.

        Raises:
            ProcessKilled: always.
        """
        self.died_of = signal
        raise ProcessKilled(f"killed by signal {signal}")

    def hang(self) -> None:
        """Wait until the run is stopped.

        Raises:
            WorkloadStopped: always.
        """
        self.stopped.wait()
        raise WorkloadStopped

    def let_go(self) -> None:
        """Close what the workload left open, as the end of a process does, which loses buffers."""
        with self.within():
            for raw in list(self.raw_files):
                raw.abandon()
            for fd, _ in self.descriptors:
                self.descriptors.closed(fd)
                with suppress(OSError):
                    self.machine.os.close(fd)

    def caveat(self, kind: str, target: str, text: str) -> None:
        """Note something that could not be followed, once for each target."""
        self.caveats.setdefault((kind, target), Caveat(kind, target, text))

    def make(self, call: PythonCall) -> Any:
        """Make a call, or do what a strike does to it, and record it.

        Raises:
            ProcessKilled: for a call of a dead workload, and for one that is struck by a kill.
            OSError: the call's own, or that of a strike.
        """
        self.refuse_if_dead()
        with self._lock, self.within():
            # Checked again: another thread may have ended the workload while this one waited.
            self.refuse_if_dead()
            place = Place(self.plan.run) if FAMILIES[call.family].remote else self._place()
            detail = call.detail() if self._whole or self.lasting or self._armed else Detail()
            operation = self._operation(call, detail, place)
            armed = self._due(call, operation, place)
            if armed is not None:
                done, value = self._struck(armed, call, operation)
                if done:
                    return value
            else:
                for condition in self.lasting:
                    done, value = self._met(condition, call, operation)
                    if done:
                        return value
            if not call.lasts:
                return self._carried_out(call, operation)
            # Recorded when it begins, as in the kernel backend: what others do meanwhile comes after it.
            self._record(operation, 0)
        with self.within():
            return call.do()

    @contextmanager
    def _failing(self, operation: Operation) -> Iterator[None]:
        """Record an error of the call in the block as its result."""
        try:
            yield
        except OSError as error:
            self._record(operation, -(error.errno or 0))
            raise

    def _met(self, condition: LastingCondition, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        with self._failing(operation):
            done, value = condition.meet(call, operation)
        if done:
            self._record(operation, call.result(value))
        return done, value

    def _carried_out(self, call: PythonCall, operation: Operation) -> Any:
        with self._failing(operation):
            value = call.do()
        detail = operation.detail if call.after is None else call.after(value, operation.detail)
        self._record(replace(operation, detail=detail), call.result(value))
        return value

    def _struck(self, armed: Armed, call: PythonCall, operation: Operation) -> tuple[bool, Any]:
        """True and the result if the strike answered the call; False if the call must still be made."""
        self.reached += 1
        shown = replace(operation, ordinal=armed.ordinal)

        def receipt(effect: str, result: int | None = None) -> None:
            self.receipts.append(Receipt(armed.text, str(replace(shown, result=result)), effect))

        try:
            with self._failing(operation):
                done, value = effects.strike(self, armed.shape, call, operation, receipt)
        except CannotStrike as why:
            text = f"{armed.text} could not be injected: {why}"
            self.caveat("not-injected", armed.text, text)
            return False, None
        if done:
            self._record(operation, call.result(value))
        return done, value

    def _due(self, call: PythonCall, operation: Operation, place: Place) -> Armed | None:
        due = None
        # A later strike counts from the beginning, too: ordinals are those of the whole run.
        for position, armed in enumerate(self._armed[self.reached :]):
            counted = armed.family == call.family and armed.place == place
            if counted and armed.due(call.target, call.second) and position == 0:
                due = armed
        if due is not None:
            return due
        for rule in self.rules:
            fault = rule(operation)
            if fault is not None:
                strike = Strike(point_of(operation), fault)
                self._armed.insert(self.reached, Armed(strike, shape_of(fault)))
                return self._armed[self.reached]
        return None

    def begin(self, call: PythonCall) -> LongOperation:
        """Begin an operation that takes longer than one call: count it, record it, return what strikes it.

        Raises:
            ProcessKilled: for an operation of a dead workload.
        """
        self.refuse_if_dead()
        with self._lock, self.within():
            place = len(self.operations) if self._whole else None
            operation = self._operation(call, call.detail(), Place(self.plan.run))
            self._record(operation, None)
            armed = self._due(call, operation, operation.place)
            self.reached += armed is not None
            return LongOperation(self, operation, armed, place)

    def note(self, family: str, detail: Detail | None = None) -> None:
        """An operation without a call: a promise, or the end. A strike comes after it has happened.

        Raises:
            ProcessKilled: if a strike at it kills.
        """
        call = PythonCall(family, "", family, lambda: None, lambda: detail or Detail())
        if FAMILIES[family].pseudo:
            with self._lock, self.within():
                place = self._place()
                operation = self._operation(call, call.detail(), place)
                self._record(operation, None)
                armed = self._due(call, operation, place)
                if armed is not None:
                    self._struck(armed, call, operation)

    def promise(self, value: Any) -> None:
        """Record a promise of the workload; see :func:`chaoskit.inject.channel.promise`.

        Raises:
            UsageError: for a value that could not leave a process.
        """
        if self.passes():
            return
        self.refuse_if_dead()
        copied = plain.copied(value)
        self.promised.append(copied)
        self.note("promise", PromiseDetail(copied))

    def _operation(self, call: PythonCall, detail: Detail, place: Place) -> Operation:
        stack = self._stack() if self._whole else ()
        ordinal = self._ordinals.next((place, call.family, call.target, call.second)) if self._whole else 1
        return Operation(
            index=len(self.operations),
            call=call.family,
            target=call.target,
            second=call.second,
            ordinal=ordinal,
            place=place,
            syscall=call.name,
            detail=detail,
            stack=stack,
            pid=self._pid,
            tid=threading.get_ident(),
        )

    def _record(self, operation: Operation, result: int | None) -> None:
        if self._whole:
            self.operations.append(replace(operation, index=len(self.operations), result=result))

    def _place(self) -> Place:
        thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
        return Place(self.plan.run, "", thread)

    def _stack(self) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and len(frames) < _DEEPEST:
            code = frame.f_code
            if code.co_name == BOUNDARY and code.co_filename.startswith(_OURS):
                break
            if not code.co_filename.startswith(_HARNESS):
                frames.append(Frame(code.co_filename, frame.f_lineno, code.co_qualname))
            frame = frame.f_back
        return tuple(frames)


BOUNDARY = "call_workload"
"""The name of the function that calls a workload: stacks end above it."""


_current: WatchedRun | None = None


def current() -> WatchedRun | None:
    """The run that is armed in this process, if any."""
    return _current


def become(run: WatchedRun | None) -> None:
    """Arm a run; with None, disarm."""
    global _current
    _current = run
