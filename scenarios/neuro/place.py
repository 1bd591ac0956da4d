"""A real place to run in: Redis, PostgreSQL and workers, as processes that are killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dying import with_us
from postgres import PostgresServer, running_postgres

from scenarios.neuro import program, settings, world

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds after which what is waited for will not come."""
QUICK = {
    "NEURO_RUNTIME__CELERY__LEASE": "3",
    "NEURO_RUNTIME__CELERY__GRACE": "1",
    **{
        f"NEURO_RUNTIME__RETRY__{name}__WAIT__{what}": "0.1"
        for name in ("DEFAULT", *(name.upper() for name in world.ATTEMPTS))
        for what in ("INITIAL", "CAP")
    },
}
"""What is minutes and hours elsewhere."""


def until(true: Callable[[], Any], what: str) -> None:
    """Wait until it is true; a bounded wait for other processes."""
    for _ in range(int(PATIENCE / 0.05)):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"it never came to this: {what}")


class Place:
    """One runner with all that it needs. ``neuro`` is what a user's program has of it."""

    def __init__(self, directory: Path, database: PostgresServer) -> None:
        self.directory, self.database = directory, database
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **world.environment(directory, database.uri("neuro"), **QUICK),
            "NEURO_RUNTIME__CELERY__BROKER": f"redis+socket://{directory}/redis.sock",
        }
        world.prepare(directory)
        self.neuro = program.Neuro(settings.read(self._environment).value)

    def broker(self) -> subprocess.Popen[bytes]:
        """Start Redis. What it has said yes to survives its kill."""
        import redis

        socket = self.directory / "redis.sock"
        socket.unlink(missing_ok=True)
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(self.directory)]
        server = self._start([*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        client = redis.Redis(unix_socket_path=str(socket))

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        until(answers, "Redis answers")
        client.close()
        return server

    def work(self) -> None:
        """Start a worker with two processes, in a group that can be killed as a whole."""
        command = [sys.executable, "-m", "celery", "-A", "scenarios.neuro.worker", "worker", "-c", "2"]
        self.worker = self._start([*command, "-P", "prefork", "--without-gossip", "--without-mingle"])

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it and its children, and wait until they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._running.remove(process)

    def record(self, name: str) -> Any:
        return self.neuro.tasks[name.split(".")[0]].steps().record(name)

    def ends(self, name: str, status: str) -> None:
        """Wait for it, with the reconciler at work as beat has it, and a supervisor over the worker."""

        def there() -> bool:
            # Celery's worker does not always survive that its broker goes: kombu closes a connection twice.
            if self.worker.poll() is not None:
                self.kill(self.worker)
                self.work()
            self.neuro.look_after()
            found = self.record(name)
            return found is not None and found.status == status

        until(there, f"{name} is {status}")

    def begun(self, name: str) -> None:
        """Wait until its container runs."""
        until((self.directory / "tried" / f"begun-{name.split('.')[1]}").exists, f"{name} has begun")

    def go(self, name: str) -> None:
        """Let a container that waits come to its end."""
        (self.directory / "tried" / f"go-{name.split('.')[1]}").touch()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        known = {**os.environ, **self._environment, "PYTHONPATH": str(ROOT)}
        with open(self.directory / "output", "ab") as log:
            process = subprocess.Popen(
                with_us(command),
                cwd=self.directory,
                env=known,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def close(self) -> None:
        for process in list(self._running):
            self.kill(process)
        self.neuro.__exit__()


@contextmanager
def running_place() -> Iterator[Place]:
    """A place that is gone at the end. Skips the test where there is no Redis or PostgreSQL."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    # Short, since the path of a socket has 107 bytes at most.
    with running_postgres() as database, tempfile.TemporaryDirectory(prefix="ck-") as name:
        place = Place(Path(name), database)
        try:
            yield place
        finally:
            place.close()
