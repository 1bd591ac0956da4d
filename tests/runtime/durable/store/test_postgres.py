"""What a store on a server does beyond the protocol that both kinds share, and the traps that lie there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from postgres import PostgresServer

pytest.importorskip("psycopg")

import psycopg

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.postgres import pool, transacting
from chaoskit.runtime.durable.store.postgres.engine import ServerEngine
from chaoskit.runtime.durable.store.postgres.failures import failure
from chaoskit.runtime.durable.store.postgres.target import ServerTarget
from chaoskit.runtime.durable.store.protocol import Kind, Record, Tx
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreBusy, StoreForked, StoreGone, StoreTooNew
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    DiskFull,
    StorageError,
    Unreachable,
)

JOB = Kind("job")


@pytest.fixture
def uri(new_store_on: Callable[[], str]) -> str:
    return new_store_on()


@pytest.fixture
def store(uri: str) -> Iterator[Store]:
    """A store that goes by the clock of the server."""
    with Store.open(uri, durability="memory") as store:
        yield store


def value(store: Store, key: str) -> Any:
    found = store.get(JOB, key)
    return None if found is None else found.value


def claim(store: Store, **options: Any) -> list[Record]:
    return store.write(lambda tx: tx.claim(JOB, lease=60, **options))


def waits_for_a_lock(postgres: PostgresServer, process: threading.Thread) -> None:
    """Return when some session of the server waits for a lock, or the thread is over."""
    with postgres.connect() as connection:
        while process.is_alive():
            waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
            if connection.execute(waiting).fetchall():
                return


# --- opening -----------------------------------------------------------------------------------------------


def test_a_target_names_its_schema_and_hides_its_password() -> None:
    """The schema is taken out of the URI, and what is shown has no secret in it."""
    found = ServerTarget.parse("postgresql://me:secret@db/jobs?schema=mine&connect_timeout=3&password=x")
    assert found.uri == "postgresql://me:secret@db/jobs?connect_timeout=3&password=x"
    assert found.schema == "mine"
    assert "secret" not in found.shown
    assert "x" not in found.shown.partition("?")[2]
    assert ServerTarget.parse("postgresql:///jobs").schema == "chaoskit"
    assert ServerTarget.parse("postgresql://one:1,two:2/jobs").shown.startswith("postgresql://one:1,two:2/")
    with pytest.raises(UsageError, match=r"cannot be parsed .*expected postgresql://USER@HOST") as caught:
        ServerTarget.parse("postgresql://me:secret@[::1/jobs")
    assert "secret" not in str(caught.value)
    for wrong in ("Mine", "pg_mine", "a-b", "", "a;drop"):
        with pytest.raises(UsageError, match="schema is"):
            ServerTarget.parse(f"postgresql:///jobs?schema={wrong}")


def test_what_is_not_there_is_not_made_unless_told(uri: str) -> None:
    """A console never makes a store by mistake."""
    with pytest.raises(ConfigurationError, match=r"there is no store in .* Pass create=True"):
        Store.open(uri, create=False)
    Store.open(uri).close()
    with Store.open(uri, create=False) as store:
        assert store.path is None


def test_a_schema_of_something_else_is_refused(postgres: PostgresServer, uri: str) -> None:
    """Its tables are left as they are."""
    schema = ServerTarget.parse(uri).schema
    with postgres.connect() as connection:
        connection.execute(f"create schema {schema}; create table {schema}.users(n int)")
    with pytest.raises(ConfigurationError, match=r"tables of another program \(users\)"):
        Store.open(uri)


def test_a_newer_store_is_refused(postgres: PostgresServer, uri: str) -> None:
    """What a later version has made of it is not understood here."""
    Store.open(uri).close()
    with postgres.connect() as connection:
        connection.execute(f"update {ServerTarget.parse(uri).schema}.version set n = 99")
    with pytest.raises(StoreTooNew, match="has version 99; expected at most"):
        Store.open(uri)


def test_two_make_it_at_once(uri: str) -> None:
    """Eight threads open what is not there: each has it, and it is made once."""
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(Store.open(uri))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(stores) == 8
    for n, store in enumerate(stores):
        store.put(JOB, str(n), n, status="x")
    assert stores[0].count(JOB) == {"x": 8}
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("encoding 'SQL_ASCII' template template0", "has the encoding SQL_ASCII; expected UTF8"),
        ("", "synchronous_commit off; expected a server that syncs"),
    ],
)
def test_a_server_that_keeps_no_promise_is_refused(
    postgres: PostgresServer, uri: str, made: str, told: str
) -> None:
    """One that would give bytes for text, and one that says done before it has synced."""
    name = f"other_{os.getpid()}_{len(made)}"
    with postgres.connect() as connection:
        connection.execute(f"create database {name} {made}")
        try:
            connection.execute(f"alter database {name} set synchronous_commit = off")
            with pytest.raises(ConfigurationError, match=told):
                Store.open(uri.replace("/postgres?", f"/{name}?"))
        finally:
            connection.execute(f"drop database {name}")


def test_no_server_is_said_so() -> None:
    """Nothing is there: transient, and within the time that was given."""
    with pytest.raises(Unreachable, match="Expected a server that answers"):
        Store.open("postgresql://app@/jobs?host=/nowhere", lock_timeout=2.0)


def test_the_tables_go(postgres: PostgresServer, store: Store, uri: str) -> None:
    """What was dropped behind the store is missed by name."""
    with postgres.connect() as connection:
        connection.execute(f"drop schema {ServerTarget.parse(uri).schema} cascade")
    with pytest.raises(StoreGone, match="the tables of the store are gone"):
        store.put(JOB, "a", 1, status="x")


# --- many transactions at once -----------------------------------------------------------------------------


def test_numbers_are_large(store: Store) -> None:
    """A count beyond 2**31 is kept: ``integer`` would end there."""
    store.put(Kind("job", 1 << 40), "a", 1, status="x")
    found = store.get(Kind("job", 1 << 40), "a")
    assert found is not None
    assert found.format == 1 << 40


def test_time_is_the_servers_and_passes(store: Store) -> None:
    """Within a transaction too, where ``now()`` of SQL stands still."""
    store.put(JOB, "a", 1, status="pending", due=store.now())
    [found] = claim(store)
    assert found.due is not None
    assert 0 < found.due - store.now() <= 60
    with store.transaction() as tx:
        begun = tx.now
        assert tx.rows("select extract(epoch from clock_timestamp())::float8 > ?", (begun,)) == [(True,)]  # type: ignore[attr-defined]


def claim_beside(postgres: PostgresServer, store: Store) -> list[str]:
    """What a second claim gets while a first one is not committed yet, and the first one's."""
    assert claim(store) == []  # From now on this process is known as an owner.
    for key in "ab":
        store.put(JOB, key, 1, status="pending", due=1.0)
    got: list[str] = []
    second = threading.Thread(target=lambda: got.extend(one.key for one in claim(store)))
    with store.transaction() as tx:
        mine = [one.key for one in tx.claim(JOB, lease=60)]
        second.start()
        waits_for_a_lock(postgres, second)
    second.join()
    return mine + got


def test_two_claims_at_once_get_two(postgres: PostgresServer, store: Store) -> None:
    """The second passes over what the first is about to claim, and does not wait for it."""
    assert sorted(claim_beside(postgres, store)) == ["a", "b"]


def test_without_skip_locked_one_is_claimed_twice(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted twin: the statement that is right in SQLite hands one record out twice."""
    monkeypatch.setattr(transacting.PostgresTx, "lock", "")
    assert claim_beside(postgres, store) == ["a", "a"]


def overtake(postgres: PostgresServer, store: Store) -> tuple[list[Any], Any]:
    """What a work has found that wrote only if nothing was there, and was overtaken once; and what is."""
    seen: list[Any] = []

    def work(tx: Tx) -> None:
        found = tx.get(JOB, "a")
        seen.append(found and found.value)
        if found is None:
            if len(seen) == 1:
                other = threading.Thread(target=lambda: store.put(JOB, "a", "theirs", status="x"))
                other.start()
                other.join()
            tx.put(JOB, "a", "mine", status="x")

    store.write(work)
    return seen, value(store, "a")


def test_what_was_missing_is_missing_still(postgres: PostgresServer, store: Store) -> None:
    """Else the work is run again, and sees what another transaction has written meanwhile."""
    assert overtake(postgres, store) == ([None, "theirs"], "theirs")


def test_without_a_look_it_would_be_overwritten(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted twin: a transaction that forgets what it has found missing."""

    class Forgetful(set):  # type: ignore[type-arg]
        def add(self, name: object) -> None:
            pass

    begin = ServerEngine._begin

    def forgetting(*args: Any) -> Any:
        tx = begin(*args)
        tx._missing = Forgetful()
        return tx

    monkeypatch.setattr(ServerEngine, "_begin", forgetting)
    assert overtake(postgres, store) == ([None], "mine")


def test_what_was_read_stays(postgres: PostgresServer, store: Store) -> None:
    """A record that a transaction has read is changed by no other one before it ends."""
    store.put(JOB, "n", 0, status="x")

    def count() -> None:
        store.write(lambda tx: tx.put(JOB, "n", tx.get(JOB, "n").value + 1, status="x"))  # type: ignore[union-attr]

    other = threading.Thread(target=count)
    with store.transaction() as tx:
        found = tx.get(JOB, "n")
        assert found is not None
        other.start()
        waits_for_a_lock(postgres, other)
        tx.put(JOB, "n", found.value + 1, status="x")
    other.join()
    assert value(store, "n") == 2


def test_a_deadlock_is_run_again(postgres: PostgresServer, store: Store) -> None:
    """Two works that lock two records in two orders: one of them is undone and run again, both are done."""
    for key in "ab":
        store.put(JOB, key, 0, status="x")
    both = threading.Barrier(2, timeout=20)
    errors: list[BaseException] = []

    def run(first: str, second: str) -> None:
        met: list[int] = []

        def work(tx: Tx) -> None:
            tx.change(JOB, first, value=1)
            if not met:
                met.append(1)
                both.wait()
            tx.change(JOB, second, value=1)

        try:
            store.write(work)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=one) for one in (("a", "b"), ("b", "a"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert [found.version for found in store.find(JOB).records] == [3, 3]


def test_a_swallowed_error_is_no_commit(store: Store) -> None:
    """After an error the server only rolls back, and answers "commit" without an error: that is told."""
    store.put(JOB, "a", 1, status="x")

    def work(tx: Tx) -> None:
        tx.put(JOB, "a", 2, status="x")
        try:
            tx.execute("select nonsense")  # type: ignore[attr-defined]
        except StoreGone:
            pass

    with pytest.raises(StoreGone, match="nonsense"):
        store.write(work)
    assert value(store, "a") == 1


def test_a_write_within_a_write_is_refused(store: Store) -> None:
    """Of the same thread: over another connection it would wait for what its own caller holds."""
    with store.transaction() as tx:
        tx.put(JOB, "a", 1, status="x")
        with pytest.raises(UsageError, match="this thread is writing to the store already"):
            store.put(JOB, "a", 2, status="x")
    assert value(store, "a") == 1


def test_a_block_that_falls_silent_is_ended(uri: str) -> None:
    """The server ends a transaction that sends nothing; the others go on, and the block is told."""
    with Store.open(uri, lock_timeout=0.2) as slow, Store.open(uri) as other:
        other.put(JOB, "a", 1, status="x")

        def block() -> None:
            with slow.transaction() as tx:
                tx.put(JOB, "a", 2, status="x")
                # Waits for the row, and gets it when the server has ended this block.
                other.write(lambda tx: tx.change(JOB, "a", value=3))

        with pytest.raises((StoreBusy, Unreachable), match="Nothing was changed"):
            block()
        assert value(other, "a") == 3


def test_a_wait_for_a_row_is_bounded(uri: str) -> None:
    """Another transaction holds it all the time: busy, and nothing was changed."""
    with Store.open(uri, lock_timeout=0.2) as hasty, Store.open(uri) as other:
        other.put(JOB, "a", 1, status="x")
        with other.transaction() as tx:
            tx.put(JOB, "a", 2, status="x")
            with pytest.raises(StoreBusy, match="Nothing was changed"):
                hasty.put(JOB, "a", 3, status="x")
        assert value(other, "a") == 2


def test_connections_are_bounded(postgres: PostgresServer, uri: str) -> None:
    """Sixteen threads write over eight connections at most, and all of them come through."""
    with Store.open(uri, durability="memory") as store:

        def write(me: int) -> None:
            for n in range(20):
                store.put(JOB, f"{me}/{n}", n, status="x")

        threads = [threading.Thread(target=write, args=(me,)) for me in range(16)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert store.count(JOB) == {"x": 320}
        with postgres.connect() as connection:
            asked = "select count(*) from pg_stat_activity where application_name like %s"
            [[count]] = connection.execute(asked, (f"chaoskit-{os.getpid()}.%",)).fetchall()
        # Other stores of this process may have some as well.
        assert count >= 1
        engine = store._here()
        assert isinstance(engine, ServerEngine)
        assert len(engine._pool._all) <= 8


# --- a server that goes ------------------------------------------------------------------------------------


def lose_answers(monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> list[int]:
    """Have the first commit lose its answer, after it was made or before. The list counts commits."""
    commit = ServerEngine._commit
    count: list[int] = []

    def lossy(self: ServerEngine, session: Any, run: Any, tx: Any) -> None:
        count.append(1)
        if len(count) == 1:
            run.committing = True
            if committed:
                session.connection.execute("commit")
            session.connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        commit(self, session, run, tx)

    monkeypatch.setattr(ServerEngine, "_commit", lossy)
    return count


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("operation_id", [None, "mine"])
def test_an_unanswered_commit_is_looked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, committed: bool, operation_id: str | None
) -> None:
    """It was made: the caller hears so. It was not: it is made, once."""
    store.put(JOB, "n", 0, status="x")
    count = lose_answers(monkeypatch, committed=committed)

    def add(tx: Tx) -> str:
        found = tx.get(JOB, "n")
        assert found is not None
        tx.put(JOB, "n", found.value + 1, status="x")
        return "done"

    assert store.write(add, operation_id=operation_id) == "done"
    assert value(store, "n") == 1
    assert len(count) == (1 if committed else 2)


def test_a_block_that_was_not_committed_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be run again here; nothing of it is there."""
    lose_answers(monkeypatch, committed=False)

    def block() -> None:
        with store.transaction() as tx:
            tx.put(JOB, "a", 1, status="x")

    with pytest.raises(Unreachable, match="Nothing was changed"):
        block()
    assert value(store, "a") is None
    block()
    assert value(store, "a") == 1


def test_a_write_that_is_on_its_way_still_is_ended_first(store: Store, uri: str) -> None:
    """Asked for an operation that hangs in the server, the answer is final: the session is ended first."""
    store.put(JOB, "a", 1, status="x")
    with Store.open(uri, durability="memory") as other:
        ids: list[str] = []
        errors: list[BaseException] = []
        with other.transaction() as holding:
            holding.put(JOB, "a", 2, status="x")

            def hang() -> None:
                def work(tx: Tx) -> None:
                    ids.append(tx.operation_id)
                    tx.change(JOB, "a", value=3)

                try:
                    store.write(work)
                except BaseException as error:
                    errors.append(error)

            thread = threading.Thread(target=hang)
            thread.start()
            while not ids:
                pass
            with Store.open(uri) as third:
                assert third.outcome(ids[0]) == "absent"
            while len(ids) < 2:
                pass
        thread.join()
    # The session that was asked about is gone; the write itself was run again, under another id.
    assert errors == []
    assert store.outcome(ids[0]) == "absent"
    assert store.outcome(ids[1]) == "committed"
    assert value(store, "a") == 3


def test_the_answer_does_not_change_when_the_record_does(store: Store) -> None:
    """What is known to be committed stays known, whatever is written over it later."""
    store.put(JOB, "a", 1, status="x")
    found = store.get(JOB, "a")
    assert found is not None
    assert store.outcome(found.operation_id) == "committed"
    store.put(JOB, "a", 2, status="x")
    assert store.outcome(found.operation_id) == "committed"


def test_a_server_that_was_killed_has_what_it_acknowledged(new_server: PostgresServer) -> None:
    """One write over the restart is made over one new connection; while it is gone the outcome is open."""
    with Store.open(new_server.uri()) as store:
        for n in range(20):
            store.put(JOB, str(n), n, status="x")
        new_server.kill()
        with pytest.raises(OutcomeUnknown, match=r"Ask store\.outcome") as told:
            store.put(JOB, "open", 1, status="x")
        assert told.value.operation_id
        with pytest.raises(Unreachable):
            store.get(JOB, "1")
        with pytest.raises(Unreachable):
            store.outcome(told.value.operation_id)
        new_server.start()
        assert store.outcome(told.value.operation_id) == "absent"
        assert store.count(JOB) == {"x": 20}
        store.put(JOB, "after", 1, status="x")
        new_server.kill()
        new_server.start()
        # Nothing was sent over the connections that have died: they are replaced without a word.
        with store.transaction() as tx:
            tx.put(JOB, "block", 1, status="x")
        assert store.count(JOB) == {"x": 22}


def test_a_server_that_falls_silent_is_not_waited_for(
    postgres: PostgresServer, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspended one keeps none of its time-outs: a write waited forever, and with it its thread."""
    monkeypatch.setattr(pool, "STATEMENT", 0.1)
    monkeypatch.setattr(pool, "GRACE", 0.5)
    with Store.open(uri, lock_timeout=0.5) as store:
        # The session that was used last is the next one to be used.
        ((backend,),) = store.write(lambda tx: tx.rows("select pg_backend_pid()"))  # type: ignore[attr-defined]
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises((Unreachable, OutcomeUnknown, StoreBusy)) as told:
                store.put(JOB, "a", 1, status="x")
        finally:
            os.kill(backend, signal.SIGCONT)
        if isinstance(told.value, OutcomeUnknown):
            known = store.outcome(str(told.value.operation_id))
            assert store.count(JOB) == ({"x": 1} if known == "committed" else {})
        store.put(JOB, "a", 2, status="x")
        assert value(store, "a") == 2


@pytest.fixture
def new_server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server of the session, to be killed; it runs again afterwards."""
    yield postgres
    assert postgres.process is not None
    if postgres.process.poll() is not None:
        postgres.start()


def test_errors_have_names() -> None:
    """The server's codes become the errors that every store has."""
    for code, kind in (
        ("55P03", StoreBusy),
        ("40P01", StoreBusy),
        ("53100", DiskFull),
        ("57P01", Unreachable),
        ("3F000", StoreGone),
        ("28P01", ConfigurationError),
        ("22000", StorageError),
    ):
        made = failure(psycopg.errors.lookup(code)("said"), "here")
        assert type(made) is kind, code
        assert "here: said" in str(made)


def test_a_child_neither_uses_nor_closes_what_it_inherits(uri: str) -> None:
    """In a forked child the store is refused or opened again; the parent's connections go on."""
    with Store.open(uri) as refusing, Store.open(uri, on_fork="reopen") as reopening:
        refusing.put(JOB, "a", 1, status="x")
        reopening.put(JOB, "b", 1, status="x")
        child = os.fork()
        if not child:
            code = 1
            try:
                reopening.put(JOB, "child", 1, status="x")
                refusing.close()
                try:
                    refusing.put(JOB, "never", 1, status="x")
                except (StoreForked, UsageError):
                    code = 0
                del refusing, reopening
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        refusing.put(JOB, "c", 1, status="x")
        reopening.put(JOB, "d", 1, status="x")
        assert [one.key for one in refusing.find(JOB).records] == ["a", "b", "c", "child", "d"]


def test_a_backup_is_the_servers_affair(store: Store) -> None:
    """The message names the command."""
    with pytest.raises(ConfigurationError, match="pg_dump --schema="):
        store.backup("copy.db")


def test_damage_is_found(store: Store) -> None:
    """A value that was changed behind the store is found by its checksum, and its neighbours are read."""
    for key in "abc":
        store.put(JOB, key, 1, status="x")
    with store.transaction() as tx:
        tx.execute("update record set payload = '2' where key = 'b'")  # type: ignore[attr-defined]
    report = store.verify()
    assert (report.records, [one.key for one in report.damaged]) == (3, ["b"])
    page = store.find(JOB)
    assert ([one.key for one in page.records], [one.key for one in page.damaged]) == (["a", "c"], ["b"])
    assert store.statistics().damaged == 1


def test_a_dead_process_of_this_machine_gives_back_what_it_had(store: Store, uri: str) -> None:
    """No lease is waited for: its end is seen from here. One that lives keeps what it has."""
    store.put(JOB, "a", 1, status="pending", due=1.0)
    child = os.fork()
    if not child:
        try:
            with Store.open(uri) as mine:
                mine.write(lambda tx: tx.claim(JOB, lease=3600))
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    held = store.get(JOB, "a")
    assert held is not None
    assert held.owner is not None
    assert store.owner_alive(held.owner) is False
    [taken] = claim(store)
    assert (taken.attempts, taken.fence) == (2, 2)
    with Store.open(uri) as other:
        assert other.owner_alive(str(taken.owner)) is True
        assert claim(other) == []
