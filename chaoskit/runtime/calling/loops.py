"""Finds out which event loop runs. Waits work on trio as well; time limits, queues and tasks need asyncio."""

from __future__ import annotations

import sys
import threading
from typing import Any

from chaoskit.core.errors import wrong

__all__ = ["here", "needs_asyncio", "runs_asyncio", "trio"]


def runs_asyncio() -> bool:
    """Return True in a coroutine that asyncio (or a replacement of its loop, such as uvloop) drives."""
    # If asyncio is not loaded, none of its loops runs, and it need not be loaded to find out.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def trio() -> Any:
    """The module trio if it drives this coroutine, else None."""
    module = sys.modules.get("trio")
    return module if module is not None and module.lowlevel.in_trio_run() else None


def here() -> object:
    """The task of the event loop that runs this code, else the thread."""
    if runs_asyncio():
        task = sys.modules["asyncio"].current_task()
        return threading.get_ident() if task is None else task
    other = trio()
    return threading.get_ident() if other is None else other.lowlevel.current_task()


def needs_asyncio(what: str, *, to_wait: bool = False) -> None:
    """Raise ``UsageError`` unless asyncio runs here: ``what`` does not work on another loop.

    Call it before the user's function, so that no call begins that could not be finished. If the loop is
    needed only ``to_wait``, a coroutine that no loop drives is let through: it may never have to wait.
    """
    if not runs_asyncio() and not (to_wait and trio() is None):
        loop = "trio" if trio() is not None else "none that is known"
        hint = "Use the loop's own means there: trio.fail_after(...), a trio.CapacityLimiter, a nursery."
        raise wrong(f"the event loop under {what}", loop, "asyncio's", hint)
