"""Forked children of the S rows: what they say to their parent, and that they die where it was chosen.

A child dies by its own hand, at the call that its parent names. A parent that kills it from outside meets it
wherever the machine happens to be: on a busy one mostly between two writes, where no store is at fault.
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

__all__ = ["calls_in", "child", "die", "dying_at", "lines"]


@contextmanager
def child(work: Callable[[int], object]) -> Iterator[tuple[int, int]]:
    """A forked process that runs ``work(fd)``; its number, and where what it writes to ``fd`` is read.

    It is killed at the end of the block, if it has not ended. Without an error it ends with 0.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        # CPython warns of forking beside threads: the child uses nothing that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            work(write)
            code = 0
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
    """What a child says, line by line, until it has ended."""
    rest = b""
    while text := os.read(read, 1 << 16):
        *whole, rest = (rest + text).split(b"\n")
        yield from whole


def die() -> None:
    """End this process by SIGKILL, here."""
    os.kill(os.getpid(), signal.SIGKILL)


def calls_in(work: Callable[[], object]) -> int:
    """Run ``work``; how many functions written in C its thread called.

    Python code reaches the outside world only through them, so between two of them nothing can change there.
    """
    return _counting(work, None)


def dying_at(call: int, work: Callable[[], object]) -> None:
    """Run ``work`` and die before the call of that number, from 0 on, or after the last."""
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
    # The call that takes the hook away is not of the work.
    return count - 1
