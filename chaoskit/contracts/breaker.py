"""The B rows in their order, and the adapter for our own breaker."""

from __future__ import annotations

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, ChaoskitBreaker, Subject
from chaoskit.contracts.breaker_rows import SINGLE, THREADED
from chaoskit.contracts.report import Row

__all__ = [
    "ROWS",
    "BreakerAdapter",
    "BreakerPlan",
    "ChaoskitBreaker",
    "Subject",
]

ROWS: tuple[Row, ...] = tuple(sorted(SINGLE + THREADED, key=lambda row: int(row.id[1:])))
