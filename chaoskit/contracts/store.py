"""The S rows in their order, and the adapter of our own store."""

from __future__ import annotations

from chaoskit.contracts.report import Row
from chaoskit.contracts.store_adapter import ChaoskitStore, ChaoskitSubject, StoreAdapter, StoreSubject
from chaoskit.contracts.store_rows import KILLED, LETTERS, RECORDS

__all__ = ["ROWS", "ChaoskitStore", "ChaoskitSubject", "StoreAdapter", "StoreSubject"]

ROWS: tuple[Row, ...] = tuple(sorted(KILLED + LETTERS + RECORDS, key=lambda row: int(row.id[1:])))
"""S2 asks for the kill of a process. Power loss is asked of a store by the harness: ``scenarios/runtime``."""
