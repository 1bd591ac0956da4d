"""Executors whose work keeps what was in force where it was handed in: the deadline, and the context of logs.

Threads of the standard library's executors begin with an empty context, and other processes have none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

from chaoskit.runtime.context import ENVIRONMENT_VARIABLE, adopted, carry, dumps
from chaoskit.runtime.deadlines import deadline, remaining

__all__ = ["ContextProcessPool", "ContextThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")


class ContextThreadPool(ThreadPoolExecutor):
    """A ``ThreadPoolExecutor`` whose work has all context variables of its caller, the deadline among them.

    ``loop.run_in_executor(pool, fn)`` and ``map`` carry them as well. A deadline that has passed by the time
    a thread is free has passed for the work: ``remaining()`` is 0, and a retry there does not begin.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in a thread; see ``concurrent.futures``."""
        return super().submit(carry(fn), *args, **kwargs)


class ContextProcessPool(ProcessPoolExecutor):
    """A ``ProcessPoolExecutor`` whose work has the deadline and the context of logs of its caller.

    Of the context that is what :func:`chaoskit.runtime.context.dumps` lets travel; other variables stay. The
    deadline is measured on the monotonic clock, which all processes of a machine share, so that time in the
    queue counts. One of a virtual clock travels as the seconds that were left.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in another process; see ``concurrent.futures``."""
        left = remaining()
        until = None if left is None else time.monotonic() + left
        return super().submit(_resumed, until, dumps(), fn, args, kwargs)


def _resumed(until: float | None, context: str | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """``fn(*args, **kwargs)`` in the other process, under what was in force in the first one."""
    with ExitStack() as stack:
        if context is not None:
            stack.enter_context(adopted({ENVIRONMENT_VARIABLE: context}))
        if until is not None:
            stack.enter_context(deadline(max(0.0, until - time.monotonic())))
        return fn(*args, **kwargs)
