"""The B rows in their order, and the adapter of our own breaker."""

from __future__ import annotations

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, ChaoskitBreaker, Subject
from chaoskit.contracts.breaker_rows import SINGLE, THREADED
from chaoskit.contracts.report import Examination, Row, RowOutcome, examine, missing, row_test

__all__ = [
    "ROWS",
    "BreakerAdapter",
    "BreakerPlan",
    "ChaoskitBreaker",
    "Examination",
    "Row",
    "RowOutcome",
    "Subject",
    "examine",
    "missing",
    "row_test",
]

ROWS: tuple[Row, ...] = tuple(sorted(SINGLE + THREADED, key=lambda row: int(row.id[1:])))
