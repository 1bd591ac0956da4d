"""Look-ups below the root: seen with their results, struck by errnos, and never in the way of a case."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit import faults
from chaoskit.core.operation import LookupDetail, Operation
from chaoskit.core.schedule import Schedule
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.kernel import domains, interest, lookups
from chaoskit.inject.kernel.seccomp import abi

Run = Callable[..., Ran]
CALLS = ("stat", "access", "readlink", "getcwd")


def looked_up(ran: Ran) -> list[str]:
    return [str(one) for one in ran.trace if one.call in CALLS]


def prepare(root: str) -> None:
    """A file, a link to it, one that leads nowhere, and a directory."""
    with open(f"{root}/a", "wb") as file:
        file.write(b"12345")
    os.symlink("a", f"{root}/l")
    os.symlink("absent", f"{root}/dangling")
    os.mkdir(f"{root}/d")


def _statx(path: str, flags: int) -> int:
    buffer = ctypes.create_string_buffer(256)
    name = ctypes.create_string_buffer(os.fsencode(path))
    (spec,) = [one for one in lookups.SPECS if one.name == "statx"]
    number = spec.number(abi.machine())
    assert number is not None
    return abi.libc().syscall(number, abi.AT_FDCWD, name, flags, 0x7FF, buffer)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda root: os.stat(f"{root}/a").st_size, ["stat(a)#1 = 0"]),
        (lambda root: os.stat(f"{root}/l").st_size, ["stat(a)#1 = 0"]),
        (lambda root: os.lstat(f"{root}/l").st_size, ["stat(l)#1 = 0"]),
        (lambda root: os.path.exists(f"{root}/dangling"), ["stat(absent)#1 = ENOENT"]),
        (lambda root: os.path.isdir(root), ["stat(.)#1 = 0"]),
        (lambda root: _statx(f"{root}/a", 0), ["stat(a)#1 = 0"]),
        (lambda root: _statx(f"{root}/l", abi.AT_SYMLINK_NOFOLLOW), ["stat(l)#1 = 0"]),
        (lambda root: os.access(f"{root}/a", os.R_OK), ["access(a)#1 = 0"]),
        (lambda root: os.access(f"{root}/no", os.F_OK), ["access(no)#1 = ENOENT"]),
        (lambda root: os.access(f"{root}/l", os.F_OK, follow_symlinks=False), ["access(l)#1 = 0"]),
        (lambda root: os.readlink(f"{root}/l"), ["readlink(l)#1 = 1"]),
        (lambda root: os.readlink(f"{root}/dangling"), ["readlink(dangling)#1 = 6"]),
        (lambda root: os.path.lexists(f"{root}/a/x"), ["stat(a/x)#1 = ENOTDIR"]),
    ],
)
def test_a_look_up_is_seen_with_its_result(
    root: str, run: Run, look: Callable[[str], Any], expected: list[str]
) -> None:
    """Under the name of what is looked at, and the workload gets the answer that it gets without us."""
    prepare(root)
    ran = run(lambda: look(root), record=True)
    assert ran.value == look(root)
    assert looked_up(ran) == expected


def test_names_are_looked_up_from_where_the_caller_stands(root: str, run: Run) -> None:
    """From its working directory, and from a directory's descriptor."""
    prepare(root)

    def work() -> list[int]:
        os.chdir(root)
        directory = os.open("d", os.O_RDONLY)
        found = [os.stat("a").st_size, os.stat("../a", dir_fd=directory).st_size]
        os.close(directory)
        return found

    ran = run(work, record=True)
    assert ran.value == [5, 5]
    assert looked_up(ran) == ["stat(a)#1 = 0", "stat(a)#2 = 0"]


def test_a8_the_working_directory_is_looked_up(root: str, run: Run) -> None:
    """``getcwd`` is a point below the root, with what it returns, and is not a point elsewhere."""
    prepare(root)

    def work() -> tuple[str, str]:
        os.chdir("/")
        elsewhere = os.getcwd()
        os.chdir(f"{root}/d")
        return elsewhere, os.getcwd()

    ran = run(work, record=True)
    assert ran.value == ("/", f"{root}/d")
    assert looked_up(ran) == [f"getcwd(d)#1 = {len(os.fsencode(root)) + 3}"]


def test_a8_a_working_directory_that_is_gone_has_no_name(root: str, run: Run) -> None:
    """What the kernel will say is known beforehand, the error included."""
    prepare(root)

    def work() -> int | None:
        os.chdir(f"{root}/d")
        os.rmdir(f"{root}/d")
        try:
            os.getcwd()
        except OSError as error:
            return error.errno
        return None

    ran = run(work, record=True)
    assert ran.value == errno.ENOENT
    assert looked_up(ran) == ["getcwd(d)#1 = ENOENT"]


def test_what_looks_nothing_up_is_no_operation(root: str, run: Run) -> None:
    """A descriptor that is asked for its status, and names elsewhere, are nothing to strike."""
    prepare(root)

    def work() -> int:
        os.path.exists("/")
        with open(f"{root}/a") as file:
            return os.fstat(file.fileno()).st_size

    assert looked_up(run(work, record=True)) == []


def test_the_record_of_a_look_up_says_what_was_asked(root: str, run: Run) -> None:
    """A look-up records if links were followed, and the mode of access(2), and nothing that files have."""
    prepare(root)
    ran = run(lambda: (os.lstat(f"{root}/l"), os.access(f"{root}/a", os.W_OK)), record=True)
    assert [one.detail for one in ran.trace if one.call in CALLS] == [
        LookupDetail(follow=False),
        LookupDetail(follow=True, mode=os.W_OK),
    ]
    assert [one.file.inode for one in ran.trace if one.call in CALLS] == [None, None]


@pytest.mark.parametrize(
    ("point", "look"),
    [
        ("stat(a)", lambda root: os.stat(f"{root}/l")),
        ("stat(l)", lambda root: os.lstat(f"{root}/l")),
        ("readlink(l)", lambda root: os.readlink(f"{root}/l")),
        ("getcwd(d)", lambda root: (os.chdir(f"{root}/d"), os.getcwd())),
    ],
)
@pytest.mark.parametrize("name", ["EACCES", "EIO"])
def test_an_error_strikes_one_look_up(
    root: str, run: Run, point: str, look: Callable[[str], Any], name: str
) -> None:
    """The second of three fails, with a receipt."""
    prepare(root)

    def work() -> list[int]:
        found = []
        for _ in range(3):
            try:
                look(root)
                found.append(0)
            except OSError as error:
                found.append(error.errno or 0)
        return found

    ran = run(work, f"{point}#2={name}")
    assert ran.value == [0, getattr(errno, name), 0]
    assert [receipt.effect for receipt in ran.receipts] == [f"answered {name}"]


def test_exists_is_false_for_what_cannot_be_looked_up(root: str, run: Run) -> None:
    """What makes this family worth striking: to Python EACCES and absence look the same."""
    prepare(root)
    assert run(lambda: os.path.exists(f"{root}/a"), "stat(a)#1=EACCES").value is False


def test_access_is_refused(root: str, run: Run) -> None:
    """access(2) gives the errno, of which os.access makes False."""
    prepare(root)
    ran = run(lambda: os.access(f"{root}/a", os.R_OK), "access(a)#1=EIO")
    assert (ran.value, len(ran.receipts)) == (False, 1)


def test_what_cannot_be_done_to_a_look_up_is_said(root: str, run: Run) -> None:
    """It transfers nothing and has no effect that could be lost: the call goes on, with a caveat."""
    prepare(root)
    for fault in ("short[1]", "lost[EIO]", "full[0]", "kill[torn 1]"):
        ran = run(lambda: os.stat(f"{root}/a").st_size, f"stat(a)#1={fault}")
        assert (ran.value, ran.receipts) == (5, ())
        assert [caveat.kind for caveat in ran.caveats] == ["not-injected"]


@pytest.mark.parametrize("fault", ["kill", "SIGTERM"])
def test_kills_and_signals_strike_at_a_look_up(root: str, run: Run, fault: str) -> None:
    """What every call can be struck by, this one can, when a schedule says so."""
    prepare(root)
    ran = run(lambda: os.stat(f"{root}/a"), f"stat(a)#1={fault}")
    assert ran.signal is not None
    assert len(ran.receipts) == 1


def test_an_error_that_stays_is_answered_at_this_name_alone(root: str, run: Run) -> None:
    """A schedule that was typed by hand may say so; the first is struck and the rest of the world goes on."""
    prepare(root)

    def work() -> list[bool]:
        return [os.path.exists(f"{root}/{name}") for name in ("a", "d", "a")]

    ran = run(work, "stat(a)#1=EACCES[persistent]")
    # The catalogue says that this trouble is over with the call.
    assert ran.value == [False, True, True]


def test_a_case_stops_no_look_up_that_is_not_struck(root: str, backend: Any) -> None:
    """A write that fails is no reason to stop a stat, and neither is a disk that is broken for good."""

    def families(schedule: str) -> frozenset[str]:
        found = interest.at_any_time(Plan(root, strikes=Schedule.parse(schedule).strikes), False)
        assert found is not None
        return found

    for schedule in ("write(a)#1=EIO", "write(a)#1=EIO[persistent]", "open(a)#1=EACCES[persistent]"):
        assert families(schedule).isdisjoint(CALLS)
    assert families("stat(a)#1=EACCES") == {"stat"}


def test_each_look_up_that_succeeded_is_offered_one_error() -> None:
    """Programs ask all the time, and one error tells absence from ignorance; a failed one teaches no more."""
    found = Operation(0, "stat", "a", result=0, syscall="newfstatat")
    absent = Operation(1, "stat", "b", result=-errno.ENOENT, syscall="newfstatat")
    trace: Any = (found, absent)
    assert [str(fault) for fault in faults.disk().offers(found, trace)] == ["EACCES"]
    assert list(faults.disk().offers(absent, trace)) == []
    others = faults.kill() | faults.signal("SIGTERM") | faults.delay(0.1) | faults.power_loss()
    assert list(others.offers(found, trace)) == []


def test_a_program_that_is_another_user_is_recorded_without_results(root: str, run: Run) -> None:
    """Its rights are others, so what it will be told is not known; it is told the truth all the same."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    prepare(root)
    os.chmod(root, 0o700)
    code = "import os, sys; os.setuid(65534); print(os.path.exists(sys.argv[1]))"

    def work() -> str:
        command = [sys.executable, "-S", "-c", code, f"{root}/a"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    ran = run(work, record=True)
    assert ran.value == "False"
    theirs = [one for one in ran.trace if one.call == "stat" and one.target == "a"]
    assert [one.result for one in theirs] == [None]


def test_look_ups_stand_beside_files() -> None:
    """They are a domain of their own, and share no call with another."""
    assert lookups.Lookups in domains.DOMAINS
    others = {spec.name for one in domains.DOMAINS if one is not lookups.Lookups for spec in one.specs}
    assert others.isdisjoint(spec.name for spec in lookups.SPECS)
