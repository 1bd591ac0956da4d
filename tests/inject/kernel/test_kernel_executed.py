"""A program that is written in Python has its Python line, however it was started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel.workload import interpreters

Run = Callable[..., Ran]

PROGRAM = """
import os, threading

def save(name):
    with open(name, "w") as file:
        file.write("x")

class Store:
    def put(self):
        save("a")

Store().put()
thread = threading.Thread(target=save, args=("b",))
thread.start()
thread.join()
if not os.fork():
    save("c")
    os._exit(0)
os.wait()
"""


def others() -> list[str]:
    """Pythons of other versions that run here as they are."""
    names = [f"3.{minor}" for minor in range(11, 16) if minor != sys.version_info.minor]
    beside = [os.path.join(os.path.dirname(sys.prefix), name, "bin", "python") for name in names]
    found = filter(None, map(shutil.which, [*beside, *(f"python{name}" for name in names)]))
    return [one for one in found if not subprocess.run([one, "-S", "-c", ""], capture_output=True).returncode]


OTHERS = others()


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A file outside the watched directory."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def lines(ran: Ran, name: str) -> list[tuple[str, int, str]]:
    """The stack of the first open of a file, innermost first."""
    operation = next(one for one in ran.trace.operations if one.call == "open" and one.target == name)
    return [(os.path.basename(frame.file), frame.line, frame.function) for frame in operation.stack]


def test_c9_a_command_has_its_python_line(root: str, run: Run, program: str) -> None:
    """Innermost first, to the module: in the main thread, in another one, and in a fork of the program."""
    ran = run(Command((sys.executable, program), cwd=root), record=True)
    assert ran.ok, ran.error
    name = "program.py"
    assert lines(ran, "a") == [(name, 5, "save"), (name, 10, "Store.put"), (name, 12, "<module>")]
    assert lines(ran, "b")[0] == (name, 5, "save")
    assert lines(ran, "b")[-1][0] == "threading.py"
    assert lines(ran, "c") == [(name, 5, "save"), (name, 17, "<module>")]


def test_a_program_that_a_function_starts_has_it_too(root: str, run: Run, program: str) -> None:
    """A fork that has executed the interpreter, beside one that has not."""

    def work() -> None:
        os.chdir(root)
        with open("own", "w"):
            pass
        subprocess.run([sys.executable, program], check=True)

    ran = run(work, record=True)
    assert ran.ok, ran.traceback
    assert lines(ran, "own")[0][0] == "test_kernel_executed.py"
    assert lines(ran, "a")[0] == ("program.py", 5, "save")


def test_a_program_in_another_language_has_none(root: str, run: Run) -> None:
    """The twin: a shell has no Python line, and costs no search for one."""
    ran = run(Command(("sh", "-c", "printf x > a"), cwd=root), record=True)
    assert ran.ok, ran.error
    assert lines(ran, "a") == []


def test_a_shell_that_becomes_python_is_seen_as_python(root: str, run: Run, program: str) -> None:
    """What a process is, is looked at again after each exec."""
    shell = f"printf x > first; exec {sys.executable} {program}"
    ran = run(Command(("sh", "-c", shell), cwd=root), record=True)
    assert ran.ok, ran.error
    assert lines(ran, "first") == []
    assert lines(ran, "a")[0] == ("program.py", 5, "save")


def another_python(directory: Path) -> str:
    """A file of its own that is a Python, as a system's is beside that of a project."""
    path = directory / "python3"
    shutil.copy(os.path.realpath(sys.executable), path)
    if subprocess.run([str(path), "-I", "-S", "-c", "import os"], capture_output=True).returncode:
        pytest.skip("a copy of this interpreter does not find its library")
    return str(path)


def test_c9_a_command_of_another_python_has_its_line(
    root: str, run: Run, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each interpreter is run once to tell how it lays out its frames."""
    python = another_python(tmp_path)
    monkeypatch.setattr(interpreters, "_BEGUN", time.time() + 60)
    ran = run(Command((python, program), cwd=root), record=True)
    assert ran.ok, ran.error
    assert lines(ran, "a")[0] == ("program.py", 5, "save")
    assert lines(ran, "c") == [("program.py", 5, "save"), ("program.py", 17, "<module>")]


@pytest.mark.parametrize("command", OTHERS)
def test_c9_every_python_of_this_machine_is_read(root: str, run: Run, program: str, command: str) -> None:
    """Of another version, too: 3.11 and later."""
    ran = run(Command((command, program), cwd=root), record=True)
    assert ran.ok, ran.error
    assert lines(ran, "a")[0] == ("program.py", 5, "save")


def test_a_python_that_came_later_is_not_run(root: str, run: Run, program: str, tmp_path: Path) -> None:
    """What a workload may have made itself is not started by the harness, whatever its name."""
    python = another_python(tmp_path)
    ran = run(Command((python, program), cwd=root), record=True)
    assert ran.ok, ran.error
    assert lines(ran, "a") == []


@pytest.mark.parametrize("answer", ["exit 3", "echo nonsense", "echo None", "echo \"(b'', 0, ())\""])
def test_a_program_that_only_has_the_name_of_a_python_is_read_as_none(tmp_path: Path, answer: str) -> None:
    """An interpreter that is too old, or none at all, costs the line and nothing else."""
    path = tmp_path / "python3"
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    assert interpreters.looked_at(str(path), 0) is None
