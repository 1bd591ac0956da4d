"""Virtual time: waits cost nothing, clocks show what was skipped, and nothing else is different."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import itertools
import mmap
import multiprocessing
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Command, Plan, Ran, VirtualTime
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.clock import ability, reach

pytestmark = pytest.mark.skipif(
    ability.unavailable() is not None, reason=f"no virtual time here: {ability.unavailable()}"
)
Timed = Callable[..., Ran]
PATIENT = 30.0
"""Seconds of real time that a run may take: nothing here waits for them."""


@pytest.fixture
def timed(root: str) -> Timed:
    """Runs a workload with virtual time."""
    backend = KernelBackend()

    def run(
        work: Callable[[], Any] | Command,
        schedule: str = "",
        *,
        record: bool = False,
        operations: bool = False,
        ahead: int = 0,
        timeout: float = PATIENT,
    ) -> Ran:
        strikes = Schedule.parse(schedule).strikes
        virtual = VirtualTime(ahead=ahead, operations=operations or bool(strikes))
        return backend.run(work, Plan(root, record=record, strikes=strikes, timeout=timeout, time=virtual))

    return run


def value(ran: Ran) -> Any:
    assert ran.ok, ran
    return ran.value


def passed(work: Callable[[], object]) -> tuple[float, float, float]:
    """What three clocks say that ``work`` has taken."""
    clocks = (time.time, time.monotonic, time.perf_counter)
    began = [clock() for clock in clocks]
    work()
    wall, monotonic, counter = (clock() - start for clock, start in zip(clocks, began, strict=True))
    return wall, monotonic, counter


# Waits of one thread.


def test_a_sleep_costs_nothing_and_all_clocks_have_gone_on(timed: Timed) -> None:
    """An hour: the run takes a moment of real time, and every clock of the program shows the hour."""
    began = time.monotonic()
    ran = timed(lambda: passed(lambda: time.sleep(3600)))
    assert time.monotonic() - began < 20
    clocks = value(ran)
    assert all(3599.9 <= clock < 3620 for clock in clocks), clocks
    assert 3590 * 10**9 < ran.skipped <= 3600 * 10**9
    assert not ran.caveats


def test_nothing_is_different_until_something_sleeps(timed: Timed) -> None:
    """The clocks are the real ones, to the millisecond, before and after the run."""
    before = time.time(), time.monotonic()
    inside = value(timed(lambda: (time.time(), time.monotonic())))
    after = time.time(), time.monotonic()
    assert all(b - 0.001 <= i <= a + 0.001 for b, i, a in zip(before, inside, after, strict=True))


def test_clocks_never_go_back_and_hardly_ever_stand_still(timed: Timed) -> None:
    """Durations are above zero, also across sleeps, so no program divides by zero."""

    def work() -> tuple[int, int]:
        reads = []
        for _ in range(5):
            reads += [time.monotonic_ns() for _ in range(2000)]
            time.sleep(1)
        steps = [b - a for a, b in itertools.pairwise(reads)]
        return min(steps), sum(step == 0 for step in steps)

    least, still = value(timed(work))
    assert least >= 0
    assert still < 100


@pytest.mark.parametrize(
    "wait",
    [
        lambda: time.sleep(50),
        lambda: select.poll().poll(50_000),
        lambda: select.select([], [], [], 50),
        lambda: select.epoll().poll(50),
        lambda: signal.sigtimedwait({signal.SIGUSR1}, 50),
        lambda: threading.Event().wait(50),
        lambda: asyncio.run(asyncio.sleep(50)),
        lambda: multiprocessing.get_context("fork").Semaphore(0).acquire(timeout=50),
        lambda: subprocess.run(["sleep", "50"], check=True),
        lambda: time.clock_gettime(time.CLOCK_BOOTTIME) and time.sleep(50),
    ],
    ids=["sleep", "poll", "select", "epoll", "signal", "futex", "asyncio", "shared", "child", "boot"],
)
def test_every_kind_of_wait_is_skipped(timed: Timed, wait: Callable[[], object]) -> None:
    """Whatever call it is, it takes its time by the clocks, and no more than a tenth of it really."""
    ran = timed(lambda: passed(wait)[1])
    assert 50 <= value(ran) < 55
    assert ran.skipped > 45 * 10**9


def test_a_time_out_leaves_what_the_kernel_leaves(timed: Timed) -> None:
    """poll and select say that nothing was ready; what was asked for can be asked for again."""

    def work() -> list[object]:
        reader, writer = os.pipe()
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        seen: list[object] = [poll.poll(9000), select.select([reader], [], [], 9)]
        os.write(writer, b"x")
        return [
            *seen,
            poll.poll(9000) == [(reader, select.POLLIN)],
            select.select([reader], [], [], 9)[0] == [reader],
        ]

    assert value(timed(work)) == [[], ([], [], []), True, True]


def test_a_wait_ends_when_what_it_waits_for_happens(timed: Timed) -> None:
    """A writer that sleeps for 3 s wakes a reader that would wait for 50, and 3 s have passed."""

    def work() -> tuple[float, int]:
        reader, writer = os.pipe()
        threading.Thread(target=lambda: (time.sleep(3), os.write(writer, b"x"))).start()
        poll = select.epoll()
        poll.register(reader, select.EPOLLIN | select.EPOLLET)
        outer = select.epoll()
        outer.register(poll.fileno(), select.EPOLLIN)
        ready: list[object] = []
        taken = passed(lambda: ready.append(outer.poll(50)))[1]
        return taken, len(poll.poll(0))

    taken, ready = value(timed(work))
    assert 3 <= taken < 4
    assert ready == 1


def test_a_busy_time_out_of_sqlite_is_free(root: str, timed: Timed) -> None:
    """Five seconds of waiting for a lock that another connection never lets go."""

    def work() -> tuple[str, float]:
        holder = sqlite3.connect(f"{root}/a.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        waiter = sqlite3.connect(f"{root}/a.db", timeout=5)
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError) as raised:
            waiter.execute("CREATE TABLE t (x)")
        return str(raised.value), time.monotonic() - began

    message, taken = value(timed(work))
    assert message == "database is locked"
    assert 4.9 < taken < 6


@pytest.mark.parametrize("number", [228, 96, 201], ids=["clock_gettime", "gettimeofday", "time"])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_a_clock_is_not_read_into_memory_that_is_only_read(timed: Timed, number: int) -> None:
    """The call fails as without virtual time, and what was there stays."""

    def work() -> tuple[int, int, bytes]:
        libc = ctypes.CDLL(None, use_errno=True)
        place = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        place[:8] = b"as it is"
        address = ctypes.addressof(ctypes.c_char.from_buffer(place))
        assert libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ) == 0
        args = (ctypes.c_long(0), ctypes.c_void_p(address)) if number == 228 else (ctypes.c_void_p(address),)
        return libc.syscall(number, *args, None), ctypes.get_errno(), place[:8]

    assert value(timed(work)) == work() == (-1, errno.EFAULT, b"as it is")


# Threads and processes.


def _in_turns() -> list[str]:
    done: list[str] = []

    def sleeper(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            time.sleep(seconds)
            done.append(name)

    rows = (("a", 10, 5), ("b", 15, 3), ("c", 7, 6))
    threads = [threading.Thread(target=sleeper, args=row) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def test_waits_end_in_the_order_of_their_ends(timed: Timed) -> None:
    """Three threads with 14 sleeps wake in one order in each of eight runs."""
    orders = {"".join(value(timed(_in_turns))) for _ in range(8)}
    assert len(orders) == 1


def test_time_stands_still_while_a_child_computes(timed: Timed) -> None:
    """A parent that waits with a time-out of a second for a child that is fast never meets it."""
    program = "import sys; sum(range(100_000)); sys.exit(3)"

    def work() -> int:
        return subprocess.run([sys.executable, "-c", program], timeout=600, check=False).returncode

    assert value(timed(work)) == 3


def test_a_process_that_is_killed_while_it_waits_is_forgotten(timed: Timed) -> None:
    """Its wait is over with it, and the others go on."""

    def work() -> tuple[int, float]:
        child = subprocess.Popen(["sleep", "1000"])
        time.sleep(5)
        child.kill()
        return child.wait(), passed(lambda: time.sleep(7))[1]

    status, taken = value(timed(work))
    assert status == -signal.SIGKILL
    assert 7 <= taken < 8


def test_a_spin_ends(timed: Timed) -> None:
    """A program that computes until another thread's sleep is over does not compute forever."""

    def work() -> bool:
        over = threading.Event()
        threading.Thread(target=lambda: (time.sleep(0.001), over.set())).start()
        while not over.is_set():
            pass
        return True

    ran = timed(work)
    assert value(ran)
    assert "time-flowed" in [caveat.kind for caveat in ran.caveats]


def test_computing_threads_take_turns(timed: Timed) -> None:
    """The interpreter's lock is a wait of 5 ms, which runs out in real time: both threads get on."""

    def work() -> bool:
        counts = [0, 0]

        def compute(index: int) -> None:
            while min(counts) < 1000:
                counts[index] += 1

        threads = [threading.Thread(target=compute, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return True

    assert value(timed(work))


def test_a_wake_without_a_call_is_seen(timed: Timed) -> None:
    """The end of a thread wakes who joins it with a time-out, by the kernel's own hand."""

    def work() -> float:
        thread = threading.Thread(target=time.sleep, args=(3,))
        thread.start()
        return passed(lambda: thread.join(100))[1]

    assert 3 <= value(timed(work)) < 4


# Timers and signals.


def test_timers_go_off_in_virtual_time(timed: Timed) -> None:
    """setitimer with an interval, alarm across a longer sleep, and what is left of each."""

    def work() -> tuple[list[float], float, float, int]:
        began, hits = time.monotonic(), []
        signal.signal(signal.SIGALRM, lambda *_: hits.append(time.monotonic() - began))
        signal.setitimer(signal.ITIMER_REAL, 3, 10)
        while len(hits) < 3:
            signal.pause()
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.alarm(20)
        time.sleep(5)
        remaining = signal.alarm(20)
        time.sleep(100)
        return hits, left, interval, remaining

    hits, left, interval, remaining = value(timed(work))
    assert [round(hit) for hit in hits] == [3, 13, 23, 48]
    assert 9 < left <= 10
    assert (interval, remaining) == (10.0, 15)


def test_a_signal_interrupts_a_wait(timed: Timed) -> None:
    """A handler runs when the signal comes, not when the sleep that it interrupts would have ended."""

    def work() -> tuple[float, float]:
        began, hits = time.monotonic(), []
        signal.signal(signal.SIGUSR1, lambda *_: hits.append(time.monotonic() - began))
        parent = os.getpid()
        if not (child := os.fork()):
            time.sleep(5)
            os.kill(parent, signal.SIGUSR1)
            os._exit(0)
        time.sleep(60)
        os.waitpid(child, 0)
        return hits[0], time.monotonic() - began

    hit, whole = value(timed(work))
    assert 5 <= hit < 6
    assert 60 <= whole < 61


def test_an_interrupted_sleep_says_what_is_left(timed: Timed) -> None:
    """nanosleep of 100 s with a signal after 20: EINTR, and 80 s are left."""

    def work() -> tuple[int, int, int]:
        times = (ctypes.c_long * 2)(100, 0)
        left = (ctypes.c_long * 2)(0, 0)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(20)
        library = ctypes.CDLL(None, use_errno=True)
        result = library.nanosleep(times, left)
        return result, ctypes.get_errno(), round(left[0] + left[1] / 1e9)

    assert value(timed(work)) == (-1, errno.EINTR, 80)


def test_a_timer_descriptor_is_read_in_virtual_time(timed: Timed) -> None:
    """timerfd of 600 s: the read returns one expiry, 600 s later."""

    def work() -> tuple[int, float]:
        library = ctypes.CDLL(None, use_errno=True)
        fd = library.timerfd_create(1, 0)
        library.timerfd_settime(fd, 0, (ctypes.c_long * 4)(0, 0, 600, 0), None)
        read: list[bytes] = []
        taken = passed(lambda: read.append(os.read(fd, 8)))[1]
        return int.from_bytes(read[0], sys.byteorder), taken

    count, taken = value(timed(work))
    assert count == 1
    assert 600 <= taken < 601


def test_a_timer_descriptor_counts_what_was_not_read(timed: Timed) -> None:
    """timerfd of 20 s, then each 10 s: after 45 s a read returns three. Set again, it counts from zero."""

    def work() -> tuple[int, bool]:
        library = ctypes.CDLL(None, use_errno=True)
        fd = library.timerfd_create(1, os.O_NONBLOCK)
        library.timerfd_settime(fd, 0, (ctypes.c_long * 4)(10, 0, 20, 0), None)
        time.sleep(45)
        count = int.from_bytes(os.read(fd, 8), sys.byteorder)
        time.sleep(15)
        library.timerfd_settime(fd, 0, (ctypes.c_long * 4)(0, 0, 600, 0), None)
        return count, bool(select.select([fd], [], [], 0)[0])

    count, readable = value(timed(work))
    # A kernel without CONFIG_CHECKPOINT_RESTORE does not let a count be set.
    assert count == 3 or (count == 1 and not _counts_can_be_set())
    assert not readable


def test_a_timer_for_a_time_that_is_over_goes_off_at_once(timed: Timed) -> None:
    """timerfd with an absolute time in the past: a read that does not wait finds the expiry."""

    def work() -> bytes:
        library = ctypes.CDLL(None, use_errno=True)
        fd = library.timerfd_create(1, os.O_NONBLOCK)
        library.timerfd_settime(fd, 1, (ctypes.c_long * 4)(0, 0, 0, 1), None)
        # The kernel's own timer takes a moment, too; a wait would let virtual time pass.
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                return os.read(fd, 8)
        return b""

    assert value(timed(work)) == (1).to_bytes(8, sys.byteorder)


def _counts_can_be_set() -> bool:
    fd = ctypes.CDLL(None).timerfd_create(1, 0)
    try:
        fcntl.ioctl(fd, 0x40085400, (7).to_bytes(8, sys.byteorder))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def test_timeout_ends_a_program_with_124(timed: Timed) -> None:
    """``timeout 5 sleep 50`` uses a timer of timer_create(2)."""
    ran = timed(lambda: subprocess.run(["timeout", "5", "sleep", "50"], check=False).returncode)
    assert value(ran) == 124
    assert ran.skipped < 20 * 10**9


# Hung.


def _lock_twice() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _deadlock() -> None:
    one, other = threading.Lock(), threading.Lock()

    def first() -> None:
        with one:
            time.sleep(1)
            other.acquire()

    threading.Thread(target=first).start()
    with other:
        time.sleep(1)
        one.acquire()


def _wait_for_nobody() -> None:
    reader, _writer = os.pipe()
    os.read(reader, 1)


def _wait_for_a_child_that_waits() -> None:
    subprocess.run([sys.executable, "-c", "import signal; signal.pause()"], check=False)


def _wait_until_no_clock_can_show_it() -> None:
    threading.Thread(target=time.sleep, args=(5,)).start()
    threading.Event().wait(threading.TIMEOUT_MAX)


HANGS = [
    *(_lock_twice, _deadlock, _wait_for_nobody, _wait_for_a_child_that_waits),
    _wait_until_no_clock_can_show_it,
]


@pytest.mark.parametrize("hang", HANGS)
def test_what_nothing_can_wake_is_hung_at_once(timed: Timed, hang: Callable[[], None]) -> None:
    """With its stacks, and long before the run's time is up."""
    began = time.monotonic()
    ran = timed(hang, timeout=120)
    assert (ran.timed_out, ran.stuck) == (True, True)
    assert time.monotonic() - began < 60
    assert hang.__name__ in ran.stacks
    assert "nothing was left" in ran.stacks


def test_a_wait_of_a_century_is_one(timed: Timed) -> None:
    """It ends, and the clocks show it; what is longer than they can show is forever."""
    assert 3e9 <= value(timed(lambda: passed(lambda: time.sleep(3e9))[1])) < 3e9 + 1


def test_a_peer_outside_lives_in_real_time(timed: Timed) -> None:
    """A server that takes 0.3 s is not overtaken by a time-out of 5 s, and no wait for it is hung."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    pid = os.fork()
    if not pid:
        for _ in range(2):
            peer, _ = server.accept()
            time.sleep(0.3)
            peer.sendall(b"late")
            peer.close()
        os._exit(0)
    server.close()

    def work() -> list[bytes]:
        got = []
        for timeout in (5, None):
            with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
                got.append(client.recv(10))
        return got

    try:
        ran = timed(work)
        assert value(ran) == [b"late", b"late"]
        assert ran.skipped < 10**9
    finally:
        os.waitpid(pid, 0)


def test_a_name_is_answered_before_its_time_is_up(timed: Timed) -> None:
    """Of the seconds for which a program would wait, none is skipped, alone or beside its parent."""

    def ask() -> None:
        with contextlib.suppress(socket.gaierror):
            socket.getaddrinfo("peer.example", 80, socket.AF_INET)

    def ask_in_child() -> None:
        pid = os.fork()
        if not pid:
            ask()
            os._exit(0)
        os.waitpid(pid, 0)

    for work in (ask, ask_in_child) * 5:
        ran = timed(work)
        assert ran.ok, ran
        assert ran.skipped < 10**9


def answering() -> tuple[int, int]:
    """A child that answers its first client: its port and its process, which ends with that client."""
    server = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if not pid:
        peer, _ = server.accept()
        while peer.recv(100):
            peer.sendall(b"answer")
        os._exit(0)
    port = server.getsockname()[1]
    server.close()
    return port, pid


@pytest.mark.parametrize("timeout", [300, None])
def test_a_peer_that_a_fault_has_silenced_costs_nothing(timed: Timed, timeout: float | None) -> None:
    """The time-out of its client is skipped, and a client that has none is known to hang."""
    port, pid = answering()

    def work() -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
            client.sendall(b"question")
            try:
                return client.recv(10).decode()
            except TimeoutError:
                return "timed out"

    try:
        ran = timed(work, f"exchange(127.0.0.1:{port})#1=silent[0]")
    finally:
        os.waitpid(pid, 0)
    assert len(ran.receipts) == 1
    if timeout is None:
        assert ran.stuck
    else:
        assert value(ran) == "timed out"
        assert ran.skipped > 290 * 10**9


def _read_a_pipe_of_its_own() -> None:
    reading, _ = os.pipe()
    select.select([reading], [], [], 50)


def test_other_children_of_the_test_are_asked_for_what_they_hold(timed: Timed) -> None:
    """A program that the test has started is no reason to wait in real time; one that holds the pipe is."""
    reading, writing = os.pipe()
    with subprocess.Popen(["sleep", "1000"], pass_fds=[writing]) as beside:
        try:
            assert timed(_read_a_pipe_of_its_own).skipped > 45 * 10**9
            os.close(writing)
            ran = timed(lambda: select.select([reading], [], [], 0.2))
            assert ran.ok
            assert ran.skipped == 0
        finally:
            beside.kill()
            os.close(reading)


def _polled(client: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(client, select.POLLIN)
    return bool(waiting.poll(100))


def _selected(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0.1)[0])


def _in_epoll(client: socket.socket) -> bool:
    with select.epoll() as waiting:
        waiting.register(client, select.EPOLLIN)
        return bool(waiting.poll(0.1))


@pytest.mark.parametrize("patience", [300, None])
@pytest.mark.parametrize("readable", [_polled, _selected, _in_epoll])
def test_a_loop_of_short_waits_for_a_silent_peer_costs_nothing(
    timed: Timed, readable: Callable[[socket.socket], bool], patience: float | None
) -> None:
    """A client that looks ten times a second gives up on time, or is known to hang if it never does."""
    port, pid = answering()

    def work() -> float:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"question")
            began = time.monotonic()
            while patience is None or time.monotonic() < began + patience:
                if readable(client):
                    raise AssertionError("it was answered")
            return time.monotonic() - began

    try:
        ran = timed(work, f"exchange(127.0.0.1:{port})#1=silent[0]")
    finally:
        os.waitpid(pid, 0)
    assert len(ran.receipts) == 1
    if patience is None:
        assert ran.stuck
        assert ran.skipped > 24 * 3600 * 10**9
    else:
        # No loop is more than twice as late as it has lasted.
        assert patience <= value(ran) < 2.5 * patience


def test_short_waits_for_anything_else_end_on_time(timed: Timed) -> None:
    """A loop that sleeps, or looks at something of its own, is never late, however often it looks."""

    def work() -> float:
        mine, other = socket.socketpair()
        began = time.monotonic()
        with mine, other:
            for _ in range(75):
                _selected(mine)
                time.sleep(0.1)
        return time.monotonic() - began

    # What runs in between takes real time; a loop that is late has doubled its waits ten times by then.
    assert 15 <= value(timed(work)) < 100


@pytest.mark.parametrize(
    ("server", "client", "both"),
    [("127.0.0.1", "127.0.0.1", False), ("0.0.0.0", "127.0.0.1", False), ("::", "127.0.0.1", True)],
    ids=["one address", "all addresses", "both families"],
)
def test_both_ends_inside_are_no_peer_outside(timed: Timed, server: str, client: str, both: bool) -> None:
    """A time-out at a socket whose other end belongs to the workload is skipped."""
    family = socket.AF_INET6 if both else socket.AF_INET

    def work() -> float:
        with socket.create_server((server, 0), family=family, dualstack_ipv6=both) as listener:
            here = socket.create_connection((client, listener.getsockname()[1]), timeout=300)
            there, _ = listener.accept()

            def wait() -> None:
                with pytest.raises(TimeoutError):
                    here.recv(1)

            taken = passed(wait)[1]
            here.close()
            there.close()
            return taken

    ran = timed(work)
    assert 300 <= value(ran) < 305
    assert ran.skipped > 290 * 10**9


@pytest.fixture
def no_other_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that runs the tests counts as childless: other tests may have left it servers."""
    monkeypatch.setattr(reach.Reach, "_others", ())


@pytest.mark.usefixtures("no_other_child")
def test_a_server_of_the_workload_that_waits_for_anyone_costs_nothing(timed: Timed) -> None:
    """Nothing outside knows of it: what sleeps beside it need not be waited for."""

    def work() -> float:
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=listener.accept, daemon=True).start()
        return passed(lambda: time.sleep(3600))[1]

    assert 3600 <= value(timed(work)) < 3605


@pytest.mark.usefixtures("no_other_child")
def test_a_server_of_the_workload_that_answers_late_costs_nothing(timed: Timed) -> None:
    """Both of it, in one event loop, and the client has asked."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await asyncio.sleep(3600)
        writer.write(b"at last\n")
        writer.close()

    async def talk() -> float:
        server = await asyncio.start_server(late, "127.0.0.1", 0)
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"are you there?\n")
        assert await reader.readline() == b"at last\n"
        writer.close()
        server.close()
        return time.monotonic() - began

    assert 3600 <= value(timed(lambda: asyncio.run(talk()))) < 3605


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX], ids=lambda f: f.name)
@pytest.mark.usefixtures("no_other_child")
def test_a_client_that_has_not_been_accepted_waits_for_the_workload(
    timed: Timed, family: socket.AddressFamily
) -> None:
    """Its server, in another thread, has something else to do for an hour."""
    address: object = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}.get(family, "")

    def ask(address: object) -> None:
        with socket.socket(family) as client:
            client.connect(address)  # type: ignore[arg-type]
            client.sendall(b"are you there?\n")
            assert client.recv(8) == b"yes\n"

    def work() -> float:
        with socket.socket(family) as listener:
            listener.bind(address)  # type: ignore[arg-type]
            listener.listen()
            client = threading.Thread(target=ask, args=(listener.getsockname(),))
            client.start()
            slept = passed(lambda: time.sleep(3600))[1]
            with listener.accept()[0] as accepted:
                accepted.recv(100)
                slept += passed(lambda: time.sleep(3600))[1]
                accepted.sendall(b"yes\n")
            client.join()
            return slept

    assert 7200 <= value(timed(work)) < 7205


@pytest.mark.usefixtures("no_other_child")
def test_a_connection_that_the_test_holds_does_not_make_time_real(timed: Timed) -> None:
    """As fixtures do with their servers: the workload inherits it and does nothing with it."""

    def work() -> float:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=listener.accept, daemon=True).start()
            return passed(lambda: time.sleep(3600))[1]

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with socket.create_server(("127.0.0.1", 0)) as server:
            os.write(writing, str(server.getsockname()[1]).encode())
            accepted, _ = server.accept()
            accepted.recv(1)
        os._exit(0)
    try:
        with socket.create_connection(("127.0.0.1", int(os.read(reading, 16)))):
            assert 3600 <= value(timed(work)) < 3605
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(child, 0)


@pytest.mark.usefixtures("no_other_child")
def test_a_server_that_nobody_asks_is_hung_at_once(timed: Timed) -> None:
    """No time passes until the scenario's limit: nothing will ever happen."""

    def work() -> None:
        socket.create_server(("127.0.0.1", 0)).accept()

    ran = timed(work)
    assert ran.timed_out
    assert ran.stuck


def test_a_server_that_another_child_of_the_test_calls_lives_in_real_time(timed: Timed) -> None:
    """It knows the address, and calls when it likes."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # It ends when it has called, or when the test is over.
        port = int(os.read(reading, 16))
        time.sleep(0.3)
        socket.create_connection(("127.0.0.1", port)).close()
        os._exit(0)

    def work() -> float:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(300)
            os.write(writing, str(listener.getsockname()[1]).encode())
            return passed(listener.accept)[1]

    try:
        assert value(timed(work)) < 100
    finally:
        os.close(reading)
        os.close(writing)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("server", ["127.0.0.1", "0.0.0.0"])
def test_a_datagram_that_is_answered_late_costs_nothing(timed: Timed, server: str) -> None:
    """The client is connected, so nothing but the other end can answer it, wherever that is bound."""

    def work() -> float:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        ):
            there.bind((server, 0))
            here.connect(("127.0.0.1", there.getsockname()[1]))
            here.send(b"asked")
            _, asker = there.recvfrom(10)

            def answer() -> None:
                time.sleep(3600)
                there.sendto(b"answered", asker)

            answering = threading.Thread(target=answer)
            answering.start()
            taken = passed(lambda: here.recv(10))[1]
            answering.join()
            return taken

    assert 3600 <= value(timed(work)) < 3605


# Other programs.


@pytest.mark.parametrize(
    ("argv", "least"),
    [
        (["bash", "-c", "a=$EPOCHSECONDS; sleep 100; echo $((EPOCHSECONDS - a))"], 100),
        (
            [
                "bash",
                "-c",
                "a=$EPOCHSECONDS; read -t 40 < <(sleep 1000); echo $((EPOCHSECONDS - a)); kill $!",
            ],
            40,
        ),
        (["perl", "-e", "$a = time; sleep 100; print time - $a"], 100),
        (["perl", "-e", "$a = time; select(undef, undef, undef, 50.5); print time - $a"], 50),
        (["sh", "-c", "a=$(date +%s); sleep 100; echo $(($(date +%s) - a))"], 100),
        (
            [
                "node",
                "-e",
                "const a = Date.now(); setTimeout(() => console.log((Date.now() - a) / 1000), 100000)",
            ],
            100,
        ),
    ],
    ids=["bash", "bash-read", "perl", "perl-select", "date", "node"],
)
def test_programs_in_other_languages_have_the_same_time(timed: Timed, argv: list[str], least: float) -> None:
    """Sleeps and clocks agree in each, whatever C library function it uses."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    ran = timed(Command(tuple(argv), promise_stdout=False))
    assert least <= float(value(ran).stdout) < least + 30
    assert ran.skipped > least * 0.9 * 10**9


_STATIC = """
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    struct timeval v; time_t a = time(0); sleep(100); gettimeofday(&v, 0);
    printf("%ld %ld", (long)(time(0) - a), (long)(v.tv_sec - a)); return 0;
}
"""


def test_a_static_program_has_the_same_time(root: str, timed: Timed) -> None:
    """Its vDSO is patched as well: time(2) and gettimeofday(2) show what was skipped."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    with open(f"{root}/a.c", "w") as file:
        file.write(_STATIC)
    subprocess.run(["cc", "-static", "-o", f"{root}/a", f"{root}/a.c"], check=True)
    ran = timed(Command((f"{root}/a",), promise_stdout=False))
    assert [int(part) // 10 for part in value(ran).stdout.split()] == [10, 10]


def test_java_has_the_same_time(root: str, timed: Timed) -> None:
    """A virtual machine, with threads that tick: it waits ten seconds in less than that."""
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    with open(f"{root}/T.java", "w") as file:
        file.write(
            "public class T { public static void main(String[] a) throws Exception {"
            " long t = System.currentTimeMillis(); Thread.sleep(10000);"
            " System.out.print(System.currentTimeMillis() - t); } }"
        )
    ran = timed(Command(("java", f"{root}/T.java"), promise_stdout=False), timeout=100)
    assert int(value(ran).stdout) >= 10_000
    # Its own threads tick, so not all of it in one step.
    assert ran.skipped > 5 * 10**9


# Files.


def test_file_times_follow(root: str, timed: Timed) -> None:
    """A file is as old as the workload's clock says, whenever it looks; afterwards the real time is back."""

    def work() -> tuple[list[float], list[float]]:
        fresh = []
        for index in range(3):
            with open(f"{root}/{index}", "w") as file:
                file.write("x")
            fresh.append(time.time() - os.stat(f"{root}/{index}").st_mtime)
            time.sleep(100)
        return fresh, [time.time() - os.stat(f"{root}/{index}").st_mtime for index in range(3)]

    fresh, old = value(timed(work))
    assert all(-0.01 < age < 1 for age in fresh)
    assert [round(age, -1) for age in old] == [300, 200, 100]
    assert all(abs(time.time() - os.stat(f"{root}/{index}").st_mtime) < 60 for index in range(3))


def test_a_time_that_the_workload_gave_a_file_stays(root: str, timed: Timed) -> None:
    """Only what the kernel has put down is put right."""

    def work() -> int:
        with open(f"{root}/a", "w") as file:
            file.write("x")
        os.utime(f"{root}/a", ns=(10**18, 10**18))
        time.sleep(100)
        return os.stat(f"{root}/a").st_mtime_ns

    assert value(timed(work)) == 10**18


# Nothing leaks, nothing is changed.


def test_nothing_virtual_is_left(timed: Timed) -> None:
    """The test's own clock and sleeps are real after a run, and in a run without virtual time."""
    difference = time.time() - time.monotonic()
    timed(lambda: time.sleep(3600))
    assert abs(time.time() - time.monotonic() - difference) < 1
    began = time.monotonic()
    time.sleep(0.05)
    assert 0.05 <= time.monotonic() - began < 30


def test_a_later_run_goes_on_where_the_last_one_ended(timed: Timed) -> None:
    """So that no clock of a case ever goes back."""
    first = timed(lambda: (time.sleep(3600), time.time())[1])
    second = timed(time.time, ahead=first.skipped)
    assert value(second) >= value(first)


def test_the_clock_of_the_machine_cannot_be_set(timed: Timed) -> None:
    """Not even by root: the answer is that of an ordinary user."""

    def work() -> int:
        try:
            time.clock_settime(time.CLOCK_REALTIME, 0)
        except PermissionError as error:
            return error.errno or 0
        return 0

    assert value(timed(work)) == errno.EPERM


def test_a_time_out_of_a_socket_is_caveated(timed: Timed) -> None:
    """SO_RCVTIMEO runs in the kernel, in real time, and the report says so."""

    def work() -> None:
        one, _other = socket.socketpair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(8) + (10_000).to_bytes(8, "little"))
        with pytest.raises(BlockingIOError):
            one.recv(1)

    ran = timed(work)
    assert ran.ok, ran
    assert "socket-options" in [caveat.kind for caveat in ran.caveats]


def test_a_read_costs_what_it_did(timed: Timed) -> None:
    """No notification: a hundred thousand reads take at most three times as long as without us."""
    if ability.reads_cost() is not None:
        pytest.skip(str(ability.reads_cost()))

    def work() -> float:
        began = time.process_time()
        for _ in range(100_000):
            time.time()
        return time.process_time() - began

    bare = min(work() for _ in range(5))
    assert min(value(timed(work)) for _ in range(5)) < 3 * bare
