"""Finds Python's records in a process that was executed: a command, or a child that has called exec.

A fork has our addresses. An executed program has others, since the kernel draws new ones. But all processes
of one interpreter map the same file, and a record is at the same distance from the beginning of that file in
each.

Only the interpreter itself knows that distance and the layout of its frames. So another interpreter than ours
is run once to look at itself, as ours has done.
"""

from __future__ import annotations

import ast
import ctypes
import os
import re
import subprocess
import time
from dataclasses import dataclass
from functools import cache

from chaoskit.inject.kernel.workload import layout, stack
from chaoskit.inject.kernel.workload.layout import Layout
from chaoskit.inject.kernel.workload.memory import Memory

_RUNTIME_BYTES = 1 << 16
"""How far into the runtime's record we search the address of the first interpreter."""
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
"""Names of interpreters. A program that merely embeds one is not run: it may do anything."""
_PATIENCE = 20.0
"""Seconds that an interpreter has to look at itself; it needs a third of a second."""
_BEGUN = time.time()
_LOOK = "import sys; sys.path.insert(0, {place!r}); from {module} import tell; tell()"


@dataclass(frozen=True, slots=True)
class Home:
    """Where to find the interpreter's record: the mapped file, and the distance from its beginning."""

    file: bytes
    distance: int


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What we need to read the stacks of processes that run one interpreter."""

    home: Home
    layout: Layout

    def record(self, pid: int, memory: Memory) -> int:
        """The address of the interpreter's record in a process; 0 while the interpreter starts."""
        begin = _begin_of(pid, self.home.file)
        return 0 if begin is None else memory.word(begin + self.home.distance) or 0


def of(pid: int) -> Interpreter | None:
    """The interpreter that a process runs; None for another program or an unreadable interpreter.

    Another interpreter than ours is run if it existed before the run; one that a workload has made is not.
    """
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        if program == os.readlink("/proc/self/exe"):
            return _ours()
        facts = os.stat(program)
    except OSError:
        return None
    if _PYTHON.fullmatch(os.path.basename(program)) is None or facts.st_ctime >= _BEGUN:
        return None
    return looked_at(program, facts.st_mtime_ns)


def tell() -> None:
    """Print what :func:`of` must know about the interpreter that runs this."""
    found = _ours()
    print(None if found is None else (found.home.file, found.home.distance, layout.written(found.layout)))


@cache
def looked_at(program: str, changed: int) -> Interpreter | None:
    """What the interpreter ``program`` tells about itself; None if it cannot.

    ``changed`` distinguishes it from earlier files of the same name.
    """
    # The directory of the package: the modules of this layer need only the standard library.
    place = os.path.abspath(__file__).removesuffix(os.path.join(*__name__.split(".")) + ".py")
    # Isolated from the user's packages and variables, and without writing byte code beside our modules.
    command = [program, "-I", "-S", "-B", "-c", _LOOK.format(place=place, module=__name__)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True, cwd="/")
        file, distance, values = ast.literal_eval(done.stdout.decode())
        return Interpreter(Home(file, distance), layout.read(values))
    except (OSError, ValueError, TypeError, SyntaxError, subprocess.SubprocessError):
        # It is too old for us, not what its name says, or unreadable.
        return None


@cache
def _ours() -> Interpreter | None:
    """The interpreter of this process; None if it hides its runtime, or cannot be read."""
    known = stack.calibrate()
    try:
        runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except ValueError:
        return None
    memory = Memory(os.getpid())
    try:
        blob = memory.read(runtime, _RUNTIME_BYTES)
    finally:
        memory.close()
    offset = blob.find(layout.interpreter().to_bytes(8, "little"))
    found = _file_at(runtime)
    if known.missing or offset < 0 or found is None:
        return None
    file, begin = found
    return Interpreter(Home(file, runtime + offset - begin), known)


def _file_at(address: int) -> tuple[bytes, int] | None:
    """The file mapped at an address of this process, as device and inode, and where it begins."""
    for line in _maps("self"):
        begin, end = (int(part, 16) for part in line.split(None, 1)[0].split(b"-"))
        if begin <= address < end:
            file = _file(line)
            first = _begin_of("self", file)
            return None if first is None else (file, first)
    return None


def _begin_of(pid: int | str, file: bytes) -> int | None:
    """The lowest address where a process has a file mapped."""
    found = (int(line.split(b"-", 1)[0], 16) for line in _maps(pid) if _file(line) == file)
    return min(found, default=None)


def _file(line: bytes) -> bytes:
    """Device and inode in a line of maps (proc(5)), since a link may give the file another name."""
    return b" ".join(line.split(None, 5)[3:5])


def _maps(pid: int | str) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            return maps.read().splitlines()
    except OSError:
        return []
