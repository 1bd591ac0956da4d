"""What could make virtual time go wrong, one by one; test_virtual_time.py has what it is for."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Command, Plan, Ran, VirtualTime
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.clock import ability, vdso

pytestmark = pytest.mark.skipif(
    ability.unavailable() is not None, reason=f"no virtual time here: {ability.unavailable()}"
)
Timed = Callable[..., Ran]


@pytest.fixture
def timed(root: str) -> Timed:
    """Runs a workload with virtual time."""

    def run(work: Callable[[], Any] | Command, schedule: str = "") -> Ran:
        strikes = Schedule.parse(schedule).strikes
        return KernelBackend().run(work, Plan(root, strikes=strikes, timeout=30.0, time=VirtualTime()))

    return run


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server outside that answers each question."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pid = os.fork()
        if not pid:
            while True:
                peer, _ = server.accept()
                while peer.recv(100):
                    peer.sendall(b"answer")
        place = server.getsockname()[1]
    yield place
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def asked(port: int, timeout: float) -> Callable[[], tuple[str, float]]:
    """A workload that asks, and says what came of it and after how long."""

    def work() -> tuple[str, float]:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
            client.sendall(b"question")
            try:
                told = client.recv(100).decode()
            except OSError as error:
                told = type(error).__name__
        return told, time.monotonic() - began

    return work


@pytest.mark.parametrize(
    ("fault", "timeout", "told", "least", "most"),
    [
        ("reset[0]", 300, "ConnectionResetError", 0, 10),
        ("delay[60]", 300, "answer", 60, 70),
        ("delay[60]", 5, "TimeoutError", 5, 15),
    ],
)
def test_what_the_relay_still_has_to_do_is_not_overtaken_by_time(
    timed: Timed, port: int, fault: str, timeout: float, told: str, least: float, most: float
) -> None:
    """A reset that is due stays a reset, and a delay has its place between the time-outs of the workload."""
    ran = timed(asked(port, timeout), f"exchange(127.0.0.1:{port})#1={fault}")
    assert ran.ok, ran
    assert ran.value[0] == told
    assert least <= ran.value[1] < most
    assert len(ran.receipts) == 1


def waits(outer: bool) -> list[tuple[int, float]]:
    """How many events two waits have, and after how long, at a pipe that is written to once after 3 s."""
    reading, writing = os.pipe()
    inner = select.epoll()
    inner.register(reading, select.EPOLLIN | select.EPOLLET)
    asked = inner
    if outer:
        asked = select.epoll()
        asked.register(inner, select.EPOLLIN | select.EPOLLET)

    def write() -> None:
        time.sleep(3)
        os.write(writing, b"x")

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    for _ in range(2):
        began = time.monotonic()
        found.append((len(asked.poll(50)), time.monotonic() - began))
    thread.join()
    return found


@pytest.mark.parametrize("outer", [False, True], ids=["one", "nested"])
def test_an_edge_is_told_once(timed: Timed, outer: bool) -> None:
    """epoll with EPOLLET, alone and within another: looking at a held wait takes no edge from it."""
    ran = timed(lambda: waits(outer))
    assert ran.ok, ran
    (first, after), (second, later) = ran.value
    assert (first, second) == (1, 0)
    assert 3 <= after < 10
    assert 50 <= later < 60


def spawned() -> str:
    reading, writing = os.pipe()
    words = ["date", "+%s"]
    pid = os.posix_spawnp("date", words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    os.waitpid(pid, 0)
    return os.read(reading, 100).decode()


def by_subprocess() -> str:
    return subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout


def by_fork() -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 1)
        os.execvp("date", ["date", "+%s"])
    os.waitpid(pid, 0)
    return os.read(reading, 100).decode()


@pytest.mark.parametrize("start", [spawned, by_subprocess, by_fork])
def test_however_a_program_is_started_it_has_the_same_time(timed: Timed, start: Callable[[], str]) -> None:
    """posix_spawn, vfork and fork with exec, after an hour that was not waited."""

    def work() -> float:
        time.sleep(3600)
        return float(start()) - time.time()

    ran = timed(work)
    assert ran.ok, ran
    assert abs(ran.value) < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a set-uid program of another user")
def test_a_set_uid_program_is_followed_or_told_of(root: str, timed: Timed) -> None:
    """It becomes another user's, which may forbid looking into it: never a wrong time without a word."""
    program = shutil.copy(shutil.which("date") or "", f"{root}/date")
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)

    def work() -> float:
        time.sleep(3600)
        told = subprocess.run([program, "+%s"], capture_output=True, text=True, check=True).stdout
        return float(told) - time.time()

    ran = timed(work)
    assert ran.ok, ran
    assert abs(ran.value) < 30 or "clock-not-seen" in {caveat.kind for caveat in ran.caveats}


_SEALED = """
import ctypes, os, sys, time
from chaoskit.inject.base import Plan, VirtualTime
from chaoskit.inject.kernel import KernelBackend

with open("/proc/self/maps") as maps:
    place = next(line for line in maps if line.rstrip().endswith("[vdso]")).split()[0].split("-")
start, end = (int(one, 16) for one in place)
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(462, ctypes.c_void_p(start), ctypes.c_size_t(end - start), 0):
    sys.exit(77)
assert libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(end - start), 7), "it is not sealed"

def work():
    began = time.time()
    time.sleep(3600)
    return time.time() - began

ran = KernelBackend().run(work, Plan(os.path.realpath(sys.argv[1]), time=VirtualTime()))
assert ran.ok and 3600 <= ran.value < 3700 and not ran.caveats, ran
"""


def test_a_sealed_page_can_be_written_from_outside(root: str) -> None:
    """mseal(2), which newer kernels do to the vDSO of all, forbids changing its protection and no more."""
    done = subprocess.run([sys.executable, "-c", _SEALED, root], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no mseal (Linux 6.10)")
    assert done.returncode == 0, done.stderr


def test_memory_that_may_not_be_written_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """proc_mem.force_override=never: the reason names what to set, and nothing is virtual in part."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    patch = vdso.patch(False)
    assert patch is not None
    monkeypatch.setattr(ability, "open", refused, raising=False)
    reason = ability._unwritable(patch)
    assert reason is not None
    assert "Permission denied" in reason
    assert "proc_mem.force_override=ptrace" in reason


def test_git_has_the_same_time(root: str, timed: Timed) -> None:
    """A commit that is made after an hour that was not waited has the hour in its date."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    script = (
        "a=$(date +%s); git init -q r && cd r && sleep 3600 && "
        "git -c user.email=a@b -c user.name=a commit -q --allow-empty -m one && "
        "echo $(($(git log -1 --format=%ct) - a))"
    )
    ran = timed(Command(("sh", "-c", script), cwd=root, promise_stdout=False))
    assert ran.ok, ran
    assert 3600 <= int(ran.value.stdout) < 3700
    assert not (Path(root) / "r/.git/index.lock").exists()


def sleep_until_long_ago() -> int:
    """Sleep until the first second of this machine, as Python does when a busy machine has made it late."""
    moment = (ctypes.c_long * 2)(1, 0)
    absolute = 1
    return int(ctypes.CDLL(None).clock_nanosleep(time.CLOCK_MONOTONIC, absolute, moment, None))


@pytest.mark.parametrize(
    "schedule", ["", "sleep(test_virtual_time_traps.py,sleep_until_long_ago)#1=suspend[60]"]
)
def test_a_sleep_whose_moment_has_come_is_an_operation(root: str, schedule: str) -> None:
    """Otherwise a short sleep would stand in some recordings only, and there be no case for it."""
    strikes = Schedule.parse(schedule).strikes
    whole = VirtualTime(operations=True)
    ran = KernelBackend().run(sleep_until_long_ago, Plan(root, record=True, strikes=strikes, time=whole))
    assert ran.value == 0
    assert [one.call for one in ran.trace] == ["sleep", "end"]
    assert len(ran.receipts) == len(strikes)
