"""The B rows (circuit breaker), one module for each question that they ask.

A row is a Hypothesis strategy for its examples and a check of one example, which raises
``AssertionError`` with what was seen.
"""

from __future__ import annotations

from chaoskit.contracts.breaker_rows.callers import CALLERS
from chaoskit.contracts.breaker_rows.settings import SETTINGS
from chaoskit.contracts.breaker_rows.threads import THREADED
from chaoskit.contracts.breaker_rows.windows import WINDOWS

__all__ = ["SINGLE", "THREADED"]

SINGLE = (*CALLERS, *SETTINGS, *WINDOWS)
"""The rows that one thread decides: an example takes microseconds, where ``THREADED`` waits for threads."""
