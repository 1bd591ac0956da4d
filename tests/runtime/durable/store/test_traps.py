"""Traps of SQLite and of locks, each shown to be one, and the store beside it that does not step in."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    OutcomeUnknown,
    RecordCorrupt,
    Store,
    StoreBusy,
    StoreCorrupt,
    StoreForked,
    StoreGone,
    clean_leftovers,
)
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.store import care
from chaoskit.runtime.durable.store.commit import Round, Write
from chaoskit.runtime.durable.store.core import Core
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.protocol import DamagedRecord, Kind, Tx
from chaoskit.runtime.failures.taxonomy import ConfigurationError, DiskFull

JOB = Kind("job")


class Child:
    """A forked process that does ``work`` with a function by which it says that it has come so far.

    It lives until it is killed, or until the block is left.
    """

    def __init__(self, work: Callable[[Callable[[str], None]], None]) -> None:
        self._from, child_to = os.pipe()
        child_from, self._to = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                work(lambda text: self._say(child_to, child_from, text))
                self._say(child_to, child_from, "done")
            except BaseException as error:
                os.write(child_to, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(0)
        os.close(child_to)
        os.close(child_from)

    @staticmethod
    def _say(to: int, come: int, text: str) -> None:
        os.write(to, f"{text}\n".encode())
        os.read(come, 1)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._from)
        os.close(self._to)

    def heard(self) -> str:
        return os.read(self._from, 4096).decode().strip()

    def go_on(self) -> None:
        os.write(self._to, b".")


def put(store: Store, key: str, value: object = 1) -> None:
    store.put(JOB, key, value, status="x")


# --- the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["the store's", "copying the file"])
def test_a_backup_keeps_the_locks(path: Path, way: str) -> None:
    """Copying the file in the process that has it open drops SQLite's locks, and then commits."""

    def work(say: Callable[[str], None]) -> None:
        store = Store.open(path, reserve=0)
        put(store, "before")
        if way == "copying the file":
            shutil.copy(path, path.with_name("backup.db"))
        else:
            store.backup(path.with_name("backup.db"))
        say("backed up")
        for n in range(10):
            put(store, str(n))

    with Child(work) as child:
        assert child.heard() == "backed up"
        with closing(sqlite3.connect(path)) as other:
            other.execute("select * from record").fetchall()
        child.go_on()
        assert child.heard() == "done"
    with Store.open(path, reserve=0) as store:
        found = store.count(JOB)["x"]
    if way == "the store's":
        assert found == 11
    elif sqlite3.sqlite_version_info < (3, 51):  # Later ones notice that their locks are gone.
        assert found < 11


def test_a_backup_is_a_store(store: Store, path: Path, tmp_path: Path) -> None:
    """It can be opened, has what was there when it was made, and replaces an earlier one."""
    backup = tmp_path / "kept" / "backup.db"
    backup.parent.mkdir()
    for n in range(2):
        put(store, str(n))
        store.backup(backup)
    put(store, "later")
    assert os.listdir(backup.parent) == ["backup.db"]
    with Store.open(backup, durability="memory", reserve=0, create=False) as copy:
        assert copy.count(JOB) == {"x": 2}
    with pytest.raises(ValueError, match="expected a path other than the store's"):
        store.backup(path)


def test_backups_of_several_threads_do_not_meet(store: Store, tmp_path: Path) -> None:
    """Each writes a file that is its alone: none fails, the last is whole, and nothing is left beside it."""
    for n in range(50):
        put(store, str(n), "x" * 3000)
    errors: list[BaseException] = []
    begin = threading.Barrier(4)

    def back_up() -> None:
        begin.wait()
        for _ in range(5):
            try:
                store.backup(tmp_path / "backup.db")
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=back_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(name for name in os.listdir(tmp_path) if "backup" in name) == ["backup.db"]
    with Store.open(tmp_path / "backup.db", durability="memory", reserve=0, create=False) as copy:
        assert copy.count(JOB) == {"x": 50}
        assert copy.verify(deep=True).ok


def test_what_a_killed_backup_leaves_is_known_as_rubbish(path: Path, tmp_path: Path) -> None:
    """One file with a name that clean_leftovers knows, and nothing beside it."""
    with Store.open(path, reserve=0) as store:
        for n in range(50):
            put(store, str(n), "x" * 3000)

    (tmp_path / "kept").mkdir()

    def work(say: Callable[[str], None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(care, "_finish", lambda path: say("copied"))
            with closing(sqlite3.connect(path)) as source:
                care.back_up(source, path, tmp_path / "kept" / "backup.db")

    with Child(work) as child:
        assert child.heard() == "copied"
    [left] = os.listdir(tmp_path / "kept")
    assert [path.name for path in clean_leftovers(tmp_path / "kept")] == [left]


def put_by(way: str, store: Store) -> None:
    """A record by each of the ways to write one."""
    if way == "put":
        put(store, "b")
    elif way == "write":
        store.write(lambda tx: tx.put(JOB, "b", 1, status="x"))
    else:
        with store.transaction() as tx:
            tx.put(JOB, "b", 1, status="x")


@pytest.mark.parametrize("way", ["put", "write", "transaction"])
def test_nothing_is_acknowledged_into_a_file_that_is_removed(
    path: Path, clock: VirtualClock, way: str
) -> None:
    """A write that is to survive a power loss looks each time: its file may be gone since a moment ago."""
    with Store.open(path, clock=clock, reserve=0) as store:
        put(store, "a")
        os.rename(path, path.with_name("elsewhere.db"))
        with pytest.raises(StoreGone, match="is no longer the file that was opened"):
            put_by(way, store)
        os.rename(path.with_name("elsewhere.db"), path)


def move_at_the_next_statement(store: Store, path: Path) -> None:
    """Take the file away when a write has looked for it, and has not committed."""
    writer = store._here().core._writer
    assert writer is not None

    def move(_: str) -> None:
        writer.set_trace_callback(None)
        os.rename(path, path.with_name("elsewhere.db"))

    writer.set_trace_callback(move)


@pytest.mark.parametrize("way", ["put", "write", "transaction"])
def test_a_file_that_is_removed_during_a_commit_is_not_acknowledged(path: Path, way: str) -> None:
    """Its outcome is unknown: it is in a file that may come back, and then the store can say so."""
    with Store.open(path, reserve=0) as store:
        put(store, "a")
        move_at_the_next_statement(store, path)
        with pytest.raises(OutcomeUnknown, match="was removed or replaced while operation") as caught:
            put_by(way, store)
        id = caught.value.operation_id
        assert id is not None
        with pytest.raises(StoreGone):
            store.outcome(id)
        os.rename(path.with_name("elsewhere.db"), path)
        assert store.outcome(id) == "committed"
        put(store, "c")
        assert store.count(JOB) == {"x": 3}


def test_without_a_second_look_it_would_be_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: SQLite commits into a file that has no name any more."""
    monkeypatch.setattr(Core, "_still_there", lambda core: True)
    with Store.open(path, reserve=0) as store:
        put(store, "a")
        move_at_the_next_statement(store, path)
        put(store, "b")
        assert not path.exists()
        os.rename(path.with_name("elsewhere.db"), path)


def test_a_file_that_is_removed_is_noticed(store: Store, path: Path, clock: VirtualClock) -> None:
    """SQLite commits into a file without a name as if nothing were; unsynced they look after a second."""
    put(store, "a")
    os.rename(path, path.with_name("elsewhere.db"))
    put(store, "lost")
    clock.advance(1)
    with pytest.raises(StoreGone, match="is no longer the file that was opened"):
        put(store, "b")


def test_a_file_that_is_replaced_is_noticed_by_readers(store: Store, path: Path) -> None:
    """A new connection is to the same file as the old ones, or there is none."""
    os.rename(path, path.with_name("elsewhere.db"))
    shutil.copy(path.with_name("elsewhere.db"), path)
    with pytest.raises(StoreGone):
        store.get(JOB, "a")


def test_another_database_is_not_taken_for_a_store(path: Path) -> None:
    """A database of another program is refused and left as it is: the switch to WAL would stay in it."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table theirs(x)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="database of another program"):
        Store.open(path, reserve=0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 4096])
def test_an_empty_file_is_no_store_unless_one_is_to_be_made(path: Path, size: int) -> None:
    """A store that was cut to nothing must not look like one in which nothing was ever recorded."""
    with closing(sqlite3.connect(path)) as empty:
        empty.execute("pragma journal_mode = wal")
    os.truncate(path, size)
    with pytest.raises(StoreCorrupt, match="is empty; expected a store"):
        Store.open(path, reserve=0, create=False)
    with Store.open(path, durability="memory", reserve=0) as store:
        store.put(JOB, "a", 1, status="done")


def test_what_is_no_database_is_corrupt(path: Path) -> None:
    """A file that SQLite does not know is refused with a typed error."""
    path.write_bytes(b"not a database, by far" * 100)
    with pytest.raises(StoreCorrupt, match=r"the file is damaged"):
        Store.open(path, reserve=0)


# --- waiting -----------------------------------------------------------------------------------------------


def test_the_switch_to_wal_does_not_wait(path: Path) -> None:
    """Plain SQLite raises at once whatever its timeout; the store waits for its own lock first."""
    with closing(sqlite3.connect(path, isolation_level=None)) as one:
        one.execute("create table t(x)")
        one.execute("begin immediate")
        other = sqlite3.connect(path, timeout=3600)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("pragma journal_mode = wal")


def test_a_wait_is_bounded_and_names_the_holder(path: Path) -> None:
    """A write waits for the lock for so long, then says which process has it; nothing is changed."""
    clock = VirtualClock()
    lock = path.with_name("store.db.lock")
    store = Store.open(path, durability="memory", clock=clock, reserve=0)

    def work(say: Callable[[str], None]) -> None:
        LockFile.open(lock).acquire(1, VirtualClock())
        say("held")

    with store, Child(work) as child:
        assert child.heard() == "held"
        with pytest.raises(StoreBusy, match=f"held by process {child.pid} for 10 s") as caught:
            put(store, "a")
        assert caught.value.context == {"pid": child.pid}
        assert max(clock.sleeps) <= 0.002
    with Store.open(path, durability="memory", reserve=0) as store:
        assert store.get(JOB, "a") is None


def test_many_may_create_it_at_once(path: Path) -> None:
    """Of several processes that open a store that is not there, none sees a half of it or an error."""

    def work(say: Callable[[str], None]) -> None:
        say("ready")
        with Store.open(path, reserve=0) as store:
            put(store, str(os.getpid()))

    children = [Child(work) for _ in range(6)]
    for one in children:
        assert one.heard() == "ready"
    for one in children:
        one.go_on()
    for one in children:
        with one:
            assert one.heard() == "done"
    with Store.open(path, reserve=0) as store:
        assert store.count(JOB) == {"x": 6}


@pytest.mark.parametrize("way", ["record lock", "flock"])
def test_a_lock_dies_with_its_process(path: Path, way: str) -> None:
    """A forked child that lives on inherits what ``flock`` holds, forever; of record locks it has none."""
    lock = path.with_name("x.lock")

    def work(say: Callable[[str], None]) -> None:
        fd = os.open(lock, os.O_CREAT | os.O_RDWR)
        if way == "flock":
            fcntl.flock(fd, fcntl.LOCK_EX)
        else:
            LockFile.open(lock).acquire(1, VirtualClock())
        child = os.fork()
        if not child:
            signal.pause()
        say(str(child))

    with Child(work) as owner:
        heir = int(owner.heard())
    with open(lock, "rb+") as file:
        try:
            if way == "flock":
                with pytest.raises(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(heir, signal.SIGKILL)


def test_reading_before_writing_is_no_trap(path: Path) -> None:
    """A transaction that reads and then wants to write fails in plain SQLite if another came in between."""
    with Store.open(path, reserve=0) as store:
        put(store, "a")
        with closing(sqlite3.connect(path, isolation_level=None)) as one:
            one.execute("begin")
            one.execute("select * from record").fetchall()
            put(store, "a", 2)
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                one.execute("update record set status = 'y'")

        def count(tx: Tx) -> None:
            found = tx.get(JOB, "a")
            assert found is not None
            tx.put(JOB, "a", found.value + 1, status="x")

        threads = [threading.Thread(target=store.write, args=(count,)) for _ in range(20)]
        for one_thread in threads:
            one_thread.start()
        for one_thread in threads:
            one_thread.join()
        record = store.get(JOB, "a")
        assert record is not None
        assert record.value == 22


def test_reading_never_holds_up_a_checkpoint(path: Path) -> None:
    """An open cursor keeps the WAL from being emptied; every read of the store's is over when it returns."""
    with Store.open(path, reserve=0) as store:
        for n in range(50):
            put(store, str(n))
        store.get(JOB, "1")
        store.find(JOB, limit=3)
        store.count(JOB)
        with closing(sqlite3.connect(path, timeout=0)) as other:
            assert other.execute("pragma wal_checkpoint(truncate)").fetchall() == [(0, 0, 0)]
            put(store, "more")
            with closing(sqlite3.connect(path)) as reader:
                cursor = reader.execute("select * from record")
                cursor.fetchone()
                busy, pages, _ = other.execute("pragma wal_checkpoint(truncate)").fetchall()[0]
                assert (busy, pages > 0) == (1, True)


def test_writing_inside_of_a_block_is_refused_at_once(store: Store) -> None:
    """A write that would wait for its own thread forever is told to use the block's transaction."""
    with store.transaction() as tx:
        with pytest.raises(UsageError, match="Use the tx of the block"):
            put(store, "a")
        with pytest.raises(UsageError, match="one write at a time"), store.transaction():
            pass
        tx.put(JOB, "b", 1, status="x")
    put(store, "c")
    assert store.count(JOB) == {"x": 2}


def test_a_block_has_its_turn_among_many_writes(path: Path) -> None:
    """Other threads write without a pause: a block waits for one batch, and they wait for one block."""
    over = threading.Event()

    def hammer(n: int) -> None:
        while not over.is_set():
            put(store, str(n))

    with Store.open(path, durability="memory", lock_timeout=20, reserve=0) as store:
        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
        for one in threads:
            one.start()
        try:
            for n in range(20):
                with store.transaction() as tx:
                    tx.put(JOB, "block", n, status="x")
        finally:
            over.set()
            for one in threads:
                one.join()
        found = store.get(JOB, "block")
        assert found is not None
        assert found.version == 20


# --- a batch -----------------------------------------------------------------------------------------------


def in_one_batch(store: Store, works: list[Callable[[Tx], None]]) -> list[BaseException | None]:
    """Have all of these committed together, behind a write that waits for them; the error of each."""
    errors: list[BaseException | None] = [None] * len(works)
    inside, go_on = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        inside.set()
        go_on.wait()

    def run(n: int) -> None:
        try:
            store.write(works[n])
        except BaseException as error:
            errors[n] = error

    threads = [threading.Thread(target=store.write, args=(hold,))]
    threads[0].start()
    inside.wait()
    for n in range(len(works)):
        threads.append(threading.Thread(target=run, args=(n,)))
        threads[-1].start()
    queue = store._here().core.queue
    while len(queue._waiting) < len(works):
        pass
    before = store._here().core.commits
    go_on.set()
    for one in threads:
        one.join()
    assert store._here().core.commits - before <= 2
    return errors


def test_one_bad_operation_fails_alone(path: Path) -> None:
    """In a batch, an operation that fails half-way is undone by itself; its neighbours are committed."""

    def bad(tx: Tx) -> None:
        tx.put(JOB, "bad", 1, status="x")
        raise ZeroDivisionError

    def good(key: str) -> Callable[[Tx], None]:
        return lambda tx: tx.put(JOB, key, 1, status="x")

    with Store.open(path, reserve=0) as store:
        errors = in_one_batch(store, [good("a"), bad, good("b"), bad, good("c")])
        assert [type(one) for one in errors] == [
            type(None),
            ZeroDivisionError,
            type(None),
            ZeroDivisionError,
            type(None),
        ]
        assert [one.key for one in store.find(JOB).records] == ["a", "b", "c"]


def test_without_a_savepoint_half_of_an_operation_is_committed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what a failing operation had written by then is committed with its neighbours."""

    def bare(self: Core, connection: sqlite3.Connection, operation: Write) -> None:
        try:
            assert operation.work is not None
            operation.work(self._tx(connection, operation.id, False))
        except ZeroDivisionError as error:
            operation.error = error

    def bad(tx: Tx) -> None:
        tx.put(JOB, "bad", 1, status="x")
        raise ZeroDivisionError

    monkeypatch.setattr(Core, "_apply", bare)
    with Store.open(path, reserve=0) as store:
        errors = in_one_batch(store, [lambda tx: tx.put(JOB, "a", 1, status="x"), bad])
        assert [type(one) for one in errors] == [type(None), ZeroDivisionError]
        assert [one.key for one in store.find(JOB).records] == ["a", "bad"]


def test_each_caller_has_an_error_to_itself(path: Path) -> None:
    """What fails a whole batch is raised to each caller as a different object: no traceback is shared."""
    clock = VirtualClock()
    with Store.open(path, reserve=0, clock=clock) as store:
        held = threading.Event()

        def gone(tx: Tx) -> None:
            held.set()

        os.rename(path, path.with_name("elsewhere.db"))
        clock.advance(2)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                store.write(gone)
            except StoreGone as error:
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len({id(one) for one in errors}) == 4
        os.rename(path.with_name("elsewhere.db"), path)


def test_a_batch_whose_file_is_removed_is_acknowledged_to_no_caller(path: Path) -> None:
    """Each of them has the id of its own write, and an error to itself."""

    def moves(tx: Tx) -> None:
        if path.exists():
            os.rename(path, path.with_name("elsewhere.db"))

    with Store.open(path, reserve=0) as store:
        errors = in_one_batch(store, [moves] * 3)
        assert [type(one) for one in errors] == [OutcomeUnknown] * 3
        assert len({one.operation_id for one in errors if isinstance(one, OutcomeUnknown)}) == 3
        os.rename(path.with_name("elsewhere.db"), path)


def test_no_caller_goes_before_its_leader_has_looked(path: Path) -> None:
    """Those that wait look again now and then, and what is committed may not be there any more."""

    def go_round(one: Write) -> bool:
        """Have the caller look twice, the second time with the batch committed."""
        assert one.wake is not None
        for _ in range(2):
            one.wake.release()
            end = time.monotonic() + 30
            while not one.wake.locked():
                if time.monotonic() > end:
                    return False
        return True

    with Store.open(path, reserve=0) as store:
        queue, waited = store._here().core.queue, []
        commit = queue._commit

        def slowly(batch: Round) -> None:
            commit(batch)
            waited.extend(go_round(one) for one in batch.operations[1:])

        queue._commit = slowly
        assert in_one_batch(store, [lambda tx: None] * 3) == [None] * 3
        assert waited == [True, True]


# --- damage ------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_seen_where_it_is(path: Path) -> None:
    """SQLite's own check does not see it; the record's checksum does, and the neighbours are unaffected."""
    with Store.open(path, reserve=0) as store:
        for key in "abc":
            put(store, key, f"the value of {key}")
    content = bytearray(path.read_bytes())
    at = content.index(b"the value of b")
    content[at] ^= 1
    path.write_bytes(content)
    with Store.open(path, reserve=0) as store:
        with pytest.raises(RecordCorrupt, match=r"record 'b' of 'job' does not match its checksum"):
            store.get(JOB, "b")
        page = store.find(JOB)
        assert [one.key for one in page.records] == ["a", "c"]
        assert page.damaged == (DamagedRecord("job", "", "b", "corrupt"),)
        report = store.verify(deep=True)
        assert (report.problems, report.damaged, report.ok) == ((), page.damaged, False)
        assert store.statistics().damaged == 2
        put(store, "b", "written again")
        assert store.verify().ok


def test_a_damaged_record_does_not_stop_the_claims(path: Path) -> None:
    """The first in the row is damaged: those behind it are claimed all the same."""
    with Store.open(path, reserve=0) as store:
        for key in "abc":
            store.put(JOB, key, f"the value of {key}", status="pending", due=1.0)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"the value of a", b"The value of a"))
    with Store.open(path, reserve=0) as store:
        claimed = store.write(lambda tx: tx.claim(JOB, lease=1, limit=2))
        assert [one.key for one in claimed] == ["b", "c"]


@pytest.mark.parametrize("column", ["scope", "key", "status", "payload", "operation_id", "owner"])
def test_bytes_that_are_no_text_stop_nothing(path: Path, column: str) -> None:
    """One bit can make text undecodable, and Python refuse the whole list: only that record is damaged."""
    with Store.open(path, reserve=0) as store:
        for key in "abc":
            store.put(JOB, key, f"the value of {key}", status="pending", due=1.0)
    _rewritten(path, f"update record set {column} = cast(x'61ff' as text) where key = 'b'")
    with Store.open(path, reserve=0) as store:
        _neighbours_are_unaffected(store)
        assert sum(store.count(JOB).values()) == sum(store.statistics().records.values()) == 3
        # By the place at which each page ends, too.
        places, after = 0, None
        while True:
            page = store.find(JOB, limit=1, after=after)
            places, after = places + len(page.records) + len(page.damaged), page.next
            if after is None:
                break
        assert places == 3
        assert store.verify().records == 3
        claimed = store.write(lambda tx: tx.claim(JOB, lease=1, limit=3))
        assert {"a", "c"} <= {one.key for one in claimed}


@pytest.mark.parametrize("column", ["kind", "status", "attempts", "fence", "version", "created", "updated"])
def test_a_number_or_name_of_another_type_stops_nothing(path: Path, column: str) -> None:
    """A bit of a row's header says what type a column has, and most of them have no checksum."""
    with Store.open(path, reserve=0) as store:
        for key in "abc":
            store.put(JOB, key, f"the value of {key}", status="pending", due=1.0)
    _rewritten(path, f"update record set {column} = x'ff00' where key = 'b'")
    with Store.open(path, reserve=0) as store:
        _neighbours_are_unaffected(store)
        assert all(isinstance(name, str) for names in store.statistics().records for name in names)
        assert all(isinstance(status, str) for status in store.count(JOB))
        assert [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=1, limit=3))] == ["a", "c"]


@pytest.mark.parametrize("column", ["attempts", "fence", "version"])
@pytest.mark.parametrize("count", [(1 << 63) - 1, -1])
def test_a_count_that_is_none_stops_nothing(path: Path, column: str, count: int) -> None:
    """One bit more, and the next claim would count beyond what SQLite takes: its end was an OverflowError."""
    with Store.open(path, reserve=0) as store:
        for key in "abc":
            store.put(JOB, key, f"the value of {key}", status="pending", due=1.0)
    _rewritten(path, f"update record set {column} = {count} where key = 'b'")
    with Store.open(path, reserve=0) as store:
        _neighbours_are_unaffected(store)
        assert [one.key for one in store.find(JOB).damaged] == ["b"]
        assert [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=1, limit=3))] == ["a", "c"]


def test_a_damaged_owner_stops_no_claim(path: Path) -> None:
    """No byte can be asked for: its lease decides, as that of an owner on another machine."""
    with Store.open(path, reserve=0) as store:
        store.put(JOB, "a", 1, status="pending", due=1.0)
        store.write(lambda tx: tx.claim(JOB, lease=0.001))
    _rewritten(path, "update owner set byte = x'ff00', id = x'ff00'")
    with Store.open(path, reserve=0) as store:
        store.put(JOB, "b", 1, status="pending", due=1.0)
        assert "b" in [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=1, limit=2))]


def _rewritten(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0


def _neighbours_are_unaffected(store: Store) -> None:
    assert [one.key for one in store.find(JOB).records if one.key in "ac"] == ["a", "c"]
    record = store.get(JOB, "a")
    assert record is not None
    assert record.value == "the value of a"


def test_damage_of_the_structure_is_reported(path: Path) -> None:
    """A page that is overwritten is a problem in the report, not an error of the report."""
    with Store.open(path, reserve=0) as store:
        for n in range(200):
            put(store, str(n), "x" * 200)
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = bytes(4096)
    path.write_bytes(content)
    with Store.open(path, reserve=0) as store:
        assert store.verify().problems


# --- a full disk -------------------------------------------------------------------------------------------


@pytest.fixture
def full(path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store on a disk that is full but for the reserve: SQLite may take no page more."""
    store = Store.open(path, reserve=1 << 16)
    put(store, "before")
    core = store._here().core
    with core.exclusive() as connection:
        used = connection.execute("pragma page_count").fetchall()[0][0]
        connection.execute(f"pragma max_page_count = {used}").fetchall()
    given_up = core.upkeep.reserve.give_up

    def give_up() -> bool:
        with core.exclusive() as connection:
            connection.execute(f"pragma max_page_count = {used + 16}").fetchall()
        return given_up()

    monkeypatch.setattr(core.upkeep.reserve, "give_up", give_up)
    return store


def test_a_full_disk_changes_nothing(full: Store) -> None:
    """The error says how much is missing; what was there is, and can be read, and written smaller."""
    with full as store:
        with pytest.raises(DiskFull, match=r"are free, about [\d,]+ are needed\. Nothing was changed"):
            put(store, "big", "x" * 50_000)
        assert [one.key for one in store.find(JOB).records] == ["before"]
        put(store, "before", 2)
        assert store.statistics().reserve


def test_the_reserve_is_for_what_must_be_recorded(full: Store) -> None:
    """An urgent write has the reserve, once; an ordinary one never."""

    def record(tx: Tx) -> None:
        tx.put(JOB, "failure", "x" * 50_000, status="x")

    with full as store:
        with pytest.raises(DiskFull):
            store.write(record)
        store.write(record, urgent=True)
        assert not store.statistics().reserve
        assert any("reserve is used up" in one for one in store.statistics().warnings)
        with pytest.raises(DiskFull):
            store.write(lambda tx: tx.put(JOB, "more", "x" * 50_000, status="x"), urgent=True)


# --- forks -------------------------------------------------------------------------------------------------


def test_a_store_is_refused_in_a_child(path: Path) -> None:
    """The locks are the parent's: the child is told to open its own, and the parent goes on."""
    with Store.open(path, reserve=0) as store:
        put(store, "parent")

        def work(say: Callable[[str], None]) -> None:
            with pytest.raises(StoreForked, match="is used in its child"):
                put(store, "child")
            with pytest.raises(StoreForked):
                store.get(JOB, "parent")
            store.close()
            with Store.open(path, reserve=0) as own:
                put(own, "child")

        with Child(work) as child:
            assert child.heard() == "done"
        put(store, "again")
        assert store.count(JOB) == {"x": 3}


def test_a_store_is_opened_again_in_a_child(path: Path) -> None:
    """With ``on_fork='reopen'`` parent and child have separate connections, and are separate owners."""
    with Store.open(path, reserve=0, on_fork="reopen") as store:
        store.put(JOB, "a", 1, status="pending", due=1.0)
        [claim] = store.write(lambda tx: tx.claim(JOB, lease=60))

        def work(say: Callable[[str], None]) -> None:
            put(store, "child")
            assert claim.owner is not None
            assert store.owner_alive(claim.owner)
            assert store.write(lambda tx: tx.claim(JOB, lease=60)) == []

        with Child(work) as child:
            assert child.heard() == "done"
        put(store, "parent")
        assert store.count(JOB) == {"x": 2, "running": 1}


def test_a_child_that_ends_in_order_does_no_harm(path: Path) -> None:
    """The child's interpreter cleans up everything it has inherited, but not the parent's connections."""
    with Store.open(path, reserve=0) as store:
        put(store, "before")
        child = os.fork()
        if not child:
            import gc

            del store
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        with closing(sqlite3.connect(path)) as other:
            other.execute("select * from record").fetchall()
        put(store, "after")
        assert store.count(JOB) == {"x": 2}
