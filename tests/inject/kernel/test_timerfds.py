"""Timer descriptors on virtual time: a timer is an open file, set through any descriptor and process."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject import processes
from chaoskit.inject.base import Plan, Ran, VirtualTime
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.clock import ability, timerfds
from chaoskit.inject.kernel.seccomp import abi

pytestmark = pytest.mark.skipif(
    ability.unavailable() is not None, reason=f"no virtual time here: {ability.unavailable()}"
)
Timed = Callable[[Callable[[], Any]], Ran]


@pytest.fixture
def timed(root: str) -> Timed:
    """Runs a workload with virtual time."""

    def run(work: Callable[[], Any]) -> Ran:
        return KernelBackend().run(work, Plan(root, timeout=30.0, time=VirtualTime()))

    return run


def made(flags: int = 0) -> int:
    return int(ctypes.CDLL(None).timerfd_create(1, flags))


def set_to(fd: int, seconds: int, period: int = 0) -> tuple[int, ...]:
    """Set a timer; return what was left of its former setting, in seconds."""
    before = (ctypes.c_long * 4)()
    assert ctypes.CDLL(None).timerfd_settime(fd, 0, (ctypes.c_long * 4)(period, 0, seconds, 0), before) == 0
    return before[0], before[2]


def expiries(fd: int) -> int:
    return int.from_bytes(os.read(fd, 8), sys.byteorder)


def in_child(work: Callable[[], int]) -> Callable[[], int]:
    """Run ``work``, which returns less than 128, in a fork; the result collects it."""
    pid = os.fork()
    if not pid:
        try:
            status = work()
        finally:
            os._exit(status)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("period", [0, 7])
def test_a_timer_goes_off_for_a_child_after_its_setter_has_closed_it(timed: Timed, period: int) -> None:
    """Set before a fork and closed by the parent: the child's reads end, which is not a hang."""

    def work() -> tuple[int, float]:
        fd, began = made(), time.monotonic()
        set_to(fd, 600, period)
        child = in_child(lambda: expiries(fd) + (expiries(fd) if period else 0))
        os.close(fd)
        return child(), time.monotonic() - began

    ran = timed(work)
    assert ran.ok, ran
    count, taken = ran.value
    assert count == (2 if period else 1)
    assert 600 + period <= taken < 610


def test_a_timer_outlives_the_process_that_has_set_it(timed: Timed) -> None:
    """Set in a child that ends: the parent's read finds one expiry."""

    def work() -> int:
        fd = made()
        assert in_child(lambda: set_to(fd, 600)[0])() == 0
        return expiries(fd)

    ran = timed(work)
    assert ran.ok, ran
    assert ran.value == 1


def test_a_timer_that_is_set_through_a_duplicate_loses_its_former_setting(timed: Timed) -> None:
    """10 s through one descriptor, then 600 s through its duplicate: the first setting is over."""

    def work() -> tuple[tuple[int, ...], int, float]:
        fd, began = made(), time.monotonic()
        twin = os.dup(fd)
        set_to(fd, 10)
        before = set_to(twin, 600)
        return before, expiries(fd), time.monotonic() - began

    ran = timed(work)
    assert ran.ok, ran
    before, count, taken = ran.value
    assert before[1] in (9, 10)
    assert count == 1
    assert 600 <= taken < 610


def test_a_number_that_was_closed_and_used_again_is_another_timer(timed: Timed) -> None:
    """Two timers, one after the other, of the same number: each goes off at its time."""

    def work() -> tuple[float, float]:
        began = time.monotonic()
        first = made()
        set_to(first, 10)
        kept = os.dup(first)
        os.close(first)
        second = made()
        assert second == first
        assert set_to(second, 600) == (0, 0)
        expiries(kept)
        early = time.monotonic() - began
        expiries(second)
        return early, time.monotonic() - began

    ran = timed(work)
    assert ran.ok, ran
    early, late = ran.value
    assert 10 <= early < 20
    assert 600 <= late < 610


def test_a_periodic_timer_that_is_closed_everywhere_ends(timed: Timed) -> None:
    """Every second, closed at once: what waits for nothing else is found to hang."""

    def work() -> None:
        fd = made()
        set_to(fd, 1, 1)
        os.close(fd)
        os.read(os.pipe()[0], 1)

    ran = timed(work)
    assert ran.timed_out
    assert ran.skipped < 100 * 10**9


def test_timers_that_are_set_and_closed_cost_no_descriptors(timed: Timed) -> None:
    """Of 500 timers that were closed while set, we keep few, and none after the run."""
    most = [0]
    held = timerfds.TimerFiles.hold

    def noted(files: timerfds.TimerFiles, timer: timerfds.TimerFile) -> None:
        held(files, timer)
        most[0] = max(most[0], len(processes.open_files()))

    def work() -> int:
        for _ in range(500):
            fd = made()
            set_to(fd, 600)
            os.close(fd)
        return len(processes.open_files())

    before = processes.open_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timerfds.TimerFiles, "hold", noted)
        ran = timed(work)
    assert ran.ok, ran
    assert 0 < most[0] < len(before) + 150
    assert processes.open_files() == before


def test_without_kcmp_a_timer_is_known_by_its_number(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without CONFIG_KCMP: one process sets a timer twice, and each setting ends the former one."""
    monkeypatch.setitem(timerfds._KCMP, abi.machine(), 100_000)  # There is no such call.

    def work() -> tuple[int, float]:
        fd, began = made(), time.monotonic()
        set_to(fd, 10, 10)
        expiries(fd)
        set_to(fd, 600)
        return expiries(fd), time.monotonic() - began

    ran = timed(work)
    assert ran.ok, ran
    count, taken = ran.value
    assert count == 1
    assert 610 <= taken < 620
