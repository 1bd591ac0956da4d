"""The processes and threads of one workload: who they are, how they are named, how they are killed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

from chaoskit.core.operation import Frame, Place
from chaoskit.inject.kernel.memory import Memory
from chaoskit.inject.kernel.stack import Layout, StackReader

_STATUS = re.compile(rb"^(Tgid|PPid|Umask|Uid|Gid):\s*(.*)$", re.MULTILINE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")
_FORKED = "child"


class Process:
    """One process of the workload. ``label`` is None until its first operation names it."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.memory = Memory(pid)
        self.label: str | None = None
        self.threads = 0
        self.reader: StackReader | None = None
        self.runs_our_python = False

    def close(self) -> None:
        self.memory.close()
        os.close(self.pidfd)


class Task:
    """One thread. ``descriptors`` is a directory descriptor on its table of open files."""

    def __init__(self, tid: int, process: Process) -> None:
        self.tid = tid
        self.process = process
        self.descriptors = os.open(f"/proc/{tid}/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.thread: int | None = None
        self.state: int | None = None
        """Address of the interpreter's record of this thread; 0 when there is none."""

    def link(self, fd: int) -> str | None:
        """What descriptor ``fd`` refers to, as the kernel spells it; None if it is not open."""
        try:
            return os.readlink(str(fd), dir_fd=self.descriptors)
        except OSError:
            return None

    def close(self) -> None:
        os.close(self.descriptors)


class Tree:
    """All processes that were seen at a call, from the first one on."""

    def __init__(self, pid: int, main_state: int, layout: Layout, boundary: int, run: int) -> None:
        self.pid = pid
        self._main_state = main_state
        self._layout = layout
        self._boundary = boundary
        self._run = run
        self._names: dict[str, int] = {}
        self._tasks: dict[int, Task] = {}
        self.processes: dict[int, Process] = {}
        self.arrivals: list[Process] = []
        """Processes that were met since the list was last emptied; the supervisor watches them."""
        self._main_cmdline = _read(f"/proc/{pid}/cmdline")
        self.main = self._process(pid)
        self.main.label = ""

    def task(self, tid: int) -> Task | None:
        """The thread ``tid``; None if it is gone already."""
        task = self._tasks.get(tid)
        if task is None:
            try:
                task = Task(tid, self._process(int(status(tid).get("Tgid", b"0"))))
            except (OSError, ValueError):
                return None
            self._tasks[tid] = task
        return task

    def _process(self, pid: int) -> Process:
        process = self.processes.get(pid)
        if process is None:
            process = self.processes[pid] = Process(pid, os.pidfd_open(pid))
            process.reader = StackReader(process.memory, self._layout)
            process.runs_our_python = _read(f"/proc/{pid}/cmdline") == self._main_cmdline
            self.arrivals.append(process)
        return process

    def forget(self, pid: int) -> None:
        """Drop a process that has ended: its numbers may be given to others now."""
        process = self.processes.pop(pid, None)
        if process is not None:
            for tid in [tid for tid, task in self._tasks.items() if task.process is process]:
                self._tasks.pop(tid).close()
            process.close()

    def replaced(self, task: Task) -> None:
        """A process is about to run another program: name it again at its next operation."""
        process = task.process
        process.memory.close()
        process.runs_our_python = False
        if process.pid != self.pid:
            process.label = None

    def place(self, task: Task) -> Place:
        """The name of the stream that ``task`` is; numbers are given at the first call."""
        process = task.process
        if process.label is None:
            process.label = self._name(process)
        if task.thread is None:
            if task.tid == process.pid:
                task.thread = 0
            else:
                process.threads += 1
                task.thread = process.threads
        return Place(self._run, process.label, task.thread)

    def _name(self, process: Process) -> str:
        program = _FORKED
        if _read(f"/proc/{process.pid}/cmdline") != self._main_cmdline:
            program = _UNSAFE.sub("_", _read(f"/proc/{process.pid}/comm").decode(errors="replace").strip())
        self._names[program] = ordinal = self._names.get(program, 0) + 1
        return f"{program or '_'}~{ordinal}"

    def stack(self, task: Task) -> tuple[Frame, ...]:
        """The Python frames of a waiting thread, innermost first; empty if it runs none of ours."""
        process = task.process
        if not process.runs_our_python or process.reader is None:
            return ()
        if task.state is None:
            if task.tid == process.pid:
                task.state = self._main_state
            else:
                task.state = process.reader.find_thread(self._main_state, task.tid) or 0
        return process.reader.of_thread(task.state, self._boundary) if task.state else ()

    def stacks(self) -> str:
        """All threads of all processes as text, for a run that hangs."""
        lines = []
        for process in list(self.processes.values()):
            for tid in _threads(process.pid):
                task = self.task(tid)
                frames = self.stack(task) if task is not None else ()
                where = _read(f"/proc/{tid}/wchan").decode(errors="replace").strip("\0 \n0")
                name = _read(f"/proc/{tid}/comm").decode(errors="replace").strip()
                lines.append(f"process {process.pid} thread {tid} ({name}{', in ' + where if where else ''})")
                lines += [f"  {frame}" for frame in frames] or ["  no Python stack"]
        return "\n".join(lines)

    def close(self) -> None:
        for pid in list(self.processes):
            self.forget(pid)


def status(tid: int) -> dict[str, bytes]:
    """The fields of ``/proc/TID/status`` that are of use here."""
    return {match[0].decode(): match[1] for match in _STATUS.findall(_read(f"/proc/{tid}/status"))}


def open_files(pid: int) -> frozenset[int]:
    """The numbers of the descriptors that a process has open."""
    try:
        return frozenset(map(int, os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return frozenset()


def _threads(pid: int) -> list[int]:
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def _read(path: str) -> bytes:
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


def children() -> set[int]:
    """The processes that are children of this one now, zombies included."""
    found: set[int] = set()
    for tid in _threads(os.getpid()):
        found.update(map(int, _read(f"/proc/self/task/{tid}/children").split()))
    return found


def orphans(before: set[int], main: int) -> Iterator[int]:
    """Processes of the workload that outlived their parent and became children of this process."""
    yield from sorted(children() - before - {main})


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
