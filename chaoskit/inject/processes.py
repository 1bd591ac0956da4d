"""Processes that leave nothing behind: whose children they are, who adopts orphans, how a tree is killed.

Linux tells and does all of this (prctl(2), proc(5)); elsewhere nobody has children and nobody adopts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


@cache
def _prctl() -> Callable[[int, object], int]:
    """prctl(2) with its second argument; does nothing where the system has no such call."""
    try:
        function = ctypes.CDLL(None).prctl
    except (AttributeError, OSError, TypeError):
        return lambda option, argument: 0
    function.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return function


def prepare() -> None:
    """Look up what :func:`die_with` needs: after a fork that would cost page faults."""
    _prctl()


def die_with(parent: int, status: int = 1) -> None:
    """Be a session leader whom the terminal's Ctrl-C does not reach, and who dies with ``parent``."""
    os.setsid()
    _prctl()(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(status)


_adopts = -1
"""The process that adopts orphans for as long as it lives."""


def adopt_for_life() -> None:
    """From now on processes whose parent has died come to this one."""
    global _adopts
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1)
    _adopts = os.getpid()


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """While the block lasts, processes whose parent has died come to this one, so that none escapes."""
    if _adopts == os.getpid():
        yield
        return
    before = ctypes.c_int(0)
    _prctl()(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl()(_PR_SET_CHILD_SUBREAPER, before.value)


@contextlib.contextmanager
def reaping() -> Iterator[None]:
    """Adopt orphans while the block lasts, and kill those that are left at its end."""
    others = children()
    with adopting():
        try:
            yield
        finally:
            while left := children() - others:
                for pid in left:
                    kill_tree(pid)
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, 0)


def children(pid: int | None = None) -> set[int]:
    """The direct children of a process (default: this one), zombies included; empty if it is gone."""
    where = "self" if pid is None else str(pid)
    found: set[int] = set()
    for thread in threads(where):
        found.update(map(int, read(f"/proc/{where}/task/{thread}/children").split()))
    return found


def threads(pid: int | str) -> list[int]:
    """The threads of a process, by number; empty if it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def open_files(pid: int | str = "self") -> frozenset[int]:
    """The numbers of the descriptors that a process has open; empty if it is gone."""
    try:
        return frozenset(map(int, os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return frozenset()


def read(path: str) -> bytes:
    """A small file of ``/proc`` whole; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def kill_tree(pid: int) -> None:
    """SIGKILL ``pid`` and everything below it.

    The parent is stopped first, so that it starts nothing while its children are being killed; what a
    dying child leaves behind comes to who adopts orphans, see :func:`reaping`.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    for child in children(pid):
        kill_tree(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
