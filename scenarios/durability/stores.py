"""The stores: how each is set up, written to and read back, by its own documented interface.

A store keeps strings under keys. ``put`` returns when the store says that the value is kept; ``read``
opens what is there as a program would after a restart, runs the recovery that the store's documents
ask for, and returns everything. Modules are imported inside the functions, which run in separate
processes: where one module is missing, the other stores can still be examined.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Put = Callable[[str, str], None]


@dataclass(frozen=True)
class Store:
    """One store in one mode. ``requires`` is a distribution of PyPI, or ``command:NAME``.

    ``writing`` is a context manager over the directory that gives ``put``.
    """

    name: str
    requires: str
    writing: Callable[[Path], contextlib.AbstractContextManager[Put]]
    read: Callable[[Path], Mapping[str, str]]
    budget: int = 150
    """Crash states that are checked by default; fewer where each check starts several programs."""
    oracle: str = "warn"
    """``off`` where damaging every file in turn, and reading all, takes longer than the crash states do."""

    def missing(self) -> str:
        """Why it cannot be tried here; empty if it can."""
        if self.requires.startswith("command:"):
            program = self.requires.partition(":")[2]
            return "" if _program(program) else f"{program} is not installed"
        if not self.requires:
            return ""
        from importlib import metadata

        try:
            metadata.version(self.requires)
        except metadata.PackageNotFoundError:
            return f"{self.requires} is not installed"
        return ""

    def version(self) -> str:
        """The version that was tried."""
        if self.name.startswith("SQLite"):
            return sqlite3.sqlite_version
        if self.requires.startswith("command:"):
            program = self.requires.partition(":")[2]
            done = subprocess.run(
                [_program(program), "--version"], capture_output=True, text=True, check=False
            )
            return next((word for word in done.stdout.split() if word[:1].isdigit()), "?").strip(",)")
        if not self.requires:
            return "Python " + sys.version.split()[0]
        from importlib import metadata

        version = metadata.version(self.requires)
        return version if self.requires.lower() in self.name.lower() else f"{self.requires} {version}"


def _program(name: str) -> str:
    """A program beside the interpreter, or else on the path."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""


def sqlite(journal: str, synchronous: str) -> Store:
    """SQLite, a transaction for each value."""

    def connect(path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path / "store.db")
        database.execute(f"pragma journal_mode={journal}")
        database.execute(f"pragma synchronous={synchronous}")
        return database

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        with contextlib.closing(connect(path)) as database:
            database.execute("create table if not exists kept(key text primary key, value text)")
            database.commit()

            def put(key: str, value: str) -> None:
                with database:
                    database.execute("insert or replace into kept values(?, ?)", (key, value))

            yield put

    def read(path: Path) -> Mapping[str, str]:
        with contextlib.closing(connect(path)) as database:
            [(verdict,)] = database.execute("pragma integrity_check").fetchall()
            assert verdict == "ok", f"integrity_check says {verdict}"
            return dict(database.execute("select key, value from kept"))

    return Store(f"SQLite, {journal}, synchronous={synchronous}", "", writing, read)


def _git(path: Path, *words: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.invalid", "GIT_CONFIG_NOSYSTEM": "1"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.invalid", "HOME": str(path)}
    identity |= {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    command = ["git", "-C", str(path / "work"), *words]
    done = subprocess.run(command, env=os.environ | identity, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"git {words[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def git(fsync: str) -> Store:
    """Git, a commit for each value; ``fsync`` is the setting core.fsync, or empty for Git's default."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        if not (path / "work").exists():
            (path / "work").mkdir()
            _git(path, "init", "-q", "-b", "main")
            _git(path, "config", "gc.auto", "0")
            if fsync:
                _git(path, "config", "core.fsync", fsync)

        def put(key: str, value: str) -> None:
            (path / "work" / key).write_text(value)
            _git(path, "add", key)
            _git(path, "commit", "-q", "-m", key)

        yield put

    def read(path: Path) -> Mapping[str, str]:
        _git(path, "fsck", "--full", "--strict")
        _git(path, "archive", "-o", str(path / "read.tar"), "HEAD")
        with tarfile.open(path / "read.tar") as archive:
            return {name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]

    return Store(f"Git, core.fsync={fsync or 'default'}", "command:git", writing, read, budget=40)


def _hg(path: Path, *words: str) -> str:
    command = [_program("hg"), "-R", str(path / "work"), "--config", "ui.username=a", *words]
    environment = os.environ | {"HGPLAIN": "1", "HGRCPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise OSError(f"hg {words[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def mercurial() -> Store:
    """Mercurial, a commit for each value."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        if not (path / "work").exists():
            (path / "work").mkdir()
            subprocess.run([_program("hg"), "init", str(path / "work")], check=True, capture_output=True)

        def put(key: str, value: str) -> None:
            (path / "work" / key).write_text(value)
            _hg(path, "add", "-q", str(path / "work" / key))
            _hg(path, "commit", "-q", "-m", key, "-d", "0 0")

        yield put

    def read(path: Path) -> Mapping[str, str]:
        with contextlib.suppress(OSError):
            _hg(path, "recover")
        _hg(path, "verify", "-q")
        _hg(path, "archive", "-r", "tip", "-t", "files", str(path / "read"))
        return {file.name: file.read_text() for file in (path / "read").iterdir() if file.name in KEYS}

    return Store("Mercurial", "mercurial", writing, read, budget=8, oracle="off")


def lmdb() -> Store:
    """LMDB with its default settings, a transaction for each value."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        import lmdb

        with lmdb.open(str(path / "store"), map_size=1 << 20) as environment:

            def put(key: str, value: str) -> None:
                with environment.begin(write=True) as transaction:
                    transaction.put(key.encode(), value.encode())

            yield put

    def read(path: Path) -> Mapping[str, str]:
        import lmdb

        with lmdb.open(str(path / "store"), map_size=1 << 20) as environment, environment.begin() as view:
            return {key.decode(): value.decode() for key, value in view.cursor()}

    return Store("LMDB", "lmdb", writing, read)


def leveldb(sync: bool) -> Store:
    """LevelDB through plyvel."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        import plyvel

        database = plyvel.DB(str(path / "store"), create_if_missing=True)
        yield lambda key, value: database.put(key.encode(), value.encode(), sync=sync)
        database.close()

    def read(path: Path) -> Mapping[str, str]:
        import plyvel

        database = plyvel.DB(str(path / "store"))
        found = {key.decode(): value.decode() for key, value in database}
        database.close()
        return found

    return Store(f"LevelDB, sync={sync}", "plyvel", writing, read)


def gdbm() -> Store:
    """GDBM by its own tool, which synchronizes after each value."""

    def tool(path: Path, *words: str) -> str:
        # Without -m it maps the file shared and writable, and stores into a mapping are not seen.
        command = ["gdbmtool", "-N", "-q", "-m", "-s", str(path / "store.gdbm"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        # It may print an error and end with status 0 all the same.
        if done.returncode or done.stderr:
            raise OSError(f"gdbmtool ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        def put(key: str, value: str) -> None:
            tool(path, "store", key, value)

        yield put

    def read(path: Path) -> Mapping[str, str]:
        try:
            lines = tool(path, "list").splitlines()
        except OSError:
            tool(path, "recover")
            lines = tool(path, "list").splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)

    return Store("GDBM", "command:gdbmtool", writing, read)


def diskcache() -> Store:
    """diskcache.Cache with its default settings."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        import diskcache

        with diskcache.Cache(str(path / "store")) as cache:
            yield lambda key, value: cache.set(key, value)

    def read(path: Path) -> Mapping[str, str]:
        import diskcache

        with diskcache.Cache(str(path / "store")) as cache:
            return {key: cache[key] for key in cache}

    return Store("diskcache", "diskcache", writing, read)


def joblib_memory() -> Store:
    """joblib.Memory: what it has computed once it should not lose, and must never return wrongly."""

    def memory(path: Path, values: Mapping[str, str]):  # type: ignore[no-untyped-def]
        import joblib

        def compute(key: str) -> str:
            return values[key]

        compute.__module__, compute.__qualname__ = "kept", "compute"
        return joblib.Memory(str(path / "store"), verbose=0).cache(compute)

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        values: dict[str, str] = {}
        cached = memory(path, values)

        def put(key: str, value: str) -> None:
            values[key] = value
            cached(key)

        yield put

    def read(path: Path) -> Mapping[str, str]:
        from stat import S_ISDIR

        assert S_ISDIR(os.stat(path).st_mode)
        cached = memory(path, {})
        found = {}
        for key in KEYS:
            # What cannot be loaded is computed again, which joblib does by itself: then it was lost, and
            # there is nothing here to compute it from.
            if cached.check_call_in_cache(key):
                with contextlib.suppress(KeyError):
                    found[key] = cached(key)
        return found

    return Store("joblib.Memory", "joblib", writing, read)


def shelf() -> Store:
    """shelve over dbm.dumb, closed after each value: its documents promise nothing before that."""

    def opened(path: Path, flag: str):  # type: ignore[no-untyped-def]
        import dbm.dumb
        import shelve

        return contextlib.closing(shelve.Shelf(dbm.dumb.open(str(path / "store"), flag)))

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        def put(key: str, value: str) -> None:
            with opened(path, "c") as shelf:
                shelf[key] = value

        yield put

    def read(path: Path) -> Mapping[str, str]:
        with opened(path, "r") as shelf:
            return {key: shelf[key] for key in shelf}

    return Store("shelve over dbm.dumb", "", writing, read)


def tinydb() -> Store:
    """TinyDB with its default storage."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        import tinydb

        with tinydb.TinyDB(path / "store.json") as database:
            yield lambda key, value: database.insert({"key": key, "value": value})

    def read(path: Path) -> Mapping[str, str]:
        import tinydb

        with tinydb.TinyDB(path / "store.json") as database:
            return {row["key"]: row["value"] for row in database.all()}

    return Store("TinyDB", "tinydb", writing, read)


def zodb() -> Store:
    """ZODB over FileStorage, a transaction for each value."""

    @contextlib.contextmanager
    def opened(path: Path):  # type: ignore[no-untyped-def]
        import transaction
        import ZODB
        import ZODB.FileStorage

        database = ZODB.DB(ZODB.FileStorage.FileStorage(str(path / "store.fs")))
        connection = database.open()
        yield connection.root(), transaction
        transaction.abort()
        connection.close()
        database.close()

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        with opened(path) as (root, transaction):

            def put(key: str, value: str) -> None:
                root[key] = value
                transaction.commit()

            yield put

    def read(path: Path) -> Mapping[str, str]:
        with opened(path) as (root, _):
            return dict(root)

    return Store("ZODB FileStorage", "ZODB", writing, read)


def duckdb() -> Store:
    """DuckDB, a transaction for each value."""

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        import duckdb

        with duckdb.connect(str(path / "store.duckdb"), config={"threads": 1}) as database:
            database.execute("create table if not exists kept(key text, value text)")
            yield lambda key, value: database.execute("insert into kept values(?, ?)", [key, value])

    def read(path: Path) -> Mapping[str, str]:
        import duckdb

        with duckdb.connect(str(path / "store.duckdb"), config={"threads": 1}) as database:
            return dict(database.execute("select key, value from kept").fetchall())

    return Store("DuckDB", "duckdb", writing, read)


def persist_queue(kind: str) -> Store:
    """persist-queue: what was put, and not yet taken, must be there."""

    def opened(path: Path):  # type: ignore[no-untyped-def]
        import persistqueue

        if kind == "file":
            # Else it takes /tmp for what it renames into place, if that is on the same device, and the
            # recording would not hold what is written there.
            (path / "store").mkdir(exist_ok=True)
            return persistqueue.Queue(str(path / "store"), autosave=True, tempdir=str(path / "store"))
        return persistqueue.SQLiteQueue(str(path / "store"), auto_commit=True)

    @contextlib.contextmanager
    def writing(path: Path):  # type: ignore[no-untyped-def]
        queue = opened(path)
        yield lambda key, value: queue.put(json.dumps([key, value]))

    def read(path: Path) -> Mapping[str, str]:
        queue = opened(path)
        return dict(json.loads(queue.get(block=False)) for _ in range(queue.qsize()))

    return Store(f"persist-queue, {kind}", "persist-queue", writing, read)


KEYS = ("first", "second", "third")
"""``first`` is there before the workload; the others are put by it."""

STORES: tuple[Store, ...] = (
    sqlite("delete", "full"),
    sqlite("delete", "extra"),
    sqlite("wal", "full"),
    sqlite("wal", "normal"),
    git(""),
    git("all"),
    mercurial(),
    lmdb(),
    leveldb(sync=True),
    leveldb(sync=False),
    gdbm(),
    diskcache(),
    joblib_memory(),
    shelf(),
    tinydb(),
    zodb(),
    duckdb(),
    persist_queue("file"),
    persist_queue("sqlite"),
)
