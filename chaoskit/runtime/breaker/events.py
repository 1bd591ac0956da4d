"""The events of a breaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaoskit.runtime.breaker.machine import BreakerReason, BreakerState
from chaoskit.runtime.log import INFO, WARNING
from chaoskit.runtime.observing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """The state changed. ``era`` numbers the changes, since two threads may report theirs out of order.

    ``open_for`` is the open period that begins, in seconds, or None.
    """

    name: ClassVar[str] = "breaker.changed"

    breaker: str
    before: BreakerState
    after: BreakerState
    reason: BreakerReason
    era: int
    open_for: float | None

    @property
    def log_level(self) -> int:
        """A warning if the breaker opens; all other changes are information."""
        return WARNING if self.after is BreakerState.OPEN else INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRejected(Event):
    """A call was rejected; with ``enforced`` False (observe-only) it was let through and only counted.

    ``retry_in``: seconds until a call may be let through, or None if unknown.
    """

    name: ClassVar[str] = "breaker.rejected"

    breaker: str
    state: BreakerState
    retry_in: float | None
    enforced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerJudged(Event):
    """A call raised ``error``, which counts as a failure or (``counted`` False) is neutral."""

    name: ClassVar[str] = "breaker.judged"

    breaker: str
    error: BaseException
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStoreFailed(Event):
    """The shared store raised ``error`` on ``action`` (publish or read); the breaker goes on without it."""

    name: ClassVar[str] = "breaker.store_failed"

    breaker: str
    action: str
    error: BaseException
