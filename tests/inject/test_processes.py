"""Processes: whose children they are, and that none of them outlives who is responsible for it."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import re
import select
import signal
import sys
from pathlib import Path

import pytest

from chaoskit.inject import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own files tell, see proc(5)")

_SYS_EXIT = {"x86_64": 60, "aarch64": 93}


def fork_a_grandchild() -> tuple[int, int]:
    """A child that waits forever and a child of it that does, too; both are there when this returns."""
    reading, writing = os.pipe()
    child = processes.fork()
    if child == 0:
        grandchild = processes.fork()
        if grandchild:
            os.write(writing, str(grandchild).encode())
        while True:
            signal.pause()
    os.close(writing)
    grandchild = int(os.read(reading, 20))
    os.close(reading)
    return child, grandchild


def end_of(pidfd: int) -> None:
    assert select.select([pidfd], [], [], 30)[0], "a process that was killed did not end"
    os.close(pidfd)


def test_children_are_the_direct_ones() -> None:
    """A grandchild belongs to the child, and a process that is gone has nobody."""
    before = processes.children()
    with processes.reaping():
        child, grandchild = fork_a_grandchild()
        assert processes.children() - before == {child}
        assert processes.children(child) == {grandchild}
    assert processes.children(child) == set()


def test_a_tree_is_killed_whole() -> None:
    """The grandchild dies with the child, and is nobody's zombie afterwards."""
    before = processes.children()
    with processes.reaping():
        child, grandchild = fork_a_grandchild()
        watched = [os.pidfd_open(child), os.pidfd_open(grandchild)]
        processes.kill_tree(child)
        for pidfd in watched:
            end_of(pidfd)
    assert processes.children() == before


def test_what_a_dead_parent_leaves_is_reaped() -> None:
    """An orphan comes to the block that adopts, and ends with it."""
    before = processes.children()
    with processes.reaping():
        child, grandchild = fork_a_grandchild()
        orphan = os.pidfd_open(grandchild)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert processes.children() - before == {grandchild}
    end_of(orphan)
    assert processes.children() == before


def test_who_is_to_die_with_its_parent_does() -> None:
    """In a session of its own, and at once: no guard has to come."""
    reading, writing = os.pipe()
    child = processes.fork()
    if child == 0:
        parent = os.getpid()
        if processes.fork() == 0:
            processes.die_with(parent)
            os.write(writing, f"{os.getpid()} {os.getsid(0)}".encode())
        while True:
            signal.pause()
    grandchild, session = map(int, os.read(reading, 40).split())
    watched = os.pidfd_open(grandchild)
    try:
        assert session == grandchild
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        end_of(watched)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(grandchild, signal.SIGKILL)
        os.close(reading)
        os.close(writing)


def test_adopting_ends_with_its_block() -> None:
    """Afterwards orphans go where they went before, unless the process has adopted for life."""
    with processes.reaping():
        reading, writing = os.pipe()
        child = processes.fork()
        if child == 0:
            with processes.adopting(), processes.adopting():
                pass
            orphaned = _orphan_comes_here()
            processes.adopt_for_life()
            with processes.adopting():
                pass
            adopted = _orphan_comes_here()
            os.write(writing, bytes([orphaned, adopted]))
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 2) == bytes([False, True])
        os.close(reading)
        os.close(writing)


def _orphan_comes_here() -> bool:
    child, grandchild = fork_a_grandchild()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return grandchild in processes.children()


def test_a_guard_ends_the_session_of_who_dies_and_removes_its_directory(tmp_path: Path) -> None:
    """What a killed worker leaves in its session goes; a process beside it that has no filter stays."""
    place = tmp_path / "place"
    place.mkdir()
    reading, writing = os.pipe()
    with processes.reaping():
        worker = processes.fork()
        if worker == 0:
            os.setsid()
            inside, beside = fork_a_grandchild()[0], _in_a_session_of_its_own()
            guard = processes.stand_guard(str(place), own_session=True)
            guard.answer_for(beside)
            os.write(writing, f"{inside} {beside} {guard._pid}".encode())
            while True:
                signal.pause()
        watched, bystander, guarding = map(os.pidfd_open, map(int, os.read(reading, 60).split()))
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        end_of(watched)
        end_of(guarding)
        assert not place.exists()
        assert not select.select([bystander], [], [], 0)[0]
        os.close(bystander)
    os.close(reading)
    os.close(writing)


def test_the_package_forks_in_few_places() -> None:
    """Elsewhere a warning that is an error would leave the child running; the contracts fork on purpose."""
    package = Path(processes.__file__).parent.parent
    found = {
        str(path.relative_to(package)): len(re.findall(r"\bos\.fork(?:pty)?\(", path.read_text("utf-8")))
        for path in package.rglob("*.py")
    }
    assert {name for name, count in found.items() if count} == {
        "inject/forking.py",
        "inject/processes.py",
        "contracts/breaker_rows/threads.py",
        "contracts/store_rows/forked.py",
    }


def _in_a_session_of_its_own() -> int:
    pid = processes.fork()
    if pid == 0:
        os.setsid()
        while True:
            signal.pause()
    return pid


def test_a_process_is_leaving_once_none_of_its_threads_takes_a_signal() -> None:
    """A zombie and one that is gone are; one whose first thread has ended before another is not."""
    reading, writing = os.pipe()
    child = processes.fork()
    if child == 0:
        os.close(writing)
        _thread.start_new_thread(lambda: os._exit(len(os.read(reading, 1))), ())
        # As pthread_exit(3): the process goes on with the other thread.
        ctypes.CDLL(None).syscall(_SYS_EXIT[os.uname().machine], 0)
    os.close(reading)
    while b") Z " not in processes.read(f"/proc/{child}/stat"):
        select.select([], [], [], 0.001)
    assert not processes.leaving(child)
    assert not processes.leaving(os.getpid())
    os.close(writing)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert processes.leaving(child)
    os.waitpid(child, 0)
    assert processes.leaving(child)
