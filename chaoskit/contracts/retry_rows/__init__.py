"""The R rows (retry), Q rows (budget) and A rows (coroutines), one module for each subject.

A row consists of a Hypothesis strategy for its examples, and a check of one example. A check raises
``AssertionError`` with a message about what was seen, never about what to do: the rows know nothing of how an
implementation works.
"""

from __future__ import annotations

from chaoskit.contracts.retry_rows.async_rows import ASYNC
from chaoskit.contracts.retry_rows.budgets import BUDGET
from chaoskit.contracts.retry_rows.endings import ENDINGS
from chaoskit.contracts.retry_rows.observers import OBSERVERS
from chaoskit.contracts.retry_rows.tasks import TASKS
from chaoskit.contracts.retry_rows.waits import WAITS
from chaoskit.contracts.retry_rows.wrapping import WRAPPING

__all__ = ["ASYNC", "BUDGET", "ENDINGS", "OBSERVERS", "TASKS", "WAITS", "WRAPPING"]
