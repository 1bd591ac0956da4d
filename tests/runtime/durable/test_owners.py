"""An owner is one process, and is never taken for another one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from chaoskit.runtime.durable import owners
from chaoskit.runtime.durable.owners import Owner, lives, this_owner


def owner_of_a_child(ends: bool) -> tuple[subprocess.Popen[bytes], Owner]:
    """A child process that waits for its input to end, and its name as an owner."""
    code = (
        "import sys; from chaoskit.runtime.durable.owners import this_owner\n"
        "print(this_owner(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    owner = Owner.parse(child.stdout.readline().decode().strip())
    assert owner is not None
    if ends:
        child.communicate()
    return child, owner


def test_this_process_lives() -> None:
    """The caller is alive, and its name reads back as the same owner."""
    assert lives(this_owner())
    assert Owner.parse(str(this_owner())) == this_owner()


def test_a_process_lives_until_it_ends() -> None:
    """Another process is alive while it runs, and dead afterwards."""
    child, owner = owner_of_a_child(ends=False)
    assert lives(owner)
    child.communicate()
    assert lives(owner) is False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_number_that_was_given_away_again_is_another_owner() -> None:
    """A process with the same number that started at another time is not the owner."""
    assert lives(replace(this_owner(), started=this_owner().started - 1)) is False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_that_nobody_has_collected_is_dead() -> None:
    """A zombie holds nothing any more."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert owners._started(child) == -1
        assert lives(Owner(this_owner().world, child, 1)) is False
    finally:
        os.waitpid(child, 0)


def test_a_process_of_another_world_cannot_be_asked() -> None:
    """There is no telling about another boot, machine or container."""
    assert lives(replace(this_owner(), world="00000000")) is None


def test_without_proc_the_number_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the start of a process is not known, one with that number counts as the owner."""
    monkeypatch.setattr(owners, "_started", lambda pid: None)
    assert lives(replace(this_owner(), started=0))
    child, owner = owner_of_a_child(ends=True)
    assert lives(owner) is False
    assert child.returncode == 0


def test_a_forked_child_is_another_owner() -> None:
    """The child does not inherit the name of its parent."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(this_owner()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with open(read, "rb") as file:
        owner = Owner.parse(file.read().decode())
    assert owner is not None
    assert (owner.pid, owner.world) == (child, this_owner().world)


@pytest.mark.parametrize("text", ["", "x" * 35, "0" * 34, "0" * 36, "0" * 34 + "a"])
def test_other_text_is_no_owner(text: str) -> None:
    """Only what str() writes is read."""
    assert Owner.parse(text) is None
