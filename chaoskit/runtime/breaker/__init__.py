"""Circuit breaker: a pure state machine, its windows, thin shells, and a link for sharing state."""

from __future__ import annotations

from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.breaker.events import (
    BreakerChanged,
    BreakerJudged,
    BreakerRejected,
    BreakerStoreFailed,
)
from chaoskit.runtime.breaker.machine import LEGAL, BreakerReason, BreakerState, Edge, Machine
from chaoskit.runtime.breaker.options import BreakerOptions
from chaoskit.runtime.breaker.shared import BreakerLink, BreakerStore, SharedRecord

__all__ = [
    "LEGAL",
    "BreakerChanged",
    "BreakerJudged",
    "BreakerLink",
    "BreakerOptions",
    "BreakerRejected",
    "BreakerStore",
    "BreakerStoreFailed",
    "CircuitBreaker",
    "Edge",
    "Machine",
    "BreakerReason",
    "SharedRecord",
    "BreakerState",
]
