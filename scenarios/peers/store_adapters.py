"""Adapters that let the S rows drive what other libraries keep, used as their documents say."""

from __future__ import annotations

import base64
import os
import queue
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# mypy: ignore-errors

BASIC = frozenset({"damage", "fork"})


class Peer:
    """What the adapters share: a directory, and a row of a SQLite file that is changed behind the library."""

    name = ""
    features: frozenset[str] = BASIC
    row = ("", "")
    """How the stored bytes of a key are read and written in SQL; each statement has the key as ``:key``."""

    @contextmanager
    def place(self) -> Iterator[str]:
        # A peer may still write when it has been closed.
        with tempfile.TemporaryDirectory(prefix="contract-", ignore_cleanup_errors=True) as directory:
            yield directory

    @contextmanager
    def busy(self, place: str) -> Iterator[None]:
        raise NotImplementedError("no adapter here says that it can be kept busy")
        yield

    def file(self, place: str) -> Path:
        """The SQLite file of a store."""
        return Path(place, "store.db")

    def stored_key(self, key: str) -> Any:
        """The key as it stands in the row."""
        return key

    def damaged(self, content: bytes, stored: bytes | None) -> Any:
        """What stands in the row afterwards."""
        return content.replace(b"good", b"evil") if stored is None else stored

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        select, update = self.row
        connection = sqlite3.connect(self.file(place))
        try:
            with connection:
                given = {"key": self.stored_key(key)}
                (content,) = connection.execute(select, given).fetchone()
                connection.execute(update, {**given, "content": self.damaged(content, stored)})
        finally:
            connection.close()


class Mapped:
    """The subject of a library whose store is a mapping."""

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping

    def save(self, key: str, value: Any) -> None:
        self.mapping[key] = value

    def load(self, key: str) -> Any:
        return self.mapping[key]


class DiskCache(Peer):
    """``diskcache.Cache`` as it comes."""

    name = "diskcache"
    features = BASIC | {"atomic", "claims"}
    row = (
        "select value from Cache where key = :key",
        "update Cache set value = :content where key = :key",
    )

    class subject(Mapped):
        def together(self, values: Mapping[str, Any], fail: Callable[[], None]) -> None:
            with self.mapping.transact():
                for key, value in values.items():
                    self.mapping[key] = value
                fail()

        def claim(self, key: str) -> object | None:
            return key if self.mapping.add(key, os.getpid()) else None

    def file(self, place: str) -> Path:
        return Path(place, "cache.db")

    @contextmanager
    def open(self, place: str) -> Iterator[Mapped]:
        import diskcache

        with diskcache.Cache(place) as cache:
            yield self.subject(cache)


class PersistQueue(Peer):
    """``persistqueue.PDict`` as it comes."""

    name = "persistqueue"
    row = (
        "select data from dict_kept where key = :key",
        "update dict_kept set data = :content where key = :key",
    )

    def file(self, place: str) -> Path:
        return Path(place, "data.db")

    @contextmanager
    def open(self, place: str) -> Iterator[Mapped]:
        import persistqueue

        kept = persistqueue.PDict(place, "kept")
        try:
            yield Mapped(kept)
        finally:
            kept.close()


class SqliteDict(Peer):
    """``sqlitedict.SqliteDict``, with a ``commit`` for each save, which waits until it is done."""

    name = "sqlitedict"
    row = (
        "select value from unnamed where key = :key",
        "update unnamed set value = :content where key = :key",
    )

    class subject(Mapped):
        def save(self, key: str, value: Any) -> None:
            self.mapping[key] = value
            self.mapping.commit()

    @contextmanager
    def open(self, place: str) -> Iterator[Mapped]:
        import sqlitedict

        with sqlitedict.SqliteDict(str(self.file(place))) as kept:
            yield self.subject(kept)


class CeleryInFiles(Peer):
    """Celery's result back end in a directory; what is kept is progress, which may be written again."""

    name = "celery (filesystem)"
    url = "file://{place}"

    class subject:
        def __init__(self, backend: Any) -> None:
            self.backend = backend

        def save(self, key: str, value: Any) -> None:
            self.backend.store_result(key, value, "PROGRESS")

        def load(self, key: str) -> Any:
            # A back end caches what it has read of a finished task; this task is not finished.
            told = self.backend.get_task_meta(key, cache=False)
            if told["status"] == "PENDING":
                raise KeyError(key)
            return told["result"]

    @contextmanager
    def open(self, place: str) -> Iterator[Any]:
        import celery

        app = celery.Celery("contract", backend=self.url.format(place=place), set_as_current=False)
        try:
            yield self.subject(app.backend)
        finally:
            app.close()

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        path = Path(place, f"celery-task-meta-{key}")
        path.write_bytes(self.damaged(path.read_bytes(), stored))


class CeleryInSqlite(CeleryInFiles):
    """The same in a database, by SQLAlchemy."""

    name = "celery (database)"
    url = "db+sqlite:///{place}/store.db"
    row = (
        "select result from celery_taskmeta where task_id = :key",
        "update celery_taskmeta set result = :content where task_id = :key",
    )
    damage = Peer.damage


class Dbos(Peer):
    """DBOS on SQLite. A saved value is the result of a workflow; the newest of a key counts."""

    name = "dbos"
    features = BASIC | {"steps"}

    class subject:
        def __init__(self, dbos: Any, workflows: Mapping[str, Any]) -> None:
            self.dbos, self.workflows = dbos, workflows

        def save(self, key: str, value: Any) -> None:
            self.run("value", f"{key}#{len(self.ids(key)) + 1:04}", value)

        def load(self, key: str) -> Any:
            ids = self.ids(key)
            if not ids:
                raise KeyError(key)
            return self.dbos.retrieve_workflow(ids[-1]).get_result()

        def ids(self, key: str) -> list[str]:
            found = self.dbos.list_workflows(
                workflow_id_prefix=f"{key}#", load_input=False, load_output=False
            )
            return sorted(one.workflow_id for one in found)

        def run(self, name: str, id: str, given: Any) -> Any:
            from dbos import SetWorkflowID

            with SetWorkflowID(id):
                return self.workflows[name](given)

        def step(self, key: str, fn: Callable[[], Any]) -> Any:
            # A workflow that a launch recovers runs in another thread, and waits for its step's function.
            self.workflows["given"].put(fn)
            return self.run("step", key, key)

        def attempts(self, key: str) -> int | None:
            # DBOS counts how often a workflow was recovered, and its steps not at all.
            return None

    @contextmanager
    def open(self, place: str) -> Iterator[Any]:
        from dbos import DBOS

        given: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        address = f"sqlite:///{self.file(place)}"
        config = {"name": "contract", "system_database_url": address, "log_level": "CRITICAL"}
        DBOS(config={**config, "run_admin_server": False})

        @DBOS.workflow(name="value")
        def value(what: Any) -> Any:
            return what

        @DBOS.step(name="do")
        def do(key: str) -> Any:
            return given.get()()

        @DBOS.workflow(name="step")
        def step(key: str) -> Any:
            return do(key)

        DBOS.launch()
        try:
            yield self.subject(DBOS, {"value": value, "step": step, "given": given})
        finally:
            DBOS.destroy(destroy_registry=True)

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        connection = sqlite3.connect(self.file(place))
        try:
            with connection:
                query = "select workflow_uuid, output from workflow_output where workflow_uuid like ?"
                for id, output in connection.execute(query, (f"{key}#%",)).fetchall():
                    content = base64.b64encode(self.damaged(base64.b64decode(output), stored)).decode()
                    connection.execute(
                        "update workflow_output set output = ? where workflow_uuid = ?", (content, id)
                    )
        finally:
            connection.close()


PEERS = [DiskCache, PersistQueue, SqliteDict, CeleryInFiles, CeleryInSqlite, Dbos]
