"""A workload that means harm: none of its attempts succeeds, and each is answered or reported.

The promise is for programs with bugs (``docs/explanation/safety.md``), so this is not what any program of the
same user could do without us: it is what only we could do for it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import gc
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import chaoskit
from chaoskit.inject import processes
from chaoskit.inject.base import Command, Ran
from chaoskit.inject.channel import promise
from chaoskit.inject.kernel.seccomp import bpf
from chaoskit.inject.kernel.workload import child

Run = Callable[..., Ran]
_LIBRARY = ctypes.CDLL(None, use_errno=True)
SUPERVISOR = os.getpid()


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[str]:
    """The name of a directory that code in the test process would make; nothing of that process changes."""
    gc.collect()  # Descriptors that other tests left open must not be closed while this one counts.
    before = _ourselves()
    yield str(tmp_path / "harmed")
    # What was recorded may be in a file, which is closed with the last of it.
    gc.collect()
    assert not (tmp_path / "harmed").exists()
    assert _ourselves() == before


def _ourselves() -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "children": processes.children(),
        "descriptors": processes.open_files(),
        "directory": os.getcwd(),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "mask": mask,
        "signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "handler": signal.getsignal(signal.SIGTERM),
        "user": os.getresuid(),
    }


class Pickled:
    """A pickle that makes a directory where it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


PLACE = ""


def _strike() -> None:
    if PLACE and os.path.isabs(PLACE):
        os.mkdir(PLACE)


@dataclasses.dataclass
class Armed:
    """Each of its methods makes the directory, if it is called in another process than the workload's."""

    value: int = 0

    def __post_init__(self) -> None:
        self.value = self.value

    def __setattr__(self, name: str, value: Any) -> None:
        if os.getpid() == SUPERVISOR:
            _strike()
        object.__setattr__(self, name, value)

    def __setstate__(self, state: Any) -> None:
        _strike()


class ArmedError(Exception):
    """The same, as an error."""

    def __init__(self, text: str) -> None:
        if os.getpid() == SUPERVISOR:
            _strike()
        super().__init__(text)

    def __setstate__(self, state: Any) -> None:
        _strike()


def _written(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except OSError as error:
        return -(error.errno or 0)


# Code in the supervisor.


def test_pickles_in_every_descriptor_are_read_by_no_process(run: Run, harmed: str) -> None:
    """Whatever we have open is written to, the control descriptor too, with and without the run's secret."""
    data = pickle.dumps(Pickled(harmed))
    # What pytest has open is not ours: pytest-xdist would take what is written there for its own.
    of_pytest = processes.open_files()

    def work() -> tuple[int, int]:
        for fd in processes.open_files() - of_pytest:
            if fd > 2:
                _written(fd, len(data).to_bytes(4, "little") + data)
        return _written(bpf.CONTROL, b"P" + data), _written(bpf.CONTROL, child._secret + b"P" + data)

    assert run(work).value == (-errno.EBADF, -errno.EINVAL)


@pytest.mark.parametrize("made", [Armed, lambda: ArmedError("x")], ids=["value", "error"])
def test_values_arrive_without_a_call_of_their_methods(
    run: Run, harmed: str, monkeypatch: pytest.MonkeyPatch, made: Callable[[], Any]
) -> None:
    """A class of the workload is filled, and neither made nor restored by its own code."""
    monkeypatch.setattr(sys.modules[__name__], "PLACE", harmed)

    def work() -> Any:
        promise(made())
        if made is not Armed:
            raise made()
        return made()

    ran = run(work)
    found = ran.value if ran.ok else ran.error
    assert type(found).__name__ in ("Armed", "ArmedError")
    assert len(ran.promised) == 1


def test_a_class_that_would_run_when_it_goes_is_not_made(run: Run, harmed: str) -> None:
    """The one that is named in a forged message has a method that runs at the end of an instance."""
    message = _result(b'{"error":["subprocess","Popen",[],{}]}')
    ran = run(lambda: _written(bpf.CONTROL, child._secret + message))
    # It was a message of the right form: what it names is not made, and then the real one counts.
    assert ran.value == child.SECRET + len(message)


def _result(value: bytes) -> bytes:
    """A message as the end of a workload is told, which has left neither threads nor garbage."""
    return b"R[" + value + b",[[],[]]]"


# Files outside, and what the test process has.


def test_the_test_process_keeps_its_files(run: Run, root: str, harmed: str, tmp_path: Path) -> None:
    """By way of /proc/self, and of links to it, nothing is renamed, opened, linked or deleted over here."""
    (tmp_path / "mine").write_text("mine")
    before = os.getcwd()
    os.chdir(tmp_path)
    try:

        def work() -> list[str]:
            os.chdir(root)
            os.symlink("/proc/self/cwd", "here")
            os.symlink("/proc/self", "me")
            os.symlink("/proc/thread-self/cwd", "thread")
            done = []
            for way in ("here", "me/cwd", "thread", "/proc/self/cwd", "me/task/../cwd"):
                for call in (
                    lambda name: os.rename(name, "stolen"),
                    lambda name: os.link(name, "linked"),
                    lambda name: os.unlink(name),
                    lambda name: os.truncate(name, 0),
                    lambda name: os.chmod(name, 0),
                    lambda name: os.close(os.open(name, os.O_RDWR)),
                ):
                    try:
                        call(f"{way}/mine")
                        done.append(way)
                    except FileNotFoundError:
                        pass
            return done

        assert run(work, record=True).value == []
    finally:
        os.chdir(before)
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_it_changes_of_itself_changes_nothing_here(run: Run, root: str, harmed: str) -> None:
    """Directory, umask, limits, signals and handlers are its own."""

    def work() -> None:
        os.chdir("/")
        os.umask(0o777)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.mkdir(f"{root}/made")

    assert run(work, record=True).ok


def test_a_lock_is_not_lost_by_copying(run: Run, root: str, harmed: str) -> None:
    """A file outside on which the test process holds a lock is copied from, and the lock stays."""
    place = Path(f"{root}-locked")
    try:
        with open(place, "w+") as file:
            file.write("x" * 100)
            file.flush()
            fcntl.lockf(file, fcntl.LOCK_EX)

            def work() -> int:
                source = os.open(place, os.O_RDONLY)
                target = os.open(f"{root}/copy", os.O_WRONLY | os.O_CREAT)
                return os.copy_file_range(source, target, 50) + os.sendfile(target, source, None, 50)

            ran = run(work, record=True)
            assert ran.value == 100, ran.traceback
            assert _is_locked(place)
    finally:
        place.unlink()


def _is_locked(place: Path) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            fcntl.lockf(os.open(place, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# Forging.


def test_promises_of_a_command_are_its_lines(run: Run, harmed: str) -> None:
    """It has no secret, and guesses none; messages on other descriptors are not heard."""
    code = f"""
import os, sys
for fd in [*range(3, 64), {bpf.CONTROL}]:
    for data in (b'P["forged"]', b"\\0" * 16 + b'P["forged"]'):
        try: os.write(fd, data)
        except OSError: pass
print("said")
"""
    ran = run(Command((sys.executable, "-c", code)))
    assert (ran.promised, ran.receipts) == (("said",), ())


def test_no_message_makes_a_receipt(run: Run, root: str, harmed: str) -> None:
    """Whatever is sent, a strike that did not come has none."""

    def work() -> None:
        for kind in b"PREU+-CKSF":
            for body in (b"[]", b'["rename(a -> b)#1=kill"]', b'[{"receipt":[]},[]]'):
                _written(bpf.CONTROL, child._secret + bytes([kind]) + body)

    ran = run(work, "rename(a -> b)#1=kill")
    assert (ran.receipts, ran.reached) == ((), 0)


def test_a_child_gives_no_result_for_its_parent(run: Run, harmed: str) -> None:
    """It knows the secret, but the result is asked of the first process alone."""

    def work() -> str:
        pid = os.fork()
        if pid == 0:
            _written(bpf.CONTROL, child._secret + _result(b'"forged"'))
            os._exit(0)
        os.waitpid(pid, 0)
        return "true"

    assert run(work).value == "true"


# Filling.


def test_what_is_told_is_bounded(run: Run, harmed: str) -> None:
    """Promises without end are refused with an error when 256 MiB were made, and the run goes on."""

    def work() -> int:
        text, count = "x" * (16 << 20), 0
        try:
            while True:
                promise(text)
                count += 1
        except chaoskit.UsageError:
            return count

    ran = run(work, timeout=60)
    assert ran.value == len(ran.promised) == 15


def test_huge_lengths_fill_nothing(run: Run, root: str, harmed: str) -> None:
    """A terabyte of hole, a write that says to be one, and a file that is renamed in cost no room here."""
    free = os.statvfs("/tmp").f_bfree * os.statvfs("/tmp").f_frsize

    def work() -> list[int]:
        fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 1 << 40)
        data = ctypes.create_string_buffer(b"x")
        done = [_LIBRARY.write(fd, data, ctypes.c_size_t(1 << 46))]
        done.append(_LIBRARY.copy_file_range(fd, None, fd, None, ctypes.c_size_t(1 << 40), 0))
        os.close(fd)
        os.rename(f"{root}/a", f"{root}/b")
        return done

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    ran = run(work, record=True, timeout=20)
    assert time.monotonic() - began < 30
    assert not ran.timed_out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
    left = os.statvfs("/tmp").f_bfree * os.statvfs("/tmp").f_frsize
    assert free - left < 2 << 30
    del ran


# Escaping the end.


def _stay() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        time.sleep(60)


def _daemons(record: str) -> None:
    for number in range(4):
        if os.fork() == 0:
            os.setsid()
            _LIBRARY.prctl(1, 0)
            if os.fork() == 0:
                os.setsid()
                for fd in processes.open_files():
                    os.closerange(fd, fd + 1)
                Path(f"{record}/{number}").write_text(str(os.getpid()))
                _stay()
            os._exit(0)
    while len(os.listdir(record)) < 4:
        time.sleep(0.01)
    while not all(Path(f"{record}/{name}").read_text() for name in os.listdir(record)):
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["returns", "is killed", "hangs"])
def test_no_process_outlives_the_run(run: Run, root: str, harmed: str, tmp_path: Path, how: str) -> None:
    """Daemons of daemons in sessions of their own, deaf to signals, are ended with it."""
    record = tmp_path / "pids"
    record.mkdir()

    def work() -> None:
        _daemons(str(record))
        if how == "hangs":
            _stay()
        os.mkdir(f"{root}/made")

    schedule = "mkdir(made)#1=kill" if how == "is killed" else ""
    ran = run(work, schedule, timeout=3 if how == "hangs" else 30)
    assert (ran.ok, ran.timed_out) == (how == "returns", how == "hangs")
    pids = [int(one.read_text()) for one in record.iterdir()]
    assert len(pids) == 4
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_its_own_signals_reach_itself_alone(run: Run, harmed: str) -> None:
    """A signal to the whole process group ends the workload, and neither us nor pytest."""
    ran = run(lambda: os.killpg(0, signal.SIGKILL))
    assert (ran.ok, ran.signal) == (False, signal.SIGKILL)


def test_frames_that_lead_in_a_circle_end(run: Run, root: str, harmed: str) -> None:
    """A workload that has destroyed its own interpreter is not followed forever."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_WRONLY | os.O_CREAT)
        address, size = _stack_of_frames()
        ctypes.memset(address, 0x41, size)
        os.write(fd, b"x")

    ran = run(work, record=True, timeout=20)
    assert not ran.timed_out
    assert ran.signal in (None, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)


def _stack_of_frames() -> tuple[int, int]:
    """Memory in which the interpreter keeps its frames: an anonymous mapping of its own."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "[heap]" in line:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                return start + (end - start) // 2, 4096
    return id(bytearray(8192)), 64
