"""Which event loop runs here. Waiting works on trio as well; cutting, queueing and tasks are asyncio's."""

from __future__ import annotations

import sys
import threading
from typing import Any

from chaoskit.core.errors import wrong

__all__ = ["here", "needs_asyncio", "runs_asyncio", "trio"]


def runs_asyncio() -> bool:
    """True in a coroutine that asyncio drives (or a loop that stands in for it, like uvloop's)."""
    # A program that has not loaded asyncio is in none of its loops, and need not load it to be told so.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def trio() -> Any:
    """The module trio if it drives this coroutine, else None."""
    module = sys.modules.get("trio")
    return module if module is not None and module.lowlevel.in_trio_run() else None


def here() -> object:
    """What runs this code: the task of the event loop, else the thread."""
    if runs_asyncio():
        task = sys.modules["asyncio"].current_task()
        return threading.get_ident() if task is None else task
    other = trio()
    return threading.get_ident() if other is None else other.lowlevel.current_task()


def needs_asyncio(what: str, *, to_wait: bool = False) -> None:
    """Raise ``UsageError`` unless asyncio runs here: ``what`` cannot do its part on another loop.

    To be called before the user's function is, so that no call has begun that could not be finished. If
    the loop is needed only ``to_wait``, a coroutine that no loop drives passes: it may have no need to.
    """
    if not runs_asyncio() and not (to_wait and trio() is None):
        loop = "trio" if trio() is not None else "none that is known"
        hint = "Use the loop's own means there: trio.fail_after(...), a trio.CapacityLimiter, a nursery."
        raise wrong(f"the event loop under {what}", loop, "asyncio's", hint)
