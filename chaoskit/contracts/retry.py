"""The R and Q rows together, and the adapter of our own retry."""

from __future__ import annotations

from chaoskit.contracts.budget_rows import BUDGET
from chaoskit.contracts.report import Finding, Report, Row, examine, missing, row_test
from chaoskit.contracts.retry_adapter import ChaoskitRetry, RetryAdapter, RetryPlan
from chaoskit.contracts.retry_async_rows import ASYNCHRONOUS
from chaoskit.contracts.retry_rows import SYNCHRONOUS

__all__ = [
    "BUDGET_ROWS",
    "ROWS",
    "ChaoskitRetry",
    "Finding",
    "Report",
    "RetryAdapter",
    "RetryPlan",
    "Row",
    "examine",
    "missing",
    "row_test",
]


def _place(row: Row) -> tuple[int, str]:
    return int(row.id.rstrip("abt")[1:]), row.id


ROWS: tuple[Row, ...] = tuple(sorted((*SYNCHRONOUS, *ASYNCHRONOUS), key=_place))
BUDGET_ROWS: tuple[Row, ...] = BUDGET
