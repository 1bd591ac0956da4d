"""Programs as workloads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject.base import Command, CommandFailed, Completed, Ran

Run = Callable[..., Ran]


def test_a_command_gets_stdin_directory_and_environment(
    root: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is given is what it has; output and status are what it left."""
    os.mkdir(f"{root}/d")
    command = Command(
        ("/bin/sh", "-c", "cat; pwd; echo $X$HOME; echo no >&2"),
        cwd=f"{root}/d",
        env={"X": "x"},
        stdin=b"in\n",
    )
    ran = run(command)
    assert ran.ok
    assert ran.value == Completed(command.argv, 0, f"in\n{root}/d\nx\n".encode(), b"no\n")
    assert ran.promised == ("in", f"{root}/d", "x")


def test_a_command_inherits_what_it_is_not_given(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment of its own it has the test's, and an empty standard input."""
    monkeypatch.setenv("CHAOSKIT_PROBE", "inherited")
    assert run(Command(("sh", "-c", "cat; echo $CHAOSKIT_PROBE"))).value.stdout == b"inherited\n"


def test_a_command_that_fails_is_an_error_with_its_output(run: Run) -> None:
    """The status and the end of standard error are in the message."""
    ran = run(Command(("sh", "-c", "echo out; echo why >&2; exit 7")))
    assert (ran.ok, ran.signal) == (False, None)
    assert isinstance(ran.error, CommandFailed)
    assert "ended with status 7: why" in str(ran.error)
    assert ran.value.returncode == 7


def test_a_command_that_does_not_exist_is_an_error(run: Run) -> None:
    """A missing program is told as Python tells it."""
    assert isinstance(run(Command(("no-such-program",))).error, FileNotFoundError)


def test_a_directory_that_does_not_exist_is_an_error(run: Run, root: str) -> None:
    """So is a missing working directory."""
    assert isinstance(run(Command(("true",), cwd=f"{root}/none")).error, FileNotFoundError)


def test_a_command_that_dies_is_known_by_its_signal(run: Run) -> None:
    """The signal is that of the program."""
    assert run(Command(("sh", "-c", "kill -SEGV $$"))).signal == signal.SIGSEGV


def test_much_output_does_not_block(run: Run) -> None:
    """More than a pipe holds is read while the command runs, and 1 MiB of each stream is kept."""
    script = (
        "import sys; sys.stdout.buffer.write(b'o' * (3 << 20)); sys.stderr.buffer.write(b'e' * (3 << 20))"
    )
    ran = run(Command((sys.executable, "-c", script)))
    assert ran.ok
    assert (len(ran.value.stdout), len(ran.value.stderr)) == (1 << 20, 1 << 20)


def test_output_is_bytes_and_promises_are_text(run: Run) -> None:
    """Any bytes come back as they are; a promise of bytes that do not decode is still reported exactly."""
    ran = run(Command(("printf", r"a\377b\0c\nrest")))
    assert ran.value.stdout == b"a\xffb\0c\nrest"
    assert [os.fsencode(line) for line in ran.promised] == [b"a\xffb\0c"]


def test_a_line_in_two_writes_is_one_promise(run: Run) -> None:
    """What is promised is the line, when it is complete."""
    script = "import os; os.write(1, b'on'); os.write(1, b'e\\ntw'); os.write(1, b'o\\n')"
    assert run(Command((sys.executable, "-c", script))).promised == ("one", "two")


def test_many_promises_in_one_write_are_in_order(run: Run, root: str) -> None:
    """A kill at the third of five lines keeps three promises, and the write does not happen."""
    command = Command(("printf", r"1\n2\n3\n4\n5\n"))
    assert run(command).promised == ("1", "2", "3", "4", "5")
    killed = run(command, "promise()#3=kill")
    assert killed.promised == ("1", "2", "3")
    assert killed.signal == signal.SIGKILL


def test_very_many_promises_in_one_write_are_taken(run: Run) -> None:
    """The number of lines has no bound but the write's size."""
    ran = run(Command((sys.executable, "-c", "import os; os.write(1, b'x\\n' * 20000)")))
    assert len(ran.promised) == 20000


def test_output_need_not_be_promises(run: Run) -> None:
    """promise_stdout=False takes output as output."""
    ran = run(Command(("echo", "one"), promise_stdout=False))
    assert (ran.promised, ran.value.stdout) == ((), b"one\n")


def test_output_that_goes_elsewhere_is_no_promise(run: Run, root: str) -> None:
    """Only the command's own standard output promises."""
    ran = run(Command(("sh", "-c", "echo file > f; echo err >&2; echo pipe | cat > /dev/null"), cwd=root))
    assert ran.promised == ()


def test_a_hung_command_is_stopped(hung: Callable[..., Ran]) -> None:
    """The time limit ends a command too, and says where it hung."""
    ran = hung(Command(("sh", "-c", "sleep 100; true")), lambda ran: "sleep" in ran.stacks)
    assert ran.timed_out
    assert "sleep" in ran.stacks


def test_what_a_command_leaves_behind_is_named_and_killed(run: Run) -> None:
    """Background processes that hold its output do not keep the run from ending."""
    ran = run(Command(("sh", "-c", "sleep 100 & echo $!")))
    assert ran.ok
    assert ["sleep 100" in name for name in ran.leaks.processes] == [True]
    assert not os.path.exists(f"/proc/{ran.promised[0]}")


def test_programs_are_named_by_what_they_run(run: Run, root: str) -> None:
    """Processes have the name of their program and count among equals."""
    ran = run(Command(("sh", "-c", "mkdir a; mkdir b; rmdir a"), cwd=root), record=True)
    # A shell asks for its own directory when it starts, in whichever way.
    looks = ("stat", "getcwd")
    assert [(str(one), one.place.process) for one in ran.trace if one.call not in looks] == [
        ("mkdir(a)#1 = 0", "mkdir~1"),
        ("mkdir(b)#1 = 0", "mkdir~2"),
        ("rmdir(a)#1 = 0", "rmdir~1"),
    ]


def test_a_command_can_be_a_script_without_a_program_name_of_its_own(run: Run, root: str, disk: Any) -> None:
    """A script is run by its interpreter, as anywhere."""
    path = f"{disk}/script"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\nmkdir {root}/d\n")
    os.chmod(path, 0o755)
    assert run(Command((path,))).ok
    assert os.path.isdir(f"{root}/d")
