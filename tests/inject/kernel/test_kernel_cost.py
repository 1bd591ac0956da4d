"""What a call costs the supervisor, in steps of Python: a time would depend on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from recording import PROGRAM

from chaoskit.inject.base import Ran

Run = Callable[..., Ran]

CALLS = 300


def _writes(root: str) -> Callable[[], None]:
    def work() -> None:
        fd = os.open(f"{root}/file", os.O_CREAT | os.O_WRONLY)
        for _ in range(CALLS):
            os.pwrite(fd, b"x" * 100, 0)
        os.close(fd)

    return work


@contextmanager
def _counted() -> Iterator[Counter[CodeType]]:
    """How often each function of Python is entered in this process."""
    entered: Counter[CodeType] = Counter()

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield entered
    finally:
        sys.setprofile(before)


def _each_time(entered: Counter[CodeType]) -> dict[str, int]:
    """The functions that were entered for every call, with how often for each.

    What is entered once for several calls, or for some that came late, is not among them.
    """
    return {code.co_qualname: times // CALLS for code, times in entered.items() if times >= CALLS}


def test_a_counted_call_takes_four_steps(root: str, run: Run) -> None:
    """To receive a call, to compare its target, to let it go on and to look for more: a step each."""
    with _counted() as entered:
        ran = run(_writes(root), f"write(file)#{CALLS + 2}=EIO")
    assert ran.ok
    each = _each_time(entered)
    # Else nothing was counted, and no step at all would do.
    assert "Counting.goes_by" in each
    assert sum(each.values()) <= 4, each


def test_a_recorded_call_takes_no_more_steps_than_it_did(root: str, run: Run) -> None:
    """As many as before calls were divided among domains: facts, data, stack, result and record."""
    run(_writes(root), record=True)  # What is learnt once, such as the layout of frames, is not counted.
    with _counted() as entered:
        ran = run(_writes(root), record=True)
    assert len(ran.trace) > CALLS
    each = _each_time(entered)
    assert sum(each.values()) <= 132, each


def test_a_long_recording_needs_as_much_as_its_length_says(root: str) -> None:
    """An operation takes less than 3 KB, the first thousand and the last; the validation has 100,000."""
    sizes = []
    for count in (4_000, 16_000):
        os.mkdir(f"{root}/{count}")
        words = [sys.executable, "-c", PROGRAM, f"{root}/{count}", "operations", str(count)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        sizes.append(json.loads(done.stdout)["megabytes"])
    assert sizes[1] - sizes[0] < 12_000 * 3 / 1000
