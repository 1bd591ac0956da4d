"""Deliberately broken breakers, one or more for each B row: each has the one bug that its name says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chaoskit.contracts.breaker import BreakerPlan, ChaoskitBreaker, Subject
from chaoskit.contracts.breaker_adapter import StoreDouble
from chaoskit.runtime import BreakerChanged, CircuitBreaker
from chaoskit.runtime.breaker.machine import PASS, BreakerReason, BreakerState, Machine, Permit
from chaoskit.runtime.breaker.verdict import Verdict
from chaoskit.runtime.breaker.window import CountWindow, TimeWindow
from chaoskit.runtime.failures.taxonomy import BreakerOpen


class Twin(ChaoskitBreaker):
    """An adapter whose breakers are all made by ``kind`` and driven by ``machine``."""

    patience = 0.3
    kind: type[CircuitBreaker] = CircuitBreaker
    machine: type[Machine] = Machine

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of the bug."""
        return type(self).__name__

    def create(self, **settings: Any) -> CircuitBreaker:
        breaker = self.kind(**settings)
        breaker.machine.__class__ = self.machine
        return breaker


# -- B1 ------------------------------------------------------------------------------------------


class TripRaisesRejection(Twin):
    """The call that trips gets the breaker's error instead of its own."""

    class kind(CircuitBreaker):
        def raised(self, permit: Permit, error: BaseException, started: float) -> None:
            before = self.machine.era
            super().raised(permit, error, started)
            if self.machine.era != before:
                raise BreakerOpen("tripped") from error


# -- B2 ------------------------------------------------------------------------------------------


class UnlimitedProbes(Twin):
    """Half-open lets everybody through."""

    class machine(Machine):
        __slots__ = ()

        def _probe(self, now: float) -> Permit | None:
            permit = Permit()
            self._probes[permit] = now
            return permit


class OneProbeTooMany(Twin):
    """Half-open is off by one."""

    class machine(Machine):
        __slots__ = ()

        def _probe(self, now: float) -> Permit | None:
            if self._good + len(self._probes) > self.options.probes:
                return None
            permit = Permit()
            self._probes[permit] = now
            return permit


class RejectionWaits(Twin):
    """Half-open lets the others wait for the probe before it rejects them."""

    class kind(CircuitBreaker):
        def admit(self, now: float) -> Permit:
            try:
                return super().admit(now)
            except BreakerOpen:
                threading.Event().wait(0.01)
                raise


# -- B3, B15 -------------------------------------------------------------------------------------


class LockHeld(Twin):
    """Runs the user's code under its own lock, which fork copies as it is."""

    class kind(CircuitBreaker):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            self.big_lock = threading.Lock()

        def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            with self.big_lock:
                return super().call(fn, *args, **kwargs)


# -- B4, B5 --------------------------------------------------------------------------------------


class _Judging(Twin):
    """Its breaker treats neutral errors as ``as_failure`` says."""

    as_failure: bool | None = None

    def create(self, **settings: Any) -> CircuitBreaker:
        breaker = super().create(**settings)
        as_failure = self.as_failure

        def raised(permit: Permit, error: BaseException, started: float) -> None:
            failed = as_failure or breaker._verdict.is_failure(error)
            breaker.ended(permit, failed, started)

        breaker.raised = raised  # type: ignore[method-assign]
        return breaker


class NeutralIsSuccess(_Judging):
    """An ignored error, or Ctrl-C, resets the count and closes half-open."""

    as_failure = False


class NeutralIsFailure(_Judging):
    """An ignored error, or Ctrl-C, counts like any other."""

    as_failure = True


class ProbeKept(Twin):
    """A neutral outcome does not give the probe's place back."""

    class machine(Machine):
        __slots__ = ()

        def release(self, permit: Permit) -> None:
            pass


# -- B6 ------------------------------------------------------------------------------------------


class NoEras(Twin):
    """Takes every outcome for one of the present state."""

    class machine(Machine):
        __slots__ = ()

        def _now_in_force(self, now: float) -> Permit:
            if self.permit is not None:
                return self.permit
            if not self._probes:
                self._probes[PASS] = now
            return next(iter(self._probes))

        def succeed(self, permit: Permit, now: float, took: float) -> None:
            if self.state is BreakerState.OPEN:
                self._close(now, BreakerReason.MANUAL)
            else:
                super().succeed(self._now_in_force(now), now, took)

        def fail(self, permit: Permit, now: float, took: float) -> None:
            if self.state is not BreakerState.OPEN:
                super().fail(self._now_in_force(now), now, took)


# -- B7 ------------------------------------------------------------------------------------------


class NoHangLimit(Twin):
    """Waits for a probe forever."""

    class machine(Machine):
        __slots__ = ()

        def _hung_at(self) -> float | None:
            return None


# -- B8 ------------------------------------------------------------------------------------------


class WallClock(Twin):
    """Measures the open period on the wall clock."""

    class kind(CircuitBreaker):
        def __init__(self, *args: Any, clock: Any, **settings: Any) -> None:
            super().__init__(*args, clock=clock, **settings)
            self.now = clock.time


# -- B9 ------------------------------------------------------------------------------------------


class ZeroIsDefault(Twin):
    """``setting or default``."""

    def create(self, **settings: Any) -> CircuitBreaker:
        settings["failures"] = settings["failures"] or 5
        settings["open_for"] = settings["open_for"] or 60.0
        settings["probes"] = settings["probes"] or 1
        return super().create(**settings)


# -- B10 -----------------------------------------------------------------------------------------


class ListenerInTheWay(Twin):
    """Calls its listeners as they are, before it counts."""

    def create(self, **settings: Any) -> CircuitBreaker:
        listeners = settings.pop("listeners")
        breaker = super().create(**settings)

        def tell_edges() -> None:
            while breaker.machine.edges:
                edge = breaker.machine.edges.popleft()
                event = BreakerChanged(breaker=breaker.name, **edge._asdict())
                for listener in listeners:
                    listener(event)

        breaker.tell_edges = tell_edges  # type: ignore[method-assign]
        return breaker


# -- B11 -----------------------------------------------------------------------------------------


class ExactTypeOnly(Twin):
    """Takes only classes of the metaclass ``type`` for classes, and the rest for nothing."""

    def create(self, **settings: Any) -> CircuitBreaker:
        settings["ignore"] = tuple(c for c in settings["ignore"] if type(c) is type)
        return super().create(**settings)


class AsksTheMetaclass(Twin):
    """Uses ``isinstance``, which a metaclass may answer as it likes."""

    def create(self, **settings: Any) -> CircuitBreaker:
        ignore = settings.pop("ignore")
        breaker = super().create(**settings)
        breaker._verdict = Verdict(Exception, lambda error: isinstance(error, ignore), None)
        return breaker


# -- B12 -----------------------------------------------------------------------------------------


class _Windowed(Twin):
    """Its machine has another window."""

    count: type[CountWindow] = CountWindow
    time: type[TimeWindow] = TimeWindow

    def create(self, **settings: Any) -> CircuitBreaker:
        breaker = super().create(**settings)
        if settings["window_calls"] is not None:
            breaker.machine.window = self.count(settings["window_calls"])
        elif settings["window_seconds"] is not None:
            breaker.machine.window = self.time(settings["window_seconds"])
        return breaker


class NothingLeaves(_Windowed):
    """Failures are never taken off the totals."""

    class count(CountWindow):
        def add(self, outcome: int, now: float) -> None:
            failures = self.failures
            super().add(outcome, now)
            self.failures = failures + (outcome & 1)


class UnboundedWindow(_Windowed):
    """Keeps every outcome, and counts the last ones."""

    class count(CountWindow):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.history: list[int] = []

        def add(self, outcome: int, now: float) -> None:
            self.history.append(outcome)
            super().add(outcome, now)


class BucketNotEmptied(_Windowed):
    """A bucket that comes round again keeps its old sum."""

    class time(TimeWindow):
        def _drop(self, bucket: list[int]) -> None:
            pass


# -- B13 -----------------------------------------------------------------------------------------


class EdgeToldTwice(Twin):
    """Tells each opening twice."""

    class machine(Machine):
        __slots__ = ()

        def _enter(
            self, state: BreakerState, reason: BreakerReason, now: float, open_for: float | None
        ) -> None:
            super()._enter(state, reason, now, open_for)
            if state is BreakerState.OPEN:
                self.edges.append(self.edges[-1])


class ShortCut(Twin):
    """A good probe closes without having been half-open, as far as listeners are told."""

    class machine(Machine):
        __slots__ = ()

        def _enter(
            self, state: BreakerState, reason: BreakerReason, now: float, open_for: float | None
        ) -> None:
            super()._enter(state, reason, now, open_for)
            if state is BreakerState.HALF_OPEN:
                self.edges.pop()


class OpensEarly(Twin):
    """One failure fewer is enough."""

    class machine(Machine):
        __slots__ = ()

        def fail(self, permit: Permit, now: float, took: float) -> None:
            self.streak += self.streak > 0
            super().fail(permit, now, took)


# -- B14 -----------------------------------------------------------------------------------------


class _Storing(Twin):
    """Its breaker uses the store in the caller's thread: ``always``, or only for an edge."""

    always = False

    @contextmanager
    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> Iterator[Subject]:
        subject = self.make(plan)
        breaker: Any = subject.raw
        ended = breaker.ended

        def ended_and_stored(permit: Permit, failed: bool, started: float) -> None:
            era = breaker.machine.era
            ended(permit, failed, started)
            if self.always or breaker.machine.era != era:
                store.touch()

        raised = breaker.raised

        def raised_and_stored(permit: Permit, error: BaseException, started: float) -> None:
            era = breaker.machine.era
            raised(permit, error, started)
            if breaker.machine.era != era:
                store.touch()

        breaker.judges_results = True
        breaker.machine.fast = None
        breaker.machine.unmeasured = False
        breaker.ended, breaker.raised = ended_and_stored, raised_and_stored
        yield subject


class StoresEveryCall(_Storing):
    """Every healthy call goes to the store."""

    always = True


class StoresInTheCall(_Storing):
    """An edge waits for the store, and its errors reach the caller."""


BROKEN: dict[str, tuple[type[Twin], ...]] = {
    "B1": (TripRaisesRejection,),
    "B2": (UnlimitedProbes, OneProbeTooMany, RejectionWaits, LockHeld),
    "B3": (LockHeld,),
    "B4": (NeutralIsSuccess, NeutralIsFailure, ProbeKept),
    "B5": (NeutralIsSuccess, NeutralIsFailure, ProbeKept),
    "B6": (NoEras,),
    "B7": (NoHangLimit,),
    "B8": (WallClock,),
    "B9": (ZeroIsDefault,),
    "B10": (ListenerInTheWay,),
    "B11": (ExactTypeOnly, AsksTheMetaclass),
    "B12": (NothingLeaves, UnboundedWindow, BucketNotEmptied),
    "B13": (EdgeToldTwice, ShortCut, OpensEarly),
    "B14": (StoresEveryCall, StoresInTheCall),
    "B15": (LockHeld,),
}
