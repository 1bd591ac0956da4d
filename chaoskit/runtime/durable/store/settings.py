"""The options with which a store was opened, for every kind of database."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.levels import Durability

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a store. Times are in seconds, ``reserve`` in bytes, ``wal_limit`` in pages of 4 KiB."""

    durability: Durability
    lock_timeout: float
    reserve: int
    wal_limit: int
    clock: Clock
