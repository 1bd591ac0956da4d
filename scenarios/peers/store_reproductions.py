"""The shortest programs that show each row that fails for what another library keeps.

Each function needs the library and the standard library alone, and asserts what is seen, so that it
passes as long as the library behaves so. Run the file to run them all.
"""

from __future__ import annotations

import base64
import math
import os
import pickle
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# ruff: noqa: PT018
# mypy: ignore-errors


ran = []


def note():
    """What a pickle has run."""
    ran.append("executed")


class Code:
    """A pickle of it runs code when it is loaded."""

    def __reduce__(self):
        return (note, ())


def rewritten(file, select, update, change):
    """Change one value of a SQLite file behind the library."""
    with sqlite3.connect(file) as connection:
        (content,) = connection.execute(select).fetchone()
        connection.execute(update, (change(content),))
    connection.close()


def in_child(work):
    """The status with which a forked child ends that does ``work``, and 0 if ``work`` returns."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def celery_app(url):
    """An app with that result back end."""
    import celery

    return celery.Celery("shown", backend=url, set_as_current=False)


def diskcache_s6():
    """NaN comes back as None: SQLite has no NaN, and floats are its own."""
    import diskcache

    with tempfile.TemporaryDirectory() as place, diskcache.Cache(place) as cache:
        cache["k"] = math.nan
        assert cache["k"] is None


def diskcache_s8():
    """A value with a changed byte is loaded as any other."""
    import diskcache

    with tempfile.TemporaryDirectory() as place, diskcache.Cache(place) as cache:
        cache["k"] = {"text": "good"}
        rewritten(
            f"{place}/cache.db",
            "select value from Cache",
            "update Cache set value = ?",
            lambda content: content.replace(b"good", b"evil"),
        )
        assert cache["k"] == {"text": "evil"}


def diskcache_s9():
    """Loading runs code that was stored (``disk=diskcache.JSONDisk`` fixes it)."""
    import diskcache

    with tempfile.TemporaryDirectory() as place, diskcache.Cache(place) as cache:
        cache["k"] = {"text": "good"}
        rewritten(
            f"{place}/cache.db",
            "select value from Cache",
            "update Cache set value = ?",
            lambda content: pickle.dumps(Code()),
        )
        assert cache["k"] is None and ran.pop() == "executed"


def persistqueue_s8():
    """A value with a changed byte is loaded as any other."""
    import persistqueue

    with tempfile.TemporaryDirectory() as place:
        kept = persistqueue.PDict(place, "kept")
        kept["k"] = {"text": "good"}
        rewritten(
            f"{place}/data.db",
            "select data from dict_kept",
            "update dict_kept set data = ?",
            lambda content: content.replace(b"good", b"evil"),
        )
        assert kept["k"] == {"text": "evil"}
        kept.close()


def persistqueue_s9():
    """Loading runs code that was stored."""
    import persistqueue

    with tempfile.TemporaryDirectory() as place:
        kept = persistqueue.PDict(place, "kept")
        kept["k"] = {"text": "good"}
        rewritten(
            f"{place}/data.db",
            "select data from dict_kept",
            "update dict_kept set data = ?",
            lambda content: pickle.dumps(Code()),
        )
        assert kept["k"] is None and ran.pop() == "executed"
        kept.close()


def sqlitedict_s8():
    """A value with a changed byte is loaded as any other."""
    import sqlitedict

    with tempfile.TemporaryDirectory() as place, sqlitedict.SqliteDict(f"{place}/db") as kept:
        kept["k"] = {"text": "good"}
        kept.commit()
        rewritten(
            f"{place}/db",
            "select value from unnamed",
            "update unnamed set value = ?",
            lambda content: content.replace(b"good", b"evil"),
        )
        assert kept["k"] == {"text": "evil"}


def sqlitedict_s9():
    """Loading runs code that was stored (``encode=json.dumps, decode=json.loads`` fixes it)."""
    import sqlitedict

    with tempfile.TemporaryDirectory() as place, sqlitedict.SqliteDict(f"{place}/db") as kept:
        kept["k"] = {"text": "good"}
        kept.commit()
        rewritten(
            f"{place}/db",
            "select value from unnamed",
            "update unnamed set value = ?",
            lambda content: pickle.dumps(Code()),
        )
        assert kept["k"] is None and ran.pop() == "executed"


def sqlitedict_s10():
    """In a forked child a save waits forever, for a thread that only the parent has."""
    import signal

    import sqlitedict

    def use():
        signal.alarm(1)
        kept["k"] = "child"
        kept.commit()

    with tempfile.TemporaryDirectory() as place, sqlitedict.SqliteDict(f"{place}/db") as kept:
        kept["k"] = "parent"
        kept.commit()
        assert in_child(use) == -signal.SIGALRM


def celery_filesystem_s1():
    """A process that is killed while it writes leaves an empty file where the earlier state was."""

    def killed():
        def look(frame, event, arg):
            if event == "c_call" and arg.__name__ == "write":
                os.kill(os.getpid(), 9)

        sys.setprofile(look)
        backend.store_result("task", {"percent": 60}, "PROGRESS")

    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"file://{place}").backend
        backend.store_result("task", {"percent": 50}, "PROGRESS")
        assert in_child(killed) == -9
        assert Path(place, "celery-task-meta-task").read_bytes() == b""
        assert backend.get_task_meta("task")["status"] == "PENDING"


def celery_filesystem_s6():
    """A tuple comes back as a list, and a number that is a key as text."""
    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"file://{place}").backend
        backend.store_result("task", {1: (2, 3)}, "PROGRESS")
        assert backend.get_task_meta("task")["result"] == {"1": [2, 3]}


def celery_filesystem_s8():
    """A value with a changed byte is loaded as any other."""
    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"file://{place}").backend
        backend.store_result("task", {"text": "good"}, "PROGRESS")
        path = Path(place, "celery-task-meta-task")
        path.write_bytes(path.read_bytes().replace(b"good", b"evil"))
        assert backend.get_task_meta("task")["result"] == {"text": "evil"}


def celery_database_s6():
    """A tuple comes back as a list, and a number that is a key as text."""
    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"db+sqlite:///{place}/db").backend
        backend.store_result("task", {1: (2, 3)}, "PROGRESS")
        assert backend.get_task_meta("task")["result"] == {"1": [2, 3]}


def celery_database_s8():
    """A value with a changed byte is loaded as any other."""
    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"db+sqlite:///{place}/db").backend
        backend.store_result("task", {"text": "good"}, "PROGRESS")
        rewritten(
            f"{place}/db",
            "select result from celery_taskmeta",
            "update celery_taskmeta set result = ?",
            lambda content: content.replace(b"good", b"evil"),
        )
        assert backend.get_task_meta("task")["result"] == {"text": "evil"}


def celery_database_s9():
    """What is not JSON and begins as a pickle does is unpickled, for rows of earlier versions."""
    import logging

    with tempfile.TemporaryDirectory() as place:
        backend = celery_app(f"db+sqlite:///{place}/db").backend
        backend.store_result("task", {"text": "good"}, "PROGRESS")
        rewritten(
            f"{place}/db",
            "select result from celery_taskmeta",
            "update celery_taskmeta set result = ?",
            lambda content: pickle.dumps(Code()),
        )
        logging.getLogger("celery.backends.database").disabled = True
        assert backend.get_task_meta("task")["result"] is None and ran.pop() == "executed"


def dbos_run(place, change):
    """What the result of a workflow is when the program is started again, after a change behind DBOS."""
    from dbos import DBOS, SetWorkflowID

    def launched():
        address = f"sqlite:///{place}/db"
        DBOS(config={"name": "shown", "system_database_url": address, "log_level": "CRITICAL"})
        workflow = DBOS.workflow(name="workflow")(lambda: {"text": "good"})
        DBOS.launch()
        with SetWorkflowID("id"):
            result = workflow()
        DBOS.destroy(destroy_registry=True)
        return result

    launched()
    rewritten(
        f"{place}/db",
        "select output from workflow_output",
        "update workflow_output set output = ?",
        lambda content: base64.b64encode(change(base64.b64decode(content))).decode(),
    )
    return launched()


def dbos_s8():
    """A value with a changed byte is loaded as any other."""
    with tempfile.TemporaryDirectory() as place:
        assert dbos_run(place, lambda content: content.replace(b"good", b"evil")) == {"text": "evil"}


def dbos_s9():
    """Loading runs code that was stored (a ``serializer`` of the configuration fixes it)."""
    with tempfile.TemporaryDirectory() as place:
        assert dbos_run(place, lambda content: pickle.dumps(Code())) is None and ran.pop() == "executed"


def reproductions() -> dict[tuple[str, str], Callable[[], None]]:
    """All of them, by library and row."""
    names = {"celery_filesystem": "celery (filesystem)", "celery_database": "celery (database)"}
    found = {}
    for name, value in globals().items():
        library, _, row = name.rpartition("_s")
        if library and row.isdigit():
            found[names.get(library, library), f"S{row}"] = value
    return found


if __name__ == "__main__":
    for (library, row), program in reproductions().items():
        program()
        print(f"{library} {row}: {program.__doc__.splitlines()[0]}")
