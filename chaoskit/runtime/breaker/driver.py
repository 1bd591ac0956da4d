"""A lock, a clock and listeners around the pure machine, used by shells, guards and the link.

The lock is held only for the machine's own steps, never while a user's function, predicate or listener runs,
and not at all by a healthy call that needs no measuring.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.machine import PASS, BreakerState, Edge, Machine, Permit
from chaoskit.runtime.breaker.options import BreakerOptions
from chaoskit.runtime.breaker.verdict import Verdict
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock
from chaoskit.runtime.failures.taxonomy import BreakerOpen
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.loading import load_ahead
from chaoskit.runtime.locks import let_go
from chaoskit.runtime.observing.observers import Listener, emit, untold, wanted

if TYPE_CHECKING:
    from chaoskit.runtime.breaker.shared import BreakerLink

Told: TypeAlias = Literal["BreakerChanged", "BreakerJudged", "BreakerRejected", "BreakerStoreFailed"]

# Looked up once: a rejection should cost little more than raising its error.
_unread = BreakerOpen.__new__
_OPEN = BreakerState.OPEN


class Driver(Lasting):
    """A breaker as the shells use it: asked before a call, told after it.

    :class:`~chaoskit.runtime.CircuitBreaker` adds the decorators.
    """

    def __init__(
        self,
        options: BreakerOptions,
        verdict: Verdict,
        *,
        name: str,
        clock: Clock,
        listeners: Sequence[Listener],
        shared: BreakerLink | None,
    ) -> None:
        self.options = options
        self.name = kinds.text("name", name)
        self.listeners = synchronous_all("listener", listeners)
        if self.listeners:
            load_ahead("chaoskit.runtime.breaker.events")
        self.now = kinds.clock(clock).monotonic
        self._verdict = verdict
        self.judges_results = verdict.failed_result is not None
        self.machine = Machine(options, unmeasured=not self.judges_results)
        self._lock = threading.RLock()
        self.last_failure = ""
        self._link = kinds.able("shared", shared, "a BreakerLink", "join", "notice", optional=True)
        survive_fork(self)
        if shared is not None:
            shared.join(self)
            self._cool_down()

    def peek(self) -> BreakerState:
        """The state that a call made now would meet; reading it changes and reports nothing."""
        with self._lock:
            return self.machine.peek(self.now())

    def steer(self, move: Callable[[float], None]) -> None:
        """Let ``move`` change the machine manually, and report the resulting edges."""
        now = self.now()
        with self._lock:
            move(now)
        self.tell_edges()

    # -- around one call -------------------------------------------------------------------------

    def enter(self) -> tuple[Permit, float]:
        """Return the permit for one call and its start time; raises ``BreakerOpen`` instead."""
        if self.machine.shut:
            self.turn_away()
        now = self.now()
        permit = self.machine.permit
        if permit is None or self.machine.cold:
            permit = self.admit(now)
        return permit, now

    def turn_away(self) -> None:
        """Reject a call of an open breaker, unless there are listeners to tell: :meth:`admit` then does both.

        It takes no lock: a state that changes at this very moment might as well have changed a moment later.

        Raises:
            BreakerOpen: the call is rejected.
        """
        machine = self.machine
        left = machine.reopen_at - self.now()
        if left > 0 and not machine.cold and not wanted(self.listeners):
            raise _unread(BreakerOpen, _told, self.name, _OPEN, left, self.last_failure, time())

    def returned(self, permit: Permit, value: Any, started: float) -> None:
        """Count a call under ``permit`` that returned ``value``: as failed if ``failed_result`` says so."""
        self.ended(permit, self._verdict.is_failed_result(value), started)

    def ended(self, permit: Permit, failed: bool, started: float) -> None:
        """Count the outcome of a call under ``permit``."""
        if not failed:
            self.succeeded(permit, started)
            return
        now = self.now()
        with self._lock:
            self.machine.fail(permit, now, now - started)
        self.tell_edges()

    def succeeded(self, permit: Permit, started: float) -> None:
        """Count a call under ``permit`` as good. If there is a window, every healthy call comes here."""
        now, lock, machine = self.now(), self._lock, self.machine
        try:
            # A with statement for a lock costs as much as everything else in the counting.
            lock.acquire()
            machine.succeed(permit, now, now - started)
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        if machine.edges:
            self.tell_edges()

    def raised(self, permit: Permit, error: BaseException, started: float) -> None:
        """Count a call under ``permit`` that raised ``error``; a neutral error only frees its place."""
        counted = self._verdict.is_failure(error)
        now = self.now()
        with self._lock:
            if counted:
                # Keep only its class: the error itself would keep the frames of the call alive.
                self.last_failure = type(error).__qualname__
                self.machine.fail(permit, now, now - started)
            else:
                self.machine.release(permit)
        # Count first, then report: if Ctrl-C comes in a listener, the probe's place is free already.
        if wanted(self.listeners):
            self._tell("BreakerJudged", at=now, error=error, counted=counted)
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
            # Ctrl-C in a listener: the call will not be made, so its place is freed.
            if permit is not None:
                self.release(permit)
            raise
        if permit is not None:
            return permit
        enforced = not self.options.observe_only
        if wanted(self.listeners):
            self._tell("BreakerRejected", at=now, state=state, retry_in=retry_in, enforced=enforced)
        if enforced:
            raise _unread(BreakerOpen, _told, self.name, state, retry_in, self.last_failure, time())
        return PASS

    def release(self, permit: Permit) -> None:
        """Give ``permit`` back: the call counts neither way."""
        with self._lock:
            self.machine.release(permit)

    def tell_edges(self) -> None:
        """Report all edges taken so far, in whichever thread comes first; never under the lock."""
        edges = self.machine.edges
        while edges:
            try:
                edge = edges.popleft()
            except IndexError:
                return
            if self._link is not None:
                self._link.notice(self, edge)
            self._tell("BreakerChanged", **edge._asdict())

    def _tell(self, kind: Told, **fields: object) -> None:
        """Emit an event of this breaker."""
        try:
            # Imported late: a breaker that stays closed has no events.
            from chaoskit.runtime.breaker import events
        except Exception as failure:
            untold(f"{kind} of {self.name}", failure)
        else:
            emit(self.listeners, getattr(events, kind)(breaker=self.name, **fields))

    # -- what the link and fork drive ------------------------------------------------------------

    def remaining(self, edge: Edge) -> float | None:
        """Seconds that are left of ``edge``'s open period, or None if it opened nothing."""
        return None if edge.open_for is None else max(0.0, edge.at + edge.open_for - self.now())

    def adopt(self, open_for: float | None) -> None:
        """Adopt what another process found: open for ``open_for`` more seconds, or closed (None)."""
        if open_for is None:
            self.steer(self.machine.adopt_closed)
        elif open_for > 0:
            self.steer(lambda now: self.machine.adopt_open(now, open_for))

    def store_failed(self, action: str, error: Exception) -> None:
        """Report to the listeners that the shared store raised ``error`` on ``action``."""
        self._tell("BreakerStoreFailed", at=self.now(), action=action, error=error)

    def _after_fork(self) -> None:
        self.machine.forget_calls()
        if self._link is not None:
            # The link's thread does not exist in the child.
            self._cool_down()

    def _cool_down(self) -> None:
        """Make the next call take the slow path, which starts the link's thread."""
        self.machine.cold = True
        self.machine.fast = None


def _told(
    name: str, state: BreakerState, retry_in: float | None, last: str, at: float
) -> tuple[str, dict[str, Any]]:
    """The message and fields of the error for a rejection at ``at``, seconds since the epoch."""
    when = "it is not known when" if retry_in is None else f"a call may be let through in {retry_in:.3g} s"
    told = f"; the last failure was {last}" if last else ""
    context = {"breaker": name, "state": str(state), "last_failure": last}
    return f"breaker {name!r} is {state}: {when}{told}", {
        "retry_after": retry_in,
        "context": context,
        "at": at,
    }
