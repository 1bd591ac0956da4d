"""Forking a process that has one thread, without the work that Python does for processes that had more.

In a child, the modules ``threading``, ``logging`` and ``random`` make new locks, forget the threads
that are gone, and draw new random numbers. With one thread no lock is held by a thread that is gone, and
the random numbers of a workload are to go on as they were. What these functions would touch is copied page
by page, which takes as long as many a case.

Which functions run is known to the interpreter alone. Its list is found by one of ours that stands in it,
and it is changed for the moment of the fork only; where it isn't found, or holds something else than is known
here, the fork is the ordinary one.
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
    """Fork a process whose child goes on as the only thread that there was, random numbers included.

    With other threads, or where the interpreter's list was not found, it is :func:`processes.fork`.
    """
    hooks = _hooks()
    if not hooks or len(processes.threads("self")) != 1:
        return processes.fork()
    usual = hooks[:]
    hooks[:] = [hook for hook in (_INSTEAD.get(one, one) for one in usual) if hook is not None]
    try:
        return os.fork()
    finally:
        # In the child as well: what the workload forks has to find what it would without us.
        hooks[:] = usual


def prepare() -> None:
    """Find the interpreter's list now: it is inherited, and looking for it touches every object."""
    _hooks()


def _seen() -> None:
    """Stands in the list, so that it can be told from any other."""


@cache
def _hooks() -> list[_Hook]:
    """The functions that the interpreter calls in a child, as it keeps them; empty if they are not known."""
    if not hasattr(os, "register_at_fork"):
        return []
    os.register_at_fork(after_in_child=_seen)
    found = [one for one in gc.get_referrers(_seen) if isinstance(one, list) and one and one[-1] is _seen]
    return cast(list[_Hook], found[0]) if len(found) == 1 else []


def _known() -> dict[Any, _Hook | None]:
    """What each of the library functions comes down to in a child whose parent had one thread."""
    main: Any = threading.main_thread()
    known: dict[Any, _Hook | None] = {}
    try:
        known[random._inst.seed] = None
        # The lock that the parent takes before each fork; the handlers' locks are not held.
        release = getattr(logging, "_releaseLock", None) or logging._lock.release  # type: ignore[attr-defined]
        known[logging._after_at_fork_child_reinit_locks] = release  # type: ignore[attr-defined]
        known[threading._after_fork] = main._set_native_id  # type: ignore[attr-defined]
    except AttributeError:
        # Another Python than those it was tried on: only what is known is left out.
        pass
    return known


_INSTEAD = _known()
