"""sqlite3: what was committed survives every error and every kill, with a rollback journal and with WAL."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from budgets import bounded

from chaoskit import Chaos, faults, scenario

ACCOUNTS = {"alice": 100, "bob": 0}

# Where a lock cannot be had for good, SQLite waits (10 s with WAL, by its own count) and then reports
# it; that costs minutes and shows nothing about data. Locks fail once here.
FAULTS = (faults.disk() | faults.kill()).on(
    call=("open", "read", "write", "fsync", "fdatasync", "truncate", "unlink")
) | (
    faults.disk().on(call="lock").only("ENOLCK[]")
    | faults.interference().on(call="lock").only("EAGAIN[]")
    | faults.disk().on(call=("close", "mmap", "getdents"))
    | faults.kill()
)


def connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=0.01, isolation_level=None)
    connection.execute("pragma synchronous = full")
    return connection


def create(database: Path, mode: str) -> None:
    with closing(connect(database)) as connection:
        connection.execute(f"pragma journal_mode = {mode}")
        connection.execute("create table account (name text primary key, balance int, note text)")
        for name, balance in ACCOUNTS.items():
            connection.execute("insert into account values (?, ?, '')", (name, balance))


def transfer(database: Path, promise: Callable[[int], None]) -> None:
    """Two transfers of 10, each acknowledged once committed; the note makes a row span pages."""
    with closing(connect(database)) as connection:
        for n in (1, 2):
            connection.execute("begin immediate")
            connection.execute("update account set balance = balance - 10 where name = 'alice'")
            connection.execute(
                "update account set balance = balance + 10, note = ? where name = 'bob'", (str(n) * 5000,)
            )
            connection.execute("commit")
            promise(n)


def read(database: Path) -> tuple[int, int, str]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        rows = {row[0]: row[1:] for row in connection.execute("select * from account")}
    (alice, _), (bob, note) = rows["alice"], rows["bob"]
    return alice, bob, note


@pytest.fixture(scope="module", params=["delete", "wal"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its accounts, in one journal mode; it is made once and copied for every case."""
    database = tmp_path_factory.mktemp("sqlite3") / "bank.db"
    create(database, request.param)
    return database


@scenario(FAULTS, budget=bounded(150))
def test_committed_rows_survive(chaos: Chaos, template: Path) -> None:
    """Every transfer is there whole or not at all, in order, and none that was acknowledged is missing."""
    database = chaos.path / "bank.db"
    shutil.copy(template, database)

    outcome = chaos.run(transfer, database, chaos.promise)

    alice, bob, note = read(database)
    done = bob // 10
    assert alice + bob == 100
    assert note == str(done) * 5000 if done else note == ""
    assert done >= len(chaos.promised)
    assert not outcome.ok or done == 2
