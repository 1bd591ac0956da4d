"""The S rows (durable stores), one module for each question that they ask.

A row is a Hypothesis strategy for its examples and a check of one example, which raises
``AssertionError`` with what was seen.
"""

from __future__ import annotations

from chaoskit.contracts.store_rows.children import KILLED
from chaoskit.contracts.store_rows.letters import LETTERS
from chaoskit.contracts.store_rows.records import RECORDS

__all__ = ["KILLED", "LETTERS", "RECORDS"]
