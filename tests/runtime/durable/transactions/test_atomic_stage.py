"""Stages that are done or undone as one, and transactions of databases."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime import (
    AtomicStage,
    OutcomeUnknown,
    RollbackError,
    Store,
    TransactionError,
    UsageError,
    database_transaction,
)
from chaoskit.runtime.durable.store.protocol import Kind
from chaoskit.runtime.durable.transactions import atomic_stage
from chaoskit.runtime.failures.taxonomy import StorageError

PRODUCT = Kind("product")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The products, and where stages are decided."""
    with Store.open(tmp_path / "store.db", reserve=0) as store:
        yield store


def make(store: Store, root: Path, text: str) -> AtomicStage:
    stage = AtomicStage("image", store=store)
    with stage:
        stage.create(root / "out/a.img").write_text(text)
        stage.create(root / "out/b.img").write_text(text)
        stage.update(lambda tx: tx.put(PRODUCT, "a", text, status="done"))
    return stage


def test_files_and_rows_appear_together(store: Store, tmp_path: Path) -> None:
    """And replace what was there; nothing hidden is left, in the directory or in the store."""
    for text in ("one", "two"):
        make(store, tmp_path, text)
        assert {(tmp_path / "out" / name).read_text() for name in ("a.img", "b.img")} == {text}
        found = store.get(PRODUCT, "a")
        assert found is not None
        assert found.value == text
    assert sorted(os.listdir(tmp_path / "out")) == ["a.img", "b.img"]
    assert AtomicStage.recover(store) == []


def test_an_error_undoes_everything_in_reverse(store: Store, tmp_path: Path) -> None:
    """Files and rows are as they were, and every undo action has run, the last one first."""
    make(store, tmp_path, "one")
    done: list[str] = []

    def work() -> None:
        with AtomicStage("image", store=store) as stage:
            stage.on_rollback(lambda: done.append("first"))
            stage.on_rollback(lambda: done.append("second"))
            stage.after_commit(lambda: done.append("after"))
            stage.create(tmp_path / "out/a.img").write_text("two")
            stage.update(lambda tx: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        work()
    assert done == ["second", "first"]
    assert (tmp_path / "out/a.img").read_text() == "one"
    assert sorted(os.listdir(tmp_path / "out")) == ["a.img", "b.img"]


def test_a_file_that_was_not_written_rolls_back(store: Store, tmp_path: Path) -> None:
    """It is named, and no row is written."""

    def work() -> None:
        with AtomicStage("image", store=store) as stage:
            stage.create(tmp_path / "out/a.img")
            stage.update(lambda tx: tx.put(PRODUCT, "a", 1, status="done"))

    with pytest.raises(TransactionError, match="has not written"):
        work()
    assert store.get(PRODUCT, "a") is None


def test_an_undo_that_fails_is_named_and_stops_no_other(store: Store) -> None:
    """The first error is the cause; the state has a name."""
    done: list[str] = []

    def work() -> None:
        with AtomicStage("image", store=store) as stage:
            stage.on_rollback(lambda: done.append("first"))
            stage.on_rollback(lambda: 1 / 0)
            raise KeyError("work")

    with pytest.raises(RollbackError) as told:
        work()
    assert done == ["first"]
    assert isinstance(told.value.__cause__, KeyError)
    assert told.value.context["state"] == "rollback-failed"


def test_an_error_after_the_commit_undoes_nothing(store: Store, tmp_path: Path) -> None:
    """Neither one of after_commit, nor one of a rename: that is OutcomeUnknown, and recovery finishes."""
    with AtomicStage("image", store=store) as stage:
        stage.create(tmp_path / "a").write_text("1")
        stage.after_commit(lambda: 1 / 0)
    assert (tmp_path / "a").read_text() == "1"
    undone: list[int] = []
    with pytest.MonkeyPatch.context() as patched:

        def fails(*_: Any) -> None:
            raise OSError(5, "I/O error")

        patched.setattr(atomic_stage, "rename", fails)
        stage = AtomicStage("image", store=store).__enter__()
        stage.create(tmp_path / "a").write_text("2")
        stage.on_rollback(lambda: undone.append(1))
        with pytest.raises(OutcomeUnknown):
            stage.__exit__(None, None, None)
    assert undone == []
    assert (tmp_path / "a").read_text() == "1"
    assert AtomicStage.recover(store) == ["image"]
    assert AtomicStage.recover(store) == []
    assert (tmp_path / "a").read_text() == "2"


def test_a_commit_that_cannot_be_asked_for_undoes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost, and the disk fails the question as well: it may be there, so the files stay."""
    write = store.write

    def unanswered(work: Any, **options: Any) -> Any:
        write(work, **options)
        raise OutcomeUnknown("no answer", operation_id=options["operation_id"])

    def unreadable(operation_id: str) -> Any:
        raise StorageError("disk I/O error")

    undone: list[int] = []

    def fail() -> None:
        with monkeypatch.context() as patch, AtomicStage("s", store=store) as stage:
            stage.create(tmp_path / "out" / "a").write_text("new")
            stage.on_rollback(lambda: undone.append(1))
            patch.setattr(store, "write", unanswered)
            patch.setattr(store, "outcome", unreadable)

    with pytest.raises(OutcomeUnknown):
        fail()
    assert undone == []
    assert AtomicStage.recover(store) == ["s"]
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_what_the_dead_have_left_is_removed_and_what_is_alive_is_not(store: Store, tmp_path: Path) -> None:
    """Before the commit; by a recovery beside a stage that is at work."""
    code = (
        "import os; from pathlib import Path; from chaoskit.runtime import AtomicStage, Store\n"
        f"store = Store.open(Path({str(tmp_path / 'store.db')!r}), reserve=0)\n"
        f"path = AtomicStage('dead', store=store).__enter__().create({str(tmp_path / 'out/a')!r})\n"
        "path.write_text('x'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(os.listdir(tmp_path / "out")) == 1
    with AtomicStage("living", store=store) as stage:
        hidden = stage.create(tmp_path / "out/b")
        hidden.write_text("b")
        AtomicStage.recover(store)
        assert os.listdir(tmp_path / "out") == [hidden.name]
    assert os.listdir(tmp_path / "out") == ["b"]


def test_a_committed_file_that_is_nowhere_is_told(store: Store, tmp_path: Path) -> None:
    """And keeps no other stage from being finished."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(atomic_stage, "_place", lambda files, **_: 1 / 0)
        for name in ("gone", "here"):
            with pytest.raises(OutcomeUnknown), AtomicStage(name, store=store) as stage:
                stage.create(tmp_path / name).write_text(name)
    for path in tmp_path.glob(".gone.stage-*"):
        path.unlink()
    with pytest.raises(TransactionError, match="gone"):
        AtomicStage.recover(store)
    assert (tmp_path / "here").read_text() == "here"


def test_a_stage_is_used_once_and_within_its_block(store: Store, tmp_path: Path) -> None:
    """Anything else is a mistake of the caller, and says so."""
    stage = AtomicStage("image", store=store)
    with pytest.raises(UsageError):
        stage.create(tmp_path / "a")
    with stage:
        stage.create(tmp_path / "a").write_text("1")
        with pytest.raises(UsageError):
            stage.create(tmp_path / "a")
        with pytest.raises(UsageError):
            stage.create(tmp_path)
    with pytest.raises(UsageError), stage:
        pass


# --- databases ---------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A table in a file."""
    connection = sqlite3.connect(tmp_path / "any.db", timeout=0, isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    yield connection
    connection.close()


def rows(connection: Any) -> list[Any]:
    return [row[0] for row in connection.execute("SELECT x FROM t").fetchall()]


def test_a_block_is_committed_or_rolled_back(database: sqlite3.Connection) -> None:
    """Whatever isolation level the connection was made with."""
    for level in (None, "DEFERRED"):
        database.execute("DELETE FROM t")
        if database.in_transaction:
            database.commit()
        database.isolation_level = level  # type: ignore[assignment]
        with database_transaction(database) as inside:
            inside.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(ZeroDivisionError), database_transaction(database):
            database.execute(f"INSERT INTO t VALUES ({1 // 0})")
        assert rows(database) == [1]
        assert not database.in_transaction


def test_a_busy_database_is_tried_again(database: sqlite3.Connection, tmp_path: Path) -> None:
    """As often as was said; then it is busy, and nothing was begun."""
    other = sqlite3.connect(tmp_path / "any.db", timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), database_transaction(database, attempts=2):
        pytest.fail("it was begun")
    assert not database.in_transaction
    other.execute("ROLLBACK")
    other.close()


def test_a_transaction_within_one_is_refused(database: sqlite3.Connection) -> None:
    """The inner commit would be the outer one's too."""
    with database_transaction(database), pytest.raises(UsageError), database_transaction(database):
        pass
    with pytest.raises(UsageError), database_transaction(database, attempts=0):
        pass


@pytest.mark.parametrize("given", [None, "run.db", 5])
def test_what_is_no_connection_is_refused(given: Any) -> None:
    """Before the block: at its end it was a commit that may have taken effect."""
    with pytest.raises(UsageError, match="connection is"), database_transaction(given):
        pytest.fail("the block was run")


class Other:
    """A connection of another database."""

    def __init__(self, *, commits: bool = True, rolls_back: bool = True, autocommit: bool = False) -> None:
        self.autocommit, self._commits, self._rolls_back = autocommit, commits, rolls_back
        self.calls: list[str] = []

    def commit(self) -> None:
        self.calls.append("commit")
        if not self._commits:
            raise OSError(104, "connection reset")

    def rollback(self) -> None:
        self.calls.append("rollback")
        if not self._rolls_back:
            raise OSError(104, "connection reset")


def test_any_other_connection_commits_once() -> None:
    """A commit that fails may have taken effect; a rollback that fails is said, with the first error."""
    good = Other()
    with database_transaction(good):
        pass
    assert good.calls == ["commit"]
    with pytest.raises(OutcomeUnknown), database_transaction(Other(commits=False)):
        pass
    with pytest.raises(RollbackError) as told, database_transaction(Other(rolls_back=False)):
        raise KeyError("work")
    assert isinstance(told.value.__cause__, KeyError)
    with pytest.raises(UsageError), database_transaction(Other(autocommit=True)):
        pass
