"""The S rows in their order, and the adapter for our own store."""

from __future__ import annotations

from chaoskit.contracts.report import Row
from chaoskit.contracts.store_adapter import ChaoskitStore, ChaoskitSubject, StoreAdapter, StoreSubject
from chaoskit.contracts.store_rows import KILLED, LETTERS, RECORDS

__all__ = ["ROWS", "ChaoskitStore", "ChaoskitSubject", "StoreAdapter", "StoreSubject"]

ROWS: tuple[Row, ...] = tuple(sorted(KILLED + LETTERS + RECORDS, key=lambda row: int(row.id[1:])))
"""S2 kills a process. The harness tests a store for power loss: ``scenarios/runtime``."""
