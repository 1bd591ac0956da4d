"""The circuit breaker that users hold: a lock, a clock and listeners around the pure machine.

The lock is held for the machine's own steps only, never while a user's function, predicate or
listener runs, and not at all by a healthy call that needs no measuring.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from chaoskit.runtime.breaker import shells
from chaoskit.runtime.breaker.events import BreakerChanged, BreakerJudged, BreakerRejected
from chaoskit.runtime.breaker.guard import Guard
from chaoskit.runtime.breaker.machine import PASS, Edge, Machine, Permit, State
from chaoskit.runtime.breaker.options import BreakerOptions, Settings
from chaoskit.runtime.breaker.shared import BreakerLink
from chaoskit.runtime.breaker.verdict import Errors, Verdict
from chaoskit.runtime.calling.callables import is_async, protectable
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import BreakerOpen
from chaoskit.runtime.forks import survive_fork
from chaoskit.runtime.observing.events import Listener, emit, wanted

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class CircuitBreaker:
    """Stops calling what keeps failing, and finds out by a few probes when it is well again.

    A decorator for sync and async functions, ``call(fn, ...)`` for one call, ``guard()`` for a block;
    use one breaker for one thing that can fail, by as many callers as like. The settings are the
    fields of :class:`BreakerOptions`, as keyword arguments or as a record (with keyword arguments
    replacing some of it).

    What counts as a failure: an ``Exception`` that is meant by ``on`` and not by ``ignore``, or a
    value for which ``failed_result`` says yes. Any other error is neutral: it counts neither way and,
    in half-open, gives the probe's place back. ``KeyboardInterrupt``, ``SystemExit`` and a cancelled
    task are always neutral. The caller sees its own error or value, also from the call that trips.

    A rejected call raises ``BreakerOpen``: ``retry_after`` says in how many seconds to try again, if
    that is known. No other error is ever added.

    Threads and tasks may share it. After a fork the child goes on from the counts of the parent, each
    for itself; ``shared`` (a :class:`BreakerLink`) joins processes.
    """

    def __init__(
        self,
        options: BreakerOptions | None = None,
        /,
        *,
        name: str = "breaker",
        on: Errors = Exception,
        ignore: Errors = (),
        failed_result: Callable[[Any], bool] | None = None,
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        listeners: Sequence[Listener] = (),
        shared: BreakerLink | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.options = BreakerOptions(**settings) if options is None else replace(options, **settings)
        self.name = name
        self.listeners = tuple(listeners)
        self.now = clock.monotonic
        self._verdict = Verdict(on, ignore, failed_result)
        self.judges_results = failed_result is not None
        self.machine = Machine(self.options, unmeasured=not self.judges_results)
        self._lock = threading.RLock()
        self._link = shared
        survive_fork(self)
        if shared is not None:
            shared.join(self)
            self._cool_down()

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state}>"

    # -- use -------------------------------------------------------------------------------------

    def __call__(self, fn: F) -> F:
        """Return ``fn`` protected; same signature, same kind of function. Generators are refused."""
        protectable("a circuit breaker", fn)
        shell = shells.around_async if is_async(fn) else shells.around_sync
        return cast(F, shell(self, fn))

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn(*args, **kwargs)`` protected; if it is async, the result is to be awaited as ever."""
        machine = self.machine
        permit = machine.fast
        if permit is None:
            return cast(R, shells.call_measured(self, fn, args, kwargs))
        try:
            value = fn(*args, **kwargs) if kwargs else fn(*args)  # type: ignore[call-arg]
        except BaseException as error:
            self.raised(permit, error, 0.0)
            raise
        if machine.streak or type(value) is CoroutineType:
            return cast(R, shells.back(self, permit, value, 0.0))
        return value

    def guard(self) -> Guard:
        """Return a context manager, for ``with`` and ``async with``, that protects its block once."""
        return Guard(self)

    # -- look and steer --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state that a call made now would meet; reading it changes and reports nothing."""
        with self._lock:
            return self.machine.peek(self.now())

    def reset(self) -> None:
        """Close and forget all counts, whatever the state; also ends forced open and disabled."""
        self._steer(self.machine.reset)

    def force_open(self) -> None:
        """Reject every call until :meth:`reset`."""
        self._steer(lambda now: self.machine.force(State.FORCED_OPEN, now))

    def disable(self) -> None:
        """Let every call through and count nothing until :meth:`reset`."""
        self._steer(lambda now: self.machine.force(State.DISABLED, now))

    def _steer(self, move: Callable[[float], None]) -> None:
        now = self.now()
        with self._lock:
            move(now)
        self.tell_edges()

    # -- what the shells and the guard drive -----------------------------------------------------

    def enter(self) -> tuple[Permit, float]:
        """Return the permit for one call and the time it begins; raises ``BreakerOpen`` instead."""
        now = self.now()
        permit = self.machine.permit
        if permit is None or self.machine.cold:
            permit = self.admit(now)
        return permit, now

    def returned(self, permit: Permit, value: Any, started: float) -> None:
        """A call under ``permit`` returned ``value``: count it as good, or as failed if it says so."""
        self.ended(permit, self._verdict.is_failed_result(value), started)

    def ended(self, permit: Permit, failed: bool, started: float) -> None:
        """Count the outcome of a call under ``permit``."""
        now = self.now()
        machine = self.machine
        with self._lock:
            (machine.fail if failed else machine.succeed)(permit, now, now - started)
        if machine.edges:
            self.tell_edges()

    def raised(self, permit: Permit, error: BaseException, started: float) -> None:
        """A call under ``permit`` raised ``error``: count it if it counts."""
        counted = self._verdict.is_failure(error)
        now = self.now()
        with self._lock:
            if counted:
                self.machine.fail(permit, now, now - started)
            else:
                self.machine.release(permit)
        # Counted first, told afterwards: a Ctrl-C that strikes in a listener costs no probe its place.
        if wanted(self.listeners):
            emit(self.listeners, BreakerJudged(at=now, breaker=self.name, error=error, counted=counted))
        self.tell_edges()

    def admit(self, now: float) -> Permit:
        """Return the permit for one call that begins ``now``; raises ``BreakerOpen`` instead."""
        machine = self.machine
        if machine.cold and self._link is not None:
            machine.cold = False
            self._link.start()
        with self._lock:
            permit = machine.admit(now)
            state, retry_in = machine.state, machine.retry_in(now)
        try:
            self.tell_edges()
        except BaseException:
            # Ctrl-C in a listener: the call will not be made, so its place is free.
            if permit is not None:
                self._release(permit)
            raise
        if permit is not None:
            return permit
        enforced = not self.options.observe_only
        if wanted(self.listeners):
            event = BreakerRejected(
                at=now, breaker=self.name, state=state, retry_in=retry_in, enforced=enforced
            )
            emit(self.listeners, event)
        if enforced:
            raise _rejection(self.name, state, retry_in)
        return PASS

    def _release(self, permit: Permit) -> None:
        with self._lock:
            self.machine.release(permit)

    def tell_edges(self) -> None:
        """Tell every edge taken so far, by whichever thread gets here first; never under the lock."""
        edges = self.machine.edges
        while edges:
            try:
                edge = edges.popleft()
            except IndexError:
                return
            if self._link is not None:
                self._link.notice(self, edge)
            if wanted(self.listeners):
                emit(self.listeners, self._changed(edge))

    def _changed(self, edge: Edge) -> BreakerChanged:
        return BreakerChanged(
            at=edge.at,
            breaker=self.name,
            before=edge.before,
            after=edge.after,
            reason=edge.reason,
            era=edge.era,
            open_for=edge.open_for,
        )

    # -- what the link and fork drive ------------------------------------------------------------

    def remaining(self, edge: Edge) -> float | None:
        """Seconds of ``edge``'s open period that are left, or None if it opened nothing."""
        return None if edge.open_for is None else max(0.0, edge.at + edge.open_for - self.now())

    def adopt(self, open_for: float | None) -> None:
        """Take over what another process found: open for so many seconds more, or closed (None)."""
        if open_for is None:
            self._steer(self.machine.adopt_closed)
        elif open_for > 0:
            self._steer(lambda now: self.machine.adopt_open(now, open_for))

    def _after_fork(self) -> None:
        self.machine.forget_calls()
        if self._link is not None:
            # The link's thread did not come along.
            self._cool_down()

    def _cool_down(self) -> None:
        """Make the next call go the long way, where it starts the link's thread."""
        self.machine.cold = True
        self.machine.fast = None


def _rejection(name: str, state: State, retry_in: float | None) -> BreakerOpen:
    when = "it is not known when" if retry_in is None else f"a call may be let through in {retry_in:.3g} s"
    return BreakerOpen(
        f"breaker {name!r} is {state}: {when}",
        retry_after=retry_in,
        context={"breaker": name, "state": str(state)},
    )
