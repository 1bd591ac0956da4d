"""The store: records that survive the crash that their durability level names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.extras import missing
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.closing import ClosedOnExit
from chaoskit.runtime.durable.levels import DEFAULT_DURABILITY, Durability, check_durability
from chaoskit.runtime.durable.store.engine import Engine
from chaoskit.runtime.durable.store.protocol import (
    Kind,
    Outcome,
    Page,
    Record,
    Statistics,
    Tx,
    VerifyReport,
)
from chaoskit.runtime.durable.store.settings import Settings
from chaoskit.runtime.failures.stored import RecordCorrupt, StoreForked
from chaoskit.runtime.failures.taxonomy import ConfigurationError
from chaoskit.runtime.numbers import is_number, is_whole

__all__ = ["Store"]

T = TypeVar("T")

SERVERS = ("postgresql", "postgres")
"""The schemes of a target on a PostgreSQL server."""


class Store(ClosedOnExit):
    """Records in one SQLite file, for the processes of one machine, or on a PostgreSQL server, for many.

    Once a write has returned, it survives the crash that ``durability`` names. If it raises, it has changed
    nothing, except with ``OutcomeUnknown``: then ``outcome(operation_id)`` says whether it was committed.
    Features use only :class:`chaoskit.runtime.durable.store.protocol.Storage`, which this class implements.
    """

    def __init__(self, engine: Engine, reopen: Callable[[], Engine], on_fork: str) -> None:
        """Use :meth:`open`."""
        self._reopen, self._on_fork = reopen, on_fork
        self._where, self._durability, self._path = engine.where, engine.durability, engine.path
        self._engine: Engine | None = engine

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
        """Open the store ``target``, and create it if it does not exist, unless ``create`` is False.

        ``target`` is the path of a file, which is created with its directory, or
        ``postgresql://USER@HOST/DATABASE?schema=NAME`` with any of libpq's parameters; the schema is
        ``chaoskit`` unless named. ``lock_timeout``, in seconds, bounds every wait for other writers. Using
        the store in a forked child raises ``StoreForked``, or with ``on_fork="reopen"`` opens it again there.

        For a file, ``reserve`` bytes are set aside for recording failures on a full disk (0: none), and
        ``wal_limit`` is in pages of 4 KiB. A server takes care of both itself, and times are by its clock
        unless ``clock`` is given.

        Raises:
            UsageError: an option has an impossible value.
            StoreBusy: other processes held the lock for ``lock_timeout`` seconds.
            StoreTooNew, StoreCorrupt, DiskFull, FileMissing: as their names say.
            Unreachable: no server answers there.
            ConfigurationError: the file is on a network file system or of another program; SQLite is too old
                or without threads; the system has no record locks (Windows); or the server does not keep
                its promises.
            ModuleNotFoundError: psycopg is not installed, and the target is on a server.
        """
        if on_fork not in ("refuse", "reopen"):
            raise wrong("on_fork", on_fork, "'refuse' or 'reopen'")
        if not (is_number(lock_timeout) and lock_timeout > 0):
            raise wrong("lock_timeout", lock_timeout, "seconds, more than zero")
        if not (is_whole(wal_limit) and wal_limit >= 1 and is_whole(reserve) and reserve >= 0):
            raise wrong("wal_limit, reserve", (wal_limit, reserve), "at least 1 page, and at least 0 bytes")
        kinds.path("target", target)
        kinds.switch("create", create)
        kinds.clock(clock, optional=True)
        settings = Settings(
            check_durability(durability), lock_timeout, reserve, wal_limit, clock or SystemClock()
        )
        opened = _engine(target, settings, clock)
        # Only the first opening may create it: if a forked child finds no store, that was removed, and the
        # child must not continue with an empty one.
        return cls(opened(create), lambda: opened(False), on_fork)

    @property
    def durability(self) -> Durability:
        """The crash that a write survives once it has returned."""
        return self._durability

    @property
    def path(self) -> Path | None:
        """The database file; None on a server.

        Never open it in any other way while a process has this store open.
        """
        return self._path

    def now(self) -> float:
        return self._here().now()

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
        self._here().put(kind, key, value, scope, status, due, operation_id)

    def write(self, work: Callable[[Tx], T], *, operation_id: str | None = None, urgent: bool = False) -> T:
        # ``called`` checks the result for a coroutine. To check each function first would cost more, since
        # most are new lambdas, for which no answer can be cached.
        return self._here().write(lambda tx: called("work", work, tx), operation_id, urgent)  # type: ignore[no-any-return]

    @contextmanager
    def transaction(self, *, operation_id: str | None = None) -> Iterator[Tx]:
        with self._here().transaction(operation_id) as tx:
            yield tx

    def get(self, kind: Kind, key: str, *, scope: str = "") -> Record | None:
        engine = self._here()
        try:
            return engine.read(lambda reader: reader.get(kind, key, scope=scope))
        except RecordCorrupt:
            engine.damaged += 1
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
        engine = self._here()
        page = engine.read(
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
        engine.damaged += len(page.damaged)
        return page

    def count(self, kind: Kind, *, scope: str | None = None) -> Mapping[str, int]:
        return self._here().read(lambda reader: reader.count(kind, scope=scope))

    def oldest(self, kind: Kind, *, status: str) -> float | None:
        return self._here().read(lambda reader: reader.oldest(kind, status=status))

    def owner_alive(self, owner: str) -> bool | None:
        return self._here().owner_alive(owner)

    def outcome(self, operation_id: str) -> Outcome:
        return self._here().outcome(operation_id)

    def backup(self, path: Path | str) -> None:
        """Write a copy to ``path``, completely or not at all, while the store is in use. Replaces a file.

        The copy is a store. Open it where it is, or restore it by moving it to the store's path: first make
        sure that no process has the store open, and remove the ``-wal`` and ``-shm`` files beside it.

        Raises:
            DiskFull, StoreCorrupt, StorageError: the backup failed; an older file at ``path`` is unchanged.
            ConfigurationError: the store is on a server; back it up with the server's own tools.
        """
        self._here().backup(Path(path))

    def verify(self, deep: bool = False) -> VerifyReport:
        """Read every record and look for damage. With ``deep``, check the indexes of a file too."""
        return self._here().verify(deep)

    def statistics(self) -> Statistics:
        """Numbers for an operator, and warnings as sentences."""
        return self._here().statistics()

    def close(self) -> None:
        """Close this store; others on the same file stay open. Closing twice is not an error."""
        # Cleared first, so that a second close, for example in a signal handler, finds nothing to do.
        engine, self._engine = self._engine, None
        if engine is not None and engine.pid == os.getpid():
            engine.close()

    def _here(self) -> Engine:
        """The engine, in the process that opened it."""
        engine = self._engine
        if engine is None:
            raise UsageError(f"the store {self._where} is closed; expected it to be open. Open it again.")
        if engine.pid == os.getpid():
            return engine
        if self._on_fork == "refuse":
            raise StoreForked(
                f"the store {self._where} was opened by process {engine.pid} and is used in its child"
                f" {os.getpid()}; expected each process to open it. Open it after the fork, or with"
                " on_fork='reopen'."
            )
        self._engine = self._reopen()
        return self._engine


def _engine(target: Path | str, settings: Settings, clock: Clock | None) -> Callable[[bool], Engine]:
    """A function that opens the engine for ``target``, and creates a missing store if called with True."""
    scheme, colon, _ = str(target).partition("://")
    if not colon:
        path = Path(target)
        try:
            # Imported here, since a store on a server needs no record locks of this system.
            from chaoskit.runtime.durable.store.local import LocalEngine
        except ImportError:
            raise ConfigurationError(
                f"the store {path} cannot be opened: one in a file needs the record locks of POSIX, and "
                f"this is {sys.platform}. Use postgresql://…, or the Linux subsystem."
            ) from None
        return lambda create: LocalEngine(path, settings, create=create)
    # Refused here: treated as a path, the target would create a directory called "SCHEME:".
    if scheme not in SERVERS:
        raise ConfigurationError(
            f"{scheme}:// is not a kind of store; expected the path of a file, or postgresql://."
        )
    try:
        # Imported here, since a store in a file needs no driver.
        from chaoskit.runtime.durable.store.postgres.engine import ServerEngine
    except ModuleNotFoundError as error:
        raise missing(error, "psycopg", "postgres", "a store on PostgreSQL") from None
    return lambda create: ServerEngine(str(target), settings, clock, create=create)
