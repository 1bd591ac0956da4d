"""A workload's first process leads a session of ours, and sees nothing of it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import BackendUnavailable
from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.workload import preconditions, stack

Run = Callable[..., Ran]

SESSIONS = """
import os
def tried(make, *arguments):
    try:
        result = make(*arguments)
    except OSError as error:
        return error.errno
    return "own" if result == os.getpid() else result
{steps}
print(seen, os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())
"""

STEPS = [
    "seen = [tried(os.setsid), tried(os.setsid), tried(os.setpgid, 0, 0)]",
    "seen = [tried(os.setpgid, 0, 0), tried(os.setsid)]",
    "seen = [tried(os.setpgrp), tried(os.setpgid, 0, os.getpid())]",
    "seen = [tried(os.setpgid, 1, 1)]; os.setsid()",
    "pid = os.fork()\nif not pid: os._exit(int(tried(os.setsid) != 'own'))\n"
    "seen = [os.waitpid(pid, 0)[1]]; os.setsid()",
]


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_a_command_starts_its_own_session_as_without_us(run: Run, steps: str, record: bool) -> None:
    """setsid, setpgrp and setpgid of a command answer what they answer in a process that leads nothing."""
    program = [sys.executable, "-c", SESSIONS.format(steps=steps)]
    alone = subprocess.run(program, capture_output=True, check=True).stdout
    ran = run(Command(tuple(program)), record=record)
    assert ran.ok, ran.error

    # Where no session was asked for, ours shows in getsid all the same.
    def seen(output: bytes) -> bytes:
        return output if steps not in STEPS[1:3] else output.partition(b"]")[0]

    assert seen(ran.value.stdout) == seen(alone)


def test_a_function_starts_a_session_once(run: Run) -> None:
    """The second time is refused, as for every leader of a session."""

    def work() -> list[Any]:
        first = os.setsid()
        try:
            os.setsid()
        except PermissionError:
            return [first, "refused"]
        return [first, "again"]

    for record in (False, True):
        assert run(work, record=record).value == [None, "refused"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_that_has_changed_its_user_is_told_why(root: str, run: Run) -> None:
    """A process that the kernel made undumpable gets a sentence, and no error of ours from within."""
    os.chmod(root, 0o777)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = b"nothing was raised"
        try:
            os.setgid(65534)
            os.setuid(65534)
            stack._layout = None
            missing = stack.calibrate().missing
            unavailable = KernelBackend().unavailable()
            try:
                run(lambda: None, record=True)
            except BackendUnavailable as error:
                text = f"{missing}\n{unavailable}\n{error}".encode()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}".encode()
        finally:
            os.write(writing, text)
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading) as pipe:
        missing, unavailable, error = pipe.read().splitlines()
    assert missing.startswith("this process may not look at its own memory")
    assert "changed its user" in unavailable
    assert "changed its user" in error
    assert "PR_SET_DUMPABLE" in error


def test_a_process_that_is_dumpable_is_not_refused() -> None:
    """An ordinary process may be inspected, whichever user runs it."""
    assert ctypes.CDLL(None).prctl(3) == 1
    assert preconditions.undumpable() == ""
