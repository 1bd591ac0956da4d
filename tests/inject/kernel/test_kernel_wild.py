"""Calls with wild arguments do what they do without us, and end no run."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.inject.base import Ran

Run = Callable[..., Ran]

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_OPENAT2 = 437
_CREATE = os.O_CREAT | os.O_WRONLY


def _result(value: int) -> int:
    return -ctypes.get_errno() if value == -1 else value


def _sign(value: int) -> int:
    """0 for any success: numbers of descriptors may differ from one process to the other."""
    return min(value, 0)


def _openat2(path: str, flags: int, mode: int, size: int = 24, tail: bytes = b"") -> int:
    how = struct.pack("=QQQ", flags, mode, 0) + tail
    name = ctypes.create_string_buffer(path.encode())
    result = _LIBRARY.syscall(ctypes.c_long(_OPENAT2), -100, name, how, ctypes.c_size_t(size))
    return _sign(_result(result))


def _opens(root: str) -> list[int]:
    """Results of opens with arguments that hardly any program gives."""
    mine = f"{root}/a".encode()
    return [
        _sign(_result(_LIBRARY.open(mine, os.O_RDONLY, ctypes.c_uint(1 << 31)))),
        _sign(_result(_LIBRARY.open(mine, ctypes.c_int(-(1 << 31) | os.O_RDONLY), 0))),
        _openat2(f"{root}/a", 1 << 40, 0),
        _openat2(f"{root}/a", os.O_RDONLY, 0o600),
        _openat2(f"{root}/b", _CREATE, 1 << 20),
        _openat2(f"{root}/c", _CREATE, 0o600, size=16),
        _openat2(f"{root}/d", _CREATE, 0o600, size=32, tail=b"x" * 8),
        _openat2(f"{root}/e", _CREATE, 0o600, size=32, tail=b"\0" * 8),
        _openat2(f"{root}/f", _CREATE, 0o600),
    ]


def _transfers(root: str) -> list[int]:
    """Results of writes that cannot be as long as they say, and on what cannot be written."""
    fd = os.open(f"{root}/a", os.O_RDWR)
    data = ctypes.create_string_buffer(b"12345")
    page = 1 << 40
    vector = struct.pack("=QQ", ctypes.addressof(data), page)
    opened = os.open(f"{root}/a", os.O_PATH)
    return [
        int(_result(_LIBRARY.writev(fd, vector, 1)) != 0),
        _result(_LIBRARY.write(opened, data, 5)),
        _result(_LIBRARY.ftruncate(opened, ctypes.c_long(1))),
        _result(_LIBRARY.pwrite(fd, data, 5, ctypes.c_long(-5))),
        _result(_LIBRARY.ftruncate(fd, ctypes.c_long(-1))),
    ]


@pytest.mark.parametrize("work", [_opens, _transfers])
def test_wild_arguments_get_the_kernels_answer(root: str, run: Run, work: Callable[[str], list[int]]) -> None:
    """Results are those that the program gets alone, and the run goes on."""
    Path(f"{root}/a").write_text("x")
    ran = run(lambda: work(root), record=True)
    seen = sorted(os.listdir(root))
    for name in seen:
        os.unlink(f"{root}/{name}")
    Path(f"{root}/a").write_text("x")
    alone = os.fork()
    if alone == 0:
        os._exit(0 if work(root) == ran.value else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(alone, 0)[1]) == 0, ran.value
    assert sorted(os.listdir(root)) == seen
    assert ran.ok


def test_a_lock_of_the_test_process_is_kept(root: str, run: Run, tmp_path: Path) -> None:
    """A file from outside that the workload links in is not opened here: closing it would unlock it."""
    outside = Path(root).parent / f"locked-{os.getpid()}"
    with open(outside, "w") as file:
        file.write("x")
        file.flush()
        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            assert run(lambda: os.link(outside, f"{root}/linked"), record=True).ok
            child = os.fork()
            if child == 0:
                try:
                    fcntl.lockf(os.open(outside, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    os._exit(0 if error.errno in (errno.EAGAIN, errno.EACCES) else 2)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            os.unlink(outside)


def test_links_that_mean_the_caller_are_the_callers(root: str, run: Run, tmp_path: Path) -> None:
    """``/proc/self`` behind a link is the workload, and never the test process."""
    (tmp_path / "important").write_text("x")
    before = os.getcwd()
    os.chdir(tmp_path)
    try:

        def work() -> str:
            os.chdir(root)
            os.symlink("/proc/self/cwd", "link")
            Path("mine").write_text("mine")
            os.rename("link/mine", "renamed")
            Path("link/opened").write_text("x")
            try:
                os.rename("link/important", "stolen")
            except FileNotFoundError:
                return "not there"
            return "stolen"

        ran = run(work, record=True)
    finally:
        os.chdir(before)
    assert (ran.value, os.listdir(tmp_path)) == ("not there", ["important"])
    assert sorted(os.listdir(root)) == ["link", "opened", "renamed"]


def test_threads_with_tables_of_their_own_keep_them(root: str, run: Run) -> None:
    """After unshare(CLONE_FILES) the same number is another file in another thread."""
    import threading

    def work() -> list[str]:
        fd = os.open(f"{root}/a", _CREATE)

        def other() -> None:
            if _LIBRARY.unshare(0x400):
                raise OSError(ctypes.get_errno(), "unshare")
            mine = os.open(f"{root}/b", _CREATE)
            os.dup2(mine, fd)
            os.write(fd, b"for b")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        os.write(fd, b"for a")
        return [Path(f"{root}/{name}").read_text() for name in "ab"]

    ran = run(work, record=True)
    assert ran.value == ["for a", "for b"], ran.traceback


def test_a_landlock_domain_is_kept(root: str, run: Run, tmp_path: Path) -> None:
    """What the workload has forbidden itself, nothing does in its place."""

    def work() -> list[int]:
        attributes = struct.pack("=Q", 1 << 1 | 1 << 7 | 1 << 8)  # Write files, make directories and files.
        ruleset = _LIBRARY.syscall(ctypes.c_long(444), attributes, ctypes.c_size_t(8), 0)
        if ruleset < 0:
            return []
        _LIBRARY.syscall(ctypes.c_long(446), ctypes.c_int(ruleset), 0)
        results = [_sign(_result(_LIBRARY.mkdir(f"{root}/made".encode(), 0o700)))]
        return [*results, _sign(_result(_LIBRARY.open(f"{root}/file".encode(), _CREATE, 0o600)))]

    ran = run(work, record=True)
    if not ran.value:
        pytest.skip("this kernel has no Landlock")
    assert ran.value == [-errno.EACCES, -errno.EACCES]
    assert os.listdir(root) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_set_id_bits_go_as_the_callers_rights_say(root: str, run: Run) -> None:
    """A change by a user without rights takes the bit away, also when root supervises."""
    os.chmod(root, 0o777)

    def work() -> list[int]:
        modes = []
        for number, change in enumerate(
            (
                lambda fd: os.write(fd, b"x"),
                lambda fd: os.ftruncate(fd, 1),
                lambda fd: os.posix_fallocate(fd, 0, 4096),
            )
        ):
            fd = os.open(f"{root}/{number}", _CREATE, 0o755)
            os.fchown(fd, 65534, 65534)
            os.fchmod(fd, 0o6755)
            os.seteuid(65534)
            try:
                change(fd)
            finally:
                os.seteuid(0)
            modes.append(os.fstat(fd).st_mode & 0o7777)
        return modes

    ran = run(work, record=True)
    child = os.fork()
    if child == 0:
        for name in os.listdir(root):
            os.unlink(f"{root}/{name}")
        os._exit(0 if work() == ran.value else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, list(map(oct, ran.value or []))


def test_an_open_that_breaks_a_lease_waits_alone(root: str, run: Run) -> None:
    """The holder's own calls are answered meanwhile, or it could not give the lease up."""
    import signal

    def hold(ready: int) -> None:
        """Wait with the signal blocked: one that comes just before ``pause`` would be waited for in vain."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
        held = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        os.write(ready, b"x")
        signal.sigwait({signal.SIGIO})
        Path(f"{root}/said").write_text("x")
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os._exit(0)

    def work() -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            hold(writing)
        os.close(writing)
        os.read(reading, 1)
        fd = os.open(f"{root}/a", os.O_RDWR)
        os.waitpid(child, 0)
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK

    ran = run(work, record=True, timeout=10)
    assert (ran.value, ran.timed_out) == (0, False)
    assert Path(f"{root}/said").exists()
