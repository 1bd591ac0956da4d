"""What a breaker tells its listeners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaoskit.runtime.breaker.machine import BreakerReason, BreakerState
from chaoskit.runtime.log import INFO, WARNING
from chaoskit.runtime.observing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """An edge was taken. Each is told once; ``era`` counts them, should two threads tell theirs out of order.

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
        """A service that is given up is worth a warning; that it is well again is news."""
        return WARNING if self.after is BreakerState.OPEN else INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRejected(Event):
    """A call was not let through; with ``enforced`` false (observe-only) it would not have been.

    ``retry_in``: seconds until a call may be let through, or None if not known.
    """

    name: ClassVar[str] = "breaker.rejected"

    breaker: str
    state: BreakerState
    retry_in: float | None
    enforced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerJudged(Event):
    """A call raised ``error``, which counts as a failure or (``counted`` false) is neutral."""

    name: ClassVar[str] = "breaker.judged"

    breaker: str
    error: BaseException
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStoreFailed(Event):
    """The shared store raised ``error`` on ``action`` (publish or read); the breaker goes on by itself."""

    name: ClassVar[str] = "breaker.store_failed"

    breaker: str
    action: str
    error: BaseException
