"""The engine for a store in a file: SQLite behind the group commit and the lock between processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.care import back_up, statistics, verify
from chaoskit.runtime.durable.store.changing import Put
from chaoskit.runtime.durable.store.codec import check_name
from chaoskit.runtime.durable.store.commit import Write
from chaoskit.runtime.durable.store.opening import close, open_core
from chaoskit.runtime.durable.store.protocol import Kind, Outcome, Reader, Statistics, Tx, VerifyReport
from chaoskit.runtime.durable.store.settings import Settings
from chaoskit.runtime.failures.taxonomy import DiskFull

__all__ = ["LocalEngine"]

T = TypeVar("T")


class LocalEngine:
    """A store file opened by one ``Store`` of this process. Several stores of the same file share a core."""

    def __init__(self, path: Path, settings: Settings, *, create: bool) -> None:
        self.core = open_core(path, settings, create=create)
        self.path = path
        self.pid = self.core.pid
        self._settings = settings
        self._submit = self.core.queue.submit

    @property
    def where(self) -> str:
        return str(self.path)

    @property
    def durability(self) -> Durability:
        return self._settings.durability

    @property
    def damaged(self) -> int:
        return self.core.damaged

    @damaged.setter
    def damaged(self, count: int) -> None:
        self.core.damaged = count

    def now(self) -> float:
        return self._settings.clock.time()

    def put(
        self,
        kind: Kind,
        key: str,
        value: Any,
        scope: str,
        status: str,
        due: float | None,
        operation_id: str | None,
    ) -> None:
        id = self.core.next_id() if operation_id is None else check_name("operation_id", operation_id)
        now = self._settings.clock.time()
        put = Put(kind, scope, key, status, value, due=due, operation_id=id, now=now)
        self._submit(Write(id, named=operation_id is not None, put=put))

    def write(self, work: Callable[[Tx], T], operation_id: str | None, urgent: bool) -> T:
        operation = self._operation(operation_id)
        operation.work = work
        try:
            return self._submit(operation)  # type: ignore[no-any-return]
        except DiskFull:
            if not urgent or not self.core.upkeep.reserve.give_up():
                raise
        operation.renew()
        return self._submit(operation)  # type: ignore[no-any-return]

    @contextmanager
    def transaction(self, operation_id: str | None) -> Iterator[Tx]:
        with self.core.transaction(self._operation(operation_id)) as tx:
            yield tx

    def read(self, look: Callable[[Reader], T]) -> T:
        return self.core.readers.read(look)

    def owner_alive(self, owner: str) -> bool | None:
        return self.core.readers.read(lambda reader: self.core.owners.lives(reader, owner))

    def outcome(self, operation_id: str) -> Outcome:
        return self.core.settle(check_name("operation_id", operation_id))

    def backup(self, path: Path) -> None:
        self.core.readers.read(lambda reader: back_up(reader.connection, self.path, path))

    def verify(self, deep: bool) -> VerifyReport:
        return verify(self.core, deep=deep)

    def statistics(self) -> Statistics:
        return statistics(self.core)

    def close(self) -> None:
        close(self.core)

    def _operation(self, operation_id: str | None) -> Write:
        if operation_id is None:
            return Write(self.core.next_id())
        return Write(check_name("operation_id", operation_id), named=True)
