"""Bringing back the lines that coverage.py has seen in a workload, which runs in a separate process.

That process ends without a chance to save them, so they travel with the workload's result and are
added to the collector of the test process. This is done in the baseline only: tracing costs many times
what a case does, and cases are not traced at all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Lines = dict[str, Any]


def active() -> bool:
    """Return True if coverage.py measures this process in a way that is known here."""
    return _data() is not None


def with_lines(work: Callable[[], Any]) -> tuple[Any, Lines]:
    """Call ``work``; return its result, and all lines that this process has executed so far."""
    import asyncio
    import inspect

    result = work()
    if inspect.iscoroutine(result):
        # A coroutine has executed nothing yet: its lines are seen only when it has run.
        result = asyncio.run(result)
    return result, dict(_data() or {})


def add(lines: Lines) -> None:
    """Count ``lines`` as executed by this process."""
    data = _data()
    if data is None:
        return
    for file, seen in lines.items():
        # The type of the other side: a file that only the workload executed has no entry here yet.
        data.setdefault(file, type(seen)()).update(seen)


def _data() -> Lines | None:
    """The dictionary of coverage's collector: file name to a set of lines or arcs, with every core it has.

    There is no public way to it that would not write to the disk.
    """
    coverage = sys.modules.get("coverage")
    if coverage is None:
        return None
    current = coverage.Coverage.current()
    data = getattr(getattr(current, "_collector", None), "data", None)
    return data if isinstance(data, dict) else None
