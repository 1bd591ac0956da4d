"""The files of a store: their versions, their bounds, and the places that are refused."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Store, StoreBusy, StoreTooNew
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.durable.store import core, files, migrations, opening, sqlite
from chaoskit.runtime.durable.store.commit import Round
from chaoskit.runtime.durable.store.lock import LockFile
from chaoskit.runtime.durable.store.protocol import Kind, Tx
from chaoskit.runtime.failures.stored import OutcomeUnknown, StoreCorrupt
from chaoskit.runtime.failures.taxonomy import (
    ConfigurationError,
    FileMissing,
    PermissionRefused,
    StorageError,
)

JOB = Kind("job")


# --- what is settled ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["", None])
def test_settled_records_never_slow_a_claim(path: Path, scope: str | None) -> None:
    """In one scope or in all: beside thousands of them it takes as many steps of the database as alone."""
    steps: list[int] = []

    def claim() -> int:
        del steps[:]
        assert [one.key for one in store.write(lambda tx: tx.claim(JOB, lease=60, scope=scope))] == ["live"]
        return len(steps)

    with Store.open(path, durability="memory", reserve=0) as store:
        connection = store._engine.core._writer  # type: ignore[union-attr]
        connection.set_progress_handler(lambda: steps.append(1) or 0, 10)  # type: ignore[union-attr, func-returns-value]
        store.put(JOB, "live", 1, status="pending", due=store.now())
        alone = claim()
        store.put(JOB, "live", 1, status="pending", due=store.now())

        def settle(tx: Tx) -> None:
            for number in range(3000):
                tx.put(JOB, f"{number}", 1, status="dead")

        store.write(settle)
        assert claim() < alone + 20


# --- versions ----------------------------------------------------------------------------------------------


def add_a_table(connection: sqlite3.Connection) -> None:
    connection.execute("create table added(x)")


def test_an_older_store_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one step, with a copy of it as it was beside it; its records are still there."""
    with Store.open(path, reserve=0) as store:
        store.put(JOB, "a", 1, status="x")
    monkeypatch.setattr(migrations.migrate, "__defaults__", ((migrations._records, add_a_table), print))
    with Store.open(path, reserve=0) as store:
        assert store.count(JOB) == {"x": 1}
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("pragma user_version").fetchall() == [(2,)]
        assert now.execute("select name from sqlite_master where name = 'added'").fetchall()
    monkeypatch.undo()
    with Store.open(path.with_name("store.db.before-2"), reserve=0) as before:
        assert before.count(JOB) == {"x": 1}


def test_a_migration_that_fails_has_not_begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had changed is rolled back, and the store opens with the version that it had."""
    with Store.open(path, reserve=0):
        pass

    def fails(connection: sqlite3.Connection) -> None:
        add_a_table(connection)
        raise ZeroDivisionError

    monkeypatch.setattr(migrations.migrate, "__defaults__", ((migrations._records, fails), print))
    with pytest.raises(ZeroDivisionError):
        Store.open(path, reserve=0)
    monkeypatch.undo()
    with Store.open(path, reserve=0) as store, closing(sqlite3.connect(path)) as now:
        assert store.verify().ok
        assert now.execute("select name from sqlite_master where name = 'added'").fetchall() == []


def test_a_newer_store_is_refused(path: Path) -> None:
    """A store of a later version is left as it is."""
    with Store.open(path, reserve=0):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma user_version = 99")
    with pytest.raises(StoreTooNew, match="has version 99; expected at most 1"):
        Store.open(path, reserve=0)


def test_a_version_that_was_never_given_is_damage(path: Path) -> None:
    """Counted from the end it had the last migration run again, which said that a table was there already."""
    with Store.open(path, reserve=0):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma user_version = -1")
    with pytest.raises(StoreCorrupt, match="its version is -1; expected 0 to 1"):
        Store.open(path, reserve=0)


def test_a_store_is_a_regular_file(tmp_path: Path) -> None:
    """Nothing is made beside anything else: SQLite wrote a journal beside a device before it failed."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, kind in (("folder", "a directory"), ("fifo", "not a regular file")):
        with pytest.raises(ConfigurationError, match=f"is {kind}; expected a store's file"):
            Store.open(tmp_path / name, reserve=0)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder"]


def test_a_record_of_a_newer_format_is_refused_alone(store: Store) -> None:
    """An older program reads what it knows, and says what it does not."""
    newer = Kind("job", format=2)
    store.put(newer, "new", {"in": "format 2"}, status="x")
    store.put(JOB, "old", 1, status="x")
    with pytest.raises(StoreTooNew, match=r"record 'new' of 'job' has format 2; expected at most 1"):
        store.get(JOB, "new")
    page = store.find(JOB)
    assert [one.key for one in page.records] == ["old"]
    assert [(one.key, one.reason) for one in page.damaged] == [("new", "newer format")]
    assert len(store.find(newer).records) == 2
    assert store.verify().ok


def test_a_claim_keeps_the_format_of_the_value(store: Store) -> None:
    """Claiming writes the record but not its value, which stays in the format that it is in."""
    store.put(JOB, "a", {"in": "format 1"}, status="pending", due=store.now())
    newer = Kind("job", format=2)
    [claim] = store.write(lambda tx: tx.claim(newer, lease=60))
    assert claim.format == 1
    assert store.write(lambda tx: tx.change(newer, "a", status="done", fence=claim.fence))
    found = store.get(JOB, "a")
    assert found is not None
    assert found.format == 1


# --- bounds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 20_000])
@pytest.mark.parametrize("block", [False, True])
def test_the_wal_is_bounded(path: Path, size: int, block: bool) -> None:
    """However much is written, small records or large, alone or in blocks, the WAL stays near its limit."""
    with Store.open(path, durability="process-crash", wal_limit=50, reserve=0) as store:
        for n in range(600):
            with store.transaction() if block else nullcontext(store) as writer:
                writer.put(JOB, str(n % 20), "x" * size + str(n), status="x")
        assert store.statistics().wal < 4 * 50 * 4096
        assert store.statistics().checkpoints >= 3


def test_a_reader_elsewhere_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that another program holds open keeps the WAL from being reused: the statistics say so."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.001)
    with Store.open(path, durability="process-crash", wal_limit=4, reserve=0) as store:
        store.put(JOB, "a", 1, status="x")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin")
            other.execute("select * from record").fetchall()
            for n in range(60):
                store.put(JOB, "a", "x" * 3000 + str(n), status="x")
            warnings = store.statistics().warnings
            assert any("has kept a read open for a long time" in one for one in warnings)


def test_the_ledger_forgets_after_seven_days(path: Path, clock: VirtualClock) -> None:
    """Operation ids are kept for seven days, and not forever."""
    day = 86400.0
    with Store.open(path, durability="memory", clock=clock, wal_limit=1, reserve=0) as store:
        store.put(JOB, "a", 0, status="x", operation_id="first")
        clock.advance(6 * day)
        store.put(JOB, "a", 1, status="x", operation_id="second")
        for n in range(9):
            store.put(JOB, "a", n, status="x")
        assert store.outcome("first") == "committed"
        clock.advance(2 * day)
        for n in range(9):
            store.put(JOB, "a", n, status="x")
        assert store.outcome("first") == "absent"
        assert store.outcome("second") == "committed"


def test_settings_of_every_connection(path: Path) -> None:
    """What the traps ask for: our own checkpoints, no transaction by itself, no functions in the schema."""
    with Store.open(path, reserve=0) as store, store._here().core.exclusive() as writer:
        assert writer.isolation_level is None
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("wal_autocheckpoint", 0)):
            assert writer.execute(f"pragma {pragma}").fetchall() == [(value,)]
        assert writer.execute("pragma trusted_schema").fetchall() == [(0,)]
        reader = sqlite.connect_reader(path)
        with closing(reader), pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("delete from record")


@pytest.mark.parametrize(("level", "synchronous"), [("power-loss", 2), ("process-crash", 1), ("memory", 0)])
def test_each_level_is_what_its_name_says(path: Path, level: str, synchronous: int) -> None:
    """Everything is synced, or checkpoints alone, or nothing."""
    with Store.open(path, durability=level, reserve=0) as store:  # type: ignore[arg-type]
        assert store.durability == level
        with store._here().core.exclusive() as writer:
            assert writer.execute("pragma synchronous").fetchall() == [(synchronous,)]


# --- opening -----------------------------------------------------------------------------------------------


def test_stores_of_one_process_share_the_file(path: Path) -> None:
    """Two stores on one file see each other's writes, and one stays open when the other is closed."""
    link = path.with_name("link.db")
    with Store.open(path, reserve=0) as one:
        os.symlink(path, link)
        other = Store.open(link, reserve=0)
        assert other._here().core is one._here().core
        with pytest.raises(UsageError, match="'power-loss', with which this process has"):
            Store.open(path, durability="memory")
        other.close()
        other.close()
        one.put(JOB, "a", 1, status="x")
        with pytest.raises(UsageError, match="is closed"):
            other.get(JOB, "a")


def test_nothing_is_created_unless_asked(path: Path) -> None:
    """``create=False`` leaves nothing behind where there is no store."""
    with pytest.raises(FileMissing, match="is not there; expected a store"):
        Store.open(path, create=False)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"durability": "forever"}, "durability is 'forever'"),
        ({"lock_timeout": 0}, "lock_timeout is 0"),
        ({"wal_limit": 0}, "wal_limit"),
        ({"reserve": -1}, "reserve"),
        ({"on_fork": "hope"}, "on_fork is 'hope'"),
    ],
)
def test_wrong_arguments_are_named(path: Path, options: dict[str, object], said: str) -> None:
    """Each argument is checked before anything is opened."""
    with pytest.raises(UsageError, match=said):
        Store.open(path, **options)  # type: ignore[arg-type]
    assert os.listdir(path.parent) == []


def test_other_kinds_of_targets_are_refused() -> None:
    """An address is not taken for a path."""
    with pytest.raises(ConfigurationError, match=r"mysql:// is not a kind of store"):
        Store.open("mysql://localhost/x")


def test_network_file_systems_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks and shared memory do not work between machines."""
    monkeypatch.setattr(files, "_file_system", lambda directory: 0x6969)
    with pytest.raises(ConfigurationError, match="lies on NFS; expected a local file system"):
        Store.open(path)


def test_the_type_of_a_file_system_is_asked_for(tmp_path: Path) -> None:
    """What statfs says of /proc is what the manual page says: the structure is read in the right place."""
    assert files._file_system(Path("/proc")) == 0x9FA0
    assert files._file_system(tmp_path / "missing") == -1


def test_the_systems_refusals_have_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system refuses is an error of the taxonomy, and an OSError still."""

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(opening.LockFile, "open", refuse)
    with pytest.raises(PermissionRefused, match="could not open the store") as caught:
        Store.open(path)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EACCES


def test_the_lock_file_is_opened_once(path: Path) -> None:
    """Closing any descriptor would drop the locks: opening it again gives the same one."""
    lock = path.with_name("x.lock")
    one, other = LockFile.open(lock), LockFile.open(lock)
    assert one is other
    one.close()
    os.fstat(other.fd)
    fd = other.fd
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# --- what SQLite says --------------------------------------------------------------------------------------


def said(name: str, text: str = "what SQLite says") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


@pytest.mark.parametrize("name", ["SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED", "SQLITE_PROTOCOL"])
def test_locks_of_the_database_are_busy(path: Path, name: str) -> None:
    """What SQLite gives up to wait for is a StoreBusy, "locking protocol" too: nothing was changed."""
    error = sqlite.failure(said(name), path, committing="op")
    assert isinstance(error, StoreBusy)


def test_an_input_output_error_is_unknown_in_a_commit_alone(path: Path) -> None:
    """Before the commit it changed nothing; within it there is no telling."""
    unknown = sqlite.failure(said("SQLITE_IOERR_FSYNC"), path, committing="op")
    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.operation_id == "op"
    assert isinstance(sqlite.failure(said("SQLITE_IOERR_READ"), path), StorageError)


@pytest.mark.parametrize("took_effect", [True, False])
def test_an_unknown_outcome_can_be_asked_for(
    path: Path, took_effect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that SQLite reports as failed ends as OutcomeUnknown; the store knows what became of it."""
    execute = core.Core._execute

    def failing(self: core.Core, connection: sqlite3.Connection, batch: Round) -> None:
        if took_effect:
            execute(self, connection, batch)
            batch.committed.clear()
        batch.committing = True
        raise said("SQLITE_IOERR_FSYNC")

    with Store.open(path, reserve=0) as store:
        with monkeypatch.context() as patched:
            patched.setattr(core.Core, "_execute", failing)
            with pytest.raises(OutcomeUnknown, match=r"Ask store\.outcome") as unknown:
                store.put(JOB, "a", 1, status="x")
            with pytest.raises(OutcomeUnknown) as named:
                store.put(JOB, "b", 1, status="x", operation_id="mine")
        assert named.value.operation_id == "mine"
        for error in (unknown.value, named.value):
            assert store.outcome(str(error.operation_id)) == ("committed" if took_effect else "absent")


def test_upkeep_that_fails_fails_no_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed is acknowledged, whatever becomes of the checkpoint after it."""
    with Store.open(path, durability="memory", wal_limit=1, reserve=0) as store:
        with monkeypatch.context() as patched:

            def fail(*_: object) -> None:
                raise said("SQLITE_FULL", "no room for a checkpoint")

            patched.setattr(store._here().core.upkeep, "run", fail)
            for n in range(5):
                store.put(JOB, str(n), n, status="x")
        assert store.count(JOB) == {"x": 5}
        assert any("no room for a checkpoint" in one for one in store.statistics().warnings)


def test_the_library_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite that is too old, or not made for threads, is refused with what is there."""
    monkeypatch.setattr(sqlite3, "threadsafety", 1)
    with pytest.raises(ConfigurationError, match=r"threadsafety 1; expected 3\.35 or later"):
        sqlite.check_library()


def test_the_versions_with_the_wal_reset_bug() -> None:
    """From 3.7.0 to 3.51.2, as sqlite.org says."""
    versions = [(3, 6, 23), (3, 7, 0), (3, 40, 1), (3, 51, 2), (3, 51, 3)]
    assert [sqlite.has_wal_reset_bug(one) for one in versions] == [False, True, True, True, False]
