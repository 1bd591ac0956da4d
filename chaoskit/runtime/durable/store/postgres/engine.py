"""The engine of a store on a PostgreSQL server.

The server itself commits for several sessions at once, so nothing is queued here. But it does not report the
outcome of a commit whose answer was lost. To find it out, a new connection ends the session that made the
commit, if that still exists, and then looks for what the commit wrote.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.durable.levels import Durability
from chaoskit.runtime.durable.store.changing import Put
from chaoskit.runtime.durable.store.codec import check_name, encode
from chaoskit.runtime.durable.store.commit import nested
from chaoskit.runtime.durable.store.postgres.care import EVERY, statistics, sweep
from chaoskit.runtime.durable.store.postgres.failures import failure, first_line, is_again, is_lost
from chaoskit.runtime.durable.store.postgres.outcomes import committed
from chaoskit.runtime.durable.store.postgres.owners import ServerOwners
from chaoskit.runtime.durable.store.postgres.pool import Pool, Session
from chaoskit.runtime.durable.store.postgres.tables import migrate
from chaoskit.runtime.durable.store.postgres.target import ServerTarget
from chaoskit.runtime.durable.store.postgres.transacting import (
    NOW,
    Overtaken,
    PostgresReader,
    PostgresTx,
    write_put,
)
from chaoskit.runtime.durable.store.protocol import Kind, Outcome, Reader, Statistics, Tx, VerifyReport
from chaoskit.runtime.durable.store.settings import Settings
from chaoskit.runtime.durable.store.walking import look_at_all
from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy
from chaoskit.runtime.failures.taxonomy import ConfigurationError

__all__ = ["ServerEngine"]

T = TypeVar("T")

logger = logging.getLogger("chaoskit")

BEGIN = f"begin isolation level read committed; select {NOW}".encode()
_ENTER = "insert into operation(id, at) values(%s, %s) on conflict do nothing"
AGAIN = 20
"""How many times at most a write is run if other transactions cause it to be undone."""


class WriteRun:
    """One run of a write. ``committing`` is set immediately before the statement that commits is sent."""

    __slots__ = ("committing", "id", "result", "token")

    def __init__(self) -> None:
        self.id = self.token = ""
        self.committing = False
        self.result: Any = None


class ServerEngine:
    """One schema of one database, in one process, for any number of threads."""

    path: Path | None = None

    def __init__(self, target: str, settings: Settings, clock: Clock | None, *, create: bool) -> None:
        self.pid = os.getpid()
        self.damaged = 0
        self._target = ServerTarget.parse(target)
        self._durability, self._timeout = settings.durability, settings.lock_timeout
        self._time, self._clock = clock, settings.clock
        self._pool = Pool(self._target, settings.durability, settings.lock_timeout, settings.clock)
        self._owners = ServerOwners()
        self._thread = threading.local()
        self._operations = self._commits = 0
        self._swept: float | None = None
        try:
            with self._pool.lent() as session:
                migrate(session.connection, self._target, create=create)
        except psycopg.Error as error:
            raise failure(error, self.where) from error
        except ResilienceError:
            self.close()
            raise

    @property
    def where(self) -> str:
        return self._target.shown

    @property
    def durability(self) -> Durability:
        return self._durability

    def now(self) -> float:
        if self._time is not None:
            return self._time.time()
        return self._read(lambda reader: float(reader.rows(f"select {NOW}")[0][0]))

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
        payload = encode(value)
        if operation_id is not None:
            self.write(
                lambda tx: tx.put(kind, key, payload, scope=scope, status=status, due=due), operation_id
            )
            return

        def attempt(session: Session, run: WriteRun) -> None:
            run.id = session.next_id()
            now = None if self._time is None else self._time.time()
            put = Put(kind, scope, key, status, payload, due=due, operation_id=run.id, now=now or 0.0)
            run.committing = True
            write_put(session.connection, put, now)

        self._surely(attempt)

    def write(self, work: Callable[[Tx], T], operation_id: str | None, urgent: bool = False) -> T:
        named = None if operation_id is None else check_name("operation_id", operation_id)

        def attempt(session: Session, run: WriteRun) -> None:
            try:
                tx = self._begin(session, run, named)
                try:
                    run.result = work(tx)
                except Exception:
                    # The server has undone the transaction, and the work is run again. What it raised after
                    # that is a consequence, not an error of the work.
                    if tx.broken is not None and _runs_again(tx.broken):
                        raise tx.broken from None
                    raise
                self._commit(session, run, tx)
            finally:
                _roll_back(session)

        return self._surely(attempt)  # type: ignore[no-any-return]

    @contextmanager
    def transaction(self, operation_id: str | None) -> Iterator[Tx]:
        named = None if operation_id is None else check_name("operation_id", operation_id)
        run = WriteRun()
        with self._inside(), ExitStack() as stack:
            try:
                session, tx = self._begun(stack, run, named)
            except psycopg.Error as error:
                raise failure(error, self.where) from error
            stack.callback(_roll_back, session)
            try:
                # Errors of the caller's block pass unchanged: one of psycopg's may be about another server.
                yield tx
            except Overtaken:
                raise self._busy("was overtaken by another transaction") from None
            try:
                self._commit(session, run, tx)
            except Overtaken:
                raise self._busy("was overtaken by another transaction") from None
            except psycopg.Error as error:
                # The caller's block cannot be run again here, and need not be if it was committed after all.
                if not (run.committing and is_lost(error) and self._settled(run, error)):
                    raise failure(error, self.where) from error
        self._after()

    def read(self, look: Callable[[Reader], T]) -> T:
        return self._read(look)

    def owner_alive(self, owner: str) -> bool | None:
        return self._read(lambda reader: self._owners.lives(reader, owner))

    def outcome(self, operation_id: str) -> Outcome:
        id = check_name("operation_id", operation_id)
        for fresh in (False, True):
            try:
                with self._pool.lent(fresh=fresh) as session:
                    done = committed(session.connection, id, timeout=self._timeout, clock=self._clock)
                    return "committed" if done else "absent"
            except psycopg.Error as error:
                # Asking twice changes nothing, so ask again over a new connection if the idle one was broken.
                if fresh or not is_lost(error):
                    raise failure(error, self.where) from error
        raise AssertionError("the second run returns or raises")

    def backup(self, path: Path) -> None:
        raise ConfigurationError(
            f"{self.where} is on a server; expected a store that is a file. Back it up with the server's own"
            f" tools: pg_dump --schema={self._target.schema}, or a backup of the whole server."
        )

    def verify(self, deep: bool) -> VerifyReport:
        return replace(self._read(look_at_all), deep=deep)

    def statistics(self) -> Statistics:
        return self._read(
            lambda reader: statistics(
                reader, self._operations, self._commits, self._pool.longest, self.damaged
            )
        )

    def close(self) -> None:
        self._pool.close_idle()

    def _read(self, look: Callable[[PostgresReader], T]) -> T:
        """Read; if the idle connection was broken, once more over a new one."""
        for fresh in (False, True):
            try:
                with self._pool.lent(fresh=fresh) as session:
                    return look(PostgresReader(session.connection, self.where))
            except psycopg.Error as error:
                raise failure(error, self.where) from error
            except ResilienceError as error:
                if fresh or not (isinstance(error.__cause__, psycopg.Error) and is_lost(error.__cause__)):
                    raise
        raise AssertionError("the second run returns or raises")

    def _surely(self, attempt: Callable[[Session, WriteRun], object]) -> Any:
        """Run a write until its outcome is known; return its result.

        It is run again if another transaction was in the way, and once more over a new connection if the
        server was stopped or restarted since the connection was last used.
        """
        fresh, begun = False, self._clock.monotonic()
        with self._inside():
            for _ in range(AGAIN):
                run = WriteRun()
                try:
                    with self._pool.lent(fresh=fresh) as session:
                        run.token = session.token
                        attempt(session, run)
                except Overtaken:
                    pass
                except psycopg.Error as error:
                    lost = is_lost(error)
                    if lost and run.committing and self._settled(run, error):
                        break
                    if not (is_again(error) or (lost and not fresh)):
                        raise failure(error, self.where) from error
                    fresh = fresh or lost
                else:
                    break
                if self._clock.monotonic() - begun >= self._timeout:
                    raise self._busy("was rolled back in favour of other transactions each time")
            else:
                raise self._busy(f"was rolled back in favour of other transactions {AGAIN} times")
        self._after()
        return run.result

    def _begun(self, stack: ExitStack, run: WriteRun, named: str | None) -> tuple[Session, PostgresTx]:
        """Begin a transaction for a caller's block; if the idle connection was broken, over a new one."""
        for fresh in (False, True):
            session = stack.enter_context(self._pool.lent(fresh=fresh))
            run.token = session.token
            try:
                return session, self._begin(session, run, named)
            except psycopg.Error as error:
                if fresh or not is_lost(error):
                    raise
                stack.close()
        raise AssertionError("the second run returns or raises")

    def _begin(self, session: Session, run: WriteRun, named: str | None) -> PostgresTx:
        connection = session.connection
        run.id = named or session.next_id()
        cursor = connection.execute(BEGIN, prepare=False)
        cursor.nextset()
        now = self._time.time() if self._time is not None else cursor.fetchall()[0][0]
        repeated = (
            named is not None
            # If another session is about to commit this id, the insert waits until that is decided.
            and connection.execute(_ENTER, (named, now)).rowcount == 0
        )
        return PostgresTx(connection, self.where, run.id, now, self._owners, repeated=repeated)

    def _commit(self, session: Session, run: WriteRun, tx: PostgresTx) -> None:
        if tx.broken is not None:
            # The server answers the commit of a broken transaction by rolling it back, without an error.
            raise tx.broken
        if tx.repeated:
            session.connection.execute("rollback")
            return
        run.committing = True
        session.connection.execute("commit")
        self._commits += 1
        if tx.claimed_as is not None:
            self._owners.recorded = True

    def _settled(self, run: WriteRun, error: psycopg.Error) -> bool:
        """True if the unanswered commit took effect. Raises OutcomeUnknown if that cannot be found out."""
        try:
            with self._pool.lent(fresh=True) as session:
                return committed(
                    session.connection, run.id, token=run.token, timeout=self._timeout, clock=self._clock
                )
        except (psycopg.Error, ResilienceError) as again:
            raise OutcomeUnknown(
                f"{self.where} did not answer while operation {run.id} was committed ({first_line(error)}),"
                f" and cannot be asked now ({first_line(again)}). Ask store.outcome(operation_id) when the"
                " server is back.",
                operation_id=run.id,
            ) from error

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Refuse a write within a write of the same thread: it would wait for its caller's locks."""
        if getattr(self._thread, "inside", False):
            raise nested()
        self._thread.inside = True
        try:
            yield
        finally:
            self._thread.inside = False

    def _busy(self, what: str) -> StoreBusy:
        return StoreBusy(
            f"{self.where}: the write {what}; expected it to be committed. Nothing was changed; try again."
        )

    def _after(self) -> None:
        """Do the upkeep, if it is due. An error fails no caller: the upkeep is tried again next time."""
        self._operations += 1
        now = self._clock.monotonic()
        if self._swept is not None and now - self._swept < EVERY:
            return
        self._swept = now
        try:
            today = self.now()
            with self._pool.lent() as session:
                while not sweep(session.connection, today):
                    pass
        except (psycopg.Error, ResilienceError) as error:
            logger.warning("upkeep of %s failed: %s", self.where, error)


def _runs_again(error: Exception) -> bool:
    """True if the work is run again after this error of its transaction."""
    return isinstance(error, Overtaken) or (
        isinstance(error, psycopg.Error) and (is_again(error) or is_lost(error))
    )


def _roll_back(session: Session) -> None:
    status = session.connection.info.transaction_status
    if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        with suppress(psycopg.Error):
            session.connection.execute("rollback")
