"""Cancel the running task, for each library that has tasks and can cancel them."""

from __future__ import annotations

import sys
from collections.abc import Callable


def canceller(struck: Callable[[], None]) -> Callable[[], None] | None:
    """A function that cancels the running task as soon as it waits; None outside any task.

    ``struck`` is called when the request was accepted. asyncio (with uvloop, and anyio on it) cancels the
    task. trio (and anyio on it) cannot cancel a single task, so it cancels the nursery of the task, as when a
    sibling fails.
    """
    return _of_asyncio(struck) or _of_trio(struck)


def _of_asyncio(struck: Callable[[], None]) -> Callable[[], None] | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
    except RuntimeError:
        return None
    if task is None:
        return None

    def cancel() -> None:
        if task.cancel():
            struck()

    # Not at once: the task does not wait yet, and would be cancelled at an await that never waits.
    return lambda: loop.call_soon(cancel)


def _of_trio(struck: Callable[[], None]) -> Callable[[], None] | None:
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        token, task = trio.lowlevel.current_trio_token(), trio.lowlevel.current_task()
    except RuntimeError:
        return None
    if task.parent_nursery is None:
        return None

    def cancel() -> None:
        task.parent_nursery.cancel_scope.cancel()
        struck()

    return lambda: token.run_sync_soon(cancel)
