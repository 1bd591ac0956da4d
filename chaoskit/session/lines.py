"""Return to coverage.py the lines that it saw in a workload, which runs in a separate process.

That process ends without a chance to save them, so they travel with the workload's result and are added to
the collector of the test process. Only the baseline is traced: tracing costs many times what a case does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Lines = dict[str, Any]


def active() -> bool:
    """Return True if coverage.py measures this process in a way that this module understands."""
    return _data() is not None


def with_lines(work: Callable[[], Any]) -> tuple[Any, Lines]:
    """Call ``work``; return its result, and all lines that this process has executed so far."""
    import asyncio
    import inspect

    result = work()
    if inspect.iscoroutine(result):
        # A coroutine has executed nothing yet: run it to see its lines.
        result = asyncio.run(result)
    return result, dict(_data() or {})


def add(lines: Lines) -> None:
    """Count ``lines`` as executed by this process."""
    data = _data()
    if data is None:
        return
    for file, seen in lines.items():
        # Of the same type as in the workload: a file that only it executed has no entry here yet.
        data.setdefault(file, type(seen)()).update(seen)


def add_to_context(name: str, lines: Mapping[str, Iterable[int]]) -> None:
    """Count ``lines``, by file, as executed in the context ``name`` of coverage.py's data.

    Then ``coverage html --show-contexts`` shows that a handler ran, and in which scenario.
    """
    coverage = sys.modules.get("coverage")
    current = None if coverage is None else coverage.Coverage.current()
    if current is None or not lines:
        return
    data = current.get_data()
    # The data keeps one context at a time, and coverage.py sets its own only when it changes.
    before = getattr(data, "_current_context", None)
    data.set_context(name)
    measured = {file: set(found) for file, found in lines.items() if current._should_trace(file, None).trace}
    if data.has_arcs():
        # With branches a line counts if an arc leads to it; an arc from the line to itself adds no branch.
        data.add_arcs({file: {(line, line) for line in found} for file, found in measured.items()})
    else:
        data.add_lines(measured)
    data.set_context(before)


def _data() -> Lines | None:
    """The dictionary of coverage's collector: file name to a set of lines or arcs, with every core it has.

    It is read through private attributes, since every public way to it writes to the disk.
    """
    coverage = sys.modules.get("coverage")
    if coverage is None:
        return None
    current = coverage.Coverage.current()
    data = getattr(getattr(current, "_collector", None), "data", None)
    return data if isinstance(data, dict) else None
