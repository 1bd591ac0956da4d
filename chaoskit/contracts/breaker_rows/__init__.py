"""The B rows (circuit breaker), one module for each subject.

A row consists of a Hypothesis strategy for its examples, and a check of one example, which raises
``AssertionError`` with a message about what was seen.
"""

from __future__ import annotations

from chaoskit.contracts.breaker_rows.callers import CALLERS
from chaoskit.contracts.breaker_rows.settings import SETTINGS
from chaoskit.contracts.breaker_rows.threads import THREADED
from chaoskit.contracts.breaker_rows.windows import WINDOWS

__all__ = ["SINGLE", "THREADED"]

SINGLE = (*CALLERS, *SETTINGS, *WINDOWS)
"""The rows that need one thread. An example takes microseconds; those of ``THREADED`` wait for threads."""
