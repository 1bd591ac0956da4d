"""What was learnt by attacking: each trap has its test."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import gc
import mmap
import os
import platform
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from budgets import tried

from chaoskit.core.errors import UsageError
from chaoskit.inject import channel, forking, processes
from chaoskit.inject.base import Plan, Ran, WorkloadError
from chaoskit.inject.kernel import KernelBackend, catcher, domains
from chaoskit.inject.kernel.ending import Ending
from chaoskit.inject.kernel.seccomp import abi, syscalls
from chaoskit.inject.kernel.supervisor import CallSupervisor
from chaoskit.inject.kernel.workload.memory import Memory
from chaoskit.inject.kernel.workload.tree import Tree

Run = Callable[..., Ran]


def kinds(ran: Ran) -> list[str]:
    return [caveat.kind for caveat in ran.caveats]


def raw(name: str, *args: Any) -> int:
    """Make a watched or other system call by name; minus the errno if it fails."""
    return abi.libc().syscall(syscalls.number_of(name, abi.machine()), *args)


# Signals and interruptions.


@pytest.mark.parametrize("recorded", [False, True])
def test_an_interval_timer_makes_no_duplicates(root: str, run: Run, recorded: bool) -> None:
    """Renames under a timer are as many operations, and every EINTR that got through is counted."""
    count = 400 if recorded else 2000

    def work() -> tuple[int, int]:
        fired = interrupted = 0

        def tick(*_: object) -> None:
            nonlocal fired
            fired += 1

        with open(f"{root}/a", "wb"):
            pass
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(count):
            pair = (f"{root}/a", f"{root}/b") if number % 2 == 0 else (f"{root}/b", f"{root}/a")
            while True:
                try:
                    os.rename(*pair)
                    break
                except InterruptedError:
                    interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        return fired, interrupted

    ran = run(work, f"rename(b -> a)#{count // 2}=EIO", record=recorded)
    assert isinstance(ran.error, OSError), ran
    assert (ran.error.errno, len(ran.receipts), ran.reached) == (errno.EIO, 1, 1)
    assert os.path.exists(f"{root}/b"), "the last rename was the one that failed"
    ran = run(work, f"rename(b -> a)#{count // 2 + 1}=EIO", record=recorded)
    assert (ran.ok, ran.reached) == (True, 0)
    fired, interrupted = ran.value
    assert fired > 10
    assert ran.stray_interrupts == interrupted
    assert len([one for one in ran.trace if one.call == "rename"]) == (count if recorded else 0)


def test_without_signals_no_interrupt_is_counted(root: str, run: Run) -> None:
    """Threads and children do not look like interrupts."""

    def work() -> None:
        def make(name: str) -> None:
            for number in range(20):
                os.mkdir(f"{root}/{name}-{number}")

        threads = [threading.Thread(target=make, args=(f"{n}",)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        subprocess.run(["mkdir", f"{root}/last"], check=True)

    assert run(work, record=True).stray_interrupts == 0


CHILD = """
import os, sys, time
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

root = sys.argv[1]

def work():
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.mkdir(root + "/grandchild")
        while True:
            time.sleep(0.01)
            os.utime(root)
    os.mkdir(root + "/started")
    time.sleep(100)

try:
    KernelBackend().run(work, Plan(root, record=sys.argv[2] == "record"))
except KeyboardInterrupt:
    left = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    print("interrupted", len(left), len(os.listdir("/proc/self/fd")), flush=True)
"""


def _started(root: str, mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", CHILD, root, mode], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not {"started", "grandchild"} <= set(os.listdir(root)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return process


def _working_below(root: str) -> list[str]:
    """The processes that have ``root`` in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if os.fsencode(root) in file.read():
                        found.append(name)
            except OSError:
                pass
    return found


@pytest.mark.parametrize("mode", ["record", "case"])
def test_ctrl_c_leaves_nothing_behind(root: str, mode: str) -> None:
    """A KeyboardInterrupt in the supervisor kills and collects the whole tree before it goes on."""
    process = _started(root, mode)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out.split()[:2] == ["interrupted", "0"]
    assert _working_below(root) == []


def test_a_supervisor_that_dies_takes_the_workload_along(root: str) -> None:
    """Without its supervisor nothing of the workload runs on, and in the end its guard is gone, too."""
    process = _started(root, "case")
    assert len(_working_below(root)) > 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while _working_below(root) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert _working_below(root) == []


SESSIONS = """
import os, sys, time
from chaoskit.inject import processes
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload import tree

root = sys.argv[1]
processes.Guard._MOST, tree._MANY_SESSIONS = 100, 50

def daemon():
    if os.fork() == 0:
        abi.libc().prctl(abi.PR_SET_DUMPABLE, 0)
        os.setsid()
        if os.fork():
            os._exit(0)
        with open(f"{root}/daemon", "w") as file:
            file.write(str(os.getpid()))
        while True:
            time.sleep(0.01)

def work():
    for number in range(120):
        if os.fork() == 0:
            os.setsid()
            os._exit(0)
        os.wait()
    daemon()
    time.sleep(1000)

backend = KernelBackend()
if os.getuid() == 0:
    backend.unavailable()
    backend.run(lambda: None, Plan(root))
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    abi.libc().prctl(abi.PR_SET_DUMPABLE, 1)
backend.run(work, Plan(root, timeout=100))
"""


def test_a_supervisor_that_dies_takes_every_session_along(root: str) -> None:
    """However many there were, and though their processes may not be inspected."""
    os.chmod(root, 0o777)
    process = subprocess.Popen([sys.executable, "-c", SESSIONS, root])
    try:
        daemon = 0
        deadline = time.monotonic() + 60
        while not daemon and process.poll() is None and time.monotonic() < deadline:
            daemon = int(processes.read(f"{root}/daemon") or 0)
            time.sleep(0.01)
        assert daemon
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{daemon}") and time.monotonic() < deadline:
        time.sleep(0.005)
    survived = os.path.exists(f"/proc/{daemon}")
    if survived:
        os.kill(daemon, signal.SIGKILL)
    assert not survived


PF_SIGNALED_OR_EXITING = 0x400 | 0x4
"""Flags of a process (proc(5), include/linux/sched.h) that has taken a deadly signal."""


@pytest.mark.parametrize("orphan", [False, True])
def test_a_kill_takes_at_once_who_has_made_no_call_that_stopped(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch, orphan: bool
) -> None:
    """What a child writes after the kill would be on no disk."""
    found: list[bytes] = []
    supervisors: list[CallSupervisor] = []
    wind_up, begin = Ending.wind_up, CallSupervisor.serve

    def serving(supervisor: CallSupervisor, *given: Any) -> int:
        supervisors.append(supervisor)
        return begin(supervisor, *given)

    def looking(ending: Ending) -> None:
        (pid,) = supervisors[-1].promises.mailbox.promised
        # In this order: the signal is pending until it is taken, and then the process has these flags.
        found.extend(processes.read(f"/proc/{pid}/{name}") for name in ("status", "stat"))
        wind_up(ending)

    def work() -> None:
        reader, writer = os.pipe()
        if os.fork() == 0:
            if orphan and os.fork():
                os._exit(0)
            os.setpgid(0, 0)
            os.write(writer, str(os.getpid()).encode())
            while True:
                os.utime(root)
        if orphan:
            os.wait()
        channel.promise(int(os.read(reader, 20)))
        os.mkdir(f"{root}/d")

    monkeypatch.setattr(CallSupervisor, "serve", serving)
    monkeypatch.setattr(Ending, "wind_up", looking)
    ran = run(work, "mkdir(d)#1=kill")
    assert (ran.signal, len(ran.receipts)) == (signal.SIGKILL, 1)
    status, facts = found
    fields = dict(line.split(b":\t", 1) for line in status.splitlines() if b":\t" in line)
    gone = not status or not facts or fields[b"State"][:1] in b"ZX"
    pending = int(fields.get(b"SigPnd", b"0"), 16) | int(fields.get(b"ShdPnd", b"0"), 16)
    dying = pending >> (signal.SIGKILL - 1) & 1
    assert gone or dying or int(facts.rpartition(b")")[2].split()[6]) & PF_SIGNALED_OR_EXITING


@pytest.mark.parametrize("record", [True, False])
def test_everybody_below_a_daemon_is_left_over(root: str, run: Run, record: bool) -> None:
    """Known by its calls or not: else a case could leak as many as only the recording knew."""

    def work() -> None:
        ready, writing = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.mkdir(f"{root}/d")
                if os.fork() == 0:
                    os._exit(0)
                os.write(writing, b"x")
            signal.pause()
        os.read(ready, 1)

    ran = run(work, record=record)
    assert len(ran.leaks.processes) == 2


def test_nobody_acts_on_the_death_of_another_in_a_kill(root: str, run: Run) -> None:
    """All die at once: who reads from a pipe does not live to see that its writer is gone."""

    def work() -> None:
        reading, writing = os.pipe()
        ready, telling = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            signal.pause()
        for number in range(24):
            if os.fork() == 0:
                os.close(writing)
                os.write(telling, b"x")
                os.read(reading, 1)
                os.mkdir(f"{root}/{number}")
                os._exit(0)
        os.close(writing)
        for _ in range(24):
            os.read(ready, 1)
        os.rmdir(f"{root}/d")

    for _ in range(tried(12)):
        os.mkdir(f"{root}/d")
        assert run(work, "rmdir(d)#1=kill").signal == signal.SIGKILL
        assert os.listdir(root) == ["d"]
        os.rmdir(f"{root}/d")


def test_a_hung_run_shows_who_has_made_no_call_that_stopped(hung: Callable[..., Ran]) -> None:
    """Where a program hangs is often in a child that touches no file."""
    sleeping = ["sleep", "100"]
    ran = hung(
        lambda: subprocess.run(sleeping, check=True), lambda ran: "(sleep" in ran.stacks, "mkdir(d)#1=EIO"
    )
    assert ran.timed_out
    assert "(sleep" in ran.stacks


def test_an_interrupt_at_the_fork_leaves_no_process(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between the fork and the loop, the child is killed and collected."""
    before = processes.children()

    def planted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chaoskit.inject.kernel.backend.CallSupervisor", planted)
    with pytest.raises(KeyboardInterrupt):
        run(lambda: time.sleep(100))
    monkeypatch.setattr("chaoskit.inject.kernel.backend._take_over", planted)
    with pytest.raises(KeyboardInterrupt):
        run(lambda: time.sleep(100))
    assert processes.children() == before


def test_an_error_in_the_supervisor_ends_the_run(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours is raised, and nobody is left waiting for an answer."""
    before = processes.children()

    def planted(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("chaoskit.inject.kernel.files.calls.FileDecoder.decode", planted)
    with pytest.raises(ZeroDivisionError):
        run(lambda: os.mkdir(f"{root}/d"), record=True)
    assert processes.children() == before


def test_no_program_of_ours_inherits_the_listener(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a copy of it in other hands, a workload whose supervisor is gone would wait forever."""
    inherited: list[bool] = []
    serve = CallSupervisor.serve

    def looking(supervisor: CallSupervisor, listener: int, before_fork: set[int]) -> int:
        inherited.append(os.get_inheritable(listener))
        return serve(supervisor, listener, before_fork)

    monkeypatch.setattr(CallSupervisor, "serve", looking)
    assert run(lambda: os.mkdir(f"{root}/d")).ok
    assert inherited == [False]


def _condition() -> tuple[Any, ...]:
    subreaper = ctypes.create_string_buffer(4)
    abi.libc().prctl(abi.PR_GET_CHILD_SUBREAPER, ctypes.addressof(subreaper))
    umask = os.umask(0o022)
    os.umask(umask)
    return (
        sorted(os.listdir("/proc/self/fd")),
        subreaper.raw,
        umask,
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        resource.getrlimit(resource.RLIMIT_NOFILE),
        os.getcwd(),
        processes.children(),
        threading.active_count(),
        os.getsid(0),
    )


def test_many_runs_leave_no_trace(root: str, run: Run) -> None:
    """No descriptor, zombie, thread, flag, mask or directory of the test process differs afterwards."""

    def work(number: int) -> None:
        fd = os.open(f"{root}/{number}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        if number % 3 == 0:
            os.umask(0)
            os.fork() or os._exit(0)
        if number % 5 == 0:
            raise ValueError(number)

    run(lambda: work(0), record=True)
    gc.collect()
    before = _condition()
    schedules = ("", "write(a)#1=kill", "close(zzz)#1=EIO", "end()#1=kill")
    for number in range(tried(100)):
        run(lambda n=number: work(n), schedules[number % 4], record=number % 2 == 0)
    gc.collect()
    assert _condition() == before


# What a workload may do to its supervisor.


def test_a_workload_that_closes_everything_still_reports(root: str, run: Run) -> None:
    """Promises and the result need no descriptor: none can be closed under them."""

    def work() -> str:
        os.closerange(3, 5000)
        for fd in range(3, 1000):
            with pytest.raises(OSError):
                os.close(fd)
        channel.promise("kept")
        fds = [os.open(f"{root}/{number}", os.O_CREAT | os.O_WRONLY) for number in range(1100)]
        for fd in fds:
            os.write(fd, b"mine")
            os.close(fd)
        return "result"

    ran = run(work)
    assert (ran.value, ran.promised) == ("result", ("kept",))
    assert {os.path.getsize(f"{root}/{number}") for number in range(1100)} == {4}


def test_the_standard_streams_may_be_closed_too(run: Run) -> None:
    """A workload that closes 0, 1 and 2 has a result all the same."""
    assert run(lambda: os.closerange(0, 4096) or 5).value == 5


def test_garbage_on_any_descriptor_is_no_message(root: str, run: Run) -> None:
    """What a workload writes to descriptors that it does not have is its own mistake."""

    def work() -> list[int]:
        seen = []
        for fd in (899, 900, 901, 2**31 - 2):
            with pytest.raises(OSError) as caught:
                os.write(fd, b"P garbage")
            seen.append(caught.value.errno or 0)
        return seen

    ran = run(work)
    assert (ran.value, ran.promised) == ([errno.EBADF] * 4, ())


def test_a_child_that_returns_from_the_workload_gives_no_result(root: str, run: Run) -> None:
    """After a fork both may reach the end of the function: the result is the first process's."""

    def work() -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return "parent"
        return "child"

    ran = run(work, record=True)
    assert ran.value == "parent"
    assert [one.call for one in ran.trace] == ["end"]

    def failing() -> str:
        pid = os.fork()
        if pid == 0:
            raise ValueError("the child's")
        return f"{os.waitpid(pid, 0)[1]}"

    assert run(failing).value == "0"


def test_what_daemonises_is_named_and_killed(root: str, run: Run) -> None:
    """Processes that outlive the workload are leaks; they do not outlive the run."""

    def work() -> int:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                time.sleep(100)
            os._exit(0)
        os.wait()
        return int(os.read(reader, 20))

    ran = run(work)
    assert ran.ok
    assert [name.split(":")[0] for name in ran.leaks.processes] == [f"process {ran.value}"]
    assert not os.path.exists(f"/proc/{ran.value}")


def test_children_that_end_soon_are_no_leaks(root: str, run: Run) -> None:
    """A process that is about to end gets the time for it, and its operations count."""

    def work() -> None:
        if os.fork() == 0:
            time.sleep(0.05)
            os.mkdir(f"{root}/late")
            os._exit(0)

    ran = run(work, record=True)
    assert ran.leaks.processes == ()
    assert os.path.isdir(f"{root}/late")


def test_another_orphan_of_the_test_process_is_left_alone(root: str, run: Run) -> None:
    """A server of the set-up may leave us its child during a run: it is none of the workload's."""
    reader, writer = os.pipe()
    go, start = os.pipe()
    server = processes.fork()
    if server == 0:
        os.setpgid(0, 0)
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            os.close(start)
            time.sleep(100)
            os._exit(0)
        os.read(go, 1)
        os._exit(0)
    orphan = int(os.read(reader, 20))

    def work() -> None:
        os.write(start, b"x")
        while os.path.exists(f"/proc/{server}/fd/0"):
            time.sleep(0.001)

    try:
        run(work)
        with open(f"/proc/{orphan}/stat") as file:
            assert file.read().rpartition(")")[2].split()[0] != "Z"
    finally:
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(server, 0)
        try:
            os.waitpid(orphan, 0)
        except ChildProcessError:
            pass
        for fd in (reader, writer, go, start):
            os.close(fd)


def test_fifty_children_at_once(root: str, run: Run) -> None:
    """A burst of processes is followed, each under its own name."""

    def work() -> None:
        pids = []
        for number in range(50):
            pid = os.fork()
            if pid == 0:
                os.mkdir(f"{root}/{number}")
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)

    ran = run(work, record=True)
    assert ran.ok
    made = [one for one in ran.trace if one.call == "mkdir"]
    assert {one.place.process for one in made} == {f"child~{number}" for number in range(1, 51)}
    assert len(os.listdir(root)) == 50


def test_a_fork_bomb_ends_with_the_run(root: str, run: Run) -> None:
    """Processes that keep forking are all gone when the run is over."""

    def bomb() -> None:
        for _ in range(5):
            os.fork()
        time.sleep(100)

    ran = run(bomb, timeout=0.5)
    assert ran.timed_out


def test_two_hundred_threads(root: str, run: Run) -> None:
    """Many threads, one after the other and at once, cost no descriptors and lose no operation."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def work() -> None:
        def make(name: str) -> None:
            os.mkdir(f"{root}/{name}")

        threads = [threading.Thread(target=make, args=(f"a{number}",)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(200):
            thread = threading.Thread(target=make, args=(f"b{number}",))
            thread.start()
            thread.join()

    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        ran = run(work, record=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    made = [one for one in ran.trace if one.call == "mkdir"]
    assert len(made) == 400
    assert all(one.result == 0 and one.stack for one in made)
    assert {one.place.thread for one in made} == set(range(1, 401))


def _many_children(root: str, limit: tuple[int, int]) -> None:
    """Twenty processes at once, each with an operation."""
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    reader, writer = os.pipe()
    pids = []
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            os.mkdir(f"{root}/{number}")
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        pids.append(pid)
    while len(os.listdir(root)) < 20:
        time.sleep(0.001)
    os.close(writer)
    for pid in pids:
        os.waitpid(pid, 0)


def test_many_processes_need_no_higher_limit(root: str, run: Run) -> None:
    """The supervisor uses what it is allowed to, and the test process has its own limit again afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = (len(os.listdir("/proc/self/fd")) + 25, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, low)
    try:
        ran = run(lambda: _many_children(root, (soft, hard)), record=True)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == low
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (ran.ok, ran.caveats) == (True, ())


def test_more_processes_than_can_be_followed_are_reported(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our own limit of descriptors ends, the trace says what was not seen or not confirmed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr("chaoskit.inject.kernel.backend._use_all_descriptors", lambda family: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 25, before[1]))
    try:
        ran = run(lambda: _many_children(root, before), record=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert ran.ok, ran
    assert len(os.listdir(root)) == 20
    assert {"unreadable", "unconfirmed"} & set(kinds(ran))


def test_an_exec_is_followed(root: str, run: Run) -> None:
    """After an exec, names and data are read from the new program's memory."""
    script = f"import os; fd = os.open('{root}/b', os.O_CREAT | os.O_WRONLY); os.write(fd, b'new memory')"

    def work() -> None:
        os.mkdir(f"{root}/a")
        os.execv(sys.executable, [sys.executable, "-S", "-c", script])

    ran = run(work, record=True)
    (written,) = [one for one in ran.trace if one.call == "write"]
    assert (written.target, written.place.process, written.result) == ("b", "", 10)
    assert written.file.data is not None
    assert written.file.data.read() == b"new memory"
    assert isinstance(ran.error, WorkloadError)
    assert "ended with status 0 before its function returned" in str(ran.error)


def test_memory_that_was_open_before_an_exec_is_opened_again() -> None:
    """The old descriptor stays with the old program, and reads nothing."""
    reader, writer = os.pipe()
    pid = processes.fork()
    if pid == 0:
        os.read(reader, 1)
        os.execv("/bin/sleep", ["sleep", "100"])
    memory = Memory(pid)
    try:
        mark = b"before the exec"
        assert memory.string(id(mark) + bytes.__basicsize__ - 1) == mark
        os.write(writer, b"x")
        while processes.read(f"/proc/{pid}/comm") != b"sleep\n":
            time.sleep(0.001)
        start = int(processes.read(f"/proc/{pid}/maps").partition(b"-")[0], 16)
        assert memory.read(start, 4) == b"\x7fELF"
    finally:
        memory.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


def test_an_exec_from_a_thread_is_followed(root: str, run: Run) -> None:
    """The thread that execs becomes the process; the others are gone."""
    path = f"{root}/b"

    def work() -> None:
        def replace() -> None:
            os.mkdir(f"{root}/a")
            os.execv("/bin/mkdir", ["mkdir", path])

        threading.Thread(target=replace).start()
        time.sleep(100)

    ran = run(work, record=True)
    assert [one.target for one in ran.trace if one.call == "mkdir"] == ["a", "b"]


# Blind spots are reported.


def test_io_uring_is_refused_and_reported(run: Run) -> None:
    """io_uring_setup answers ENOSYS: its operations would go unseen."""
    ran = run(lambda: raw("io_uring_setup", 4, 0))
    assert ran.value == -errno.ENOSYS
    assert kinds(ran) == ["io_uring"]


def test_asynchronous_io_is_reported(run: Run) -> None:
    """io_submit is let through, and the verdict carries a caveat."""
    ran = run(lambda: raw("io_submit", 0, 0, 0))
    assert ran.value == -errno.EINVAL
    assert kinds(ran) == ["aio"]


@pytest.mark.parametrize(
    "name", sorted(row.name for row in syscalls.WATCHED.values() if row.caveat == "refused")
)
def test_calls_that_are_too_new_are_refused_and_reported(run: Run, name: str) -> None:
    """A call that changes files and that we do not follow answers ENOSYS, as on an older kernel."""
    ran = run(lambda: raw(name, 0, 0, 0, 0, 0, 0))
    assert ran.value == -errno.ENOSYS
    assert kinds(ran) == ["refused"]


def test_opening_by_handle_is_reported(run: Run) -> None:
    """A file that is opened by handle has no name to count under."""
    assert kinds(run(lambda: raw("open_by_handle_at", -1, 0, 0))) == ["by-handle"]


def _own_filter(flags: int, program: bytes) -> int:
    """Install a filter as the workload would; minus the errno if the kernel refuses."""
    code = ctypes.create_string_buffer(program)
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    return raw("seccomp", abi.SECCOMP_SET_MODE_FILTER, flags, ctypes.create_string_buffer(header))


def test_a_filter_of_the_workload_is_reported(root: str, run: Run) -> None:
    """A filter that the workload installs may hide calls from ours; the verdict carries a caveat."""
    refuse = 0x00050000 | errno.EPERM
    rows = [(0x20, 0, 0, 0)]
    for spec in domains.SPECS:
        number = spec.number(abi.machine())
        if spec.family == "mkdir" and number is not None:
            rows += [(0x15, 0, 1, number), (0x06, 0, 0, refuse)]
    rows.append((0x06, 0, 0, abi.SECCOMP_RET_ALLOW))
    program = b"".join(struct.pack("=HBBI", *row) for row in rows)

    def work() -> tuple[int, int]:
        installed = _own_filter(0, program)
        try:
            os.mkdir(f"{root}/d")
        except PermissionError as error:
            return installed, error.errno or 0
        return installed, 0

    ran = run(work, record=True)
    assert ran.value == (0, errno.EPERM)
    assert kinds(ran) == ["own-filter"]
    assert [one.call for one in ran.trace] == ["end"]


def test_a_second_listener_is_refused_by_the_kernel(run: Run) -> None:
    """The workload cannot have a supervisor of its own; it is told EBUSY, and we are told of it."""
    program = domains.program(None)
    ran = run(lambda: _own_filter(abi.SECCOMP_FILTER_FLAG_NEW_LISTENER, program))
    assert ran.value == -errno.EBUSY
    assert kinds(ran) == ["own-filter"]


def test_strict_mode_is_reported(run: Run) -> None:
    """prctl(PR_SET_SECCOMP) is seen, whatever the kernel makes of it."""
    ran = run(lambda: abi.libc().prctl(abi.PR_SET_SECCOMP, 1))
    assert ran.value == -errno.EINVAL
    assert kinds(ran) == ["own-filter"]


def _machine_code(code: bytes) -> int:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        held = ctypes.c_char.from_buffer(page)
        result = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(held))()
        del held
    return int(result)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code for x86-64")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        # mov eax, 39 (mkdir of i386); xor ebx, ebx; int 0x80; ret - with rbx saved
        ("int 0x80", b"\x53\xb8\x27\x00\x00\x00\x31\xdb\xcd\x80\x48\x98\x5b\xc3"),
        # mov eax, 0x40000053 (mkdir of x32); xor edi, edi; syscall; ret
        ("x32", b"\xb8\x53\x00\x00\x40\x31\xff\x0f\x05\xc3"),
    ],
)
def test_a_foreign_call_is_refused_and_reported(run: Run, name: str, code: bytes) -> None:
    """Calls for another architecture do not pass unseen: ENOSYS, and a caveat."""
    ran = run(lambda: _machine_code(code))
    if ran.signal is not None:
        pytest.skip(f"this kernel or processor has no {name}")
    assert ran.value == -errno.ENOSYS
    assert kinds(ran) == ["foreign-architecture"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_another_root_directory_is_reported(root: str, run: Run) -> None:
    """After chroot names mean other files: what happens there has no known result, and that is said."""
    os.makedirs(f"{root}/jail/d")

    def work() -> None:
        os.chroot(f"{root}/jail")
        os.chdir("/")
        os.mkdir("relative")
        os.mkdir("/absolute")

    ran = run(work, record=True)
    assert ran.ok
    assert "elsewhere" in kinds(ran)
    assert sorted(os.listdir(f"{root}/jail")) == ["absolute", "d", "relative"]
    assert [(one.target, one.result) for one in ran.trace if one.call == "mkdir"] == [("jail/relative", None)]
    assert not os.path.exists("/absolute")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_another_view_of_the_mounts_is_reported(root: str, run: Run) -> None:
    """After unshare the result of a call by name is the kernel's to give."""

    def work() -> int:
        result = raw("unshare", 0x00020000)
        os.mkdir(f"{root}/d")
        return result

    ran = run(work, record=True)
    if ran.value != 0:
        pytest.skip("unshare is not allowed here")
    assert kinds(ran) == ["elsewhere", "unconfirmed"]


ORDINARY = """
import os, sys
from chaoskit.core.schedule import Schedule
from chaoskit.inject import channel
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.workload import stack

# The interpreter may be where another user cannot import from: load all that is needed before.
root = sys.argv[1]
backend = KernelBackend()
assert backend.unavailable() is None
backend.run(lambda: int("x"), Plan(root, record=True))
stack._layout = None
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
abi.libc().prctl(abi.PR_SET_DUMPABLE, 1)  # Undo what setuid does; a login has it so.
assert backend.unavailable() is None, backend.unavailable()
strikes = lambda text: Schedule.parse(text).strikes

def work(name):
    with open(f"{root}/{name}", "wb") as file:
        file.write(b"x" * 10)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{root}/{name}", f"{root}/{name}.done")
    return name

ran = backend.run(lambda: work("a"), Plan(root, record=True))
assert ran.ok, ran
print([str(one) for one in ran.trace], len(ran.trace[0].stack), ran.caveats)
ran = backend.run(lambda: work("b"), Plan(root, strikes=strikes("write(b)#1=short[3]; fsync(b)#1=EIO")))
print(ran.error.errno, [one.effect for one in ran.receipts])
ran = backend.run(lambda: work("c"), Plan(root, strikes=strikes("rename(c -> c.done)#1=kill")))
print(ran.signal, sorted(os.listdir(root)))

def hide():
    import ctypes
    ctypes.CDLL(None).prctl(4, 0)
    channel.promise("hidden")
    os.mkdir(f"{root}/hidden")
    return "came back", ctypes.CDLL(None).prctl(3)

ran = backend.run(hide, Plan(root, record=True, timeout=10))
print(sorted({one.kind for one in ran.caveats}), os.path.isdir(f"{root}/hidden"), ran.value, ran.promised)

def hang():
    import ctypes, time
    ctypes.CDLL(None).prctl(4, 0)
    time.sleep(100)

ran = backend.run(hang, Plan(root, timeout=0.3))
print(ran.timed_out, "no Python stack" in ran.stacks)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_gets_all_of_it(root: str) -> None:
    """Recording, stacks, faults and kills need no privilege; what cannot be looked into is reported."""
    os.chmod(root, 0o777)
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY, root], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("['open(a)#1 = ")
    assert (
        "'write(a)#1 = 10', 'fsync(a)#1 = 0', 'close(a)#1', 'rename(a -> a.done)#1 = 0', 'end()#1 = 0']"
        in lines[0]
    )
    assert lines[0].endswith(" 2 ()")
    assert lines[1] == "5 ['3 of 10 bytes transferred', 'answered EIO']"
    assert lines[2] == "9 ['a.done', 'b', 'c']"
    assert lines[3] == "['unconfirmed', 'unreadable'] True ('came back', 0) ('hidden',)"
    assert lines[4] == "True True"


def test_a_child_that_never_begins_is_no_hang(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that is stuck before its first call ends with the time limit, and is explained."""
    before = processes.children()
    monkeypatch.setattr("chaoskit.inject.kernel.workload.child._prepare", lambda *_: time.sleep(100))
    with pytest.raises(UsageError, match=r"did not begin within 0\.2 s.*register_at_fork"):
        run(lambda: None, timeout=0.2)
    assert processes.children() == before


# What the child inherits.


def test_tracing_ends_in_a_case_and_goes_on_in_a_recording(run: Run) -> None:
    """Coverage would cost a case many times what it does, and what it counts there would be lost."""

    def traced() -> tuple[bool, bool]:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(sys.gettrace() is not None))
        thread.start()
        thread.join()
        return sys.gettrace() is not None, found[0]

    before, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(lambda *_: None)
    threading.settrace(lambda *_: None)
    try:
        values = [run(traced, record=record).value for record in (False, True)]
    finally:
        sys.settrace(before)
        threading.settrace(threads)  # type: ignore[arg-type]
    assert values == [(False, False), (True, True)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_ends_in_a_case_and_goes_on_in_a_recording(run: Run) -> None:
    """Where coverage counts by sys.monitoring, that is what ends."""
    monitoring = sys.monitoring  # type: ignore[attr-defined]
    tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "planted")
    monitoring.set_events(tool, monitoring.events.PY_START)
    try:
        values = [run(lambda: monitoring.get_events(tool), record=record).value for record in (False, True)]
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert values == [0, monitoring.events.PY_START]


# Results.


class Stubborn(Exception):
    """Cannot be made again from its arguments by its own constructor."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("only one")
        self.sum = one + two


class Unprintable(Exception):
    """Has no message."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_result_that_cannot_travel_is_wrong_use(run: Run) -> None:
    """The message says what it was and what to return instead."""
    with pytest.raises(UsageError, match=r"cannot leave its process \(generator"):
        run(lambda: (number for number in range(3)))


def test_a_result_that_exists_only_there_is_wrong_use(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that the workload has made cannot be brought here."""

    def work() -> Any:
        made = dataclasses.make_dataclass("Made", [], namespace={"__module__": __name__})
        globals()["Made"] = made
        return made()

    with pytest.raises(UsageError, match="cannot be made again in the test process"):
        run(work)

    def promising() -> None:
        channel.promise(work())

    with pytest.raises(UsageError, match="a promised value cannot be made again"):
        run(promising)


def test_a_promise_that_cannot_travel_is_wrong_use_inside(run: Run) -> None:
    """promise() raises where it was called, and nothing was promised."""
    ran = run(lambda: channel.promise(lambda: 1))
    assert isinstance(ran.error, UsageError)
    assert "Promise plain data" in str(ran.error)
    assert ran.promised == ()


def test_an_error_that_does_not_travel_is_described(run: Run) -> None:
    """Class, message and traceback arrive as text where the exception itself cannot."""

    def fail() -> None:
        raise type("Local", (Exception,), {})("only one")

    ran = run(fail)
    assert isinstance(ran.error, WorkloadError)
    assert str(ran.error) == f"{__name__}.Local: only one"
    assert "in fail" in ran.traceback

    def mute() -> None:
        raise Unprintable

    ran = run(mute)
    assert "Unprintable" in ran.traceback
    assert not ran.ok


def test_an_error_with_a_constructor_of_its_kind_arrives(run: Run) -> None:
    """It is filled without a call of its constructor, which may want other arguments than it keeps."""

    def fail() -> None:
        raise Stubborn(1, 2)

    error = run(fail).error
    assert isinstance(error, Stubborn)
    assert (error.args, error.sum) == (("only one",), 3)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), OSError(28, "No space left")]
)
def test_errors_that_travel_are_themselves(run: Run, error: BaseException) -> None:
    """What can be sent arrives as what it was, whatever its class."""

    def fail() -> None:
        raise error

    ran = run(fail)
    assert type(ran.error) is type(error)
    assert ran.error is not None
    assert ran.error.args == error.args


def test_a_huge_result_arrives(run: Run) -> None:
    """50 MB come back as they are."""
    data = bytes(range(256)) * (50 * 4096)
    assert run(lambda: data).value == data


def test_an_exit_without_a_result_is_told(run: Run) -> None:
    """os._exit is neither a success nor a signal."""
    ran = run(lambda: os._exit(0))
    assert (ran.ok, ran.signal) == (False, None)
    assert "ended with status 0 before its function returned" in str(ran.error)


def test_a_hung_workload_is_stopped_with_its_stacks(hung: Callable[..., Ran]) -> None:
    """After the time limit the whole tree is gone, and every thread's stack was taken."""

    def wait_here() -> None:
        time.sleep(100)

    def work() -> None:
        threading.Thread(target=wait_here).start()
        wait_here()

    start = time.monotonic()
    ran = hung(work, lambda ran: ran.stacks.count("wait_here") == 2)
    assert 0.3 <= time.monotonic() - start < 100
    assert (ran.timed_out, ran.ok, ran.signal) == (True, False, None)
    assert ran.stacks.count("wait_here") == 2
    assert "do_signal_stop" not in ran.stacks  # What they waited for before they were stopped for this.


def test_leaks_are_named_and_garbage_is_none(root: str, run: Run) -> None:
    """Threads and descriptors that are held are leaks; what the collector frees is none."""

    def garbage() -> None:
        cycle: list[Any] = [open(f"{root}/cycle", "w")]  # noqa: SIM115
        cycle.append(cycle)

    assert run(garbage).leaks.descriptors == ()
    kept = []

    def leak() -> None:
        kept.append(os.open(f"{root}/held", os.O_CREAT))
        threading.Thread(target=time.sleep, args=(100,), name="sleeper", daemon=True).start()

    ran = run(leak)
    assert (ran.leaks.descriptors, ran.leaks.threads) == (("held",), ("sleeper",))


def test_a_leak_is_named_whatever_number_it_has(root: str, run: Run) -> None:
    """The workload of a later run does not have what the supervisor opened in an earlier one."""
    kept = []

    def in_company() -> None:
        threading.Thread(target=os.mkdir, args=(f"{root}/d",)).start()

    def leak() -> None:
        kept.extend(os.open(f"{root}/held{number}", os.O_CREAT) for number in range(4))

    guard = processes.stand_guard()
    try:
        assert run(in_company).ok
        assert catcher._hired is not None
        assert run(leak).leaks.descriptors == ("held0", "held1", "held2", "held3")
    finally:
        guard.dismiss()
    assert catcher._hired is None


def test_a_leak_is_named_under_a_number_that_the_collector_has_freed(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage of earlier tests may be closed after the descriptors were listed, and before the fork."""
    kept = []

    def leak() -> None:
        kept.extend(os.open(f"{root}/held{number}", os.O_CREAT) for number in range(4))

    garbage = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    prepare = forking.prepare

    def close_and_prepare() -> None:
        while garbage:
            os.close(garbage.pop())
        prepare()

    monkeypatch.setattr(forking, "prepare", close_and_prepare)
    assert run(leak).leaks.descriptors == ("held0", "held1", "held2", "held3")


# Numbers that are used again.


def test_a_forgotten_process_is_met_anew() -> None:
    """When a process has ended, nothing that was known of its number is applied to the next one."""

    def child() -> Iterator[int]:
        pid = processes.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    (own, other) = child(), child()
    main, second = next(own), next(other)
    guard = processes.Guard()
    seen = Tree(main, 0, 1, guard)
    try:
        first = seen.task(second)
        assert first is not None
        assert seen.place(first).process == "child~1"
        before = len(os.listdir("/proc/self/fd"))
        seen.forget(second)
        assert len(os.listdir("/proc/self/fd")) < before
        again = seen.task(second)
        assert again is not None
        assert again is not first
        assert again.process is not first.process
        assert seen.place(again).process == "child~2"
        other.close()  # type: ignore[attr-defined]
        assert not again.process.kill(0)
        seen.forget(second)
        assert seen.task(second) is None
    finally:
        seen.close()
        guard.dismiss()
        own.close()  # type: ignore[attr-defined]
        other.close()  # type: ignore[attr-defined]


def test_a_table_of_descriptors_outlives_its_first_thread(root: str, run: Run) -> None:
    """A program whose first thread has ended is followed through the others."""
    source = textwrap.dedent(
        """
        import ctypes, os, sys, threading, time
        libc = ctypes.CDLL(None)
        def later():
            while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.001)
            fd = os.open(sys.argv[1] + "/a", os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"x")
            os._exit(0)
        threading.Thread(target=later).start()
        libc.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
        """
    )

    def work() -> None:
        subprocess.run([sys.executable, "-c", source, root], check=True)

    ran = run(work, record=True)
    assert ran.ok, ran
    assert [one.target for one in ran.trace if one.call == "write"] == ["a"]


def test_a_plan_without_a_schedule_costs_no_record(root: str) -> None:
    """A case that is not recorded has no trace, and its root all the same."""
    ran = KernelBackend().run(lambda: os.mkdir(f"{root}/d"), Plan(root))
    assert (len(ran.trace), ran.trace.root) == (0, root)
