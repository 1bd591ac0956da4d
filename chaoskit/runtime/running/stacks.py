"""The stacks of all threads, for reports of stuck ones."""

from __future__ import annotations

import sys
import threading
import traceback

__all__ = ["all_stacks"]

# More than a sound program has; a thread that recurses without end has thousands, all alike.
_MAX_FRAMES = 100


def all_stacks() -> str:
    """Every thread's name, identifier and stack, outermost call first, as text to print.

    It takes no lock, so a running thread may be shown a step late. At most the 100 innermost frames of each
    thread are shown.
    """
    # Threads that were started without the module threading have no name here.
    names = {t.ident: f"{t.name}{' daemon' if t.daemon else ''}" for t in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_MAX_FRAMES)
        stack.reverse()
        parts.append(f"Thread {names.get(ident, '<not started by threading>')} ({ident}):\n")
        parts.extend(stack.format())
    return "".join(parts)
