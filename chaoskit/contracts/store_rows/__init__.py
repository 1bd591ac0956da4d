"""The S rows (durable stores), one module for each subject.

A row consists of a Hypothesis strategy for its examples, and a check of one example, which raises
``AssertionError`` with a message about what was seen.
"""

from __future__ import annotations

from chaoskit.contracts.store_rows.children import KILLED
from chaoskit.contracts.store_rows.letters import LETTERS
from chaoskit.contracts.store_rows.records import RECORDS

__all__ = ["KILLED", "LETTERS", "RECORDS"]
