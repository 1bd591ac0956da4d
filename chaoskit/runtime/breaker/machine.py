"""The breaker as a pure state machine: no clock, no lock, no I/O, no user code.

::

    CLOSED ──trips──▶ OPEN ──period over, a call comes──▶ HALF_OPEN ──all probes good──▶ CLOSED
                       ▲                                      │
                       └────── a probe failed or hung ────────┘

FORCED_OPEN and DISABLED are entered manually from any state, and left only by reset, to CLOSED.

Every method takes the time as an argument, and the state changes only when a method is called. The driver
serialises the calls.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import NamedTuple

from chaoskit.runtime.breaker.options import BreakerOptions
from chaoskit.runtime.breaker.window import FAILED, SLOW, Window


class BreakerState(enum.StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"
    DISABLED = "disabled"


class BreakerReason(enum.StrEnum):
    """The causes that move a breaker along an edge."""

    FAILURES = "too many failures in a row"
    FAILURE_RATE = "failure rate reached"
    SLOW_RATE = "slow-call rate reached"
    PERIOD_OVER = "open period is over"
    PROBES_SUCCEEDED = "probes succeeded"
    PROBE_FAILED = "a probe failed"
    PROBE_SLOW = "a probe was slow"
    PROBE_HUNG = "a probe did not come back within the hang limit"
    SHARED = "told by another process"
    MANUAL = "by hand"


# A person may force a breaker from any state, and reset it from there.
_BY_HAND = {
    (state, forced) for state in BreakerState for forced in (BreakerState.FORCED_OPEN, BreakerState.DISABLED)
}
_RESET = {(state, BreakerState.CLOSED) for state in BreakerState}

LEGAL: frozenset[tuple[BreakerState, BreakerState]] = frozenset(
    {
        (BreakerState.CLOSED, BreakerState.OPEN),
        (BreakerState.OPEN, BreakerState.HALF_OPEN),
        (BreakerState.HALF_OPEN, BreakerState.OPEN),
        *_BY_HAND,
        *_RESET,
    }
) - {(state, state) for state in BreakerState}
"""All edges that a breaker may take; those to CLOSED, after good probes too, are in ``_RESET``."""


class Edge(NamedTuple):
    """A change of state. ``era`` numbers them; ``open_for`` is the open period that begins, or None."""

    before: BreakerState
    after: BreakerState
    reason: BreakerReason
    era: int
    at: float
    open_for: float | None


class Permit:
    """The right to make one call (a probe), or all calls of one closed era.

    It has only its identity: an outcome counts only under a permit that is still in force, so a call that
    returns from an earlier era changes nothing.
    """

    __slots__ = ()


PASS = Permit()
"""A permit outside all eras: the call goes through and its outcome is not counted."""


class Machine:
    """The state of a breaker. ``edges`` collects the changes until the driver takes them out."""

    __slots__ = (
        "_good",
        "_period",
        "_probes",
        "_slow_after",
        "cold",
        "edges",
        "era",
        "fast",
        "options",
        "permit",
        "reopen_at",
        "shut",
        "state",
        "streak",
        "unmeasured",
        "window",
    )

    def __init__(self, options: BreakerOptions, *, unmeasured: bool = True) -> None:
        """If ``unmeasured``, a healthy call may skip the machine, provided that no window needs to see it."""
        self.options = options
        self.window = options.window()
        self.state = BreakerState.CLOSED
        self.edges: deque[Edge] = deque()
        self.era = 0
        self.streak = 0
        #: True if a healthy call of a closed breaker may skip the machine.
        self.unmeasured = unmeasured and self.window is None
        self._slow_after = math.inf if options.slow_after is None else options.slow_after
        self._period = options.open_for
        #: When an open breaker lets a call through again.
        self.reopen_at = 0.0
        #: True if calls are rejected until then. Like ``fast``, it is read before a call, without the lock.
        self.shut = False
        self._good = 0
        self._probes: dict[Permit, float] = {}
        #: The permit of the closed era, or None. Outcomes under it are always counted.
        self.permit: Permit | None = None
        #: The same permit if nothing is measured in this era, else None. A healthy call reads only this
        #: before it runs (one attribute, atomically), and only ``streak`` afterwards.
        self.fast: Permit | None = None
        #: True if the driver wants the next call to take the slow path.
        self.cold = False
        self._fresh()

    # -- asked before a call ---------------------------------------------------------------------

    def admit(self, now: float) -> Permit | None:
        """Return the permit to call at ``now``, or None if the call is rejected."""
        self._settle(now)
        if self.state is BreakerState.CLOSED:
            if self.unmeasured and not self.cold:
                self.fast = self.permit
            return self.permit
        if self.state is BreakerState.HALF_OPEN:
            return self._probe(now)
        return PASS if self.state is BreakerState.DISABLED else None

    def peek(self, now: float) -> BreakerState:
        """The state that a call at ``now`` would meet. Changes nothing."""
        # Follows _settle and its edges without taking them: a question must not change the answer.
        state, reopen_at = self.state, self.reopen_at
        hung_at = self._hung_at()
        if hung_at is not None and now >= hung_at:
            state, reopen_at = BreakerState.OPEN, hung_at + self._grown()
        if state is BreakerState.OPEN and now >= reopen_at:
            state = BreakerState.HALF_OPEN
        return state

    def retry_in(self, now: float) -> float | None:
        """Seconds until a call may be let through again; None if that is not known.

        It is known only in OPEN: in HALF_OPEN it depends on the probes, in FORCED_OPEN on a person.
        """
        return max(0.0, self.reopen_at - now) if self.state is BreakerState.OPEN else None

    # -- told after a call -----------------------------------------------------------------------

    def succeed(self, permit: Permit, now: float, took: float) -> None:
        """A call under ``permit`` succeeded after ``took`` seconds."""
        if permit is self.permit:
            self.streak = 0
            window = self.window
            if window is not None:
                window.add(SLOW if took >= self._slow_after else 0, now)
                # A window without failed or slow calls cannot reach a rate: spare the healthy call the
                # divisions.
                if window.failures or window.slow:
                    self._judge(window, now)
        elif self._take_back(permit, now):
            if took >= self._slow_after:
                self._open(now, BreakerReason.PROBE_SLOW)
            else:
                self._good += 1
                if self._good >= self.options.probes:
                    self._close(now, BreakerReason.PROBES_SUCCEEDED)

    def fail(self, permit: Permit, now: float, took: float) -> None:
        """A call under ``permit`` failed after ``took`` seconds."""
        if permit is self.permit:
            self.streak += 1
            failures = self.options.failures
            if failures is not None and self.streak >= failures:
                self._open(now, BreakerReason.FAILURES)
            elif self.window is not None:
                self.window.add(FAILED | SLOW if took >= self._slow_after else FAILED, now)
                self._judge(self.window, now)
        elif self._take_back(permit, now):
            self._open(now, BreakerReason.PROBE_FAILED)

    def release(self, permit: Permit) -> None:
        """A call under ``permit`` ended neutrally: it counts neither way, and frees a probe's place."""
        self._probes.pop(permit, None)

    # -- moved by hand, by another process, by a fork --------------------------------------------

    def reset(self, now: float) -> None:
        """Close and forget all counts, from any state. Takes an edge only if it was not closed."""
        if self.state is BreakerState.CLOSED:
            self._fresh()
        else:
            self._close(now, BreakerReason.MANUAL)

    def force(self, state: BreakerState, now: float) -> None:
        """Enter FORCED_OPEN or DISABLED; takes no edge if that is the state already."""
        if self.state is not state:
            self._enter(state, BreakerReason.MANUAL, now, None)

    def adopt_open(self, now: float, remaining: float) -> None:
        """Open for ``remaining`` more seconds, as another process did; an open period is never shortened."""
        if self.state is BreakerState.OPEN:
            self.reopen_at = max(self.reopen_at, now + remaining)
        elif self.state in (BreakerState.CLOSED, BreakerState.HALF_OPEN):
            self._open_until(now, now + remaining, BreakerReason.SHARED)

    def adopt_closed(self, now: float) -> None:
        """Close, because another process found that the service has recovered."""
        if self.state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            self._close(now, BreakerReason.SHARED)

    def forget_calls(self) -> None:
        """In a forked child the callers in progress are gone: free the places of their probes.

        The counts stay; the outcome of the forking thread's own call is not counted.
        """
        self._probes.clear()
        if self.permit is not None:
            self._renew()

    # -- inside ----------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Take the edges that are due because of the time alone."""
        hung_at = self._hung_at()
        if hung_at is not None and now >= hung_at:
            # Counted from when it hung, not from when that was noticed: otherwise a rarely called breaker
            # would stay open too long.
            self._open(now, BreakerReason.PROBE_HUNG, since=hung_at)
        if self.state is BreakerState.OPEN and now >= self.reopen_at:
            self._enter(BreakerState.HALF_OPEN, BreakerReason.PERIOD_OVER, now, None)

    def _hung_at(self) -> float | None:
        # The dict keeps the order of admission, so its first probe is the oldest.
        for started in self._probes.values():
            return started + self.options.hang_limit
        return None

    def _probe(self, now: float) -> Permit | None:
        # Probes that succeeded keep their places: no more than ``probes`` are let through in one half-open
        # era.
        if self._good + len(self._probes) >= self.options.probes:
            return None
        # A fresh object and not a number: numbers need a counter, from which a forked child would draw the
        # same ones as its parent.
        permit = Permit()
        self._probes[permit] = now
        return permit

    def _take_back(self, permit: Permit, now: float) -> bool:
        """Return True if ``permit`` belongs to a probe and was in force; it no longer is afterwards."""
        if permit not in self._probes:
            return False
        self._settle(now)
        return self._probes.pop(permit, None) is not None

    def _judge(self, window: Window, now: float) -> None:
        options = self.options
        if window.calls < options.minimum_calls:
            return
        # Divide, do not multiply: 0.07 * 100 is more than 7, but 7 / 100 is exactly 0.07.
        if options.failure_rate is not None and window.failures / window.calls >= options.failure_rate:
            self._open(now, BreakerReason.FAILURE_RATE)
        elif options.slow_rate is not None and window.slow / window.calls >= options.slow_rate:
            self._open(now, BreakerReason.SLOW_RATE)

    def _grown(self) -> float:
        cap = self.options.open_cap
        return self._period if cap is None else min(self._period * self.options.growth, cap)

    def _open(self, now: float, reason: BreakerReason, since: float | None = None) -> None:
        self._period = self.options.open_for if self.state is BreakerState.CLOSED else self._grown()
        self._open_until(now, (now if since is None else since) + self._period, reason)

    def _open_until(self, now: float, until: float, reason: BreakerReason) -> None:
        self.reopen_at = until
        self._enter(BreakerState.OPEN, reason, now, max(0.0, until - now))

    def _close(self, now: float, reason: BreakerReason) -> None:
        self._enter(BreakerState.CLOSED, reason, now, None)
        self._fresh()

    def _enter(self, state: BreakerState, reason: BreakerReason, now: float, open_for: float | None) -> None:
        # Only noted here, and reported outside the lock: listeners are user code, which may call through this
        # breaker.
        self.edges.append(Edge(self.state, state, reason, self.era + 1, now, open_for))
        self.era += 1
        self.state = state
        self.shut = state is BreakerState.OPEN and not self.options.observe_only
        self.fast = self.permit = None
        self._good = 0
        self._probes.clear()

    def _fresh(self) -> None:
        """Begin a closed era with all counts at zero."""
        self.streak = 0
        self._period = self.options.open_for
        if self.window is not None:
            self.window.clear()
        self._renew()

    def _renew(self) -> None:
        self.permit = Permit()
        self.fast = self.permit if self.unmeasured and not self.cold else None
