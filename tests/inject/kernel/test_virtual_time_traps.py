"""What could make virtual time go wrong, one by one; test_virtual_time.py has what it is for."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import shutil
import signal
import socket
import struct
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
from chaoskit.inject.kernel.clock import ability, reach, vdso

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


def by_select(fd: int, seconds: float) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def by_poll(fd: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def by_epoll(fd: int, seconds: float) -> bool:
    with select.epoll() as waiting:
        waiting.register(fd, select.POLLIN)
        return bool(waiting.poll(seconds))


@pytest.mark.parametrize("waits", [by_select, by_poll, by_epoll])
def test_those_that_lose_a_race_end_on_time(timed: Timed, waits: Callable[[int, float], bool]) -> None:
    """Three threads wait for one pipe. Whichever does not get what comes has its whole time-out, no more.

    Let go on to see for itself, it would wait by the real clock, and a run that all wait in seems to hang.
    """

    def work() -> tuple[int, float, float]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        got, ends = [], []

        def take() -> None:
            while waits(reader, 300):
                with contextlib.suppress(BlockingIOError):
                    got.append(os.read(reader, 1))
            ends.append(time.monotonic())

        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            time.sleep(1)
            os.write(writer, b"x")
        last = time.monotonic()
        for thread in threads:
            thread.join()
        os.close(reader)
        os.close(writer)
        return len(got), min(ends) - last, max(ends) - last

    ran = timed(work)
    assert ran.ok, ran
    got, first, last = ran.value
    assert got == 4
    assert 290 < first <= last < 330


@contextlib.contextmanager
def some_files() -> Iterator[tuple[int, int, int]]:
    """A pipe with something in it, its other end, and a socket that can be written to."""
    (ready, other), sockets = os.pipe(), socket.socketpair()
    os.write(other, b"x")
    with sockets[0], sockets[1]:
        yield ready, other, sockets[0].fileno()
    os.close(ready)
    os.close(other)


def as_poll_leaves_it() -> object:
    """What was ready and what was not, in the order of the descriptors."""
    with some_files() as (ready, other, writable):
        waiting = select.poll()
        for fd, events in ((ready, select.POLLIN), (other, 0), (writable, select.POLLIN | select.POLLOUT)):
            waiting.register(fd, events)
        return [events for _, events in sorted(waiting.poll(9000))]


def as_select_leaves_it() -> object:
    """The three sets; and of a call without Python the bits, and the time that is left."""
    with some_files() as (ready, other, writable):
        found = select.select([ready, writable], [writable, other], [ready, writable], 9)
        left, wanted = (ctypes.c_long * 2)(9, 0), (ctypes.c_ulong * 16)()
        wanted[ready // 64] = 1 << ready % 64
        count = ctypes.CDLL(None).select(ready + 1, wanted, None, None, left)
        assert left[0] in (8, 9)
        names = {ready: "ready", other: "other", writable: "writable"}
        return [[names[fd] for fd in one] for one in found], count, wanted[ready // 64] >> ready % 64


def as_epoll_leaves_it() -> object:
    """An edge once, what is told once once, and again what is still there."""
    told = []
    for kind in (0, select.EPOLLET, select.EPOLLONESHOT):
        with some_files() as (ready, _, _), select.epoll() as waiting:
            waiting.register(ready, select.EPOLLIN | kind)
            told.append([[events for _, events in waiting.poll(0.2)] for _ in range(2)])
    return told


@pytest.mark.parametrize("call", [as_poll_leaves_it, as_select_leaves_it, as_epoll_leaves_it])
def test_what_is_ready_is_told_as_the_kernel_tells_it(timed: Timed, call: Callable[[], object]) -> None:
    """The supervisor makes such a call in its caller's place; nothing of the answer is different."""
    ran = timed(call)
    assert ran.ok, ran
    assert ran.value == call()


class Operation(ctypes.Structure):
    """A ``struct sembuf``: take one of semaphore 0."""

    _fields_ = (("number", ctypes.c_ushort), ("change", ctypes.c_short), ("flags", ctypes.c_short))


def at_a_semaphore() -> int:
    """A call that is not held, since hardly any program makes it; what it fails with."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.semget(0, 1, 0o600)
    try:
        one = Operation(0, -1, 0)
        libc.semtimedop(made, ctypes.byref(one), ctypes.c_size_t(1), (ctypes.c_long * 2)(0, 200_000_000))
        return ctypes.get_errno()
    finally:
        libc.semctl(made, 0, 0)


def with_a_table_apart() -> int:
    """A thread with descriptors that the others do not have: which file it means is not known."""
    failed = []

    def wait() -> None:
        failed.append(ctypes.CDLL(None).unshare(0x400))
        select.select([os.pipe()[0]], [], [], 0.2)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    return errno.EAGAIN if failed == [0] else 0


@pytest.mark.parametrize("wait", [at_a_semaphore, with_a_table_apart])
def test_a_wait_by_the_kernels_clock_is_no_hang(timed: Timed, wait: Callable[[], int]) -> None:
    """It ends by itself, if nothing else does: such a run is not called hung while it waits."""
    ran = timed(wait)
    assert ran.ok, ran
    assert ran.value == errno.EAGAIN


def test_timers_of_the_processor_are_the_kernels(timed: Timed) -> None:
    """They count what a program computes, so no sleep makes them go off; and none is taken for an alarm."""

    def work() -> tuple[int, list[int]]:
        libc, got = ctypes.CDLL(None, use_errno=True), []
        for number in (signal.SIGPROF, signal.SIGUSR1):
            signal.signal(number, lambda number, _: got.append(number))
        made = ctypes.c_int()
        event = ctypes.create_string_buffer(struct.pack("=Qii", 0, signal.SIGUSR1, 0), 64)
        processor, absolute = 2, 1
        libc.timer_create(processor, event, ctypes.byref(made))
        for flags in (absolute, 0):
            assert libc.timer_settime(made, flags, struct.pack("=4q", 0, 0, 3600, 0), None) == 0
        signal.setitimer(signal.ITIMER_PROF, 0.02)
        time.sleep(7200)
        asleep = len(got)
        while not got:
            pass
        return asleep, got

    ran = timed(work)
    assert ran.ok, ran
    assert ran.value == (0, [signal.SIGPROF])


def test_a_timer_that_starts_a_thread_is_virtual(timed: Timed) -> None:
    """SIGEV_THREAD: the C library starts it when a thread of its is told by such a signal, with its value."""

    def work() -> list[tuple[int, int]]:
        libc, told, began = ctypes.CDLL(None), [], time.monotonic()
        tell = ctypes.CFUNCTYPE(None, ctypes.c_long)(lambda value: told.append((value, passed())))

        def passed() -> int:
            return round((time.monotonic() - began) / 100)

        address = ctypes.cast(tell, ctypes.c_void_p).value
        event = ctypes.create_string_buffer(struct.pack("=QiiQQ", 77, 0, 2, address, 0), 64)
        made = ctypes.c_void_p()
        assert libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(made)) == 0
        assert libc.timer_settime(made, 0, struct.pack("=4q", 100, 0, 300, 0), None) == 0
        time.sleep(550)
        libc.timer_delete(made)
        return told

    ran = timed(work)
    assert ran.ok, ran
    assert ran.value == [(77, 3), (77, 4), (77, 5)]
    assert not ran.caveats


@pytest.mark.parametrize("name", ["ppoll", "pselect"])
def test_a_call_has_its_own_mask_of_signals(timed: Timed, name: str) -> None:
    """A signal that is only blocked outside it: its handler runs, and the call is interrupted."""

    def work() -> tuple[int, list[int]]:
        libc, told = ctypes.CDLL(None, use_errno=True), []
        signal.signal(signal.SIGALRM, lambda *_: told.append(round(time.monotonic() - began)))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        began = time.monotonic()
        signal.alarm(70)
        limit, none = struct.pack("=2q", 1000, 0), ctypes.create_string_buffer(128)
        if name == "ppoll":
            libc.ppoll(None, ctypes.c_ulong(0), limit, none)
        else:
            libc.pselect(0, None, None, None, limit, none)
        return ctypes.get_errno(), told

    ran = timed(work)
    assert ran.ok, ran
    assert ran.value[0] == errno.EINTR
    assert [round(after, -1) for after in ran.value[1]] == [70]


def test_small_messages_between_parts_of_a_workload_arrive(timed: Timed) -> None:
    """The kernel holds a small message back until the one before is acknowledged, and all seem to sleep."""

    def work() -> int:
        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with server.accept()[0] as connection, connection.makefile("rb") as stream:
                while stream.readline() and stream.readline():
                    connection.sendall(b"ans")
                    connection.sendall(b"wer\n")

        threading.Thread(target=serve, daemon=True).start()
        address = server.getsockname()
        with socket.create_connection(address, timeout=2) as client, client.makefile("rb") as stream:
            for _ in range(20):
                client.sendall(b"a\n")
                client.sendall(b"b\n")
                assert stream.readline() == b"answer\n"
        return 20

    ran = timed(work)
    assert ran.value == 20, ran


def test_what_is_on_its_way_is_known() -> None:
    """Until it is acknowledged nothing is skipped for a moment: a busy kernel delivers it late."""

    def undelivered() -> bool:
        return reach.Reach(os.getpid(), {os.getpid()}, (), {}, False).undelivered

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as reading,
    ):
        before = undelivered()
        for one in (client, reading):
            one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 16))
        full = undelivered()
        while undelivered():
            with contextlib.suppress(BlockingIOError):
                reading.recv(1 << 20)
    assert (before, full) == (False, True)
