"""The store: records on disk that survive what their durability level names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.durable.store.care import back_up, statistics, verify
from chaoskit.runtime.durable.store.codec import check_name
from chaoskit.runtime.durable.store.commit import Write
from chaoskit.runtime.durable.store.core import Core, Settings
from chaoskit.runtime.durable.store.opening import close, open_core
from chaoskit.runtime.durable.store.protocol import (
    Kind,
    Outcome,
    Page,
    Record,
    Statistics,
    Tx,
    VerifyReport,
)
from chaoskit.runtime.durable.store.writing import Put
from chaoskit.runtime.failures.stored import RecordCorrupt, StoreForked
from chaoskit.runtime.failures.taxonomy import ConfigurationError, DiskFull

__all__ = ["Store"]

T = TypeVar("T")


class Store:
    """Records in one SQLite file, for any number of threads and processes of one machine.

    A write that returned survives the crash that ``durability`` names. One that raised changed nothing,
    except for ``OutcomeUnknown``, after which ``outcome(operation_id)`` says what became of it. Features
    build on :class:`chaoskit.runtime.durable.store.protocol.Storage`, which this is.
    """

    def __init__(self, path: Path, settings: Settings, core: Core, on_fork: str) -> None:
        """Use :meth:`open`."""
        self._path, self._settings, self._on_fork = path, settings, on_fork
        self._core: Core | None = core

    @classmethod
    def open(
        cls,
        target: Path | str,
        *,
        durability: Durability = DEFAULT_DURABILITY,
        lock_timeout: float = 10.0,
        on_fork: Literal["refuse", "reopen"] = "refuse",
        reserve: int = 4 << 20,
        wal_limit: int = 1000,
        clock: Clock | None = None,
        create: bool = True,
    ) -> Self:
        """Open the store in the file ``target``; it is created, with its directory, unless told otherwise.

        ``lock_timeout`` bounds every wait for others, in seconds. ``reserve`` bytes are set aside for
        recording failures on a full disk; 0 for none. ``wal_limit`` is in pages of 4 KiB. A child process
        in which the store is used raises ``StoreForked``, or opens it again with ``on_fork="reopen"``.

        Raises:
            StoreBusy: another process held it all the time.
            StoreTooNew, StoreCorrupt, DiskFull, FileMissing: as they say.
            ConfigurationError: a network file system, another kind of database, or a SQLite without threads.
        """
        # As a path it would make a directory with that name.
        if "://" in str(target):
            raise ConfigurationError(
                f"{str(target).partition('://')[0]}:// is no kind of store; expected the path of a file."
            )
        if on_fork not in ("refuse", "reopen"):
            raise wrong("on_fork", on_fork, "'refuse' or 'reopen'")
        if not lock_timeout > 0:
            raise wrong("lock_timeout", lock_timeout, "seconds, more than zero")
        if wal_limit < 1 or reserve < 0:
            raise wrong("wal_limit, reserve", (wal_limit, reserve), "at least 1 page, and at least 0 bytes")
        settings = Settings(
            check_durability(durability), lock_timeout, reserve, wal_limit, clock or SystemClock()
        )
        path = Path(target)
        return cls(path, settings, open_core(path, settings, create=create), on_fork)

    @property
    def durability(self) -> Durability:
        """The crash that a returned write survives."""
        return self._settings.durability

    @property
    def path(self) -> Path:
        """The database file. Never open it with anything but this store while a process has it open."""
        return self._path

    def now(self) -> float:
        return self._settings.clock.time()

    def put(
        self,
        kind: Kind,
        key: str,
        value: Any,
        *,
        scope: str = "",
        status: str,
        due: float | None = None,
        operation_id: str | None = None,
    ) -> None:
        core = self._here()
        id = core.next_id() if operation_id is None else check_name("operation_id", operation_id)
        now = self._settings.clock.time()
        put = Put(kind, scope, key, status, value, due=due, operation_id=id, now=now)
        core.queue.submit(Write(id, named=operation_id is not None, put=put))

    def write(self, work: Callable[[Tx], T], *, operation_id: str | None = None, urgent: bool = False) -> T:
        core = self._here()
        operation = self._operation(core, operation_id)
        operation.work = work
        try:
            return core.queue.submit(operation)  # type: ignore[no-any-return]
        except DiskFull:
            if not urgent or not core.upkeep.reserve.give_up():
                raise
        operation.renew()
        return core.queue.submit(operation)  # type: ignore[no-any-return]

    @contextmanager
    def transaction(self, *, operation_id: str | None = None) -> Iterator[Tx]:
        core = self._here()
        with core.transaction(self._operation(core, operation_id)) as tx:
            yield tx

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        core = self._here()
        try:
            return core.readers.read(lambda reader: reader.get(kind, key, scope=scope))
        except RecordCorrupt:
            core.damaged += 1
            raise

    def find(
        self,
        kind: Kind,
        *,
        scope: str | None = None,
        status: str | Sequence[str] | None = None,
        live: bool = False,
        updated_before: float | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Page:
        core = self._here()
        page = core.readers.read(
            lambda reader: reader.find(
                kind,
                scope=scope,
                status=status,
                live=live,
                updated_before=updated_before,
                after=after,
                limit=limit,
            )
        )
        core.damaged += len(page.damaged)
        return page

    def count(self, kind: Kind, *, scope: str | None = None) -> Mapping[str, int]:
        return self._here().readers.read(lambda reader: reader.count(kind, scope=scope))

    def owner_alive(self, owner: str) -> bool | None:
        core = self._here()
        return core.readers.read(lambda reader: core.owners.lives(reader, owner))

    def outcome(self, operation_id: str) -> Outcome:
        core = self._here()
        check_name("operation_id", operation_id)
        return core.settle(operation_id)

    def backup(self, path: Path | str) -> None:
        """Write a copy to ``path``, whole or not at all, while the store is in use; replaces what is there.

        The copy is a store: open it where it lies, or move it to the store's path while no process has that
        open, with the ``-wal`` and ``-shm`` beside it removed.

        Raises:
            DiskFull, StoreCorrupt, StorageError: and what was under ``path`` is still there.
        """
        self._here().readers.read(lambda reader: back_up(reader.connection, self._path, Path(path)))

    def verify(self, deep: bool = False) -> VerifyReport:
        """Look for damage; ``deep`` compares the indexes too. Every record is read."""
        return verify(self._here(), deep=deep)

    def statistics(self) -> Statistics:
        """Numbers for an operator, and warnings in sentences."""
        return statistics(self._here())

    def close(self) -> None:
        """Close it; other stores on the same file stay open. Twice does nothing."""
        # Taken out first, so that a second close, or one in a signal handler, finds nothing to do.
        core, self._core = self._core, None
        if core is not None and core.pid == os.getpid():
            close(core)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _here(self) -> Core:
        """The core, in the process that opened it."""
        core = self._core
        if core is None:
            raise UsageError(f"the store {self._path} is closed; expected it to be open. Open it again.")
        if core.pid == os.getpid():
            return core
        if self._on_fork == "refuse":
            raise StoreForked(
                f"the store {self._path} was opened by process {core.pid} and is used in its child"
                f" {os.getpid()}; expected each process to open it. Open it after the fork, or with"
                " on_fork='reopen'."
            )
        # Not created: a child that finds no file has lost its store, and must not go on with an empty one.
        self._core = open_core(self._path, self._settings, create=False)
        return self._core

    def _operation(self, core: Core, operation_id: str | None) -> Write:
        if operation_id is None:
            return Write(core.next_id())
        return Write(check_name("operation_id", operation_id), named=True)
