"""A PostgreSQL server for tests, started from its programs alone.

It touches no user, no mode and no service of the machine: its directory is made for it and removed after it,
and it ends with the test. As root, for which the server refuses to run, it is started in a user namespace in
which it is not root; where there are none, under the user that has no rights.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dying import with_us

OVERFLOW = 65534
"""The user without any rights (user_namespaces(7), "overflow user ID")."""
STARTS = 60.0
"""Seconds that a server has until it answers."""
UNSHARE = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]

_numbers = itertools.count()


def postgres_program(name: str) -> str | None:
    """Debian keeps them off the path."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


@functools.cache
def unprivileged() -> tuple[list[str], dict[str, Any]] | str:
    """What comes before a command of PostgreSQL, and the options of its process; or why there is no way."""
    if os.geteuid():
        return [], {}
    with contextlib.suppress(OSError):
        if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0:
            return UNSHARE, {}
    other = {"user": OVERFLOW, "group": OVERFLOW, "extra_groups": []}
    try:
        subprocess.run(["true"], check=True, **other)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError) as error:
        return f"PostgreSQL does not run as root; neither a user namespace nor another user here: {error}"
    return [], other


def missing() -> str:
    """What keeps PostgreSQL from being started here; empty if nothing does."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "needs psycopg"
    absent = [name for name in ("initdb", "postgres") if postgres_program(name) is None]
    if absent:
        return f"needs PostgreSQL: no {' and no '.join(absent)} on the path or in /usr/lib/postgresql"
    way = unprivileged()
    return way if isinstance(way, str) else ""


@dataclass
class PostgresServer:
    """One server with its data. ``port`` is of the loopback address, or only names the socket."""

    home: Path
    words: Sequence[str]
    options: dict[str, Any]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    def uri(self, schema: str = "chaoskit", database: str = "postgres") -> str:
        """A target for a store, over the socket."""
        return f"postgresql://app@/{database}?host={self.home}&port={self.port}&schema={schema}"

    def connect(self, database: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(
            host=str(self.home), port=self.port, user="app", dbname=database, autocommit=True
        )

    def start(self) -> None:
        """Start it, and wait until it answers. Skips the test if it does not."""
        self.process = subprocess.Popen(
            with_us(self.words),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.options,
        )
        until = time.monotonic() + STARTS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(Exception):
                self.connect().close()
                return
            time.sleep(0.02)
        self.stop()
        pytest.skip(f"{self.words[-1]}: the server does not start here")

    def kill(self) -> None:
        """Kill it with all of its processes, as a crash of the machine's kernel would not."""
        assert self.process is not None
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        self.process.kill()
        self.process.wait()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        # A start before they are gone fails on postmaster.pid.
        while any(Path(f"/proc/{child}").exists() for child in children):
            time.sleep(0.005)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)  # "fast": ends the sessions
            self.process.wait()


def new_schema() -> str:
    """The name of a schema that no other test has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


@contextlib.contextmanager
def running_postgres(*settings: str, tcp: bool = False) -> Iterator[PostgresServer]:
    """A server that is stopped and removed at the end. Skips the test where it cannot be started."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    before, options = unprivileged()
    # Short: the path of a socket has 107 bytes. In memory, so that a sync costs nothing.
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        if options:
            os.chown(home, options["user"], options["group"])
        data = str(home / "data")
        initdb, server = postgres_program("initdb"), postgres_program("postgres")
        made = subprocess.run(
            [*before, str(initdb), "-D", data, "-A", "trust", "-U", "app", "-E", "UTF8", "--no-locale", "-N"],
            cwd=home,
            capture_output=True,
            check=False,
            **options,
        )
        if made.returncode:
            pytest.skip(f"initdb: {made.stderr.decode(errors='replace')[-200:]}")
        port = _free_port() if tcp else 5432
        words = [*before, str(server), "-D", data, "-p", str(port), "-k", str(home)]
        words += ["-c", f"listen_addresses={'127.0.0.1' if tcp else ''}", "-c", "shared_buffers=16MB"]
        for one in settings:
            words += ["-c", one]
        one = PostgresServer(home, words, options, port)
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
