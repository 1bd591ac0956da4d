"""Fork a process that has one thread, without the work that Python does for processes with more.

In a child, the modules ``threading``, ``logging`` and ``random`` make new locks, forget the threads that are
gone, and draw new random numbers. With one thread there is no vanished thread that could hold a lock, and the
random numbers of a workload must continue. Skipping these functions saves the copies of the pages that they
touch, which take as long as many a case.

Only the interpreter knows which functions run. Its list is found by a function of ours in it, and is changed
only for the moment of the fork; if it is not found, or has unknown content, the fork is an ordinary one.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from chaoskit.inject import processes

__all__ = ["fork", "prepare"]

_Hook = Callable[[], object]


def fork() -> int:
    """Fork a process whose child continues as the only thread, random numbers included.

    With other threads, or if the interpreter's list was not found, this is :func:`processes.fork`.
    """
    hooks = _hooks()
    if not hooks or len(processes.threads("self")) != 1:
        return processes.fork()
    usual = hooks[:]
    hooks[:] = [hook for hook in (_INSTEAD.get(one, one) for one in usual) if hook is not None]
    try:
        return os.fork()
    finally:
        # In the child, too: a process that the workload forks must find the usual list.
        hooks[:] = usual


def prepare() -> None:
    """Find the interpreter's list now: the result is inherited, and the search touches every object."""
    _hooks()


def _seen() -> None:
    """A function in the list that distinguishes it from any other list."""


@cache
def _hooks() -> list[_Hook]:
    """The interpreter's own list of functions to call in a child; empty if it was not found."""
    if not hasattr(os, "register_at_fork"):
        return []
    os.register_at_fork(after_in_child=_seen)
    found = [one for one in gc.get_referrers(_seen) if isinstance(one, list) and one and one[-1] is _seen]
    return cast(list[_Hook], found[0]) if len(found) == 1 else []


def _known() -> dict[Any, _Hook | None]:
    """Maps each library function to what it amounts to in a child whose parent had one thread."""
    main: Any = threading.main_thread()
    known: dict[Any, _Hook | None] = {}
    try:
        known[random._inst.seed] = None
        # The lock that the parent takes before each fork; the handlers' locks are not held.
        release = getattr(logging, "_releaseLock", None) or logging._lock.release  # type: ignore[attr-defined]
        known[logging._after_at_fork_child_reinit_locks] = release  # type: ignore[attr-defined]
        known[threading._after_fork] = main._set_native_id  # type: ignore[attr-defined]
    except AttributeError:
        # A Python on which this was never tried: only known functions are left out.
        pass
    return known


_INSTEAD = _known()
