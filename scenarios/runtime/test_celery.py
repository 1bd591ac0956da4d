"""Celery with a real worker and a real Redis that are killed: no run lost, none started beyond its attempts.

Needs ``redis-server``; it listens on a socket in a directory of the test's.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dying import with_us

from chaoskit.runtime import DeadLetters, Store
from chaoskit.runtime.context import operation

celery = pytest.importorskip("celery")
pytest.importorskip("redis")
REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(REDIS is None, reason="needs redis-server")

HERE = Path(__file__).parent
PATIENCE = 120.0


def until(true: Callable[[], Any], what: str) -> None:
    """Wait until it is true; a bounded wait for other processes."""
    for _ in range(int(PATIENCE / 0.05)):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"it never came to this: {what}")


class Place:
    """A broker, workers, and the app that both use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[subprocess.Popen[bytes]] = []
        os.environ["CHAOSKIT_RUNS"] = str(directory)
        sys.modules.pop("celery_runs", None)
        sys.path.insert(0, str(HERE))
        try:
            self.runs = importlib.import_module("celery_runs")
        finally:
            sys.path.remove(str(HERE))

    def broker(self) -> subprocess.Popen[bytes]:
        """Start Redis. What it has said yes to survives its kill."""
        socket = self.directory / "redis.sock"
        socket.unlink(missing_ok=True)
        command = [str(REDIS), "--port", "0", "--unixsocket", str(socket), "--dir", str(self.directory)]
        server = self._start([*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        until(lambda: self.redis(), "Redis answers")
        return server

    def redis(self) -> Any:
        """A client, if the server answers."""
        import redis

        client = redis.Redis(unix_socket_path=str(self.directory / "redis.sock"))
        try:
            client.ping()
        except redis.RedisError:
            return None
        return client

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker with two processes, in a group of processes that can be killed as a whole."""
        command = [sys.executable, "-m", "celery", "-A", "celery_runs", "worker", "-c", "2", "-P", "prefork"]
        return self._start([*command, "--without-gossip", "--without-mingle", "-l", "warning"])

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it and its children, and wait until they are gone."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def starts(self, what: str, name: str) -> int:
        """How many times that body was started."""
        log = self.directory / "log"
        return log.read_text().splitlines().count(f"{what} {name}") if log.exists() else 0

    def status(self, task: Any, id: str) -> str | None:
        found = task.steps().record(id)
        return None if found is None else found.status

    def ends(self, task: Any, id: str, status: str) -> None:
        """Wait for it, with the reconciler at work as beat would have it."""

        def there() -> bool:
            celery_module.reconcile(self.runs.app, grace=1.0)
            return self.status(task, id) == status

        from chaoskit.runtime import celery as celery_module

        until(there, f"{task.name} {id} is {status}: {self.status(task, id)}")

    def letters(self) -> list[tuple[str, int]]:
        """Pipeline and attempts of each dead letter."""
        with Store.open(self.directory / "runs.db") as store:
            return sorted((one.pipeline, one.attempts) for one in DeadLetters(store).find())

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = open(self.directory / "output", "ab")  # noqa: SIM115 - the child's
        with log:
            process = subprocess.Popen(
                with_us(command), cwd=HERE, stdout=log, stderr=log, start_new_session=True
            )
        self.running.append(process)
        return process


@pytest.fixture
def place() -> Iterator[Place]:
    """Short, since the path of a socket has 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix="ck-"))
    found = Place(directory)
    try:
        yield found
    finally:
        for process in list(found.running):
            found.kill(process)
        found.runs.app.close()
        shutil.rmtree(directory)


def test_what_fails_is_tried_as_often_as_it_may_be(place: Place) -> None:
    """Killed children, errors that pass or not, and messages that come twice, in one worker.

    And what Celery has for a killed child, beside it, starts without end.
    """
    runs = place.runs
    place.broker()
    with operation("nightly", correlation_id="c-7"):
        done = runs.work.delay("a").id
    once, always = runs.kills.delay("once", 1).id, runs.kills.delay("always", 99).id
    passing, never = runs.fails.delay("passing", True).id, runs.fails.delay("never", False).id
    for _ in range(2):
        runs.work.resend(runs.work.steps().record(done))
    place.worker()
    place.ends(runs.work, done, "completed")
    place.ends(runs.kills, once, "completed")
    place.ends(runs.kills, always, "dead")
    place.ends(runs.fails, passing, "dead")
    place.ends(runs.fails, never, "dead")
    assert place.starts("work", "a") == 1
    assert runs.work.steps().load(done)["result"] == {"name": "a", "correlation_id": "c-7"}
    assert [place.starts("kills", name) for name in ("once", "always")] == [2, 3]
    assert [place.starts("fails", name) for name in ("passing", "never")] == [3, 1]
    assert place.letters() == [("fails", 1), ("fails", 3), ("kills", 3)]
    runs.plain.delay("x")
    until(lambda: place.starts("plain", "x") > 3, "the plain task is started more than three times")


def test_a_killed_worker_loses_no_run(place: Place) -> None:
    """All of it is killed in the middle of a run; another one takes it up, as attempt 2."""
    runs = place.runs
    place.broker()
    first = place.worker()
    id = runs.slow.delay("s").id
    until(lambda: place.starts("slow", "s") == 1, "the run has begun")
    place.kill(first)
    assert place.status(runs.slow, id) == "running"
    (place.directory / "go-s").touch()
    place.worker()
    place.ends(runs.slow, id, "completed")
    found = runs.slow.steps().record(id)
    assert (place.starts("slow", "s"), found.attempts) == (2, 2)
    assert place.letters() == []


def test_a_broker_that_is_killed_or_forgets_loses_no_run(place: Place) -> None:
    """It is not there when a run is sent, forgets what it has, and is killed in the middle of runs."""
    runs = place.runs
    absent = runs.work.delay("absent").id
    server = place.broker()
    lost = [runs.work.delay(f"lost{n}").id for n in range(3)]
    place.redis().flushall()
    place.worker()
    for id in (absent, *lost):
        place.ends(runs.work, id, "completed")
    busy = [runs.slow.delay(f"b{n}").id for n in range(2)]
    queued = [runs.work.delay(f"q{n}").id for n in range(3)]
    until(lambda: place.starts("slow", "b0") and place.starts("slow", "b1"), "both have begun")
    place.kill(server)
    place.broker()
    for n in range(2):
        (place.directory / f"go-b{n}").touch()
    for id in busy:
        place.ends(runs.slow, id, "completed")
    for id in queued:
        place.ends(runs.work, id, "completed")
    names = ["absent", *(f"lost{n}" for n in range(3)), *(f"q{n}" for n in range(3))]
    assert [place.starts("work", name) for name in names] == [1] * len(names)
    assert max(place.starts("slow", f"b{n}") for n in range(2)) <= 3
    assert place.letters() == []


def test_a_revoked_run_is_buried_and_not_sent_for_ever(place: Place) -> None:
    """One that waits, and one whose process is terminated: a dead letter each, and no second start."""
    place.broker()
    place.worker()
    running = place.runs.slow.delay("a")
    until(lambda: place.starts("slow", "a"), "it has started")
    waiting = place.runs.slow.apply_async(("b",), countdown=1)
    place.runs.app.control.revoke([running.id, waiting.id], terminate=True)
    place.ends(place.runs.slow, running.id, "dead")
    place.ends(place.runs.slow, waiting.id, "dead")
    # To bury a run takes an attempt, which is not a start.
    assert place.letters() == [("slow", 1), ("slow", 2)]
    assert (place.starts("slow", "a"), place.starts("slow", "b")) == (1, 0)
