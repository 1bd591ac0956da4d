"""One open store file in one process: its lock, its connections, and how a commit proceeds."""

from __future__ import annotations

import copy
import errno
import itertools
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_UN, lockf
from functools import partial

from chaoskit.runtime.durable.store.commit import Queue, Round, Write
from chaoskit.runtime.durable.store.connections import Connections
from chaoskit.runtime.durable.store.files import StoreFiles, typed_errors
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.owners import Owners
from chaoskit.runtime.durable.store.protocol import Outcome
from chaoskit.runtime.durable.store.readers import Readers
from chaoskit.runtime.durable.store.settings import Settings
from chaoskit.runtime.durable.store.sqlite import connect_writer, failure, primary
from chaoskit.runtime.durable.store.upkeep import Upkeep
from chaoskit.runtime.durable.store.writing import SqliteTx, write_put
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy, StoreGone
from chaoskit.runtime.failures.taxonomy import ResilienceError

__all__ = ["Core"]

BATCH = 256
"""The most operations in one commit: about 2 ms of plain writes, for which other processes wait."""
LOOK = 1.0
"""Seconds, at least, between two checks that the file still exists, in commits that are not synced."""
_COMMIT = ("commit",)
# The pages of a failed commit may be in the WAL. No open connection sees them, but the next one that opens
# the file may. Any commit made now overwrites or follows them, and so decides their fate. This statement is
# for when there is nothing else to write.
SETTLE = "update settled set n = n + 1"
# After these errors the connection itself may be at fault. After a failed sync, SQLite even reports a
# malformed database over that connection although the database is sound.
_BROKEN = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
)
# One of these errors fails the whole batch, not only the operation that met it.
_FATAL = _BROKEN | {sqlite3.SQLITE_NOMEM}


class Core:
    """Create it with the store's lock held, over a connection that has run all migrations."""

    def __init__(
        self,
        files: StoreFiles,
        settings: Settings,
        lock: LockFile,
        connection: sqlite3.Connection,
        identity: tuple[int, int],
    ) -> None:
        self.files, self.settings, self.lock = files, settings, lock
        self.pid = os.getpid()
        self.owners = Owners(lock)
        self.operations = self.commits = self.damaged = 0
        self._token = uuid.uuid4().hex[:16]
        self._numbers = itertools.count(1)
        self._connections = Connections()
        self._writer: sqlite3.Connection | None = self._connections.keep(connection)
        self.identity = identity
        self._looked = settings.clock.monotonic()
        self.upkeep = Upkeep(files, settings.wal_limit, settings.reserve)
        self.readers = Readers(files.database, settings.clock, self._look, self._connections)
        self.queue = Queue(
            self._commit,
            most=BATCH,
            # Without syncs a larger batch saves too little to be worth the wait.
            linger=settings.durability == "power-loss",
            timeout=settings.lock_timeout,
            clock=settings.clock,
            late=self._late,
            after=self._after,
        )

    def next_id(self) -> str:
        """An operation id that no other operation ever has."""
        return f"{self._token}-{next(self._numbers)}"

    @contextmanager
    def transaction(self, operation: Write) -> Iterator[SqliteTx]:
        """Give the writer to the caller's block, and commit at its end unless it raises."""
        with self.queue.alone():
            connection = None
            try:
                with self._named(operation.id):
                    self.lock.acquire(self.settings.lock_timeout, self.settings.clock)
                    connection = self._connected()
                    connection.execute("begin immediate")
                    repeated = operation.named and not self._enter(connection, operation.id)
                # Errors of the caller's block pass unchanged: one of SQLite's may be about another file.
                tx = self._tx(connection, operation.id, repeated)
                yield tx
                operation.size = tx.size
                with self._named(operation.id, committing=True):
                    connection.execute("rollback" if repeated else "commit")
                self.commits += 1
                self.operations += 1
                if not self._still_there():
                    raise self._vanished(operation.id)
            except ResilienceError as error:
                cause = error.__cause__
                unsettled = [operation.id] if isinstance(error, OutcomeUnknown) else []
                if isinstance(cause, sqlite3.Error) and self._mend(cause, unsettled):
                    connection = None
                raise
            finally:
                try:
                    if connection is not None:
                        _roll_back(connection)
                finally:
                    lockf(self.lock.fd, LOCK_UN, 1, 0)
            self._after([operation])

    @contextmanager
    def _named(self, id: str, *, committing: bool = False) -> Iterator[None]:
        """Raise errors as classes of the taxonomy."""
        try:
            with typed_errors("write to", self.files.database):
                yield
        except sqlite3.Error as error:
            raise self._failure(error, committing, id) from error

    def settle(self, id: str) -> Outcome:
        """Find out whether an operation was committed. The answer is final."""

        def look(tx: SqliteTx) -> Outcome:
            tx.execute(SETTLE)
            named = tx.rows("select 1 from operation where id = ?", (id,))
            wrote = named or tx.rows("select 1 from record where operation_id = ? limit 1", (id,))
            return "committed" if wrote else "absent"

        outcome: Outcome = self.queue.submit(Write(self.next_id(), work=look))
        if outcome == "committed" and self.settings.durability == "power-loss":
            # It may have been recovered from pages whose sync failed; a checkpoint writes them again.
            with self.exclusive() as connection:
                self.upkeep.checkpoint(connection, "full")
        return outcome

    def close(self) -> None:
        """Close all connections, under the lock: SQLite checkpoints when the last one is closed."""
        with self.queue.alone():
            try:
                self.lock.acquire(self.settings.lock_timeout, self.settings.clock)
                if self._writer is not None:
                    self.upkeep.checkpoint(self._writer, "passive")
            except (sqlite3.Error, ResilienceError) as error:
                # Closing continues. It is safe without our lock: SQLite's checkpoint at the last close locks
                # the whole file, which succeeds only if no other process has a connection.
                self.upkeep.failed(error)
            finally:
                # In a ``finally``, for when memory ran out: no descriptor may outlive the store.
                self._writer = None
                for refused in self._connections.close_all():
                    self.upkeep.failed(refused)
                self.lock.close()

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, outside a transaction, with all locks held."""
        with self.queue.alone():
            try:
                self.lock.acquire(self.settings.lock_timeout, self.settings.clock)
                yield self._connected()
            except sqlite3.Error as error:
                raise self._failure(error, False, "") from error
            finally:
                lockf(self.lock.fd, LOCK_UN, 1, 0)

    def _commit(self, batch: Round) -> None:
        connection = None
        try:
            self.lock.acquire(self.settings.lock_timeout, self.settings.clock)
            connection = self._connected()
            self._execute(connection, batch)
        except sqlite3.Error as error:
            batch.failure = partial(self._failure, error, batch.committing)
            if self._mend(error, [one.id for one in batch.operations] if batch.committing else []):
                connection = None
        except Exception as error:
            batch.failure = partial(_again, self._typed(error))
        finally:
            # Each ``finally`` begins with a call into C, so that no signal handler runs before it.
            try:
                if connection is not None:
                    connection.rollback()
            except sqlite3.Error:
                self._writer = None
            finally:
                lockf(self.lock.fd, LOCK_UN, 1, 0)

    def _execute(self, connection: sqlite3.Connection, batch: Round) -> None:
        first = batch.operations[0]
        if len(batch.operations) == 1 and first.put is not None and not first.named:
            # A single put needs no ``begin``: the statement is a transaction by itself. And without
            # followers, an interrupt before ``committed`` is filled leaves no other caller in doubt.
            batch.committing = True
            write_put(connection, first.put)
            batch.committed.append(True)
        else:
            connection.execute("begin immediate")
            for operation in batch.operations:
                self._apply(connection, operation)
            step = map(connection.execute, _COMMIT)
            # No signal handler runs between these two lines, or within the second. So if ``committed`` is
            # filled, the batch is committed; if ``committing`` is not set, it is not.
            batch.committing = True
            batch.committed.extend(step)
        self.commits += 1
        self.operations += len(batch.operations)
        if not self._still_there():
            batch.doubt = self._vanished

    def _apply(self, connection: sqlite3.Connection, operation: Write) -> None:
        """Apply one operation of several. If it fails, it alone is undone; the others are unaffected."""
        plain = operation.put is not None and not operation.named
        try:
            if not plain:
                connection.execute("savepoint one")
            repeated = operation.named and not self._enter(connection, operation.id)
            if operation.work is not None:
                tx = self._tx(connection, operation.id, repeated)
                operation.result = operation.work(tx)
                operation.size = tx.size
            elif not repeated:
                write_put(connection, operation.put)
        except Exception as error:
            cause = error if isinstance(error, sqlite3.Error) else error.__cause__
            if not connection.in_transaction or (
                isinstance(cause, sqlite3.Error) and primary(cause) in _FATAL
            ):
                raise cause or error from None
            operation.error = (
                self._failure(error, False, operation.id) if isinstance(error, sqlite3.Error) else error
            )
            repeated = True
        if not plain:
            if repeated:
                connection.execute("rollback to one")
            connection.execute("release one")

    def _enter(self, connection: sqlite3.Connection, id: str) -> bool:
        """Write an id into the ledger; return False if the ledger has it already."""
        now = self.settings.clock.time()
        statement = "insert into operation(id, at) values(?, ?) on conflict do nothing"
        return connection.execute(statement, (id, now)).rowcount == 1

    def _tx(self, connection: sqlite3.Connection, id: str, repeated: bool) -> SqliteTx:
        now = self.settings.clock.time()
        return SqliteTx(connection, self.files.database, id, now, self.owners, repeated=repeated)

    def _connected(self) -> sqlite3.Connection:
        """The connection that writes, in no transaction, to a file that still exists."""
        # SQLite commits into an unlinked file without an error. Beside a sync the check costs nothing;
        # without syncs it is a tenth of the commit.
        synced = self.settings.durability == "power-loss"
        if synced or self.settings.clock.monotonic() - self._looked >= LOOK:
            self._look()
        connection = self._writer
        if connection is None:
            self._look()
            connection = connect_writer(self.files.database, self.settings.durability, create=False)
            self._writer = self._connections.keep(connection)
        elif connection.in_transaction:
            connection.rollback()  # A leader was interrupted before it could do this.
        return connection

    def _look(self) -> None:
        try:
            seen = self.files.identity()
        except FileNotFoundError:
            seen = None
        if seen != self.identity or not self.lock.same_file():
            raise StoreGone(
                f"{self.files.database} is no longer the file that was opened; expected it to stay while"
                " the store is open. Find out what removed or replaced it, then open the store again."
            )
        self._looked = self.settings.clock.monotonic()

    def _still_there(self) -> bool:
        """True unless the file lost its name during the write. Without syncs this is not checked."""
        if self.settings.durability != "power-loss":
            return True
        try:
            return self.files.identity() == self.identity
        except OSError as error:
            # If the file cannot be looked up, the commit that SQLite synced still holds.
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)

    def _vanished(self, id: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self.files.database} was removed or replaced while operation {id} was committed; expected it"
            " to stay while the store is open. The operation is in the file that was there, if that still"
            " exists under another name. Find out what removed it, then open the store again and look.",
            operation_id=id,
        )

    def _after(self, operations: list[Write]) -> None:
        """Do the upkeep that is due after a commit. Errors fail no caller: the next commit tries again."""
        if not self.upkeep.due(operations):
            return
        try:
            self.lock.acquire(self.settings.lock_timeout, self.settings.clock)
            self.upkeep.run(self._connected(), self.settings.clock.time())
        except (sqlite3.Error, ResilienceError, OSError) as error:
            self.upkeep.failed(error)
        finally:
            lockf(self.lock.fd, LOCK_UN, 1, 0)

    def _failure(self, error: sqlite3.Error, committing: bool, id: str) -> Exception:
        made = failure(error, self.files.database, committing=id if committing else None)
        made.__cause__ = error
        return made

    def _typed(self, error: Exception) -> Exception:
        try:
            with typed_errors("write to", self.files.database):
                raise error
        except Exception as typed:
            return typed

    def _late(self, waited: float) -> Exception:
        return StoreBusy(
            f"{self.files.database} was written to by other threads of this process for {waited:.3g} s;"
            " expected a turn sooner. Nothing was changed; keep transactions short, or raise lock_timeout.",
            context={"pid": self.pid},
        )

    def _mend(self, error: sqlite3.Error, unsettled: list[str]) -> bool:
        """Give up the connection; return False, and keep it, if the error shows that it is not at fault.

        Call with the lock held. ``unsettled`` are operations whose commit failed: a new connection may find
        them there after all. That is settled and noted now, before another process can overwrite what they
        wrote.
        """
        if primary(error) not in _BROKEN:
            return False
        self._disconnect()
        if unsettled:
            try:
                connection = self._connected()
                connection.execute("begin immediate")
                connection.execute(SETTLE)
                connection.execute(
                    "insert into operation(id, at) select distinct operation_id, ? from record"
                    " where operation_id in (select value from json_each(?)) on conflict do nothing",
                    (self.settings.clock.time(), json.dumps(unsettled)),
                )
                connection.execute("commit")
            except (sqlite3.Error, ResilienceError, OSError) as again:
                self.upkeep.failed(again)
                self._disconnect()
        return True

    def _disconnect(self) -> None:
        connection, self._writer = self._writer, None
        if connection is not None:
            try:
                self._connections.close(connection)
            except sqlite3.Error as error:
                self.upkeep.failed(error)


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        connection.rollback()
    except sqlite3.Error:
        pass  # The next connection finds no transaction.


def _again(error: Exception, id: str) -> Exception:
    """The batch's error for one of its operations: a copy, as two threads must not raise the same object."""
    try:
        made = copy.copy(error)
    except Exception:
        return error
    made.__cause__ = error.__cause__
    return made
