"""The same global random numbers at the start of every case.

Plugins such as pytest-randomly seed them once before a test, but a scenario executes the test many times.
And Python seeds ``random`` again in every forked child, so that a workload would draw other numbers each
time: here the child continues with the numbers of its parent.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

_of_parent: Any = None


def note() -> Callable[[], None]:
    """Save the global random states of Python and numpy, and return a function that restores them."""
    state = random.getstate()
    # Only if the program uses it: importing numpy takes longer than a case.
    numpy = sys.modules.get("numpy.random")
    numpy_state = None if numpy is None else numpy.get_state()

    def put_back() -> None:
        random.setstate(state)
        if numpy is not None:
            numpy.set_state(numpy_state)

    return put_back


@contextlib.contextmanager
def inherited() -> Iterator[None]:
    """Children forked in this block continue with the random numbers of this process."""
    global _of_parent
    _of_parent = random.getstate()
    try:
        yield
    finally:
        _of_parent = None


def _after_fork() -> None:
    if _of_parent is not None:
        random.setstate(_of_parent)


# Registered after the one of ``random``, which is imported above, and so called after it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
