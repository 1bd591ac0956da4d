"""What every backend must do. A backend that passes can be used by every front and for every scenario."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import ScheduleError, UsageError
from chaoskit.core.operation import FileDetail
from chaoskit.core.schedule import Fault, Schedule
from chaoskit.faults import inner, timing, traffic
from chaoskit.faults.calls import FAMILIES
from chaoskit.faults.shapes import FORMS, shape_of
from chaoskit.inject import backends, channel, processes
from chaoskit.inject.base import Backend, Command, CommandFailed, Ran, WorkloadError

Run = Callable[..., Ran]


def write(root: str, name: str = "a", data: bytes = b"12345678") -> int:
    """Write a file with as few calls as can be; returns how many bytes were written."""
    fd = os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


# What it says of itself.


def test_it_is_called_by_the_name_it_is_listed_under(backend: Backend) -> None:
    """Reports and options say the same name."""
    assert backend.name in backends.NAMES
    assert type(backends.backend(backend.name)) is type(backend)


def test_it_works_exactly_if_all_that_it_needs_is_there(backend: Backend) -> None:
    """The doctor and the fronts come to the same answer, and each check says what was seen."""
    checks = backend.examine()
    assert backend.unavailable() is None
    assert all(check.ok for check in checks if check.needed)
    assert all(check.name and check.detail for check in checks)
    assert all(check.hint for check in checks if not check.ok)


INSIDE = (inner.AllocationFails, inner.Interrupted, inner.Cancelled, inner.MemoryLimited, inner.LargestKilled)
ON_THE_WIRE = (traffic.Dropped, traffic.Down)
OF_TIME = (timing.Drifting, timing.Repeated, timing.Late)
UNKNOWN: dict[str, tuple[Any, ...]] = {"inprocess": (*ON_THE_WIRE, *OF_TIME, *INSIDE)}
"""Shapes of faults that a backend refuses by name, before anything runs: it sees no such operations."""


def test_it_knows_every_fault_that_backends_are_asked_for(backend: Backend) -> None:
    """The forms of the grammar with an example; what strikes no call is for the explorer alone."""
    for form in FORMS:
        for fault in map(_spelt, form.examples):
            if isinstance(shape_of(fault), UNKNOWN.get(backend.name, ())):
                with pytest.raises(ScheduleError, match=f"not known to the {backend.name} backend"):
                    backend.check(fault)
            else:
                backend.check(fault)
    with pytest.raises(ScheduleError, match=f"known to the {backend.name} backend"):
        backend.check(Fault("power_loss", "ext4"))


def _spelt(example: str) -> Fault:
    """A fault as the table of forms describes it, with numbers for its letters."""
    text = re.sub(r"^an? \w+ name such as ", "", example)
    text = re.sub(r"\b(N|K|J|PPM|MIB)(?=[],])", "7", text).replace("SECONDS", "0.5").replace("LABEL", "empty")
    name, _, argument = text.rstrip("]").partition("[")
    return Fault(name, argument)


@pytest.mark.parametrize("name", ["EFOO", "kil", "shorten", "SIGFOO"])
def test_a_fault_that_does_not_exist_is_refused_before_anything_runs(
    backend: Backend, run: Run, root: str, name: str
) -> None:
    """Silently ignored, it would pass for tolerated."""
    with pytest.raises(ScheduleError, match=f"'{name}' is not known.*expected"):
        backend.check(Fault(name))
    with pytest.raises(ScheduleError, match="is not known"):
        run(lambda: write(root), f"write(a)#1={name}")
    assert os.listdir(root) == []


def test_a_schedule_is_checked_fault_by_fault(backend: Backend) -> None:
    """The registry refuses the first bad fault and leaves power loss, which strikes no call, alone."""
    backends.check(Schedule.parse("write(a)#1=EIO; write(a)#2=power_loss[ext4]"), backend)
    with pytest.raises(ScheduleError, match="EFOO"):
        backends.check(Schedule.parse("write(a)#1=EIO; write(a)#2=EFOO"), backend)


# What comes back.


def test_a_result_comes_back(run: Run) -> None:
    """A value is the workload's own, and nothing is claimed beside it."""
    ran = run(lambda: {"n": 1})
    assert (ran.ok, ran.value, ran.error, ran.signal, ran.timed_out) == (True, {"n": 1}, None, None, False)
    assert (ran.receipts, ran.reached, ran.caveats, len(ran.trace)) == ((), 0, (), 0)


def test_an_error_comes_back_with_its_traceback(run: Run) -> None:
    """It has its class and its message, and the text names the line in the workload."""

    def work() -> None:
        raise KeyError("gone")

    ran = run(work)
    assert not ran.ok
    assert isinstance(ran.error, KeyError)
    assert "raise KeyError" in ran.traceback or "in work" in ran.traceback


def test_an_error_that_cannot_travel_is_told_by_a_stand_in(run: Run) -> None:
    """Its class's name and message are kept."""

    class Local(Exception):
        pass

    def work() -> None:
        raise Local("text")

    ran = run(work)
    assert isinstance(ran.error, WorkloadError)
    assert "Local: text" in str(ran.error)


def test_a_value_that_cannot_travel_is_wrong_use(run: Run) -> None:
    """The message says what to return instead."""
    with pytest.raises(UsageError, match="Return plain data"):
        run(lambda: lambda: None)


def test_a_death_comes_back_as_its_signal(run: Run) -> None:
    """Nothing of it is taken for an error or a value."""
    ran = run(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert (ran.ok, ran.signal, ran.error) == (False, signal.SIGKILL, None)


def test_a_workload_that_hangs_is_stopped_and_shown(run: Run) -> None:
    """With the stack at which it hung."""
    ran = run(lambda: time.sleep(100), timeout=0.5)
    assert (ran.ok, ran.timed_out) == (False, True)
    assert ran.stacks


def test_promises_are_kept_in_order(run: Run) -> None:
    """Also those of a workload that fails afterwards."""

    def work() -> None:
        channel.promise("first")
        channel.promise("second")
        raise ValueError

    assert run(work).promised == ("first", "second")


def test_nothing_of_a_workload_is_left(backend: Backend, run: Run) -> None:
    """A process that it leaves behind is named and ended; what it left open is named."""
    if backend.name == "inprocess":
        pytest.skip("it sees no other process, and says so: test_a_child_is_told")
    before = processes.children()

    def work() -> None:
        if os.fork() == 0:
            time.sleep(100)
            os._exit(0)

    ran = run(work)
    assert len(ran.leaks.processes) == 1
    assert processes.children() == before


def test_a_command_leaves_status_and_output(backend: Backend, run: Run, root: str) -> None:
    """0 is success, everything else an error that carries what it left; or commands are refused."""
    if backend.name == "inprocess":
        with pytest.raises(UsageError, match="expected a Python function"):
            run(Command((sys.executable, "-c", "")))
        return
    code = "import sys; print('out'); sys.exit(int(sys.argv[1]))"
    good = run(Command((sys.executable, "-S", "-c", code, "0"), promise_stdout=False))
    assert (good.ok, good.value.stdout) == (True, b"out\n")
    bad = run(Command((sys.executable, "-S", "-c", code, "3"), promise_stdout=False))
    assert isinstance(bad.error, CommandFailed)
    assert bad.error.completed.returncode == 3


# What is recorded.


def test_a_recording_has_what_crash_states_are_made_of(run: Run, root: str) -> None:
    """Each call on a file in order, with target, result, data, and the line of the workload."""
    ran = run(lambda: write(root), record=True)
    assert [str(one) for one in ran.trace][:2] == [f"open(a)#1 = {ran.trace[0].result}", "write(a)#1 = 8"]
    assert [one.call for one in ran.trace] == ["open", "write", "close", "end"]
    written = ran.trace[1]
    assert written.file.data is not None
    assert written.file.data.read() == b"12345678"
    assert (written.file.offset, written.file.length) == (0, 8)
    assert written.site is None or written.site.function == "write"


def test_every_operation_is_of_a_family_that_is_known(run: Run, root: str) -> None:
    """And indexes and ordinals count it where it stands."""

    def work() -> None:
        write(root)
        write(root)
        os.stat(f"{root}/a")
        os.rename(f"{root}/a", f"{root}/b")
        channel.promise(1)

    ran = run(work, record=True)
    assert {one.call for one in ran.trace} <= set(FAMILIES)
    assert [one.index for one in ran.trace] == list(range(len(ran.trace)))
    assert [one.ordinal for one in ran.trace if one.call == "write"] == [1, 2]
    assert [one.promised for one in ran.trace if one.call == "promise"] == [1]
    assert isinstance(ran.trace[0].detail, FileDetail)


def test_two_recordings_of_one_workload_are_alike(backend: Backend, run: Run, root: str) -> None:
    """Otherwise no point of one could be found in the next run."""

    def work() -> None:
        write(root)
        os.unlink(f"{root}/a")

    first, second = (run(work, record=True) for _ in range(2))
    assert list(map(str, first.trace)) == list(map(str, second.trace))


def test_what_lies_elsewhere_is_not_recorded(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A scenario is about its own directory."""
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert [one.call for one in run(lambda: write(elsewhere), record=True).trace] == ["end"]


# What strikes.


def _copy_file_range(source: int, target: int) -> int:
    return os.copy_file_range(source, target, 100, offset_src=2, offset_dst=10)


def _sendfile(source: int, target: int) -> int:
    os.lseek(target, 10, os.SEEK_SET)
    return os.sendfile(target, source, 2, 100)


@pytest.mark.parametrize("call", [_copy_file_range, _sendfile])
@pytest.mark.parametrize(("fault", "moved"), [("short[3]", 3), ("full[1]", 1), ("full[0]", -errno.ENOSPC)])
def test_a_copy_between_files_may_end_early(
    run: Run, root: str, call: Callable[[int, int], int], fault: str, moved: int
) -> None:
    """It does what it says: so many bytes, from where and to where it was asked for. A source has an end."""
    with open(f"{root}/source", "wb") as file:
        file.write(b"0123456789")

    def work() -> int:
        source, target = os.open(f"{root}/source", os.O_RDONLY), os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
        try:
            return call(source, target)
        except OSError as error:
            return -(error.errno or 0)
        finally:
            os.close(source)
            os.close(target)

    schedule = f"{call.__name__[1:]}(a)#1={fault}"
    ran = run(work, schedule)
    assert [one.strike for one in ran.receipts] == [schedule]
    assert ran.value == moved
    with open(f"{root}/a", "rb") as file:
        assert file.read() == (bytes(10) + b"23456789"[:moved] if moved > 0 else b"")


@pytest.mark.parametrize(
    ("schedule", "left", "outcome"),
    [
        ("open(a)#1=ENOSPC", None, errno.ENOSPC),
        ("write(a)#1=EIO", b"", errno.EIO),
        ("write(a)#1=short[3]", b"123", 3),
        ("write(a)#1=full[5]", b"12345", 5),
        ("write(a)#1=lost[EIO]", b"12345678", errno.EIO),
        ("close(a)#1=EIO", b"12345678", errno.EIO),
        ("write(a)#1=kill", b"", None),
        ("write(a)#1=kill[process]", b"", None),
        ("write(a)#1=kill[torn 2]", b"12", None),
        ("write(a)#1=SIGTERM", b"", None),
        ("write(a)#1=delay[0.001]", b"12345678", 8),
    ],
)
def test_each_fault_does_what_its_name_says(
    run: Run, root: str, schedule: str, left: bytes | None, outcome: int | None
) -> None:
    """The workload is told so, the disk is as it must be, and exactly one receipt names the strike."""

    def work() -> int:
        try:
            return write(root)
        except OSError as error:
            return error.errno or 0

    ran = run(work, schedule)
    assert ran.value == outcome
    assert (ran.signal is not None) == (outcome is None)
    assert [receipt.strike for receipt in ran.receipts] == [schedule]
    assert ran.receipts[0].effect
    assert ran.reached == 1
    if left is None:
        assert not os.path.exists(f"{root}/a")
    else:
        with open(f"{root}/a", "rb") as file:
            assert file.read() == left


def test_an_error_that_stays_is_met_until_the_end(run: Run, root: str) -> None:
    """By every later call that can fail in this way, under one receipt."""

    def work() -> list[int]:
        codes = []
        for name in ("a", "b", "c"):
            try:
                write(root, name)
            except OSError as error:
                codes.append(error.errno or 0)
        return codes

    ran = run(work, "open(b)#1=ENOSPC[persistent]")
    assert ran.value == [errno.ENOSPC] * 2
    assert len(ran.receipts) == 1


def test_strikes_are_due_in_order(run: Run, root: str) -> None:
    """The second is armed once the first has struck, and its ordinal is that of the whole run."""

    def work() -> list[int]:
        codes = []
        for _ in range(4):
            try:
                codes.append(write(root))
            except OSError as error:
                codes.append(-(error.errno or 0))
        return codes

    ran = run(work, "write(a)#2=EIO; write(a)#4=ENOSPC")
    assert ran.value == [8, -errno.EIO, 8, -errno.ENOSPC]
    assert (ran.reached, len(ran.receipts)) == (2, 2)


def test_what_is_not_reached_has_no_receipt(run: Run, root: str) -> None:
    """A strike that found no call is none; a fault that could do nothing is a caveat."""
    ran = run(lambda: write(root), "write(other)#1=EIO")
    assert (ran.value, ran.reached, ran.receipts) == (8, 0, ())
    ran = run(lambda: write(root), "write(a)#1=short[99]")
    assert (ran.value, ran.reached, ran.receipts) == (8, 1, ())
    assert [caveat.kind for caveat in ran.caveats] == ["not-injected"]


def test_a_look_up_can_fail(run: Run, root: str) -> None:
    """Programs that take an unknown file for an absent one are found by it."""

    def work() -> bool:
        write(root)
        return os.path.exists(f"{root}/a")

    ran = run(work, "stat(a)#1=EACCES")
    assert (ran.value, len(ran.receipts)) == (False, 1)


def test_a_kill_at_a_promise_comes_behind_it(run: Run) -> None:
    """What was promised is known, and nothing after it has happened."""

    def work() -> None:
        channel.promise("kept")
        channel.promise("never made")

    ran = run(work, "promise()#1=kill")
    assert (ran.promised, ran.signal) == (("kept",), signal.SIGKILL)
