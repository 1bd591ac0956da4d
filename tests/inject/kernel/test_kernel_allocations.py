"""Allocations of lines that fail while other threads allocate as well."""

from __future__ import annotations

import sysconfig
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.core.errors import BackendUnavailable
from chaoskit.core.schedule import Schedule
from chaoskit.faults.inside import Inward
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.interpreter import allocator
from chaoskit.inject.kernel import KernelBackend
from chaoskit.inject.kernel.workload import stack

WATCHED = Inward(frozenset({"alloc"}))
MANY = 500

Watched = Callable[..., Ran]


@pytest.fixture
def watched(root: str) -> Watched:
    """Run a workload once with its allocations watched: recorded, or struck by a schedule."""

    def run(work: Callable[[], Any], schedule: str = "") -> Ran:
        strikes = Schedule.parse(schedule).strikes
        plan = Plan(root, strikes=strikes, record=not schedule, inside=WATCHED, timeout=20.0)
        return KernelBackend().run(work, plan)

    return run


def beside() -> tuple[int, int]:
    """Wait in one line for a thread that allocates; returns how often memory was short there, and here."""
    short = [0, 0]
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        for number in range(MANY):
            try:
                bytearray(600 + number)
            except MemoryError:
                short[0] += 1
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    go.set()
    try:
        done.wait()
    except MemoryError:
        short[1] += 1
    thread.join()
    return short[0], short[1]


def alone() -> int:
    """The same line with nothing beside it."""
    return len([bytes(number) for number in range(3)])


def test_what_another_thread_allocates_is_not_the_lines(watched: Watched) -> None:
    """A line that waits for a thread which makes hundreds of objects has its own few; the caveat tells."""
    ran = watched(beside)
    assert ran.value == (0, 0), ran.traceback
    counts = {one.target: one.allocations for one in ran.trace if one.call == "alloc"}
    assert counts, ran.trace
    assert max(counts.values()) < MANY, counts
    assert [one.kind for one in ran.caveats] == ["threads"]


def test_a_failing_allocation_is_never_another_threads(watched: Watched) -> None:
    """The line that waits has fewer allocations than the schedule names: nothing fails, without proof."""
    waits = next(
        one.target
        for one in watched(beside).trace
        if one.call == "alloc" and one.stack and "done.wait" in _source(one.stack[0].line)
    )
    ran = watched(beside, f"alloc({waits})#1=MemoryError[{MANY // 2}]")
    assert (ran.value, ran.receipts) == ((0, 0), ()), ran.traceback
    # The twin: its own first allocation does fail.
    ran = watched(beside, f"alloc({waits})#1=MemoryError[1]")
    assert (ran.value, len(ran.receipts)) == ((0, 1), 1), ran.traceback


def test_a_program_with_one_thread_has_no_caveat(watched: Watched) -> None:
    """The caveat is for programs whose other threads run lines of their own."""
    assert watched(alone).caveats == ()


def _source(line: int) -> str:
    with open(__file__, encoding="utf-8") as file:
        return file.read().splitlines()[line - 1]


def nothing_and_one() -> object:
    """A line that allocates nothing, and one that makes one object."""
    kept = None
    kept = object()
    return kept is None


def test_arming_and_telling_count_for_no_line(watched: Watched) -> None:
    """A line that allocates nothing has none to strike, and that of one that makes an object is the object.

    What watching allocates itself once stood in for the line's: every case then missed, and so its receipt.
    """
    seen = [one for one in watched(nothing_and_one).trace if one.call == "alloc"]
    counts = {one.target[-1]: one.allocations for one in seen}
    assert (counts["2"], counts["3"]) == (0, 1)
    line = "test_kernel_allocations.py,nothing_and_one"
    struck = watched(nothing_and_one, f"alloc({line},3)#1=MemoryError[1]")
    assert isinstance(struck.error, MemoryError), struck
    assert [one.effect for one in struck.receipts] == ["allocation 1 failed"]
    missed = watched(nothing_and_one, f"alloc({line},2)#1=MemoryError[1]")
    assert (missed.value, missed.receipts) == (False, ())


def imports() -> int:
    """A line that imports what is there already, several times."""
    kept = list(map(__import__, ("os", "re", "sys", "math", "json")))
    return len(kept)


def test_looking_at_imports_counts_for_no_line(watched: Watched) -> None:
    """The last allocation that was recorded comes in the case as well.

    In a recording each import was measured, and what that allocated counted for the line of the program: its
    last allocations were struck in vain, whenever a library imported something in a function.
    """
    watched(imports)
    (seen,) = [one for one in watched(imports).trace if one.call == "alloc" and one.target.endswith(",2")]
    assert seen.allocations
    ran = watched(imports, f"alloc({seen.target})#1=MemoryError[{seen.allocations}]")
    assert len(ran.receipts) == 1, ran.nearest


def test_an_allocation_that_does_not_come_tells_which_was_the_last(watched: Watched) -> None:
    """The run says at which allocation it could have been struck, and there it is struck."""
    line = "alloc(test_kernel_allocations.py,nothing_and_one,3)#1"
    ran = watched(nothing_and_one, f"{line}=MemoryError[{MANY}]")
    assert (ran.value, ran.receipts) == (False, ())
    assert {strike: str(near) for strike, near in ran.nearest.items()} == {
        f"{line}=MemoryError[{MANY}]": f"{line}=MemoryError[1]"
    }
    # A line without any has none that is near.
    missed = watched(nothing_and_one, "alloc(test_kernel_allocations.py,nothing_and_one,2)#1=MemoryError[1]")
    assert missed.nearest == {}


def test_a_python_without_the_gil_is_refused(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its allocators cannot be replaced while it runs: that is the reason given, and nothing passes."""
    allocator.prepare.cache_clear()
    # Both are found out once for a process: what is planted here must not be what later tests know.
    monkeypatch.setattr(stack, "_layout", None)
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    with pytest.raises(BackendUnavailable, match=r"without the GIL.*Use a build with the GIL"):
        watched(alone)
    monkeypatch.undo()
    assert watched(alone).ok
