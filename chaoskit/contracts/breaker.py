"""The B rows together, and the adapter of our own breaker."""

from __future__ import annotations

from chaoskit.contracts.breaker_adapter import Adapter, ChaoskitBreaker, Plan, Subject
from chaoskit.contracts.breaker_rows import SINGLE
from chaoskit.contracts.breaker_threads import THREADED
from chaoskit.contracts.report import Finding, Report, Row, examine, missing, row_test

__all__ = [
    "ROWS",
    "Adapter",
    "ChaoskitBreaker",
    "Finding",
    "Plan",
    "Report",
    "Row",
    "Subject",
    "examine",
    "missing",
    "row_test",
]

ROWS: tuple[Row, ...] = tuple(sorted(SINGLE + THREADED, key=lambda row: int(row.id[1:])))
