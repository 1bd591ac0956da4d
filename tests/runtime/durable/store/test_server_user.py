"""The tests start PostgreSQL as root and as a user without rights, and leave the machine as it was."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from postgres import OVERFLOW, running_postgres, unprivileged

from chaoskit.runtime import Store
from chaoskit.runtime.durable.store.protocol import Kind

JOB = Kind("job")
USERS = [Path(name) for name in ("/etc/passwd", "/etc/group")]


def saved_on_a_server_of_ones_own() -> str:
    """Start a server, save on it, and stop it; what a reader finds, and the user that it ran under."""
    with running_postgres() as server:
        assert server.process is not None
        inside = Path(f"/proc/{server.process.pid}/status").read_text()
        user = next(line.split()[1] for line in inside.splitlines() if line.startswith("Uid:"))
        with Store.open(server.uri(), durability="memory") as store:
            store.put(JOB, "a", 1, status="done")
            found = store.get(JOB, "a")
    return f"{None if found is None else found.value} by {user}"


def in_a_child_without_rights(work: Callable[[], str]) -> str:
    """What ``work`` returns in a forked process of an ordinary user, or how it ended."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(OVERFLOW)
            os.setuid(OVERFLOW)
            # It was asked as root.
            unprivileged.cache_clear()
            said = work()
        except BaseException as error:
            # Also what pytest.skip raises: the parent says it.
            said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        finally:
            os.write(write, said.encode()[-4000:])
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told


def test_the_server_runs_for_root_and_for_an_ordinary_user() -> None:
    """A store on a server that the test starts itself works for both, and no user of the machine changes."""
    before = [path.read_bytes() for path in USERS if path.exists()]
    # First here: what this imports the child need not, which may not read the directory of the interpreter.
    assert saved_on_a_server_of_ones_own().startswith("1 by ")
    if os.geteuid() == 0:
        told = in_a_child_without_rights(saved_on_a_server_of_ones_own)
        if told.startswith(("Skipped", "PermissionError: [Errno 1]")):
            pytest.skip(told.splitlines()[0])
        assert told == f"1 by {OVERFLOW}"
    assert [path.read_bytes() for path in USERS if path.exists()] == before
