"""Processes that leave nothing behind: finding children, adopting orphans, killing whole trees.

Linux offers all of this (prctl(2), proc(5)). Elsewhere no children are found and none are adopted.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import NoReturn

from chaoskit.inject import private, removal
from chaoskit.inject.answered import AnsweredFor, survivors

# From linux/prctl.h; Python has no names for them.
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
# From linux/sched.h; proc_pid_stat(5) shows it.
_PF_EXITING = 0x4


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
    """Look up what :func:`die_with` needs before forks do: in a child it would cost page faults."""
    _prctl()


def die_with(parent: int, status: int = 1) -> None:
    """Start a new session, so that Ctrl-C does not reach this process, and be killed when ``parent`` dies."""
    os.setsid()
    _prctl()(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    # The parent may have died between the fork and the prctl: then the signal never comes.
    if os.getppid() != parent:
        os._exit(status)


def name(text: str) -> None:
    """Set the name of this process that tools show (prctl(2), PR_SET_NAME)."""
    _prctl()(_PR_SET_NAME, text.encode())


_WARNS_OF_THREADS = sys.version_info >= (3, 12)


def fork() -> int:
    """Fork without Python's warning about other threads: the caller has checked each of them.

    If warnings are errors, this one would come too late: the child is already running.
    """
    if not _WARNS_OF_THREADS or len(threads("self")) == 1:
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


_adopts = -1
"""The process that adopts orphans for as long as it lives; a fork inherits the variable, not the role."""


def adopt_for_life() -> None:
    """Become the parent of orphaned processes for as long as this process lives."""
    global _adopts
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1)
    _adopts = os.getpid()


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of orphaned processes while the block lasts, so that none escapes."""
    if _adopts == os.getpid():
        yield
        return
    # Restored at the end: the test process may itself be a subreaper.
    before = ctypes.c_int(0)
    _prctl()(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl()(_PR_SET_CHILD_SUBREAPER, before.value)


class Guard:
    """Ends the processes that this one answers for, should it die before them.

    A process that dies by SIGKILL cleans up nothing, and PR_SET_PDEATHSIG reaches direct children only
    (prctl(2)). So another process watches this one, and kills the processes that are listed in shared
    memory. It also kills everything in their sessions and below them, but spares any process without a
    seccomp filter: its PID may have been reused. With ``own_session`` it also ends what is left in the
    session that this process leads. Then it removes ``directory``, if one is given. Should the guard be
    killed as well, the next run ends those on the list, see :mod:`chaoskit.inject.leftovers`.
    """

    def __init__(self, directory: str = "", *, own_session: bool = False) -> None:
        self._directory = directory
        self._session = os.getpid() if own_session else -1
        # In shared memory: the guard waits only for one descriptor, so it cannot read messages.
        self._answered = AnsweredFor(directory or _directory)
        self._companions: list[Callable[[], object]] = []
        # A pidfd rather than the number: it becomes readable at the end and cannot mean another process.
        watched = os.pidfd_open(os.getpid())
        self._pid = fork()
        if self._pid == 0:
            self._stand(watched)
        os.close(watched)
        # A workload that wrote there could name processes to kill.
        private.withhold_memory(self._answered.release)

    def answer_for(self, pid: int) -> None:
        """Have ``pid`` killed when this process dies."""
        self._answered.add(pid)

    def forget(self, pid: int) -> None:
        """Remove ``pid`` from the list: it is gone, and its number may be reused."""
        self._answered.discard(pid)

    def at_dismissal(self, end: Callable[[], object]) -> None:
        """Call ``end`` when the guard is dismissed, to end what serves several runs."""
        self._companions.append(end)

    def dismiss(self) -> None:
        """End the guard: nothing is left to watch for."""
        global _guard, _directory
        while self._companions:
            self._companions.pop()()
        if _guard is not None and _guard[1] is self:
            _guard = None
        if self._directory:
            _directory = ""
        # By SIGKILL, since it ignores everything else on purpose.
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        private.inherit_again(self._answered.release)
        self._answered.remove()
        self._answered.release()

    def _stand(self, watched: int) -> NoReturn:
        try:
            os.setsid()
            name("chaoskit-guard")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            # The reader of a pipe whose write end we held would never see its end.
            os.closerange(0, watched)
            os.closerange(watched + 1, 1 << 20)
            select.select([watched], [], [])
            # Again until none is left: a process that was just starting may have been missed.
            while left := self._left():
                kill_tree(*left)
            self._remove()
        finally:
            os._exit(0)

    def _remove(self) -> None:
        """Remove the directory, repeatedly while a process that is being ended still writes there."""
        deadline = time.monotonic() + PATIENCE
        while self._directory and os.path.lexists(self._directory) and time.monotonic() < deadline:
            # The guards of workers may have been killed, too.
            kill_tree(*survivors(self._directory))
            removal.remove(self._directory)
            time.sleep(0.01)

    def _left(self) -> list[int]:
        known = self._answered.pids()
        return [pid for pid in all_processes() if self._is_ours(pid, known)]

    def _is_ours(self, pid: int, known: frozenset[int]) -> bool:
        try:
            session = os.getsid(pid)
        except ProcessLookupError:
            return False
        status = read(f"/proc/{pid}/status")
        # Already dead: its parent has just not collected it.
        if b"\nState:\tZ" in status:
            return False
        return session == self._session or ((pid in known or session in known) and b"\nSeccomp:\t2" in status)


PATIENCE = 5.0
"""Seconds for ending everything that a dead process left; a guard needs milliseconds."""

_directory = ""
"""Where guards keep their lists: the directory of the run. A fork inherits it."""

_guard: tuple[int, Guard] | None = None
"""The process that has a guard, and its guard. A fork inherits the variable but not the guard."""


def stand_guard(directory: str = "", *, own_session: bool = False) -> Guard:
    """Give this process a guard, until it is dismissed or the process ends."""
    global _guard, _directory
    _directory = directory or _directory
    guard = Guard(directory, own_session=own_session)
    _guard = (os.getpid(), guard)
    return guard


@contextlib.contextmanager
def guarded() -> Iterator[Guard]:
    """A guard for this process while the block lasts: its present one, or a new one."""
    if _guard is not None and _guard[0] == os.getpid():
        yield _guard[1]
        return
    guard = Guard()
    try:
        yield guard
    finally:
        guard.dismiss()


@contextlib.contextmanager
def reaping() -> Iterator[None]:
    """Adopt orphans while the block lasts, and kill those that are left at its end."""
    # Children from before the block are not ours to kill.
    others = children()
    with adopting():
        try:
            yield
        finally:
            while left := children() - others:
                kill_tree(*left)
                for pid in left:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, 0)


def all_processes() -> list[int]:
    """The numbers of all processes that are visible in ``/proc``."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid: int | None = None) -> set[int]:
    """The direct children of a process (default: this one), zombies included; empty if it is gone."""
    where = "self" if pid is None else str(pid)
    found: set[int] = set()
    for thread in threads(where):
        # Children belong to the thread that forked them, so each thread is asked.
        found.update(map(int, read(f"/proc/{where}/task/{thread}/children").split()))
    return found


def threads(pid: int | str) -> list[int]:
    """The threads of a process, by number; empty if it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def leaving(pid: int) -> bool:
    """True if each thread of a process is past the point in its exit where signals still have an effect.

    It need not be a zombie yet: closing its files may take the kernel a while.
    """
    states = [read(f"/proc/{pid}/task/{thread}/stat") for thread in threads(pid)]
    # The seventh field after the name, which is in parentheses and may contain anything.
    return all(int(one.rpartition(b")")[2].split()[6]) & _PF_EXITING for one in states if one)


def open_files(pid: int | str = "self") -> frozenset[int]:
    """The numbers of the descriptors that a process has open; empty if it is gone."""
    try:
        return frozenset(map(int, os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return frozenset()


def read(path: str) -> bytes:
    """The whole content of a small file of ``/proc``; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        # In one read, since the kernel generates the content afresh for each.
        return os.read(fd, 65536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def kill_tree(*pids: int) -> None:
    """SIGKILL processes and everything below them.

    All are stopped first, parents before children: then none starts another one, and none acts on the death
    of another (the end of a pipe). Orphans of a dying child go to the process that adopts them, see
    :func:`reaping`.
    """
    stopped: dict[int, None] = {}
    for pid in pids:
        _stop_tree(pid, stopped)
    for pid in reversed(stopped):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _stop_tree(pid: int, stopped: dict[int, None]) -> None:
    if pid in stopped:
        return
    stopped[pid] = None
    # A process that became another user cannot be stopped, but its children may be ours to stop.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)
    for child in children(pid):
        _stop_tree(child, stopped)
