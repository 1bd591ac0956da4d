"""The B rows together: which there are, and how to run one against an adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings

from chaoskit.contracts.breaker_adapter import Adapter, ChaoskitBreaker, Plan, Subject
from chaoskit.contracts.breaker_rows import SINGLE, BreakerRow
from chaoskit.contracts.breaker_threads import THREADED

__all__ = ["ROWS", "Adapter", "BreakerRow", "ChaoskitBreaker", "Plan", "Subject", "missing", "row_test"]

ROWS: tuple[BreakerRow, ...] = tuple(sorted(SINGLE + THREADED, key=lambda row: int(row.id[1:])))


def missing(row: BreakerRow, adapter: Adapter) -> frozenset[str]:
    """What ``adapter`` would have to offer for ``row`` to apply; empty if it does."""
    return row.needs - adapter.features


def row_test(row: BreakerRow, adapter: Adapter, profile: settings | None = None) -> Callable[[], None]:
    """Return a function that checks ``row`` against ``adapter`` on many examples.

    It raises ``AssertionError`` with the shortest example that fails, shrunk by Hypothesis.
    """

    @given(example=row.examples)
    def test(example: Any) -> None:
        row.check(adapter, example)

    test.__name__ = f"test_{row.id}_{adapter.name}"
    return test if profile is None else profile(test)
