"""How a store was opened, whatever it is kept in."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.levels import Durability

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store was opened. Times are seconds, ``reserve`` is bytes, ``wal_limit`` pages."""

    durability: Durability
    lock_timeout: float
    reserve: int
    wal_limit: int
    clock: Clock
