"""Executors whose work keeps the deadline and the logging context of its caller.

Threads of the standard library's executors start with an empty context, and processes have none.
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
    """A ``ThreadPoolExecutor`` whose work has all context variables of its caller, including the deadline.

    ``loop.run_in_executor(pool, fn)`` and ``map`` pass them on as well. If the deadline passes before a
    thread is free, it has passed for the work too: ``remaining()`` is 0, and a retry does not begin.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in a thread; see ``concurrent.futures``."""
        return super().submit(carry(fn), *args, **kwargs)


class ContextProcessPool(ProcessPoolExecutor):
    """A ``ProcessPoolExecutor`` whose work has the deadline and the logging context of its caller.

    The context is limited to what :func:`chaoskit.runtime.context.dumps` passes on; other variables stay
    behind. The deadline is measured on the monotonic clock, which all processes of a machine share, so that
    time in the queue counts. Of a deadline on a virtual clock, the seconds that are left are passed on.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in another process; see ``concurrent.futures``."""
        left = remaining()
        until = None if left is None else time.monotonic() + left
        return super().submit(_resumed, until, dumps(), fn, args, kwargs)


def _resumed(until: float | None, context: str | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call ``fn(*args, **kwargs)`` in the other process, with the caller's deadline and context."""
    with ExitStack() as stack:
        if context is not None:
            stack.enter_context(adopted({ENVIRONMENT_VARIABLE: context}))
        if until is not None:
            stack.enter_context(deadline(max(0.0, until - time.monotonic())))
        return fn(*args, **kwargs)
