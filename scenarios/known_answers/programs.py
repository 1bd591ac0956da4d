"""Programs whose behaviour after a power loss is known, as scenarios.

Run by ``test_known_answers.py``, which also says what must come out; run alone, the broken ones fail.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from chaoskit import faults, scenario
from chaoskit.session.chaos import Chaos

ALL = ("ext4", "xfs", "btrfs", "strict")
OLD, NEW = b"old content\n" * 10, b"new content\n" * 12


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def write(path: Path, data: bytes, sync: bool) -> None:
    """Create ``path`` with ``data``."""
    with open(path, "wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


# --- the four disciplines of writing a file -------------------------------------------------------


def replace(directory: Path, sync: bool) -> None:
    """Write a temporary file and rename it over the old one; no promise is made."""
    write(directory / "state.tmp", NEW, sync)
    os.replace(directory / "state.tmp", directory / "state")


def replaced(chaos: Chaos, work: Callable[..., object], *args: object) -> None:
    (chaos.path / "state").write_bytes(OLD)
    chaos.run(work, *args)
    content = (chaos.path / "state").read_bytes()
    assert content in ((NEW,) if chaos.promised else (OLD, NEW))


@scenario(faults.power_loss(), model=ALL)
def test_replace_without_fsync(chaos: Chaos) -> None:
    replaced(chaos, replace, chaos.path, False)


def publish(directory: Path) -> None:
    """Rename to a name that was not there."""
    write(directory / "out.part", NEW, sync=False)
    os.rename(directory / "out.part", directory / "out")


@scenario(faults.power_loss(), model=ALL)
def test_rename_to_new_name_without_fsync(chaos: Chaos) -> None:
    chaos.run(publish, chaos.path)
    assert not (chaos.path / "out").exists() or (chaos.path / "out").read_bytes() == NEW


def create(chaos: Chaos) -> None:
    """Sync the new file, not its directory, and promise it."""
    write(chaos.path / "out", NEW, sync=True)
    chaos.promise("out")


@scenario(faults.power_loss(), model=ALL)
def test_create_without_directory(chaos: Chaos) -> None:
    chaos.run(create, chaos)
    assert not chaos.promised or (chaos.path / "out").read_bytes() == NEW


def everything(chaos: Chaos) -> None:
    """The full discipline."""
    replace(chaos.path, sync=True)
    sync_directory(chaos.path)
    chaos.promise("new")


@scenario(faults.power_loss() | faults.kill(), model=ALL)
def test_full_discipline(chaos: Chaos) -> None:
    replaced(chaos, everything, chaos)


# --- an fsync that fails once -------------------------------------------------------------------


def append(chaos: Chaos, again: bool) -> None:
    """Try an fsync up to three times; write again each time if ``again``."""
    fd = os.open(chaos.path / "log", os.O_WRONLY | os.O_CREAT)
    os.pwrite(fd, NEW, 0)
    for _ in range(3):
        try:
            os.fsync(fd)
            break
        except OSError:
            if again:
                os.pwrite(fd, NEW, 0)
    os.close(fd)
    sync_directory(chaos.path)
    chaos.promise("log")


def appended(chaos: Chaos, again: bool) -> None:
    chaos.run(append, chaos, again)
    assert not chaos.promised or (chaos.path / "log").read_bytes() == NEW


@scenario(faults.fsync_lies())
def test_fsync_tried_again(chaos: Chaos) -> None:
    appended(chaos, again=False)


@scenario(faults.fsync_lies())
def test_data_written_again_after_failed_fsync(chaos: Chaos) -> None:
    appended(chaos, again=True)


# --- SQLite ---------------------------------------------------------------------------------------


def connect(directory: Path, mode: str, synchronous: str) -> sqlite3.Connection:
    """One connection; each statement is a separate transaction."""
    connection = sqlite3.connect(directory / "db", isolation_level=None)
    connection.execute(f"pragma journal_mode={mode}").fetchone()
    connection.execute(f"pragma synchronous={synchronous}")
    return connection


def insert(chaos: Chaos, mode: str, synchronous: str) -> None:
    """Two transactions; each is promised as soon as it is committed."""
    connection = connect(chaos.path, mode, synchronous)
    for number in (1, 2):
        connection.execute("insert into t values (?, ?)", (number, "x" * 200))
        chaos.promise(number)
    connection.close()


def inserted(chaos: Chaos, mode: str, synchronous: str) -> None:
    connection = connect(chaos.path, mode, synchronous)
    connection.execute("create table t (id integer primary key, text)")
    connection.execute("insert into t values (0, 'first')")
    connection.close()
    chaos.run(insert, chaos, mode, synchronous)
    connection = sqlite3.connect(chaos.path / "db")
    state = connection.execute("pragma integrity_check").fetchall()
    rows = {row for (row,) in connection.execute("select id from t")}
    connection.close()
    assert state == [("ok",)], "corrupt"
    assert {0, *chaos.promised} <= rows, "lost an acknowledged commit"


@scenario(faults.power_loss())
def test_sqlite_rollback_full(chaos: Chaos) -> None:
    inserted(chaos, "delete", "full")


@scenario(faults.power_loss())
def test_sqlite_rollback_extra(chaos: Chaos) -> None:
    inserted(chaos, "delete", "extra")


@scenario(faults.power_loss())
def test_sqlite_wal_full(chaos: Chaos) -> None:
    inserted(chaos, "wal", "full")


@scenario(faults.power_loss())
def test_sqlite_wal_normal(chaos: Chaos) -> None:
    inserted(chaos, "wal", "normal")
