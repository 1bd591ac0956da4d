"""The R, Q and A rows in their order, and the adapter for our own retry."""

from __future__ import annotations

from chaoskit.contracts.report import Row
from chaoskit.contracts.retry_adapter import ChaoskitRetry, RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows import ASYNC, BUDGET, ENDINGS, OBSERVERS, TASKS, WAITS, WRAPPING

__all__ = [
    "ASYNC_ROWS",
    "BUDGET_ROWS",
    "ROWS",
    "ChaoskitRetry",
    "RetryAdapter",
    "RetryPlan",
]


def _place(row: Row) -> tuple[int, str]:
    # R16a asks the same as R16, for the other kind of function, and comes right after it.
    return int(row.id[1:].rstrip("a")), row.id


ROWS: tuple[Row, ...] = tuple(sorted((*WAITS, *ENDINGS, *OBSERVERS, *WRAPPING, *TASKS), key=_place))
BUDGET_ROWS: tuple[Row, ...] = BUDGET
ASYNC_ROWS: tuple[Row, ...] = ASYNC
