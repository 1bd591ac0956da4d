"""Forked children of the S rows: what they report to their parent, and where they die.

A child kills itself at a call that its parent chose. If the parent killed it from outside, it would die
wherever it happens to be. On a busy machine that is mostly between two writes, where no store is at risk.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from chaoskit.contracts.report import demand

__all__ = ["calls_in", "child", "die", "dying_at", "lines"]

_RAISED = b"\0raised "
"""The beginning of a line that no work writes."""


@contextmanager
def child(work: Callable[[int], object]) -> Iterator[tuple[int, int]]:
    """Run ``work(fd)`` in a forked process. Yields its pid, and a descriptor that reads its writes to ``fd``.

    If it has not ended by the end of the block, it is killed. An error that ``work`` raises is the last thing
    that :func:`lines` reads. A child that could not open the store would otherwise pass for a killed one.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        # CPython warns of forking beside threads. The child uses nothing that they could have locked.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            work(write)
            code = 0
        except Exception as error:
            os.write(write, _RAISED + repr(error).replace("\n", " ").encode(errors="replace") + b"\n")
        finally:
            # Not sys.exit: the child must not run the exit handlers of the test runner.
            os._exit(code)
    os.close(write)
    try:
        yield pid, read
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def lines(read: int) -> Iterator[bytes]:
    """The lines that a child writes, until it has ended.

    Raises:
        AssertionError: at the end of the lines, if its work raised.
    """
    rest = b""
    while text := os.read(read, 1 << 16):
        *whole, rest = (rest + text).split(b"\n")
        for line in whole:
            raised = line.removeprefix(_RAISED)
            demand(raised == line, f"a child failed: {raised.decode(errors='replace')}")
            yield line


def die() -> None:
    """Kill this process by SIGKILL, here."""
    os.kill(os.getpid(), signal.SIGKILL)


def calls_in(work: Callable[[], object]) -> int:
    """Run ``work``; return how many calls of functions written in C its thread made.

    Python code reaches the outside world only through them, so nothing can change there between two of them.
    """
    return _counting(work, None)


def dying_at(call: int, work: Callable[[], object]) -> None:
    """Run ``work`` and die before the call of that number, counted from 0, or after the last one."""
    _counting(work, call)
    die()


def _counting(work: Callable[[], object], last: int | None) -> int:
    count = 0

    def look(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        if event == "c_call":
            if count == last:
                die()
            count += 1

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    # The call that removes the hook is not part of the work.
    return count - 1
