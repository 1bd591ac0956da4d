"""The processes and threads of one workload: identifies, names, reads and kills them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
from functools import cached_property

from chaoskit.core.operation import Frame, Place
from chaoskit.inject import processes
from chaoskit.inject.kernel.workload import interpreters, stack
from chaoskit.inject.kernel.workload.interpreters import Interpreter
from chaoskit.inject.kernel.workload.memory import Memory, Unreadable
from chaoskit.inject.kernel.workload.stack import StackReader, Whereabouts

_FIELDS = "Tgid|Umask|Uid|Gid|FDSize|Groups|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|CapEff|Seccomp_filters|VmData"
_STATUS = re.compile(rf"^({_FIELDS}):[ \t]*(.*)$".encode(), re.MULTILINE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")
# A fork without an exec has no program to be named after.
_FORKED = "child"
_HARMLESS_SIGNALS = frozenset(
    {
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    }
)
"""Signals that end no process by default (signal(7))."""


_MANY_SESSIONS = 512
"""How many sessions are noted before the empty ones are dropped."""


class Process:
    """One process of the workload. ``label`` is None until its first operation names it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # First: it proves that whatever is opened later belongs to the same process.
        self.pidfd = os.pidfd_open(pid)
        try:
            self.memory = Memory(pid)
            self.descriptors = os.open(f"/proc/{pid}/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Whatever happens, even a lack of memory: the run goes on without this process.
        except BaseException:
            os.close(self.pidfd)
            raise
        # Given late, so that processes which never touch the directory do not shift the numbers of others.
        self.label: str | None = None
        self.threads = 0
        self.reader: StackReader | None = None
        self.runs_our_python = False
        """True for a fork of this process, which has the same addresses."""
        self.looked_at = False
        self.python: Interpreter | None = None
        """The interpreter that it has executed, if it is known and readable."""
        self.interpreter = 0
        self.tables_differ = False
        """True if some thread does not share the others' table of descriptors."""
        self.confined = False
        """True if it or an ancestor may have a Landlock domain."""
        self.replacing: tuple[int, tuple[bytes, str]] | None = None
        """The thread that calls exec, and what the process ran before."""

    def kill(self, number: int) -> bool:
        """Send a signal to this process and no other; False if it is gone or exiting."""
        if self.ended() or processes.leaving(self.pid):
            return False
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def ended(self) -> bool:
        """Return True if the process has exited, reaped or not: signals have no effect on it."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self.memory.close()
        os.close(self.descriptors)
        os.close(self.pidfd)


class Task:
    """One thread."""

    def __init__(self, tid: int, process: Process) -> None:
        self.tid = tid
        self.process = process
        self.thread: int | None = None
        self.state: int | None = None
        """The address of this thread's record in the interpreter, as last found."""

    def link(self, fd: int) -> str | None:
        """The file of descriptor ``fd``, as the kernel spells it; None if it is not open.

        Raises Unreadable if the process may not be inspected.
        """
        if self.process.tables_differ:
            return self._own_link(fd)
        try:
            return os.readlink(str(fd), dir_fd=self.process.descriptors)
        # It is not closed but forbidden: the call must be reported as unseen.
        except PermissionError as why:
            raise Unreadable(str(why)) from None
        except OSError:
            return self._own_link(fd)

    def _own_link(self, fd: int) -> str | None:
        """The same through this thread, since the first thread may have ended before the others."""
        try:
            return os.readlink(f"/proc/{self.tid}/fd/{fd}")
        except OSError:
            return None


class Tree:
    """All processes seen at a call, from the first one on; ``guard`` ends them if this process dies."""

    def __init__(self, pid: int, boundary: int, run: int, guard: processes.Guard) -> None:
        self.pid = pid
        self._guard = guard
        self._boundary = boundary
        self.run = run
        self._names: dict[str, int] = {}
        self._tasks: dict[int, Task] = {}
        self.processes: dict[int, Process] = {}
        self.arrivals: list[Process] = []
        """Processes met since the list was last emptied; the supervisor watches them."""
        self._sessions: set[int] = set()
        self._most_sessions = _MANY_SESSIONS
        self._confined = False
        self._main_image = _image(pid)
        self.main = self._add(pid, runs_our_python=True)
        self.leads(pid)
        self.main.label = ""
        self._tasks[pid] = Task(pid, self.main)

    def task(self, tid: int) -> Task | None:
        """The thread ``tid``; None if it is gone already.

        Raises:
            Unreadable: if it may not be inspected, or too many descriptors are open for that.
        """
        task = self._tasks.get(tid)
        if task is None:
            try:
                # This is how we meet a process: at the first call of any of its threads.
                task = Task(tid, self._process(int(status(tid).get("Tgid", b"0"))))
            except OSError as why:
                if why.errno in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE):
                    raise Unreadable(str(why)) from None
                return None
            self._tasks[tid] = task
        if task.process.replacing is not None:
            self._replaced(task)
        return task

    def _process(self, pid: int) -> Process:
        process = self.processes.get(pid)
        return self._add(pid, _image(pid) == self._main_image) if process is None else process

    def _add(self, pid: int, runs_our_python: bool) -> Process:
        process = self.processes[pid] = Process(pid)
        self._guard.answer_for(pid)
        process.runs_our_python = runs_our_python
        process.confined = self._confined
        self.arrivals.append(process)
        return process

    def confine(self) -> None:
        """From now on assume that every process has a Landlock domain: new ones inherit it."""
        self._confined = True
        for process in self.processes.values():
            process.confined = True

    def forget(self, pid: int) -> None:
        """Drop a process that has ended, since its numbers may be reused."""
        process = self.processes.pop(pid, None)
        if process is not None:
            # A list, since the loop changes the dictionary.
            for tid in [tid for tid, task in self._tasks.items() if task.process is process]:
                del self._tasks[tid]
            process.close()
            if pid not in self._sessions:
                self._guard.forget(pid)

    def meet(self, pid: int) -> None:
        """Add a process and its descendants to the tree even if no call of theirs has stopped."""
        try:
            self._process(pid)
        except OSError:
            return  # It is gone or may not be inspected.
        for child in processes.children(pid):
            self.meet(child)

    def leads(self, pid: int) -> None:
        """Note that a process leads a session: all its processes, known or not, die with the workload.

        A session may outlive its leader.
        """
        # Rarely, since this looks at every process of the machine.
        if len(self._sessions) >= self._most_sessions:
            self._forget_sessions(self._sessions - _in_use())
            self._most_sessions = len(self._sessions) + _MANY_SESSIONS
        self._guard.answer_for(pid)
        self._sessions.add(pid)

    def _forget_sessions(self, pids: set[int]) -> None:
        self._sessions = self._sessions - pids
        for pid in pids - self.processes.keys():
            self._guard.forget(pid)

    def replacing(self, task: Task) -> None:
        """Note that a process will run another program if its exec succeeds."""
        task.process.replacing = (task.tid, _image(task.process.pid))

    def _replaced(self, task: Task) -> None:
        """At a later call: if the exec has succeeded, name the process again."""
        process = task.process
        assert process.replacing is not None
        caller, before = process.replacing
        if _image(process.pid) != before:
            process.replacing = None
            # This descriptor belongs to the address space that the exec has discarded.
            process.memory.close()
            process.runs_our_python = process.looked_at = False
            process.reader, process.interpreter = None, 0
            if process.pid != self.pid:
                process.label = None
        elif caller == task.tid:
            process.replacing = None  # It failed: the caller goes on in the same program.

    def place(self, task: Task) -> Place:
        """The name of the stream of ``task``, which is numbered at its first call."""
        process = task.process
        if process.label is None:
            process.label = self._name(process)
        if task.thread is None:
            if task.tid == process.pid:
                task.thread = 0
            else:
                # Numbered in the order of first operations: the kernel's thread numbers differ between runs.
                process.threads += 1
                task.thread = process.threads
        return Place(self.run, process.label, task.thread)

    def _name(self, process: Process) -> str:
        program = _FORKED
        if _image(process.pid) != self._main_image:
            program = _UNSAFE.sub("_", comm(process.pid))
        self._names[program] = ordinal = self._names.get(program, 0) + 1
        return f"{program or '_'}~{ordinal}"

    def stack(self, task: Task) -> tuple[Frame, ...]:
        """The Python frames of a waiting thread, innermost first; empty if it runs no readable Python."""
        process, python = task.process, self._python
        if not process.runs_our_python:
            return self._stack_of_executed(task)
        if not python.state:
            return ()
        if process.reader is None:
            process.reader = StackReader(process.memory, stack.calibrate())
        # The record of the first thread never moves.
        if task.tid == self.pid:
            task.state = python.state
        elif not (task.state and process.reader.is_thread(task.state, task.tid)):
            # Records come and go with threads, and a fork keeps only one.
            task.state = process.reader.find_thread(python.interpreter, task.tid)
        return process.reader.of_thread(task.state, self._boundary) if task.state else ()

    def _stack_of_executed(self, task: Task) -> tuple[Frame, ...]:
        """The stack in an executed program that is an interpreter, ours or another."""
        process = task.process
        if not process.looked_at:
            process.looked_at, process.python = True, interpreters.of(process.pid)
        if process.python is None:
            return ()
        # Repeat until it exists: the first calls come from the loader, before Python starts.
        if not process.interpreter:
            process.interpreter = process.python.record(process.pid, process.memory)
        if not process.interpreter:
            return ()
        if process.reader is None:
            process.reader = StackReader(process.memory, process.python.layout)
        if not (task.state and process.reader.is_thread(task.state, task.tid)):
            task.state = process.reader.find_thread(process.interpreter, task.tid)
        # Up to the outermost frame, since none is ours.
        return process.reader.of_thread(task.state, 0) if task.state else ()

    @cached_property
    def _python(self) -> Whereabouts:
        """The addresses of the interpreter's records, the same in the workload's process as here."""
        return stack.whereabouts()

    def waiting(self) -> dict[int, str]:
        """The kernel function that each thread is blocked in.

        Must be called before the threads are stopped, else it only shows the stop.
        """
        places = {}
        for pid in list(self.processes):
            for tid in processes.threads(pid):
                where = processes.read(f"/proc/{tid}/wchan").decode(errors="replace").strip("\0 \n0")
                places[tid] = f", in {where}" if where else ""
        return places

    def stacks(self, waiting: dict[int, str]) -> str:
        """The stacks of all threads of all processes as text, for a run that hangs."""
        lines = []
        for process in list(self.processes.values()):
            for tid in processes.threads(process.pid):
                # List even unreadable threads: their existence may be the clue.
                frames: tuple[Frame, ...] = ()
                with contextlib.suppress(Unreadable):
                    task = self.task(tid)
                    frames = self.stack(task) if task is not None else ()
                lines.append(f"process {process.pid} thread {tid} ({comm(tid)}{waiting.get(tid, '')})")
                lines += [f"  {frame}" for frame in frames] or ["  no Python stack"]
        return "\n".join(lines)

    def close(self) -> None:
        for pid in list(self.processes):
            self.forget(pid)
        self._forget_sessions(self._sessions)


def _in_use() -> set[int]:
    """The numbers of all processes on this machine and of their sessions."""
    running = processes.all_processes()
    found = set(running)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getsid(pid))
    return found


def comm(tid: int) -> str:
    """The name of a thread's program, which unlike its number is the same in every run."""
    return processes.read(f"/proc/{tid}/comm").decode(errors="replace").strip() or "?"


def status(tid: int) -> dict[str, bytes]:
    """The fields of ``/proc/TID/status`` that we use."""
    return {match[0].decode(): match[1] for match in _STATUS.findall(processes.read(f"/proc/{tid}/status"))}


def _image(pid: int) -> tuple[bytes, str]:
    """An identity of a process's program: a fork keeps it, an exec changes it.

    The auxiliary vector holds addresses that the kernel draws again at each exec (getauxval(3)).
    """
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        program = ""
    return processes.read(f"/proc/{pid}/auxv"), program


def offspring(before: set[int], main: int) -> list[int]:
    """The workload's processes that are our children: the first, and orphans.

    Another child of the test process may have left an orphan too, but that does not have our filter.
    """
    candidates = processes.children() - before
    if not candidates:
        return []
    # This process may itself be under a container's filters.
    own = _filters(os.getpid())
    return sorted(pid for pid in candidates if pid == main or _filters(pid) > own)


def end_all(before: set[int], main: int) -> None:
    """Kill and collect until nothing is left: the children of a dead process become ours, and so on."""
    while remaining := offspring(before, main):
        for pid in remaining:
            os.kill(pid, signal.SIGKILL)
        for pid in remaining:
            os.waitpid(pid, 0)


def is_fatal(pid: int, number: int) -> bool:
    """Return True if a signal kills a process at once: it is neither caught, ignored nor blocked."""
    if number in _HARMLESS_SIGNALS:
        return False
    fields = status(pid)
    taken = (int(fields.get(name, b"0"), 16) for name in ("SigBlk", "SigIgn", "SigCgt"))
    return not any(signals >> (number - 1) & 1 for signals in taken)


def _filters(pid: int) -> int:
    """How many seccomp filters a process has; a large number if the kernel does not say."""
    return int(status(pid).get("Seccomp_filters", b"999"))
