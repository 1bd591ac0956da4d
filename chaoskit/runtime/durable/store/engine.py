"""What a store needs from a database: one engine for each kind of database.

An engine belongs to the process that opened it. The store above it handles forks, and calls after closing;
the engine need not check for either.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.protocol import (
    Kind,
    Outcome,
    Reader,
    Statistics,
    Tx,
    VerifyReport,
)

__all__ = ["Engine"]

T = TypeVar("T")


class Engine(Protocol):
    """One open database in one process, for any number of threads."""

    pid: int
    """The process that opened it."""

    damaged: int
    """Damaged records found since the store was opened."""

    @property
    def where(self) -> str:
        """The database, for messages; never with its password."""

    @property
    def durability(self) -> Durability: ...

    @property
    def path(self) -> Path | None:
        """The database file, or None if it is not a file."""

    def now(self) -> float: ...

    def put(
        self,
        kind: Kind,
        key: str,
        value: Any,
        scope: str,
        status: str,
        due: float | None,
        operation_id: str | None,
    ) -> None: ...

    def write(self, work: Callable[[Tx], T], operation_id: str | None, urgent: bool) -> T: ...

    def transaction(self, operation_id: str | None) -> AbstractContextManager[Tx]: ...

    def read(self, look: Callable[[Reader], T]) -> T:
        """Return the result of ``look``. Each of its reads is a separate transaction."""

    def owner_alive(self, owner: str) -> bool | None: ...

    def outcome(self, operation_id: str) -> Outcome: ...

    def backup(self, path: Path) -> None: ...

    def verify(self, deep: bool) -> VerifyReport: ...

    def statistics(self) -> Statistics: ...

    def close(self) -> None: ...
