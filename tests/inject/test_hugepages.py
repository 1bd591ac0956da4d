"""Huge pages for a large test process."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from chaoskit.inject import hugepages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux offers them")


def huge() -> int:
    """Bytes of this process that are in huge pages."""
    text = Path("/proc/self/smaps_rollup").read_text("ascii")
    found = re.search(r"AnonHugePages: +(\d+) kB", text)
    return int(found[1]) << 10 if found else 0


def test_memory_is_in_huge_pages_afterwards_and_holds_what_it_held() -> None:
    """In a child, so that the tests that follow run in a process as it was."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            held = [bytes([number % 251]) * 4096 for number in range(40_000)]
            before = huge()
            done = hugepages.collapse(60.0)
            if done == 0:
                status = 77
            elif huge() >= before + done // 2 and all(
                held[i] == bytes([i % 251]) * 4096 for i in range(40_000)
            ):
                status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 77:
        pytest.skip("this kernel makes no huge pages when asked (MADV_COLLAPSE, Linux 6.1), or has none free")
    assert code == 0


def test_a_small_process_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is gained there, and nothing is asked of the kernel."""
    monkeypatch.setattr(hugepages, "_madvise", lambda: pytest.fail("the kernel was asked"))
    monkeypatch.setattr(hugepages, "_WORTH_IT", 1 << 50)
    assert hugepages.collapse(60.0) == 0


def test_it_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the process is."""
    asked: list[int] = []

    def slow(address: int, size: int, advice: int) -> int:
        asked.append(address)
        return 0

    clock = iter(range(1000))
    monkeypatch.setattr(hugepages, "_regions", lambda: iter([(0, 1 << 30)]))
    monkeypatch.setattr(hugepages, "_madvise", lambda: slow)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert hugepages.collapse(5.0) == 5 * (2 << 20)
    assert asked == [number << 21 for number in range(5)]


def test_a_kernel_that_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.1 the advice is unknown."""
    monkeypatch.setattr(hugepages, "_regions", lambda: iter([(0, 1 << 30)]))
    monkeypatch.setattr(hugepages, "_madvise", lambda: lambda *_: -1)
    assert hugepages.collapse(60.0) == 0
