"""Every fault strikes where the schedule says, does what its name says, and leaves a receipt."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from chaoskit import faults
from chaoskit.core.errors import ScheduleError
from chaoskit.core.schedule import Fault, point_of
from chaoskit.faults.shapes import Shape
from chaoskit.inject import channel
from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel import domains, strike
from chaoskit.inject.kernel.seccomp import abi

Run = Callable[..., Ran]


def make(path: str, content: bytes = b"") -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def attempt(call: Callable[[], Any]) -> Any:
    """What a call returns, or minus its errno."""
    try:
        return call()
    except OSError as error:
        return -(error.errno or 0)


def effects(ran: Ran) -> list[str]:
    return [receipt.effect for receipt in ran.receipts]


def kinds(ran: Ran) -> list[str]:
    return [caveat.kind for caveat in ran.caveats]


def _write(root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_RDWR)
    return attempt(lambda: os.write(fd, b"new"))


def _on_fd(call: Callable[[int], Any]) -> Callable[[str], Any]:
    def work(root: str) -> Any:
        fd = os.open(f"{root}/a", os.O_RDWR)
        return attempt(lambda: call(fd))

    return work


def _by_name(call: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda root: attempt(lambda: call(root))


def _raw(name: str, *args: Any) -> int:
    spec = next(one for one in domains.SPECS if one.name == name)
    number = spec.number(abi.machine())
    assert number is not None
    result = abi.libc().syscall(number, *args)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _copy(root: str, copy: Callable[[int, int], Any]) -> Any:
    source, target = os.open(f"{root}/b", os.O_RDONLY), os.open(f"{root}/a", os.O_RDWR)
    return attempt(lambda: copy(source, target))


POINTS: dict[str, Callable[[str], Any]] = {
    "open(a)": _by_name(lambda root: os.open(f"{root}/a", os.O_RDWR | os.O_TRUNC)),
    "open(new)": _by_name(lambda root: os.open(f"{root}/new", os.O_CREAT | os.O_WRONLY)),
    "read(a)": _on_fd(lambda fd: os.read(fd, 10)),
    "write(a)": _write,
    "close(a)": _on_fd(os.close),
    "fsync(a)": _on_fd(os.fsync),
    "fdatasync(a)": _on_fd(os.fdatasync),
    "sync_file_range(a)": _on_fd(lambda fd: _raw("sync_file_range", fd, 0, 10, 2)),
    "sync(.)": _by_name(lambda _: _raw("sync")),
    "syncfs(a)": _on_fd(lambda fd: _raw("syncfs", fd)),
    "rename(a -> new)": _by_name(lambda root: os.rename(f"{root}/a", f"{root}/new")),
    "link(a -> new)": _by_name(lambda root: os.link(f"{root}/a", f"{root}/new")),
    "symlink(new)": _by_name(lambda root: os.symlink("a", f"{root}/new")),
    "unlink(a)": _by_name(lambda root: os.unlink(f"{root}/a")),
    "mkdir(new)": _by_name(lambda root: os.mkdir(f"{root}/new")),
    "rmdir(d)": _by_name(lambda root: os.rmdir(f"{root}/d")),
    "mknod(new)": _by_name(lambda root: os.mkfifo(f"{root}/new")),
    "truncate(a)": _by_name(lambda root: os.truncate(f"{root}/a", 1)),
    "fallocate(a)": _on_fd(lambda fd: _raw("fallocate", fd, 0, 0, 100)),
    "copy_file_range(a)": lambda root: _copy(root, lambda s, t: os.copy_file_range(s, t, 3)),
    "sendfile(a)": lambda root: _copy(root, lambda s, t: os.sendfile(t, s, None, 3)),
    "chmod(a)": _by_name(lambda root: os.chmod(f"{root}/a", 0o601)),
    "chown(a)": _by_name(lambda root: os.chown(f"{root}/a", os.getuid(), os.getgid())),
    "utimens(a)": _by_name(lambda root: os.utime(f"{root}/a", (1, 1))),
    "lock(a)": _on_fd(lambda fd: fcntl.flock(fd, fcntl.LOCK_EX)),
    "getdents(d)": _by_name(lambda root: os.listdir(f"{root}/d")),
}
"""A point of every family, and the call that is there; its value is what the call returned."""


def prepare(root: str) -> None:
    make(f"{root}/a", b"old content")
    make(f"{root}/b", b"source")
    os.mkdir(f"{root}/d")
    os.utime(f"{root}/a", (7, 7))


def state(root: str) -> list[Any]:
    """Names, types, contents, rights and times of what is there."""
    found = []
    for name in sorted(os.listdir(root)):
        facts = os.lstat(f"{root}/{name}")
        regular = os.path.isfile(f"{root}/{name}") and not os.path.islink(f"{root}/{name}")
        found.append((name, facts.st_mode, content(f"{root}/{name}") if regular else b"", facts.st_nlink))
    return found


@pytest.mark.parametrize("point", sorted(POINTS))
def test_an_errno_strikes_without_any_effect(root: str, run: Run, point: str) -> None:
    """The call fails with exactly this errno, nothing is changed, and the receipt says so."""
    prepare(root)
    before = state(root)
    ran = run(lambda: POINTS[point](root), f"{point}#1=EIO")
    assert ran.value == -errno.EIO
    assert state(root) == before
    (receipt,) = ran.receipts
    assert (receipt.strike, receipt.effect) == (f"{point}#1=EIO", "answered EIO")
    assert receipt.operation == f"{point}#1 = EIO"
    assert (ran.reached, ran.stray_interrupts) == (1, 0)


LEFT_ALONE = {"lock(a)", "getdents(d)"}
"""Calls that cannot be made for another process."""


@pytest.mark.parametrize("point", sorted(POINTS))
def test_a_lost_reply_takes_effect(root: str, run: Run, point: str) -> None:
    """The state is that after success, the workload sees the error; or no receipt says that it struck."""
    prepare(root)
    assert run(lambda: POINTS[point](root)).ok
    after = state(root)
    for name in os.listdir(root):
        os.rmdir(f"{root}/{name}") if os.path.isdir(f"{root}/{name}") else os.unlink(f"{root}/{name}")
    prepare(root)
    ran = run(lambda: POINTS[point](root), f"{point}#1=lost[EIO]")
    assert state(root) == after
    if point in LEFT_ALONE:
        assert ran.receipts == ()
        assert kinds(ran) == ["not-injected"]
        assert ran.value != -errno.EIO
    else:
        assert ran.value == -errno.EIO
        assert len(ran.receipts) == 1


def _splice(root: str) -> Any:
    reader, writer = os.pipe()
    os.write(writer, b"spliced")
    return _on_fd(lambda fd: os.splice(reader, fd, 7, offset_dst=0))(root)


def _mapped(root: str) -> Any:
    with open(f"{root}/a", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        return attempt(pages.flush)


OFFERED_AT: dict[str, Callable[[str], Any]] = {
    **POINTS,
    "splice(a)": _splice,
    "mmap(a)": _mapped,
    "msync(a)": _mapped,
    "write(large)": _by_name(lambda root: make(f"{root}/large", b"x" * 20_000)),
}


@pytest.mark.parametrize("point", sorted(OFFERED_AT))
def test_whatever_is_offered_strikes(root: str, run: Run, point: str) -> None:
    """A fault that could not be injected where a family offers it would leave its case without a verdict."""
    families = faults.disk() | faults.kill() | faults.signal("SIGTERM") | faults.delay(0.001)
    prepare(root)
    trace = run(lambda: OFFERED_AT[point](root), record=True).trace
    operation = next(one for one in trace if str(point_of(one)) == f"{point}#1")
    offered = list(families.offers(operation, trace))
    # One errno stands for all, once and for good: they differ in nothing but the number.
    kinds = {(fault.name.startswith("E") or fault.name, fault.argument): fault for fault in offered}
    assert {"SIGTERM", "delay"} <= {fault.name for fault in kinds.values()}
    for fault in kinds.values():
        shutil.rmtree(root)
        os.mkdir(root)
        prepare(root)
        ran = run(lambda: OFFERED_AT[point](root), f"{point}#1={fault}")
        assert [one.strike for one in ran.receipts] == [f"{point}#1={fault}"], ran.caveats


@pytest.mark.parametrize(
    "point", sorted(set(POINTS) - {"read(a)", "write(a)", "copy_file_range(a)", "sendfile(a)"})
)
def test_what_cannot_be_short_is_not_struck(root: str, run: Run, point: str) -> None:
    """A short transfer of a call that transfers nothing is never injected, and never counts as injected."""
    prepare(root)
    ran = run(lambda: POINTS[point](root), f"{point}#1=short[1]")
    assert ran.ok
    assert ran.receipts == ()
    assert kinds(ran) == ["not-injected"]


def test_a_short_write_writes_its_beginning(root: str, run: Run) -> None:
    """The first bytes arrive, the result says how many, the position moves by as much."""

    def work() -> tuple[int, int]:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        return os.write(fd, b"abcdef"), os.lseek(fd, 0, os.SEEK_CUR)

    ran = run(work, "write(a)#1=short[4]")
    assert ran.value == (4, 4)
    assert content(f"{root}/a") == b"abcd"
    assert effects(ran) == ["4 of 6 bytes transferred"]


@pytest.mark.parametrize("more", [6, 7, 100000])
def test_a_short_transfer_is_never_longer_than_the_call(root: str, run: Run, more: int) -> None:
    """A count beyond the call's own is the whole call: no byte goes beyond the caller's buffer."""
    make(f"{root}/b", b"x" * 200000)

    def work() -> tuple[int, bytes]:
        buffer = ctypes.create_string_buffer(b"." * 4096, 4096)
        written = os.write(os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY), b"abcdef")
        fd = os.open(f"{root}/b", os.O_RDONLY)
        _raw("read", fd, buffer, 6)
        return written, buffer.raw[:12]

    ran = run(work, f"write(a)#1=short[{more}]; read(b)#1=short[{more}]")
    assert ran.value == (6, b"xxxxxx......")
    assert (ran.reached, ran.receipts) == (2, ())
    assert kinds(ran) == ["not-injected"] * 2


def test_a_short_read_stays_out_of_memory_that_is_only_read(root: str, run: Run) -> None:
    """The kernel would write nothing there, and says so; the fault cannot be injected."""
    make(f"{root}/a", b"new content")

    def work() -> tuple[int, int, bytes]:
        libc = ctypes.CDLL(None, use_errno=True)
        place = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        place[:8] = b"as it is"
        address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(place)))
        assert libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ) == 0
        fd = os.open(f"{root}/a", os.O_RDONLY)
        return libc.read(fd, address, 8), ctypes.get_errno(), place[:8]

    ran = run(work, "read(a)#1=short[4]")
    assert ran.value == (-1, errno.EFAULT, b"as it is")
    assert not ran.receipts


def test_a_read_that_the_file_ends_is_not_short(root: str, run: Run) -> None:
    """What comes back is all there is, so nothing has struck, however much was asked for."""
    make(f"{root}/a", b"abcdef")

    def work() -> bytes:
        return os.read(os.open(f"{root}/a", os.O_RDONLY), 4096)

    ran = run(work, "read(a)#1=short[6]")
    assert (ran.value, ran.receipts) == (b"abcdef", ())
    ran = run(work, "read(a)#1=short[5]")
    assert (ran.value, effects(ran)) == (b"abcde", ["5 of 4096 bytes transferred"])


@pytest.mark.parametrize("fault", ["short[3]", "lost[EIO]"])
def test_a_write_that_fails_by_itself_is_not_struck(root: str, run: Run, fault: str) -> None:
    """The errno is the kernel's own: no receipt may call it short or lost."""
    make(f"{root}/a", b"abcdef")

    def work() -> Any:
        fd = os.open(f"{root}/a", os.O_RDONLY)
        return attempt(lambda: os.write(fd, b"xxxxxx"))

    ran = run(work, f"write(a)#1={fault}")
    assert (ran.value, ran.reached, ran.receipts) == (-errno.EBADF, 1, ())
    assert "failed by itself with EBADF" in ran.caveats[0].text


def test_short_vectors_are_cut_where_they_should(root: str, run: Run) -> None:
    """A short readv fills its buffers in order and leaves the rest alone."""
    make(f"{root}/a", b"abcdef")

    def work() -> tuple[int, bytes, bytes]:
        first, second = bytearray(b"..."), bytearray(b"...")
        return os.readv(os.open(f"{root}/a", os.O_RDONLY), [first, second]), bytes(first), bytes(second)

    assert run(work, "read(a)#1=short[4]").value == (4, b"abc", b"d..")


def test_a_persistent_error_stays_until_the_run_is_over(root: str, run: Run) -> None:
    """Every later call that can fail so does; recovery, outside, finds the disk in order."""
    make(f"{root}/old", b"old")

    def work() -> list[Any]:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        calls = [
            lambda: os.write(fd, b"x"),
            lambda: os.write(fd, b"y"),
            lambda: os.mkdir(f"{root}/d"),
            lambda: os.open(f"{root}/b", os.O_CREAT | os.O_WRONLY),
            lambda: len(os.read(os.open(f"{root}/old", os.O_RDONLY), 10)),
            lambda: os.unlink(f"{root}/old"),
        ]
        return [attempt(call) for call in calls]

    ran = run(work, "write(a)#1=ENOSPC[persistent]")
    assert ran.value == [-errno.ENOSPC] * 4 + [3, None]
    assert len(ran.receipts) == 1
    make(f"{root}/a", b"recovered")
    assert content(f"{root}/a") == b"recovered"


def test_a_persistent_error_of_one_file_stays_with_it(root: str, run: Run) -> None:
    """EACCES on one file leaves the others alone, and does not reach what needs no permission."""
    make(f"{root}/a")
    make(f"{root}/b")

    def work() -> list[Any]:
        fd = os.open(f"{root}/a", os.O_RDWR)
        return [
            attempt(lambda name=name: os.close(os.open(f"{root}/{name}", os.O_RDWR)))
            for name in ("a", "b", "a")
        ] + [attempt(lambda: os.fchmod(fd, 0o600)), attempt(lambda: os.chmod(f"{root}/a", 0o600))]

    ran = run(work, "open(a)#2=EACCES[persistent]")
    assert ran.value == [-errno.EACCES, None, -errno.EACCES, None, -errno.EACCES]


def test_a_persistent_error_is_in_the_recording_as_it_was(root: str, run: Run) -> None:
    """Recorded under a strike, every refused call has the result that the workload saw."""
    make(f"{root}/a", b"12345")

    def work() -> list[Any]:
        fd = os.open(f"{root}/a", os.O_RDWR)
        return [
            attempt(lambda: os.read(fd, 5)),
            attempt(lambda: os.read(fd, 5)),
            attempt(lambda: os.fsync(fd)),
        ]

    ran = run(work, "read(a)#1=EIO[persistent]", record=True)
    assert ran.value == [-errno.EIO] * 3
    assert [one.result for one in ran.trace if one.call in ("read", "fsync")] == [-errno.EIO] * 3


def test_a_full_disk_takes_what_still_fits(root: str, run: Run) -> None:
    """The remaining bytes are shared by all files; overwriting needs none; removing gives some back."""
    make(f"{root}/old", b"12345")

    def work() -> list[Any]:
        a, b = (os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY) for name in "ab")
        old = os.open(f"{root}/old", os.O_WRONLY)
        return [
            attempt(lambda: os.write(a, b"12345678")),
            attempt(lambda: os.write(b, b"12345678")),
            attempt(lambda: os.write(b, b"6")),
            attempt(lambda: os.write(old, b"ABCDE")),
            attempt(lambda: os.mkdir(f"{root}/d")),
            attempt(lambda: os.open(f"{root}/c", os.O_CREAT)),
            attempt(lambda: os.unlink(f"{root}/old")),
            attempt(lambda: os.write(b, b"XXXXXXXX")),
            attempt(lambda: os.ftruncate(a, 6)),
            attempt(lambda: os.write(b, b"YYYYYYYY")),
            attempt(lambda: os.posix_fallocate(b, 0, 100)),
        ]

    ran = run(work, "write(a)#1=full[10]")
    full = -errno.ENOSPC
    assert ran.value == [8, 2, full, 5, full, full, None, 5, None, 2, full]
    assert (content(f"{root}/a"), content(f"{root}/b")) == (b"123456", b"12XXXXXYY")
    assert len(ran.receipts) == 1


def test_a_disk_that_nobody_finds_full_has_not_struck(root: str, run: Run) -> None:
    """Bytes that were enough are no fault: the receipt comes with the first call that is refused."""

    def work() -> list[Any]:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        return [attempt(lambda: os.write(fd, b"12345678")) for _ in range(2)]

    ran = run(work, "write(a)#1=full[16]")
    assert (ran.value, ran.reached, ran.receipts) == ([8, 8], 1, ())
    ran = run(work, "write(a)#1=full[10]")
    assert (ran.value, effects(ran)) == ([8, 2], ["10 bytes left on the disk"])


def test_replacing_a_file_frees_what_it_held(root: str, run: Run) -> None:
    """A rename over a file gives its bytes back, as unlinking it would."""
    make(f"{root}/a", b"1234567890")

    def work() -> list[Any]:
        fd = os.open(f"{root}/new", os.O_CREAT | os.O_WRONLY)
        return [
            attempt(lambda: os.write(fd, b"12345678")),
            attempt(lambda: os.rename(f"{root}/new", f"{root}/a")),
            attempt(lambda: os.write(fd, b"12345678901")),
        ]

    assert run(work, "write(new)#1=full[4]").value == [4, None, 10]


def test_a_full_disk_from_an_open_on(root: str, run: Run) -> None:
    """full[0] at a call that creates refuses it, and everything after that needs room."""

    def work() -> list[Any]:
        return [attempt(lambda n=n: os.open(f"{root}/{n}", os.O_CREAT | os.O_WRONLY)) for n in "ab"]

    assert run(work, "open(a)#1=full[0]").value == [-errno.ENOSPC] * 2


@pytest.mark.parametrize("fault", ["EIO", "lost[EIO]"])
def test_an_error_at_close_lets_go_of_the_file(root: str, run: Run, fault: str) -> None:
    """The descriptor is closed and its lock free, as after a real EIO; the leak check knows that."""

    def work() -> tuple[int, bool]:
        first = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        fcntl.flock(first, fcntl.LOCK_EX)
        failed = attempt(lambda: os.close(first))
        second = os.open(f"{root}/a", os.O_RDWR)
        free = subprocess.run(["flock", "-n", f"{root}/a", "true"], check=False).returncode == 0
        os.close(second)
        return failed, free

    ran = run(work, f"close(a)#1={fault}")
    assert ran.value == (-errno.EIO, True)
    assert ran.leaks.descriptors == ()


@pytest.mark.parametrize("fault", ["EIO", "lost[EIO]"])
def test_a_file_that_cannot_be_let_go_of_is_closed_without_an_error(root: str, run: Run, fault: str) -> None:
    """Nothing can be put in place of a descriptor beyond the limit: the close goes its ordinary way."""

    def work() -> tuple[int, Any, Any]:
        low = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        high = fcntl.fcntl(low, fcntl.F_DUPFD, 500)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return high, attempt(lambda: os.close(high)), attempt(lambda: os.fstat(high).st_size)

    ran = run(work, f"close(a)#1={fault}")
    assert ran.value == (500, None, -errno.EBADF)
    assert (ran.reached, ran.receipts, kinds(ran)) == (1, (), ["not-injected"])


def test_a_leak_is_still_a_leak(root: str, run: Run) -> None:
    """What the workload forgets to close is named, beside what a fault has released."""

    def work() -> None:
        for name in "ab":
            fd = os.open(f"{root}/{name}", os.O_CREAT | os.O_RDWR)
            if name == "a":
                attempt(lambda fd=fd: os.close(fd))

    assert run(work, "close(a)#1=EIO").leaks.descriptors == ("b",)


@pytest.mark.parametrize("point", sorted(set(POINTS) - LEFT_ALONE))
def test_a_kill_comes_before_the_call(root: str, run: Run, point: str) -> None:
    """SIGKILL at a call leaves the state from before it."""
    prepare(root)
    before = state(root)
    ran = run(lambda: POINTS[point](root), f"{point}#1=kill")
    assert (ran.signal, ran.ok, ran.value) == (signal.SIGKILL, False, None)
    assert state(root) == before
    assert effects(ran) == ["SIGKILL to all"]
    assert ran.receipts[0].operation == f"{point}#1"


def test_a_kill_in_the_middle_of_a_write_tears_it(root: str, run: Run) -> None:
    """The first bytes of 64 KiB arrive, then nothing more happens."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x" * 65536)
        os.mkdir(f"{root}/never")

    ran = run(work, "write(a)#1=kill[torn 4096]")
    assert ran.signal == signal.SIGKILL
    assert os.path.getsize(f"{root}/a") == 4096
    assert not os.path.exists(f"{root}/never")
    assert effects(ran) == ["4096 of 65536 bytes written, then SIGKILL to all"]


def test_a_kill_reaches_every_process(root: str, run: Run) -> None:
    """Children in sessions of their own, daemons and those that ignore SIGTERM die with the workload."""
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if sys.argv[1] == 'daemon':\n"
        "    os.fork() and os._exit(0)\n"
        "    os.setsid()\n"
        "    os.fork() and os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(100)\n"
    )

    def start(kind: str) -> int:
        child = subprocess.Popen(
            [sys.executable, "-c", script, kind], stdout=subprocess.PIPE, start_new_session=kind == "session"
        )
        assert child.stdout is not None
        return int(child.stdout.readline())

    def work() -> None:
        pids = [start(kind) for kind in ("plain", "session", "daemon")]
        channel.promise(pids)
        os.mkdir(f"{root}/d")

    ran = run(work, "mkdir(d)#1=kill")
    assert ran.signal == signal.SIGKILL
    (pids,) = ran.promised
    assert len(set(pids)) == 3
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def _await_child(root: str) -> int:
    """Fork a child that makes a directory; return how it ended."""
    pid = os.fork()
    if pid == 0:
        os.mkdir(f"{root}/d")
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_a_kill_at_a_childs_call_reaches_the_workload(root: str, run: Run) -> None:
    """A plain kill is of the whole tree, wherever it strikes: the parent does not live to notice."""
    ran = run(partial(_await_child, root), "child~1:mkdir(d)#1=kill")
    assert (ran.signal, effects(ran)) == (signal.SIGKILL, ["SIGKILL to all"])
    assert os.listdir(root) == []


def test_a_kill_stops_other_threads_in_the_middle(root: str, run: Run) -> None:
    """Threads that are at a call of their own when the kill comes do not finish it."""

    def other() -> None:
        for number in range(100_000):
            os.mkdir(f"{root}/{number}")

    def work() -> None:
        for _ in range(3):
            threading.Thread(target=other, daemon=True).start()
        time.sleep(0.01)
        os.unlink(make(f"{root}/a"))

    ran = run(work, "unlink(a)#1=kill")
    assert ran.signal == signal.SIGKILL
    assert "a" in os.listdir(root)
    assert len(os.listdir(root)) < 100_000


def test_one_process_can_be_killed_alone(root: str, run: Run) -> None:
    """kill[process] leaves the parent, which sees the death of its child."""
    ran = run(partial(_await_child, root), "child~1:mkdir(d)#1=kill[process]")
    assert ran.value == signal.SIGKILL
    assert not os.path.exists(f"{root}/d")
    assert len(ran.receipts) == 1


def test_a_signal_with_a_handler_is_handled_at_the_call(root: str, run: Run) -> None:
    """The handler runs at the struck call, which succeeds; Python's own retry needs nothing."""

    def work() -> list[str]:
        seen: list[str] = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append(f"handled {sorted(os.listdir(root))}"))
        os.mkdir(f"{root}/a")
        os.mkdir(f"{root}/b")
        os.mkdir(f"{root}/c")
        return seen

    ran = run(work, "mkdir(b)#1=SIGTERM")
    assert ran.value == ["handled ['a', 'b']"]
    assert effects(ran) == ["SIGTERM sent"]


def test_a_signal_without_a_handler_kills_before_the_call(root: str, run: Run) -> None:
    """Who dies of a signal never makes the call at which it came, in any of many runs."""
    for number in range(20):
        ran = run(lambda n=number: os.mkdir(f"{root}/{n}"), f"mkdir({number})#1=SIGTERM")
        assert ran.signal == signal.SIGTERM
        assert len(ran.receipts) == 1
    assert os.listdir(root) == []


def test_a_signal_at_a_childs_call_goes_to_the_workload(root: str, run: Run) -> None:
    """The first process gets the signal; the child's call goes on."""

    def work() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return subprocess.run(["mkdir", f"{root}/d"], check=False).returncode

    ran = run(work, "mkdir~1:mkdir(d)#1=SIGTERM")
    assert ran.value == 0
    assert os.path.isdir(f"{root}/d")


def test_a_signal_for_a_workload_that_has_ended_is_not_struck(root: str, run: Run) -> None:
    """A child that outlives the workload gets nothing in its stead, and no receipt says otherwise."""

    def work() -> None:
        own = os.getpid()
        if os.fork() == 0:
            os.setpgid(0, 0)
            # Gone from the moment on that its exit closes what was open, before it is a zombie.
            while os.path.exists(f"/proc/{own}/fd/0"):
                time.sleep(0.001)
            os.mkdir(f"{root}/d")
            os._exit(0)

    ran = run(work, "child~1:mkdir(d)#1=SIGTERM")
    assert (ran.ok, ran.reached, ran.receipts) == (True, 1, ())
    assert "has ended already" in ran.caveats[0].text
    assert os.path.isdir(f"{root}/d")


@pytest.mark.parametrize("fault", ["EIO", "kill"])
def test_who_was_dead_before_the_answer_was_not_struck(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The kernel's out-of-memory killer may come first: what was meant to strike then has not."""
    effect = strike.Strikes.common

    def too_late(strikes: strike.Strikes, shape: Shape, task: Any) -> Any:
        os.kill(task.process.pid, signal.SIGKILL)
        while not task.process.ended():
            time.sleep(0.001)
        return effect(strikes, shape, task)

    monkeypatch.setattr(strike.Strikes, "common", too_late)
    ran = run(lambda: os.mkdir(f"{root}/d"), f"mkdir(d)#1={fault}")
    assert (ran.signal, ran.reached, ran.receipts) == (signal.SIGKILL, 1, ())


def test_sigint_is_a_keyboard_interrupt(root: str, run: Run) -> None:
    """SIGINT raises where it strikes."""
    ran = run(lambda: os.mkdir(f"{root}/d"), "mkdir(d)#1=SIGINT")
    assert isinstance(ran.error, KeyboardInterrupt)


def test_a_delay_holds_one_call_and_no_other(root: str, run: Run) -> None:
    """While one thread waits, the calls of others go on."""

    def work() -> list[str]:
        order: list[str] = []
        fd = os.open(f"{root}/slow", os.O_CREAT | os.O_WRONLY)

        def slow() -> None:
            order.append("slow begins")
            os.write(fd, b"x")
            order.append("slow ends")

        thread = threading.Thread(target=slow)
        thread.start()
        while not order:
            time.sleep(0)
        for number in range(50):
            os.mkdir(f"{root}/{number}")
        order.append("others end")
        thread.join()
        return order

    start = time.monotonic()
    ran = run(work, "t1:write(slow)#1=delay[0.3]")
    assert time.monotonic() - start >= 0.3
    assert ran.value == ["slow begins", "others end", "slow ends"]
    assert content(f"{root}/slow") == b"x"


@pytest.mark.parametrize("point", ["promise()", "end()"])
def test_promises_and_the_end_can_be_delayed(run: Run, point: str) -> None:
    """A pseudo-call takes longer too, and the run goes on as if nothing were."""
    start = time.monotonic()
    ran = run(lambda: channel.promise("kept"), f"{point}#1=delay[0.1]")
    assert time.monotonic() - start >= 0.1
    assert (ran.ok, ran.promised, effects(ran)) == (True, ("kept",), ["0.1 s later"])


@pytest.mark.parametrize("point", ["promise()", "end()"])
def test_a_kill_at_a_promise_or_the_end_keeps_the_promise(run: Run, point: str) -> None:
    """What was promised before the kill was promised."""
    ran = run(lambda: channel.promise("kept"), f"{point}#1=kill")
    assert (ran.signal, ran.promised, ran.value) == (signal.SIGKILL, ("kept",), None)


def test_an_errno_cannot_strike_a_promise(run: Run) -> None:
    """What is not a system call cannot fail as one; the run says that nothing was injected."""
    ran = run(lambda: channel.promise(1), "promise()#1=EIO")
    assert (ran.ok, ran.receipts) == (True, ())
    assert kinds(ran) == ["not-injected"]


def test_faults_strike_in_the_order_of_the_schedule(root: str, run: Run) -> None:
    """The second fault is armed once the first has struck: a point gone by is missed."""

    def work() -> list[Any]:
        return [attempt(lambda n=n: os.mkdir(f"{root}/{n}")) for n in ("a", "b", "a")]

    both = run(work, "mkdir(a)#1=EIO; mkdir(b)#1=EROFS")
    assert both.value == [-errno.EIO, -errno.EROFS, None]
    assert (both.reached, len(both.receipts)) == (2, 2)
    os.rmdir(f"{root}/a")
    missed = run(work, "mkdir(b)#1=EROFS; mkdir(a)#1=EIO")
    assert missed.value == [None, -errno.EROFS, -errno.EEXIST]
    assert (missed.reached, len(missed.receipts)) == (1, 1)


@pytest.mark.parametrize(
    "schedule", ["mkdir(zzz)#1=EIO", "mkdir(a)#2=EIO", "t1:mkdir(a)#1=EIO", "x~1:mkdir(a)#1=EIO"]
)
def test_a_point_that_is_not_reached_has_no_receipt(root: str, run: Run, schedule: str) -> None:
    """Another name, ordinal, thread or process is another point."""
    ran = run(lambda: os.mkdir(f"{root}/a"), schedule)
    assert (ran.ok, ran.reached, ran.receipts) == (True, 0, ())


def test_the_ordinal_counts_equals(root: str, run: Run) -> None:
    """The n-th of equal calls is struck, calls that differ do not count, cheap way or not."""
    for schedule in ("write(a)#3=EIO", "write(a)#3=EIO; write(a)#4=EIO"):

        def work() -> list[int]:
            fds = [os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY) for name in ("a", "ab")]
            return [attempt(lambda fd=fd: os.write(fd, b"x")) for fd in [*fds * 3]]

        ran = run(work, schedule)
        assert ran.value[:5] == [1, 1, 1, 1, -errno.EIO]


def test_wildcards_stand_for_what_varies(root: str, run: Run) -> None:
    """A star fits any part of one name; a directory's border it does not cross."""

    def work() -> list[int]:
        os.mkdir(f"{root}/d")
        return [
            attempt(lambda n=n: os.open(f"{root}/{n}", os.O_CREAT | os.O_WRONLY)) > 0
            for n in ("tmp-1.db", "d/tmp-2.db", "tmp-3.db", "tmp-4.dbx")
        ]

    assert run(work, "open(tmp*.db)#2=EIO").value == [True, True, False, True]


def test_places_count_by_first_operation_struck_or_not(root: str, run: Run) -> None:
    """Threads have in a case the numbers that they have in the recording, whatever is armed."""

    def work() -> list[Any]:
        outcomes: list[Any] = []

        def first() -> None:
            os.mkdir(f"{root}/first")
            os.rmdir(f"{root}/first")

        def second() -> None:
            fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
            outcomes.append(attempt(lambda: os.write(fd, b"x")))

        for target in (first, second):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        return outcomes

    recorded = run(work, record=True)
    (written,) = [one for one in recorded.trace if one.call == "write"]
    assert written.place.thread == 2
    assert run(work, "t2:write(a)#1=EIO").value == [-errno.EIO]
    assert run(work, "t1:write(a)#1=EIO").value == [1]


def test_a_child_program_can_be_struck(root: str, run: Run) -> None:
    """Programs are struck by their name and number, in any language."""
    command = Command(("sh", "-c", "touch a; cp a b; cp a c && echo never"), cwd=root)
    ran = run(command, "cp~2:open(c)#1=ENOSPC")
    assert isinstance(ran.error, Exception)
    assert b"No space left on device" in ran.value.stderr
    assert sorted(os.listdir(root)) == ["a", "b"]
    assert ran.promised == ()


def test_the_promises_of_a_command_are_kept_in_a_case(root: str, run: Run) -> None:
    """Lines on standard output are promises in every run, whatever is struck."""
    command = Command(("sh", "-c", "echo one; mkdir d; echo two; mkdir e; echo three"), cwd=root)
    assert run(command).promised == ("one", "two", "three")
    assert run(command, "mkdir~2:mkdir(e)#1=kill").promised == ("one", "two")
    assert run(command, "write(zzz)#7=EIO").promised == ("one", "two", "three")


def test_data_that_leaves_by_sendfile_is_a_read_that_can_fail(root: str, run: Run) -> None:
    """A read by another name is struck as a read, but not cut short."""
    make(f"{root}/a", b"x" * 100)

    def work() -> Any:
        ours, theirs = socket.socketpair()
        with ours, theirs, open(f"{root}/a", "rb") as file:
            return attempt(lambda: os.sendfile(ours.fileno(), file.fileno(), 0, 100))

    assert run(work, "read(a)#1=EIO").value == -errno.EIO
    ran = run(work, "read(a)#1=short[5]")
    assert (ran.value, ran.receipts) == (100, ())


@pytest.mark.parametrize(
    "text",
    [
        *(
            "kil",
            "kill[proces]",
            "kill[torn]",
            "kill[torn 0]",
            "short",
            "short[x]",
            "full[-1]",
            "full",
        ),
        *("lost[EFOO]", "EFOO", "ENOSPC[always]", "SIGFOO", "SIGTERM[x]", "delay", "delay[x]", "power_loss"),
    ],
)
def test_an_unknown_fault_is_refused_before_the_run(root: str, run: Run, text: str) -> None:
    """A fault that would never strike is an error that says what there is."""
    with pytest.raises(ScheduleError, match=r"is not known.*; expected an errno name"):
        run(lambda: os.mkdir(f"{root}/d"), f"mkdir(d)#1={text}")
    assert os.listdir(root) == []


def test_every_fault_of_the_grammar_is_known(backend: Any) -> None:
    """The kernel backend makes every fault happen that the table of shapes lists for backends."""
    for text in ("ENOSPC", "ENOSPC[persistent]", "short[3]", "lost[EIO]", "full[0]", "kill", "kill[process]"):
        name, _, argument = text.partition("[")
        backend.check(Fault(name, argument.rstrip("]")))
    for name, argument in (("kill", "torn 512"), ("SIGTERM", ""), ("delay", "0.25")):
        backend.check(Fault(name, argument))
